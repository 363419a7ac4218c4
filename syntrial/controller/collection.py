"""Garbage collection in a cluster: the experiments that count are those whose objects exist.

What a deleted experiment reached goes with it, unless its specification says `retention: retain`.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass

import yaml

from syntrial.artifacts.gc import Collection, collect
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
    experiment which begins meanwhile is among them. The plan of a deleted experiment is removed, which
    makes it a root no more; its specification and what it registered stay on record. Raises DataLoss where a plan
    cannot be read.
    """
    filed = store.experiments()
    there = living()
    gone = [uid for uid in filed if uid not in there and not _is_retained(store, uid)]
    forgotten = tuple(uid for uid in gone if store.experiment_file(uid, "plan.json") is not None)
    if not dry_run:
        for uid in forgotten:
            store.backend.delete(f"experiments/{uid}/plan.json")
    found: Collection = collect(store, older_than=older_than, dry_run=dry_run)
    return NamespaceCollection(
        forgotten=forgotten, kept=found.kept, removed=found.removed, objects=found.objects, bytes=found.bytes
    )


def _is_retained(store: ArtifactStore, uid: str) -> bool:
    """Whether an experiment asked to be kept after its object is gone; in doubt it is."""
    data = store.experiment_file(uid, "experiment.yaml")
    if data is None:
        return False
    try:
        spec = yaml.safe_load(data)["spec"]
        return bool(spec.get("retention", "collect") == "retain")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return True
