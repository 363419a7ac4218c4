"""Parts of a file as files of their own, for archives: each with its own position, so that threads share nothing."""

import io
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE_BYTES = 1 << 16


class Region:
    """Bytes of a file on disk. The file is closed when the last region of it is gone."""

    def __init__(self, owner: "_Owner", *, start: int, length: int) -> None:
        self._owner, self._start, self.length = owner, start, length

    @classmethod
    def of(cls, path: Path, /) -> "Region":
        """The whole of a file. Raises OSError."""
        return cls._whole(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def of_file(cls, file: IO[bytes], /) -> "Region":
        """The whole of an open file, which may be closed afterwards."""
        return cls._whole(os.dup(file.fileno()))

    @classmethod
    def _whole(cls, descriptor: int) -> "Region":
        return cls(_Owner(descriptor), start=0, length=os.fstat(descriptor).st_size)

    def at(self, offset: int, size: int, /) -> bytes:
        """At most `size` bytes; fewer at the end alone. Raises OSError."""
        size = max(0, min(size, self.length - offset))
        pieces = []
        while size:
            piece = os.pread(self._owner.descriptor, size, self._start + offset)
            if not piece:
                break
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return b"".join(pieces)

    def part(self, start: int, length: int, /) -> "Region":
        """A part of this part."""
        return Region(self._owner, start=self._start + start, length=length)

    def opened(self) -> BinaryIO:
        """As a file with a position of its own."""
        return cast(BinaryIO, io.BufferedReader(_Raw(self)))


class _Owner:
    """A descriptor that is closed with its last user."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


class _Placed(io.RawIOBase):
    """A file of known length with a position."""

    name = ""
    """Some readers ask an open file for one; a member of an archive has none that could be opened."""

    def __init__(self, length: int) -> None:
        self._length, self._position = length, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As files have it; a position beyond the end gives nothing to read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._position = base + offset
        return self._position


class _Raw(_Placed):
    """A region with a position."""

    def __init__(self, region: Region) -> None:
        super().__init__(region.length)
        self._region = region

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fills what it can. Raises OSError."""
        view = memoryview(buffer).cast("B")
        data = self._region.at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class Growing(_Placed):
    """A stream that can be read forward alone, as a file that is sought in: what was read stays in memory.

    Headers of pictures cost no more than their own bytes so, and nothing is unpacked twice.
    """

    def __init__(self, opened: Callable[[], IO[bytes]], *, length: int) -> None:
        """`length` is what the archive states: a stream that gives more or less is damaged (OSError)."""
        super().__init__(length)
        self._stream = opened()
        self._held = bytearray()

    def buffered(self) -> BinaryIO:
        """As other readers expect it."""
        return cast(BinaryIO, io.BufferedReader(self))

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fills what it can. Raises OSError where the stream breaks off."""
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._length)
        self._read_to(end)
        data = self._held[self._position : end]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Closes the stream too."""
        self._stream.close()
        super().close()

    def _read_to(self, end: int) -> None:
        while len(self._held) < end:
            try:
                piece = self._stream.read(max(_PIECE_BYTES, end - len(self._held)))
            except OSError:
                raise
            except Exception as error:
                # A damaged stream raises what its decoder likes.
                raise OSError(f"{type(error).__name__}: {error}") from error
            if not piece:
                raise OSError(f"{len(self._held)} bytes came where {self._length} are stated")
            self._held += piece
