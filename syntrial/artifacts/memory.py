"""A store in this process's memory: for tests and dry runs; it ends with its last reference."""

import os
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from pathlib import Path

from syntrial.artifacts.backend import ObjectInfo, blob_name, check_count, check_name, check_size, hash_file
from syntrial.errors import DataLoss


class MemoryBackend:
    """Small objects in a dict; blobs as files of a temporary folder, so that they can be memory-mapped."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="syntrial-memory-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Always "memory://"."""
        return "memory://"

    @property
    def parallel(self) -> int:
        """One: a dict gains nothing from threads."""
        return 1

    def read(self, name: str, /, *, limit: int | None = None) -> bytes | None:
        """See `Backend.read`."""
        if name.startswith("blobs/"):
            path = self._blob(name)
            return path.read_bytes() if path.exists() else None
        with self._lock:
            entry = self._objects.get(check_name(name))
        if entry is None:
            return None
        check_size(name, len(entry[0]), limit=limit)
        return entry[0]

    def write(self, name: str, data: bytes, /) -> None:
        """See `Backend.write`."""
        with self._lock:
            self._objects[check_name(name)] = (bytes(data), self.clock())

    def create(self, name: str, data: bytes, /) -> bool:
        """See `Backend.create`."""
        with self._lock:
            if check_name(name) in self._objects:
                return False
            self.write(name, data)
            return True

    def scan(self, prefix: str, /, *, limit: int | None = None) -> list[ObjectInfo]:
        """See `Backend.scan`."""
        with self._lock:
            found = [
                ObjectInfo(name=name, size=len(data), modified=modified)
                for name, (data, modified) in self._objects.items()
                if name.startswith(prefix)
            ]
            for path in self._folder.iterdir():
                name = f"blobs/sha256/{path.name}"
                if not path.name.startswith("spool-") and name.startswith(prefix):
                    status = path.stat()
                    found.append(ObjectInfo(name=name, size=status.st_size, modified=status.st_mtime))
        return check_count(prefix, sorted(found, key=lambda info: info.name), limit=limit)

    def delete(self, name: str, /) -> None:
        """See `Backend.delete`."""
        with self._lock:
            if name.startswith("blobs/"):
                self._blob(name).unlink(missing_ok=True)
            self._objects.pop(name, None)

    def delete_old(self, name: str, /, *, before: float) -> bool:
        """See `Backend.delete_old`; here in one."""
        with self._lock:
            if name.startswith("blobs/"):
                path = self._blob(name)
                is_old = path.exists() and path.stat().st_mtime < before
            else:
                is_old = name in self._objects and self._objects[name][1] < before
            if is_old:
                self.delete(name)
        return is_old

    def clock(self) -> float:
        """This machine's clock."""
        return time.time()

    def spool_path(self) -> Path:
        """See `Backend.spool_path`."""
        return self._folder / f"spool-{uuid.uuid4().hex}"

    def put_blob(self, spool: Path, /, *, digest: str) -> None:
        """See `Backend.put_blob`."""
        with self._lock:
            spool.replace(self._blob(blob_name(digest)))

    def renew(self, digest: str, /, *, size: int) -> bool:
        """See `Backend.renew`."""
        path = self._blob(blob_name(digest))
        with self._lock:
            if not path.exists() or path.stat().st_size != size:
                return False
            os.utime(path)
        return True

    def blob_path(self, digest: str, /, *, size: int, fresh: bool = False) -> Path:  # noqa: ARG002
        """See `Backend.blob_path`; hashes each time."""
        path = self._blob(blob_name(digest))
        if not path.exists():
            raise DataLoss(f"blob {digest} is missing from {self.url}")
        if hash_file(path) != (digest, size):
            raise DataLoss(f"blob {digest} in {self.url} is damaged: its content differs from its digest")
        return path

    def sweep(self, *, before: float, dry_run: bool) -> list[ObjectInfo]:  # noqa: ARG002
        """Nothing: spool files end with the process."""
        return []

    def _blob(self, name: str) -> Path:
        return self._folder / name.rpartition("/")[2]
