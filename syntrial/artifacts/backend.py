"""What a place for artifacts must offer: named objects with a conditional create, and blobs named by their digest.

`memory.py`, `directory.py` and `s3.py` implement `Backend`; `store.py` builds the guarantees of an artifact store upon
it and is the only caller. A backend knows nothing of steps, keys or manifests.
"""

import errno
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from syntrial.errors import DataLoss, StoreFull, StoreUnavailable

CHUNK_BYTES: Final = 1 << 20
"""How much of a blob is held in memory at a time while it is hashed or copied."""

DIGEST_PATTERN: Final = re.compile(r"[0-9a-f]{64}")
"""SHA-256 in lower-case hexadecimal."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """An object as a listing shows it."""

    name: str
    size: int
    """In bytes."""
    modified: float
    """When it was last written, in seconds since 1970 by the store's clock."""


class Backend(Protocol):
    """Named objects of a store, safe to use from several threads and processes at once.

    All methods raise StoreUnavailable where the place does not answer and StoreFull where it has no space or may not
    be written. Names are as `check_name` says. A reader never sees part of an object.
    """

    @property
    def url(self) -> str:
        """Where this is, as `open_store` takes it; never holds a secret."""
        ...

    @property
    def parallel(self) -> int:
        """How many requests at a time are worth making."""
        ...

    def read(self, name: str, /, *, limit: int | None = None) -> bytes | None:
        """The object's content, or None where there is none. For small objects.

        With `limit`, one of more bytes is not read; raises DataLoss.
        """
        ...

    def write(self, name: str, data: bytes, /) -> None:
        """Writes an object, or replaces it as a whole."""
        ...

    def create(self, name: str, data: bytes, /) -> bool:
        """Writes an object only if there is none of that name; of all callers exactly one gets True."""
        ...

    def scan(self, prefix: str, /, *, limit: int | None = None) -> list[ObjectInfo]:
        """All objects whose name starts with `prefix` (which ends in "/"), by name: all of them, or it raises.

        With `limit`, of more than so many the listing is not read on; raises DataLoss.
        """
        ...

    def delete(self, name: str, /) -> None:
        """Deletes an object; one that is not there is no error."""
        ...

    def delete_old(self, name: str, /, *, before: float) -> bool:
        """Deletes an object unless it was written since `before`, by the store's clock; says whether it did.

        One that is written, or a blob that is made young, in the instant between the two may still go.
        """
        ...

    def clock(self) -> float:
        """The time by the store's clock, in seconds since 1970."""
        ...

    def spool_path(self) -> Path:
        """A path of its own, on this machine, for a file that `put_blob` will take or the caller removes."""
        ...

    def put_blob(self, spool: Path, /, *, digest: str) -> None:
        """Stores the finished file `spool` under its digest and takes the file away; replaces a blob that is there.

        Replacing costs little, heals a damaged blob, and makes the blob young again for garbage collection.
        """
        ...

    def renew(self, digest: str, /, *, size: int) -> bool:
        """Whether a blob of that length is there; it is young again for garbage collection then, without being sent.

        Its content is not read. False may also mean that it cannot be made young: it is put again then.
        """
        ...

    def blob_path(self, digest: str, /, *, size: int, fresh: bool = False) -> Path:
        """A local, read-only file with the blob's content, verified; raises DataLoss where it is missing or differs.

        With `fresh`, what the store holds is read and hashed again, whatever was verified before.
        """
        ...

    def sweep(self, *, before: float, dry_run: bool) -> list[ObjectInfo]:
        """Removes (or only lists) what dead writers left half written and last wrote to before that time."""
        ...


def check_name(name: str) -> str:
    """Returns `name`, or raises ValueError unless its parts are of [A-Za-z0-9._-] and start with no dot."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a valid name in a store: {name!r}")
    return name


def is_name(name: str) -> bool:
    """Whether a store may have given an object this name."""
    return _NAME.fullmatch(name) is not None


def check_size(name: str, size: int, *, limit: int | None) -> None:
    """Raises DataLoss for an object of more than `limit` bytes."""
    if limit is not None and size > limit:
        raise DataLoss(f"{name} has more than {limit} bytes, as no object of its kind has: it is not read")


def check_count(prefix: str, found: Iterable[ObjectInfo], *, limit: int | None) -> list[ObjectInfo]:
    """The objects of a listing; raises DataLoss at the first beyond `limit`."""
    if limit is None:
        return list(found)
    infos = list(islice(found, limit + 1))
    if len(infos) > limit:
        raise DataLoss(f"{prefix} has more than {limit} objects: they are not listed")
    return infos


def blob_name(digest: str) -> str:
    """The name of the object that holds the blob; raises ValueError for anything but a SHA-256 in hexadecimal."""
    if not DIGEST_PATTERN.fullmatch(digest):
        raise ValueError(f"not a SHA-256 digest: {digest!r}")
    return f"blobs/sha256/{digest}"


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 in hexadecimal and length in bytes of a file, read in chunks."""
    size = 0
    sha = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            sha.update(buffer[:count])
            size += count
    return sha.hexdigest(), size


def copy_hashed(chunks: Iterable[bytes], target: BinaryIO) -> tuple[str, int]:
    """Writes `chunks` to `target`; SHA-256 in hexadecimal and length of what was written."""
    size = 0
    sha = hashlib.sha256()
    for chunk in chunks:
        sha.update(chunk)
        size += len(chunk)
        target.write(chunk)
    return sha.hexdigest(), size


class Verified:
    """Which files this process has found to be what their digests say, for as long as nobody writes to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: dict[str, tuple[int, int, int]] = {}

    def check(self, path: Path, /, *, digest: str, size: int, fresh: bool = False) -> bool:
        """Whether the file has that size and digest; hashed once, and again if it was changed since or with `fresh`.

        Raises OSError where it cannot be read.
        """
        status = path.stat()
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._stamps.get(digest) == stamp
        if known and not fresh:
            return status.st_size == size
        sound = status.st_size == size and hash_file(path)[0] == digest
        with self._lock:
            if sound:
                self._stamps[digest] = stamp
            else:
                self._stamps.pop(digest, None)
        return sound


@contextmanager
def storage_errors(root: Path, /) -> Iterator[None]:
    """Turns an OSError of the files under `root` into StoreFull or StoreUnavailable, with the path and what to do."""
    elsewhere = "name another place (--store, or SYNTRIAL_CACHE_DIR for the cache of an S3 store)"
    try:
        yield
    except OSError as error:
        where = error.filename or root
        if error.errno in _FULL:
            raise StoreFull(
                f"no space to write {where}: {error.strerror}. "
                f"Free space on that disk, run `syntrial gc`, or {elsewhere}."
            ) from error
        if error.errno in _DENIED:
            raise StoreFull(
                f"{where} may not be read or written: {error.strerror}. Change its permissions, or {elsewhere}."
            ) from error
        raise StoreUnavailable(f"the files under {root} cannot be reached: {error}") from error
