"""Garbage collection in a cluster: the experiments that count are those whose objects exist.

What a deleted experiment reached goes with it, unless its specification says `retention: retain`.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass

from syntrial.artifacts.gc import collect, drop_roots
from syntrial.artifacts.store import ArtifactStore


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceCollection:
    """What a collection removed, or would have removed."""

    forgotten: tuple[str, ...]
    """UIDs of the deleted experiments whose plans are roots no more."""
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    objects: int
    bytes: int


def collect_namespace(
    store: ArtifactStore, *, living: Callable[[], Set[str]], older_than: float, dry_run: bool = True
) -> NamespaceCollection:
    """Removes what only deleted experiments reach and what is older than `older_than` seconds.

    `living` gives the UIDs of the namespace's Experiment objects; it is asked after the store's were listed, so that an
    experiment which begins meanwhile is among them. A deleted experiment is a root no more; its specification and what
    it registered stay on record. Raises DataLoss where a plan cannot be read.
    """
    forgotten = drop_roots(store, living=living, dry_run=dry_run)
    found = collect(store, older_than=older_than, dry_run=dry_run)
    return NamespaceCollection(
        forgotten=forgotten, kept=found.kept, removed=found.removed, objects=found.objects, bytes=found.bytes
    )
