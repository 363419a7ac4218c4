"""Garbage collection in a cluster: the experiments that count are those whose objects exist, or did lately.

What a deleted experiment reached goes with it, unless its specification says `retention: retain`. Nothing goes where
that may be a mistake: in another cluster's store, where no Experiment exists at all, or too much at a time.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from syntrial.artifacts.gc import collect
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.tombstones import forget, mark, own, take_census
from syntrial.controller.telemetry import GC_HELD, GC_REMOVED, GC_SUCCESS
from syntrial.errors import DataLoss, UserError
from syntrial.experiment.model import CONTINUES

MOST: Final = 0.2
"""The share of a store's bytes that one collection removes without being forced."""


LAST: Final = "collection.json"
"""In a store: when garbage was collected there last, and how much; for the controller's metrics alone."""

LAST_BYTES: Final = 4096

WATCH_SECONDS: Final = 3600.0
"""Between two readings of that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceCollection:
    """What a collection removed, or would have removed."""

    forgotten: tuple[str, ...]
    """UIDs of the experiments that were deleted long ago: their plans are roots no more."""
    waiting: tuple[str, ...]
    """UIDs of those that were deleted lately: what they reach is still kept."""
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    objects: int
    bytes: int
    held: int
    """Bytes that were there."""


def uids_on_record(experiments: Iterable[Mapping[str, Any]]) -> set[str]:
    """The UIDs under which the store has Experiments on record: their own, and those that restored ones go on from."""
    found = set()
    for item in experiments:
        metadata = item["metadata"]
        found |= {metadata["uid"], (metadata.get("annotations") or {}).get(CONTINUES, metadata["uid"])}
    return found


def collect_namespace(
    store: ArtifactStore,
    *,
    living: Callable[[], Set[str]],
    owner: str,
    older_than: float,
    dry_run: bool = True,
    adopt: bool = False,
    force: bool = False,
) -> NamespaceCollection:
    """Removes what only deleted experiments reach, `older_than` seconds after a collection missed them first.

    `living` gives the UIDs of the namespace's Experiment objects (`uids_on_record`), `owner` is the namespace's UID:
    a store that is another's is left alone unless it is adopted. Specification and what was registered stay on record.
    Raises UserError where no Experiment exists or more than `MOST` would go, unless forced; DataLoss where a plan
    cannot be read.
    """
    census = take_census(store, living=living)
    # An Experiment that is on record here shows that this is its store; so does an empty one.
    may_claim = bool(census.filed) or not census.roots
    own(store, owner, may_claim=may_claim, adopt=adopt, dry_run=dry_run)
    before = store.backend.clock() - older_than
    old = frozenset(uid for uid, when in census.gone.items() if when is not None and when < before)
    if not dry_run:
        mark(store, census)
        if census.gone and not census.living and not force:
            raise UserError(
                field="the namespace's Experiments",
                rule="at least one exists where a collection takes what deleted ones left, unless it is forced",
                received=f"none, and {len(census.gone)} on record in {store.url}",
                remedy="If all were deleted on purpose, run the collection once with --force.",
            )
    found = collect(store, older_than=older_than, dry_run=dry_run, without=old, most=1.0 if force else MOST)
    if not dry_run:
        forget(store, census, old)
        last = {"at": store.backend.clock(), "removedBytes": found.bytes, "heldBytes": found.held}
        store.backend.write(LAST, json.dumps(last).encode())
    return NamespaceCollection(
        forgotten=tuple(sorted(old)),
        waiting=tuple(sorted(census.gone.keys() - old)),
        kept=found.kept,
        removed=found.removed,
        objects=found.objects,
        bytes=found.bytes,
        held=found.held,
    )


class CollectionWatch:
    """Tells Prometheus of the last collection in each namespace's store, which it reads now and then."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._read_at: dict[str, float] = {}

    def look(self, namespace: str, store: ArtifactStore) -> None:
        """Reads the record where that is due; raises what the store raises."""
        now = self._clock()
        if now - self._read_at.get(namespace, float("-inf")) < WATCH_SECONDS:
            return
        self._read_at[namespace] = now
        try:
            last = json.loads(store.backend.read(LAST, limit=LAST_BYTES) or b"{}")
            at, removed, held = (float(last[name]) for name in ("at", "removedBytes", "heldBytes"))
        except (DataLoss, ValueError, TypeError, KeyError):
            # None yet, or not as it is written here: it says nothing then.
            return
        GC_SUCCESS.labels(namespace=namespace).set(at)
        GC_REMOVED.labels(namespace=namespace).set(removed)
        GC_HELD.labels(namespace=namespace).set(held)
