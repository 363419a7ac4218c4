"""Reads a folder of images: a folder for each class, with or without a folder for each split above them.

Every header is opened first, so that sizes and modes are known before anything is decoded; each picture is then
decoded once. A file that cannot be read is left out and named in the audit, unless many cannot.
"""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from syntrial.artifacts.content import folder_digest, folder_files
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import tell_apart
from syntrial.imagesets.folders import PlacedPicture, lay_out, patient_rule
from syntrial.imagesets.limits import MOST_PIXELS, check_side
from syntrial_data_prep import pixels
from syntrial_data_prep.sources.raw import Picture, Raw, RawSplit

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
    patient_of = patient_rule(pattern, field="source.folder.patient_pattern") if pattern else None
    files = dict(folder_files(path))
    layout = lay_out(list(files), title=title)
    entries, damaged = _headers(layout.pictures, files=files, on_progress=on_progress)
    notes = []
    if layout.strays:
        notes.append(f"{layout.strays} files that are no images, or lie in no class, were left out.")
    if damaged:
        kinds, remedy = tell_apart(files[name] for name in damaged)
        if len(damaged) > MOST_UNREADABLE * (len(entries) + len(damaged)):
            raise SourceError(
                field=f"{title}: {damaged[0]}",
                rule=f"at most {MOST_UNREADABLE:.0%} of a folder's images are unreadable",
                received=f"{len(damaged)} of {len(entries) + len(damaged)}: {kinds}",
                remedy=f"{remedy} Or remove the files.",
            )
        some = ", ".join(damaged[:8])
        notes.append(f"{len(damaged)} images could not be read and were left out ({kinds}): {some}.")
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
            patients=tuple(patient_of(entry.name) for entry in members) if patient_of else None,
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


def _headers(
    pictures: Sequence[PlacedPicture], *, files: Mapping[str, Path], on_progress: Callable[[int], None]
) -> tuple[list[Entry], list[str]]:
    entries: list[Entry] = []
    damaged: list[str] = []
    for number, picture in enumerate(pictures):
        name, path = picture.name, files[picture.name]
        try:
            with warnings.catch_warnings():
                # Size is judged below, by a rule of our own.
                warnings.simplefilter("ignore")
                with Image.open(path) as image:
                    mode, size = image.mode, image.size
        except Image.DecompressionBombError:
            mode, size = "L", (MOST_PIXELS, 2)
        except UNREADABLE:
            damaged.append(name)
            continue
        check_side(*size, name=name)
        entries.append(Entry(name=name, path=path, split=picture.split, label=picture.label, mode=mode, size=size))
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
