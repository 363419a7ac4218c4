"""The artifact store of each namespace: opened with the Secret that the namespace's pods use, and looked at with care.

A store that does not answer is left alone for a few seconds, whoever asks: an outage must not hold every thread for the
time limits of a connection.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from syntrial.artifacts.cache import CacheBudget
from syntrial.artifacts.connections import RequestLimits
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.cluster.store_secret import settings_of
from syntrial.controller.bounds import Allowance, bounded
from syntrial.controller.metered import metered_backend
from syntrial.controller.telemetry import STORE_ERRORS
from syntrial.errors import (
    ClusterRefused,
    ClusterUnavailable,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    UserError,
)

QUIET_SECONDS: Final = 5.0
"""How long a store that did not answer is not asked again."""

SECRET_SECONDS: Final = 60.0
"""How long a Secret that was read counts as what it is."""

REQUEST_LIMITS: Final = RequestLimits(
    connect_seconds=3.0, read_seconds=10.0, total_seconds=20.0, attempts=2, answer_bytes=RECORD_BYTES
)
"""Of requests to a tenant's store: with both attempts, less than a look may take."""


class StoreUnreachable(Exception):
    """The namespace's store cannot be used now; says why, for the user."""


class Secrets(Protocol):
    """What is asked of the cluster."""

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        """The entries of a Secret; raises UserError where there is none."""
        ...


@dataclass(kw_only=True, slots=True)
class _Entry:
    secret: Mapping[str, str]
    read_at: float
    store: ArtifactStore | None
    error: str = ""
    quiet_until: float = 0.0


class Stores:
    """The stores by namespace; safe from several threads."""

    def __init__(
        self,
        cluster: Secrets,
        *,
        secret: str,
        open_store: Callable[[Mapping[str, str], str], ArtifactStore],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_store` opens the store that a Secret's entries describe, for a namespace."""
        self._cluster = cluster
        self._secret = secret
        self._open = open_store
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def use(self, namespace: str, allowance: Allowance) -> Iterator[ArtifactStore]:
        """The namespace's store, as far as `allowance` goes.

        Raises StoreUnreachable where it cannot be opened or stops answering in the block, and LookFailed where the
        block takes more than it may.
        """
        allowance.check_time()
        with self._lock_of(namespace):
            entry = self._entry(namespace)
        if entry.store is None:
            raise StoreUnreachable(entry.error)
        try:
            yield bounded(entry.store, allowance)
        except (StoreUnavailable, StoreFull) as error:
            with self._lock_of(namespace):
                self._fail(entry, error)
            raise StoreUnreachable(entry.error) from error
        except StoreRefused as error:
            # Credentials that were taken back, a bucket that was removed: the Secret may be another one by now.
            with self._lock_of(namespace):
                self._fail(entry, error)
                entry.read_at = float("-inf")
            raise StoreUnreachable(entry.error) from error

    def _entry(self, namespace: str) -> _Entry:
        now = self._clock()
        entry = self._entries.get(namespace)
        if entry is not None and now < entry.quiet_until:
            return _Entry(secret={}, read_at=now, store=None, error=entry.error)
        if entry is not None and entry.store is not None and now - entry.read_at < SECRET_SECONDS:
            return entry
        try:
            secret = self._cluster.read_secret(namespace, self._secret)
        except ClusterUnavailable as error:
            # The API server is away: what was known of the Secret goes on.
            if entry is not None and entry.store is not None:
                return entry
            return self._closed(namespace, {}, error)
        except UserError as error:
            return self._closed(namespace, {}, error)
        if entry is not None and entry.store is not None and entry.secret == secret:
            entry.read_at = now
            return entry
        try:
            store = self._open(secret, namespace)
        except (UserError, StoreUnavailable, StoreFull) as error:
            return self._closed(namespace, secret, error)
        entry = self._entries[namespace] = _Entry(secret=secret, read_at=now, store=store)
        return entry

    def _closed(self, namespace: str, secret: Mapping[str, str], error: Exception) -> _Entry:
        entry = self._entries[namespace] = _Entry(secret=secret, read_at=self._clock(), store=None)
        self._fail(entry, error)
        return entry

    def _fail(self, entry: _Entry, error: Exception) -> None:
        STORE_ERRORS.inc()
        entry.error = error.message if isinstance(error, ClusterRefused) else str(error)
        entry.quiet_until = self._clock() + QUIET_SECONDS

    def _lock_of(self, namespace: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(namespace, threading.Lock())


def open_from_secret(
    secret: Mapping[str, str],
    namespace: str,
    *,
    environment: Mapping[str, str],
    cache_folder: str,
    budget: CacheBudget | None = None,
) -> ArtifactStore:
    """The store that a namespace's Secret describes; raises StoreRefused for an entry that is missing or wrong.

    Of the Secret, which is its namespace's, no entry counts but those of `store_secret`. The local cache is the
    namespace's own: nothing is shared between tenants but the disk, of which all together have `budget`.
    """
    from syntrial.artifacts.s3 import open_s3  # the client is imported only by those who use it

    address = secret.get("SYNTRIAL_STORE", "")
    parts = urlsplit(address)
    if parts.scheme != "s3":
        raise StoreRefused(
            field=f"SYNTRIAL_STORE in the store's Secret of namespace {namespace}",
            rule="is s3://bucket/prefix",
            received=address or "nothing",
            remedy="Set it, and the other entries that docs/kubernetes.md lists.",
        )
    settings = {**environment, **settings_of(secret)}
    if cache_folder:
        settings["SYNTRIAL_CACHE_DIR"] = f"{cache_folder}/{namespace}"
    backend = open_s3(
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        environment=settings,
        limits=REQUEST_LIMITS,
        budget=budget,
    )
    return ArtifactStore(metered_backend(backend))
