"""What to do with a folder that holds no pictures, or none in a class."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import PICTURE_SUFFIXES
from syntrial.imagesets.sheets import TABLE_SUFFIXES

_VOLUMES: Final = "Volumes are not read: save the slices that are meant as PNG, 16-bit PNG or DICOM."
_REMEDIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"), "An archive in a folder is not opened: give the archive itself."
    ),
    ".npz": "Give the file itself: `npz: FILE`.",
    ".npy": "Gather the arrays in one file, numpy.savez(FILE, train_images=…, train_labels=…), and name it by `npz:`.",
    **dict.fromkeys(
        (".mat", ".h5", ".hdf5", ".pt", ".pth", ".pkl", ".tfrecord", ".tfrecords"),
        "Save images and labels as numpy.savez(FILE, train_images=…, train_labels=…), and name it by `npz:`.",
    ),
    **dict.fromkeys((".nii", ".mha", ".mhd", ".nrrd", ".mgz", ".img"), _VOLUMES),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn"), "Slides are not read: cut tiles, and save them as PNG."),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".wmv"), "Videos are not read: save the frames that are meant."),
    "without a suffix": "Without a suffix only DICOM is known: give the others theirs (.png, .jpg, .tif).",
    **dict.fromkeys((".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".pdf"), "Convert them to PNG or JPEG."),
}
"""By suffix, where a folder holds no image."""
_SHOWN_TABLES: Final = 3
_LISTS: Final = re.compile(r"(^|/)[^/]*(label|annotation|list|class)[^/]*\.txt$", re.IGNORECASE)
_WITHOUT_CLASSES: Final = ("test", "sample", "submission")
"""In the names of tables that say of images less than others do."""


def no_pictures(names: Sequence[str], *, title: str) -> SourceError:
    """Of a folder that holds these files and no picture: what to do, by what they are."""
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in names)
    some = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(3))
    known = next((_REMEDIES[found] for found, _ in suffixes.most_common() if found in _REMEDIES), "Check the path.")
    volumes = any(name.lower().endswith((".nii.gz", ".nii")) for name in names)
    return SourceError(
        field=title,
        rule=f"the folder holds images ({', '.join(sorted(PICTURE_SUFFIXES))})",
        received=counted(len(names), "other file") + (f" ({some})" if some else ""),
        remedy=_VOLUMES if volumes else known,
    )


def no_class(
    names: Sequence[str], *, title: str, called: Callable[[str], str], beside: Sequence[str] = ()
) -> SourceError:
    """Of pictures that lie in no class; `beside` are all files: a table among them may be what says the classes."""
    return SourceError(
        field=title,
        rule="images lie in a folder for each class, with or without train, val and test above them",
        received=f"{called(names[0])} and {len(names) - 1} more in no class",
        remedy=f"Make a folder for each class, named like it, and move the images there.{by_table(beside)}",
    )


def by_table(names: Sequence[str]) -> str:
    """What to do where a table or a list among these files may say the classes; "" where there is none."""
    tables = [name for name in names if name.lower().endswith(TABLE_SUFFIXES) or _LISTS.search(name)]
    first, *others = sorted(tables, key=lambda name: (any(word in name.lower() for word in _WITHOUT_CLASSES), name))[
        :_SHOWN_TABLES
    ] or [""]
    if not first:
        return ""
    beside = f" (or {', '.join(others)})" if others else ""
    return f" Or name the table that says the classes: `table: {{folder: …, file: {first}}}`{beside}."
