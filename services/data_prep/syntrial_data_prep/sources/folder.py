"""Reads a folder of images: a folder for each class, with or without a folder for each split above them.

Every header is opened first, so that sizes and modes are known before anything is decoded; each picture is then
decoded once. A file that cannot be read is left out and named in the audit, unless many cannot.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import ImageOps

from syntrial.artifacts.content import folder_digest, folder_files
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import UNREADABLE, open_picture
from syntrial.imagesets.folders import (
    PictureHeader,
    lay_out,
    read_headers,
    refuse_damaged,
)
from syntrial.imagesets.limits import SIXTEEN_BIT_MODES, is_grey
from syntrial.imagesets.patterns import patient_rule
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep import pixels
from syntrial_data_prep.sources.raw import Picture, Place, Raw, RawSplit


def open_source(source: Source, place: Place) -> Raw:
    """Opens the folder that the source names by its digest."""
    pattern = source.folder.patient_pattern
    return read(place.existing(), digest=source.digest, pattern=pattern, on_progress=place.on_progress)


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
    patient_of = patient_rule(pattern, field="source.folder.patient_pattern") if pattern else None
    files = dict(folder_files(path))
    layout = lay_out(list(files), title=title)
    entries, damaged = read_headers(layout.pictures, files=files, on_progress=on_progress)
    notes = []
    if layout.strays:
        notes.append(f"{layout.strays} files that are no images, or lie in no class, were left out.")
    if damaged:
        kinds = refuse_damaged(damaged, of=len(layout.pictures), files=files, title=title)
        some = ", ".join(damaged[:8])
        notes.append(f"{len(damaged)} images could not be read and were left out ({kinds}): {some}.")
    classes = tuple(sorted({entry.label for entry in entries}))
    deep = [entry for entry in entries if entry.mode in SIXTEEN_BIT_MODES]
    bits = pixels.bits_of(max((_highest(entry) for entry in deep), default=0))
    if 8 < bits < 16:
        notes.append(f"The 16-bit images use {bits} bits and were scaled by that.")
    splits: dict[str, RawSplit] = {}
    for split in sorted({entry.split for entry in entries}):
        members = [entry for entry in entries if entry.split == split]

        def pictures(members: list[PictureHeader] = members) -> Iterator[Picture | None]:
            for entry in members:
                yield _decode(entry, bits=bits, title=title)

        sides = [side for entry in members for side in entry.size]
        splits[split] = RawSplit(
            labels=np.array([classes.index(entry.label) for entry in members], dtype=np.int64),
            names=tuple(entry.name for entry in members),
            patients=tuple(patient_of(entry.name) for entry in members) if patient_of else None,
            pictures=pictures,
            sides=(min(sides), max(sides)),
            oblong=sum(entry.size[0] != entry.size[1] for entry in members),
        )
    grey = {is_grey(entry.mode) for entry in entries}
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


def _highest(entry: PictureHeader) -> int:
    try:
        with open_picture(entry.path) as image:
            return int(np.asarray(image).max())
    except UNREADABLE:
        return 0


def _decode(entry: PictureHeader, *, bits: int, title: str) -> Picture | None:
    """The first frame of a file, upright as its camera meant it; None where it breaks off."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_picture(entry.path) as image:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return pixels.from_image(image, bits=bits, name=f"{title}: {entry.name}")
    except UNREADABLE:
        return None
