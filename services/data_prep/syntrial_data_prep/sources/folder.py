"""Reads a folder of images: a folder for each class, with or without a folder for each split above them.

Every header is opened first, so that sizes and modes are known before anything is decoded; each picture is then
decoded once. A file that cannot be read is left out and named in the audit, unless many cannot.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from syntrial.artifacts.content import folder_digest, folder_files
from syntrial.errors import SourceError
from syntrial_data_prep import pixels
from syntrial_data_prep.sources.raw import SPLIT_NAMES, UNSPLIT, Picture, Raw, RawSplit

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm"))
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)
"""What Pillow raises for damaged files, by format."""
MOST_UNREADABLE = 0.05
"""The share of a folder's images that may be unreadable: above it something else is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One image file whose header was read."""

    name: str
    path: Path
    split: str
    label: str
    mode: str
    size: tuple[int, int]


def read(path: Path, *, digest: str, pattern: str, on_progress: Callable[[int], None]) -> Raw:
    """Opens a folder; `digest` is what its content must be, `pattern` gives the patient from a file's name, or ""."""
    title = path.name
    if not path.is_dir():
        raise SourceError(
            field=str(path), rule="a folder of images is a directory", received="a file", remedy="Name the folder."
        )
    if digest and (found := folder_digest(path, on_progress=on_progress)) != digest:
        raise SourceError(
            field=str(path),
            rule=f"the content is the one that was planned, {digest}",
            received=found,
            remedy="Files have changed since: run again.",
        )
    patient_of = _patient_rule(pattern)
    files = list(folder_files(path))
    placed, strays = _places([(PurePosixPath(name), file) for name, file in files], title=title)
    entries, damaged = _headers(placed, on_progress=on_progress)
    if len(damaged) > MOST_UNREADABLE * (len(entries) + len(damaged)):
        raise SourceError(
            field=f"{title}: {damaged[0]}",
            rule=f"at most {MOST_UNREADABLE:.0%} of a folder's images are unreadable",
            received=f"{len(damaged)} of {len(entries) + len(damaged)}",
            remedy="Copy the files again, or remove those that are damaged.",
        )
    notes = [f"{strays} files that are no images, or lie in no class, were left out."] if strays else []
    if damaged:
        notes.append(f"{len(damaged)} images could not be read and were left out: {', '.join(damaged[:8])}.")
    classes = tuple(sorted({entry.label for entry in entries}))
    deep = [entry for entry in entries if entry.mode in pixels.SIXTEEN_BIT_MODES]
    bits = pixels.bits_of(max((_highest(entry) for entry in deep), default=0))
    if 8 < bits < 16:
        notes.append(f"The 16-bit images use {bits} bits and were scaled by that.")
    splits: dict[str, RawSplit] = {}
    for split in sorted({entry.split for entry in entries}):
        members = [entry for entry in entries if entry.split == split]

        def pictures(members: list[Entry] = members) -> Iterator[Picture | None]:
            for entry in members:
                yield _decode(entry, bits=bits, title=title)

        sides = [side for entry in members for side in entry.size]
        splits[split] = RawSplit(
            labels=np.array([classes.index(entry.label) for entry in members], dtype=np.int64),
            names=tuple(entry.name for entry in members),
            patients=tuple(patient_of(entry.name) for entry in members) if pattern else None,
            pictures=pictures,
            sides=(min(sides), max(sides)),
            oblong=sum(entry.size[0] != entry.size[1] for entry in members),
        )
    grey = {pixels.is_grey(entry.mode) for entry in entries}
    if len(grey) == 2:
        notes.append("Grey and colour files are mixed.")
    return Raw(
        title=title,
        splits=splits,
        classes=classes,
        multi_label=False,
        channels=0 if len(grey) == 2 else (1 if True in grey else 3),
        notes=tuple(notes),
    )


def _patient_rule(pattern: str) -> Callable[[str], str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SourceError(
            field="source.folder.patient_pattern",
            rule="is a regular expression",
            received=f"{pattern!r} ({error})",
            remedy=r"For 00000013_005.png, write '(\d+)_'.",
        ) from None
    if pattern and expression.groups != 1:
        raise SourceError(
            field="source.folder.patient_pattern",
            rule="has one group, which is the patient",
            received=f"{pattern!r} with {expression.groups}",
            remedy=r"Put the patient's part in parentheses: '(\d+)_'.",
        )

    def patient(name: str) -> str:
        match = expression.search(PurePosixPath(name).name)
        if match is None or match[1] is None:
            raise SourceError(
                field="source.folder.patient_pattern",
                rule="matches the name of every image",
                received=f"{name}, which {pattern!r} does not match",
                remedy="Widen the pattern, or move the file out of the folder.",
            )
        return match[1]

    return patient


def _places(files: list[tuple[PurePosixPath, Path]], *, title: str) -> tuple[list[tuple[str, Path, str, str]], int]:
    """(name, path, split, class) of each image, from where it lies, and how many other files there are."""
    images = [(name, path) for name, path in files if name.suffix.lower() in SUFFIXES]
    if not images:
        dicom = any(name.suffix.lower() in {".dcm", ".dicom"} for name, _ in files)
        raise SourceError(
            field=title,
            rule=f"the folder holds images ({', '.join(sorted(SUFFIXES))})",
            received="DICOM files" if dicom else f"{len(files)} other files",
            remedy="Convert them to 8- or 16-bit PNG first." if dicom else "Check the path.",
        )
    tops = {name.parts[0] for name, _ in images if len(name.parts) > 1}
    split_layout = bool(tops) and all(top.lower() in SPLIT_NAMES for top in tops)
    depth = 2 if split_layout else 1
    placed = [
        (
            str(name),
            path,
            SPLIT_NAMES[name.parts[0].lower()] if split_layout else UNSPLIT,
            name.parts[depth - 1],
        )
        for name, path in images
        if len(name.parts) > depth
    ]
    if not placed:
        raise SourceError(
            field=title,
            rule="images lie in a folder for each class, with or without train, val and test above them",
            received=f"{images[0][0]} and {len(images) - 1} more in no class",
            remedy="Make a folder for each class, named like it, and move the images there.",
        )
    return placed, len(files) - len(placed)


def _headers(
    placed: list[tuple[str, Path, str, str]], *, on_progress: Callable[[int], None]
) -> tuple[list[Entry], list[str]]:
    entries: list[Entry] = []
    damaged: list[str] = []
    for number, (name, path, split, label) in enumerate(placed):
        try:
            with warnings.catch_warnings():
                # Size is judged below, by a rule of our own.
                warnings.simplefilter("ignore")
                with Image.open(path) as image:
                    mode, size = image.mode, image.size
        except Image.DecompressionBombError:
            mode, size = "L", (pixels.MOST_PIXELS, 2)
        except UNREADABLE:
            damaged.append(name)
            continue
        pixels.check_side(*size, name=name)
        entries.append(Entry(name=name, path=path, split=split, label=label, mode=mode, size=size))
        if number % 256 == 0:
            on_progress(number)
    return entries, damaged


def _highest(entry: Entry) -> int:
    try:
        with Image.open(entry.path) as image:
            return int(np.asarray(image).max())
    except UNREADABLE:
        return 0


def _decode(entry: Entry, *, bits: int, title: str) -> Picture | None:
    """The first frame of a file, upright as its camera meant it; None where it breaks off."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(entry.path) as image:
                image.load()
                return pixels.from_image(ImageOps.exif_transpose(image), bits=bits, name=f"{title}: {entry.name}")
    except UNREADABLE:
        return None
