"""A tenant's store as one look sees it: for so long, and for so much.

The controller's memory and threads are all tenants'. What lies in a store is written by pods and by whoever has its
key: a manifest may be a gigabyte, or a few megabytes of brackets that take a gigabyte once they are read as JSON.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from syntrial.artifacts.backend import Backend, ObjectInfo
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.errors import DataLoss

LOOK_BYTES: Final = 24 << 20
LOOK_VALUES: Final = 800_000
"""What a look reads from a store, in bytes and in values of JSON, beyond the usual for each object: enough for the
largest plan with its registrations or for its report, and at most some 100 MB of memory."""
USUAL_BYTES: Final = 16 << 10
USUAL_VALUES: Final = 600
"""What each object may have beside that: a manifest has 4 KiB and 100 values."""
OBJECTS_LISTED: Final = 10_000
"""Names of one listing, such as the attempts at a step."""


class LookFailed(Exception):
    """A look that cannot go on; says why, for the user. It is tried again later, ever more rarely."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """One word, for programs."""


class LookOverdue(LookFailed):
    """A look that took longer than it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "LookOverdue",
            f"a look at this experiment took more than {seconds:g} s, most likely because its store answers slowly",
        )


class Allowance:
    """What one look may still take; safe from several threads."""

    def __init__(self, *, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = clock() + seconds
        self._lock = threading.Lock()
        self._bytes, self._values = LOOK_BYTES, LOOK_VALUES

    def check_time(self) -> None:
        """Raises LookOverdue where the look has lasted too long."""
        if self._clock() >= self._until:
            raise LookOverdue(self._seconds)

    def take(self, name: str, data: bytes) -> None:
        """Accounts for an object that was read; raises LookFailed where that is more than a look may read."""
        values = 1 + data.count(b",") + data.count(b"[") + data.count(b"{")
        with self._lock:
            self._bytes -= max(0, len(data) - USUAL_BYTES)
            self._values -= max(0, values - USUAL_VALUES)
            is_spent = self._bytes < 0 or self._values < 0
        if is_spent:
            raise LookFailed(
                "StoreTooLarge",
                f"what the store holds of this experiment is larger than any trial's: {name} has {len(data)} bytes "
                f"and {values} values. Look into who writes to the store",
            )


class _BoundedBackend:
    """A backend each of whose calls keeps to an allowance."""

    def __init__(self, inside: Backend, allowance: Allowance) -> None:
        self._inside = inside
        self._allowance = allowance

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if not callable(found):
            return found
        self._allowance.check_time()
        return found

    def read(self, name: str, /, *, limit: int | None = None) -> bytes | None:
        self._allowance.check_time()
        data = self._inside.read(name, limit=RECORD_BYTES if limit is None else min(limit, RECORD_BYTES))
        if data is not None:
            self._allowance.take(name, data)
        return data

    def scan(self, prefix: str, /, *, limit: int | None = None) -> list[ObjectInfo]:
        self._allowance.check_time()
        return self._inside.scan(prefix, limit=OBJECTS_LISTED if limit is None else min(limit, OBJECTS_LISTED))

    def blob_path(self, digest: str, /, *, size: int, fresh: bool = False) -> Path:
        self._allowance.check_time()
        if size > RECORD_BYTES:
            raise DataLoss(f"blob {digest} has {size} bytes, where the controller reads documents alone")
        path = self._inside.blob_path(digest, size=size, fresh=fresh)
        self._allowance.take(f"blob {digest}", path.read_bytes())
        return path


def bounded(store: ArtifactStore, allowance: Allowance) -> ArtifactStore:
    """The store as one look sees it."""
    return store.through(cast(Backend, _BoundedBackend(store.backend, allowance)))
