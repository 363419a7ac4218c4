"""A store in a folder: local disk or a network file system with hard links and atomic renames.

Each object is written to a file of `tmp/` and then renamed (replace) or linked (create only if absent) to its name, so
a process killed at any point leaves at most a file in `tmp/`, which garbage collection sweeps. Small objects are on
disk before they have their name. Blobs are not waited for: one that a power cut truncates differs from its digest, so
its artifact is made again, and a plan of many small steps runs several times faster.
"""

import errno
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from syntrial.artifacts.backend import (
    ObjectInfo,
    Verified,
    blob_name,
    check_count,
    check_name,
    check_size,
    storage_errors,
)
from syntrial.errors import DataLoss, StoreRefused

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

_FOLDER_ATTEMPTS = 20
"""How often a folder that somebody else removes as empty is made again before a file is put into it."""


class DirectoryBackend:
    """The files under a folder. Blobs are handed out as they lie, read-only, once verified in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self._tmp = self.root / "tmp"
        self._verified = Verified()
        with storage_errors(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise StoreRefused(
                    field="store",
                    rule="a store is a folder",
                    received=str(self.root),
                    remedy="Name another place with --store.",
                )
            self._tmp.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The folder's file:// address."""
        return self.root.as_uri()

    @property
    def parallel(self) -> int:
        """One: small reads from a local disk gain nothing from threads."""
        return 1

    def read(self, name: str, /, *, limit: int | None = None) -> bytes | None:
        """See `Backend.read`."""
        path = self._path(name)
        with storage_errors(self.root):
            try:
                if limit is not None:
                    check_size(name, path.stat().st_size, limit=limit)
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write(self, name: str, data: bytes, /) -> None:
        """See `Backend.write`."""
        with storage_errors(self.root), self._spooled(data) as spool:
            path = self._path(name)
            _into_folder(path, lambda: spool.replace(path))

    def create(self, name: str, data: bytes, /) -> bool:
        """See `Backend.create`; a hard link is made only where nothing has the name."""
        path = self._path(name)
        with storage_errors(self.root):
            if path.exists():
                return False
            with self._spooled(data) as spool:
                try:
                    _into_folder(path, lambda: os.link(spool, path))
                    _sync(path.parent)
                except FileExistsError:
                    # Over NFS a repeated request can say so of the link that the first one made.
                    return spool.stat().st_nlink == 2
                except OSError as error:
                    if error.errno in _NO_LINKS and os.access(path.parent, os.W_OK):
                        raise StoreRefused(
                            field="store",
                            rule="the file system must have hard links",
                            received=str(self.root),
                            remedy="Name a store on another file system with --store.",
                        ) from error
                    raise
            return True

    def scan(self, prefix: str, /, *, limit: int | None = None) -> list[ObjectInfo]:
        """See `Backend.scan`."""
        found = []
        with storage_errors(self.root):
            # A folder that cannot be read is no empty one: collection would take what is in it for gone.
            for folder, _, files in os.walk(self.root / prefix, onerror=_unless_gone):
                for file in files:
                    path = Path(folder, file)
                    try:
                        status = path.stat()
                    except FileNotFoundError:
                        continue
                    name = path.relative_to(self.root).as_posix()
                    found.append(ObjectInfo(name=name, size=status.st_size, modified=status.st_mtime))
        return check_count(prefix, sorted(found, key=lambda info: info.name), limit=limit)

    def delete(self, name: str, /) -> None:
        """See `Backend.delete`; folders that become empty go too."""
        path = self._path(name)
        with storage_errors(self.root):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if self.root in {folder, folder.parent}:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break

    def delete_old(self, name: str, /, *, before: float) -> bool:
        """See `Backend.delete_old`."""
        with storage_errors(self.root):
            try:
                if self._path(name).stat().st_mtime >= before:
                    return False
            except (FileNotFoundError, NotADirectoryError):
                return False
        self.delete(name)
        return True

    def clock(self) -> float:
        """The time that the file system gives to a file written now: on a network one, its server's."""
        with storage_errors(self.root), self._spooled(b"") as spool:
            return spool.stat().st_mtime

    def spool_path(self) -> Path:
        """See `Backend.spool_path`; on the store's own file system, so that a rename suffices."""
        return self._tmp / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"

    def put_blob(self, spool: Path, /, *, digest: str) -> None:
        """See `Backend.put_blob`."""
        name = blob_name(digest)
        with storage_errors(self.root):
            spool.chmod(spool.stat().st_mode & 0o444)
            path = self._path(name)
            _into_folder(path, lambda: spool.replace(path))

    def renew(self, digest: str, /, *, size: int) -> bool:
        """See `Backend.renew`."""
        path = self._path(blob_name(digest))
        try:
            if path.stat().st_size != size:
                return False
            os.utime(path)
        except OSError:
            return False
        return True

    def blob_path(self, digest: str, /, *, size: int, fresh: bool = False) -> Path:
        """See `Backend.blob_path`; a file is hashed once a process, and again if it was changed since."""
        path = self._path(blob_name(digest))
        with storage_errors(self.root):
            try:
                sound = self._verified.check(path, digest=digest, size=size, fresh=fresh)
            except FileNotFoundError:
                raise DataLoss(f"blob {digest} is missing: there is no file {path}") from None
        if not sound:
            raise DataLoss(f"blob {digest} is damaged: {path} differs from its digest")
        return path

    def sweep(self, *, before: float, dry_run: bool) -> list[ObjectInfo]:
        """See `Backend.sweep`."""
        stale = [info for info in self.scan("tmp/") if info.modified < before]
        if not dry_run:
            for info in stale:
                (self.root / info.name).unlink(missing_ok=True)
        return stale

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    @contextmanager
    def _spooled(self, data: bytes) -> Iterator[Path]:
        spool = self.spool_path()
        try:
            with spool.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield spool
        finally:
            spool.unlink(missing_ok=True)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _into_folder(path: Path, put: Callable[[], object]) -> None:
    """Makes the folder of `path` and calls `put`, which makes a file there."""
    for attempt in range(_FOLDER_ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            put()
            return
        except FileNotFoundError:
            # `delete` of a neighbour removed the folder as empty in between.
            if attempt == _FOLDER_ATTEMPTS - 1:
                raise


def _sync(folder: Path) -> None:
    # A new name survives a power cut only once its folder is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
