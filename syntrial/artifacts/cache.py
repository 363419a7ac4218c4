"""A read-through cache of blobs on the local disk, for stores that are elsewhere.

Files are verified when they are filled in, read-only after that, and verified once more by each process that uses them:
its folders are their owner's alone (mode 0700), but a disk outlives many programs. Several processes may share them: a
file comes into its place by a rename, one process at a time fetches a blob, and what was used in the last minutes is
not evicted (a file that is evicted while it is mapped stays readable to its reader).
"""

import fcntl
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from syntrial.artifacts.backend import ObjectInfo, Verified, blob_name, copy_hashed, storage_errors
from syntrial.errors import DataLoss, StoreFull, UserError

GRACE_SECONDS: Final = 600.0
"""What was used less than this long ago is kept, even over the limit: somebody may be about to open it."""

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class CacheBudget:
    """The bytes that one cache has, or several together; what was used longest ago goes first, in whichever it lies."""

    def __init__(self, limit: int, *, grace: float = GRACE_SECONDS) -> None:
        """`limit` is in bytes; what was used in the last `grace` seconds stays."""
        self.limit = limit
        self._grace = grace
        self._guard = threading.Lock()
        self._folders: set[Path] = set()
        self._added: int | None = None

    def join(self, folder: Path, /) -> None:
        """Counts the files of a folder too."""
        with self._guard:
            self._folders.add(folder)

    def count(self, size: int, /) -> None:
        """Takes note of a file that was added."""
        with self._guard:
            self._added = None if self._added is None else self._added + size

    def keep(self, *, limit: int | None = None) -> None:
        """Removes files until the limit, or another, holds; raises OSError.

        For its own limit, looks only after a fiftieth of it was added.
        """
        with self._guard:
            if limit is None and self._added is not None and self._added < self.limit // 50:
                return
            self._added = 0
            folders = list(self._folders)
        limit = self.limit if limit is None else limit
        entries = []
        for folder in folders:
            for entry in os.scandir(folder):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                entries.append((status.st_atime, status.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        newest = time.time() - self._grace
        for used, size, path in sorted(entries):
            if total <= limit or used > newest:
                break
            Path(path).unlink(missing_ok=True)
            total -= size


class BlobCache:
    """Blobs under `folder`, as many as the budget allows."""

    def __init__(self, folder: Path, *, budget: CacheBudget) -> None:
        self.folder = folder.expanduser().absolute()
        self._budget = budget
        self._blobs = self.folder / "sha256"
        self._tmp = self.folder / "tmp"
        self._locks = self.folder / "locks"
        self._verified = Verified()
        with storage_errors(self.folder):
            # Not the folder itself: SYNTRIAL_CACHE_DIR may name one that holds other things too.
            for part in (self._blobs, self._tmp, self._locks):
                own_folder(part)
        budget.join(self._blobs)

    def path(self, digest: str, /, *, size: int, fetch: Callable[[], Iterable[bytes]]) -> Path:
        """A file with the blob's content, fetched where it is not here; raises DataLoss where what came differs."""
        path = self._path(digest)
        with storage_errors(self.folder):
            if self._touch(path, digest, size):
                return path
            with self._locked(digest):
                if not self._touch(path, digest, size):
                    try:
                        self._fill(path, digest, size, fetch)
                    except StoreFull:
                        # The disk is fuller than the limit knows of, so everything goes that may.
                        self._keep(limit=0)
                        self._fill(path, digest, size, fetch)
        self._keep()
        return path

    def adopt(self, spool: Path, /, *, digest: str) -> None:
        """Takes a file from `spool_path` whose content is known to have this digest."""
        with storage_errors(self.folder):
            spool.chmod(0o444)
            size = spool.stat().st_size
            spool.replace(self._path(digest))
            self._budget.count(size)
        self._keep()

    def drop(self, digest: str, /) -> None:
        """Forgets a blob."""
        with storage_errors(self.folder):
            self._path(digest).unlink(missing_ok=True)

    def spool_path(self) -> Path:
        """A path of its own on the cache's file system."""
        return self._tmp / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"

    def sweep(self, *, before: float, dry_run: bool) -> list[ObjectInfo]:
        """Removes (or only lists) spool files last written before that time, in seconds since 1970."""
        stale = []
        with storage_errors(self.folder):
            for entry in os.scandir(self._tmp):
                status = entry.stat()
                if status.st_mtime < before:
                    stale.append(ObjectInfo(name=f"tmp/{entry.name}", size=status.st_size, modified=status.st_mtime))
                    if not dry_run:
                        Path(entry.path).unlink(missing_ok=True)
        return stale

    def _path(self, digest: str) -> Path:
        return self._blobs / blob_name(digest).rpartition("/")[2]

    def _touch(self, path: Path, digest: str, size: int) -> bool:
        """Whether the file is here and is what its digest says; if so, marks it as used now."""
        try:
            status = path.stat()
            if not self._verified.check(path, digest=digest, size=size):
                return False
            # Set by hand: most file systems are mounted so that reading leaves the time of access alone.
            os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
        except FileNotFoundError:
            return False
        return True

    def _fill(self, path: Path, digest: str, size: int, fetch: Callable[[], Iterable[bytes]]) -> None:
        spool = self.spool_path()
        try:
            with storage_errors(self.folder), spool.open("xb") as file:
                found, length = copy_hashed(_no_more_than(size, fetch()), file)
            if (found, length) != (digest, size):
                raise DataLoss(f"blob {digest} is damaged: {length} bytes came, whose digest is {found}")
            spool.chmod(0o444)
            spool.replace(path)
        finally:
            spool.unlink(missing_ok=True)
        self._budget.count(size)

    def _keep(self, *, limit: int | None = None) -> None:
        with storage_errors(self.folder):
            self._budget.keep(limit=limit)

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        with (self._locks / digest[:3]).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _no_more_than(size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks up to the first that goes beyond `size`: they are not what is wanted, and may have no end."""
    for chunk in chunks:
        yield chunk
        size -= len(chunk)
        if size < 0:
            return


def own_folder(folder: Path, /) -> None:
    """Makes a folder that nobody but its owner may look into; one that is there and this user's is made so.

    Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        folder.chmod(0o700)


def parse_size(text: str, /, *, setting: str) -> int:
    """Bytes in "20GiB", "500 MB" or "1000"; raises UserError naming `setting`."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise UserError(
            field=setting,
            rule="a size is a number with a unit: KiB, MiB, GiB, TiB, KB, MB, GB or TB",
            received=text,
            remedy="Write for example 20GiB.",
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])
