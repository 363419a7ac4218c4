"""The zip archive of arrays that an .npz file is, read so that a small file cannot fill the memory.

Of each array the header comes first: its shape and type are held against the length that the archive states and
against limits before any data is unpacked. Nothing is unpickled.
"""

import contextlib
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.npy import read_header
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import DAMAGED_ZIP, kind_of

MOST_WHOLE_BYTES: Final = 256 << 20
"""The longest array that is read whole: labels and patients."""
MOST_RATIO: Final = 200
"""How many times its packed length an array that is read whole may have, if it is over `SURELY_SMALL`."""
SURELY_SMALL: Final = 16 << 20

MOST_DIMENSIONS: Final = 8

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What NumPy writes. Other methods may unpack megabytes from a few bytes before anybody can count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayHeader:
    """What an array says of itself, which agrees with the archive's directory."""

    shape: tuple[int, ...]
    is_fortran: bool
    """Whether it is written column by column."""
    dtype: np.dtype[np.generic]
    """Of elements with a fixed size, no Python objects."""

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of all elements."""
        return self.size * self.dtype.itemsize


def wrong(title: str, array: str, rule: str, received: object, remedy: str) -> SourceError:
    """The error of an array in the file that errors call `title`."""
    return SourceError(field=f"{title}: {array}", rule=rule, received=received, remedy=remedy)


def _damaged(title: str, array: str, received: object) -> SourceError:
    return wrong(title, array, "the array can be read to its end", received, "Copy, download or write the file again.")


@contextlib.contextmanager
def opened(path: Path, *, title: str) -> Iterator[zipfile.ZipFile]:
    """The file as a zip archive; raises SourceError, which says what it is, where it is none."""
    try:
        # A zip archive's directory stands at its end: one that is cut short has none.
        archive = zipfile.ZipFile(path)
    except DAMAGED_ZIP as error:
        raise _no_archive(path, error, title=title) from None
    with archive:
        yield archive


def _no_archive(path: Path, error: Exception, *, title: str) -> SourceError:
    rule = "an .npz file is a whole zip archive of arrays"
    if path.is_dir():
        return SourceError(field=title, rule=rule, received=f"{path}, a folder", remedy="Give a folder as `folder:`.")
    try:
        kind = kind_of(path)
    except OSError:
        return SourceError(field=title, rule=rule, received=f"{path}: {error}", remedy="Check its permissions.")
    return SourceError(field=title, rule=rule, received=f"{path}, {kind.one}", remedy=kind.remedy)


@contextlib.contextmanager
def member(archive: zipfile.ZipFile, name: str, *, title: str) -> Iterator[IO[bytes]]:
    """An array's file in the archive; whatever breaks while it is read is the file's damage."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise wrong(title, name, "every images array has its labels", "no such array", "Add it.") from None
    if info.compress_type not in _METHODS:
        raise wrong(
            title,
            name,
            "arrays are stored as they are or deflated",
            f"compression method {info.compress_type}",
            "Save them with numpy.savez_compressed.",
        )
    try:
        with archive.open(info) as file:
            yield file
    except SourceError:
        raise
    except DAMAGED_ZIP as error:
        raise _damaged(title, name, str(error)) from None


def array_header(file: IO[bytes], archive: zipfile.ZipFile, name: str, *, title: str) -> ArrayHeader:
    """Reads the header with which `file`, opened by `member`, begins.

    Raises SourceError for Python objects, and where it speaks of more or less than the archive has.
    """
    try:
        shape, is_fortran, dtype = read_header(file)
    except DAMAGED_ZIP as error:
        raise _damaged(title, name, str(error)) from None
    if dtype.hasobject:
        raise wrong(
            title,
            name,
            "arrays hold numbers of one size; Python objects (pickles, images of mixed size) are never opened",
            "an array of Python objects",
            "Give every image the same size, and save with numpy.savez_compressed without allow_pickle.",
        )
    header = ArrayHeader(shape=shape, is_fortran=is_fortran, dtype=dtype)
    there = archive.getinfo(f"{name}.npy").file_size - file.tell()
    if len(header.shape) > MOST_DIMENSIONS or header.bytes != there:
        raise _damaged(title, name, f"{there} bytes, where {header.dtype} of shape {header.shape} is announced")
    return header


def read_whole(
    file: IO[bytes], header: ArrayHeader, archive: zipfile.ZipFile, name: str, *, title: str
) -> NDArray[Any]:
    """What follows the header, read-only; raises SourceError where it would be too much."""
    packed = max(1, archive.getinfo(f"{name}.npy").compress_size)
    if header.bytes > MOST_WHOLE_BYTES or (header.bytes > SURELY_SMALL and header.bytes > MOST_RATIO * packed):
        raise wrong(
            title,
            name,
            f"labels and patients have at most {MOST_WHOLE_BYTES >> 20} MiB, and above {SURELY_SMALL >> 20} MiB at "
            f"most {MOST_RATIO} times their packed length",
            f"{header.bytes} bytes packed into {packed}",
            "Check the array; save labels as uint8 or int16, patients as short text.",
        )
    if header.bytes == 0:
        return np.zeros(header.shape, header.dtype)
    flat = np.frombuffer(exactly(file, header.bytes), dtype=header.dtype)
    return flat.reshape(header.shape, order="F" if header.is_fortran else "C")


def exactly(file: IO[bytes], size: int) -> bytes:
    """The next `size` bytes; raises EOFError where there are fewer."""
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{size} bytes expected, {len(data)} came")
    return data
