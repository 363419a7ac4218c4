"""Garbage collection: removes what no experiment reaches and nobody made lately.

Roots are the plans of experiments (`experiments/<uid>/plan.json`, a JSON object with "keys"). Kept are the artifacts
that they name, all that those were made from, and whatever is younger than a given age by the store's clock, with what
it was made from. Experiments themselves and the ledger of looks are never touched.

It may run beside writers: a blob that is written again becomes young again, and each blob's age is read from a listing
made after the manifests were read. A step that takes longer than the given age between its first blob and its manifest
is protected no more; keep the age above the longest step.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.artifacts.backend import ObjectInfo
from syntrial.artifacts.keys import KEY_PATTERN
from syntrial.artifacts.manifest import Blob, Manifest
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import DataLoss

DEFAULT_AGE_SECONDS: Final = 7 * 86400.0
"""Seven days: longer than a step or a pause between two runs, shorter than it takes to fill a disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What a collection kept and removed, or with `dry_run` would have removed."""

    kept: tuple[str, ...]
    """Keys of the artifacts that stay."""
    removed: tuple[str, ...]
    """Keys of the artifacts that went."""
    objects: int
    """Number of objects removed: manifests, blobs, requests, attempts, checkpoints, damaged manifests, spool files."""
    bytes: int
    """Length of the objects removed."""


def collect(store: ArtifactStore, /, *, older_than: float = DEFAULT_AGE_SECONDS, dry_run: bool = True) -> Collection:
    """Removes what no root reaches and what is older than `older_than` seconds; with `dry_run` only says what.

    Raises DataLoss where the plan of an experiment cannot be read: nothing is removed then.
    """
    backend = store.backend
    before = backend.clock() - older_than
    listed = [info for info in backend.scan("artifacts/") if info.name.endswith("/manifest.json")]
    manifests = _manifests(store, [info.name.split("/")[1] for info in listed])
    young = {info.name.split("/")[1] for info in listed if info.modified >= before}
    blobs = backend.scan("blobs/")
    # Last, so that an experiment which begins now and finds its artifacts done is most likely seen.
    kept = _reached(_roots(store) | young, manifests)
    removed = manifests.keys() - kept

    needed = {blob.digest for key in kept & manifests.keys() for m in _members(manifests[key]) for blob in m}
    doomed = [info for info in listed if info.name.split("/")[1] in removed]
    doomed += [info for info in blobs if info.name.rpartition("/")[2] not in needed and info.modified < before]
    doomed += [info for info in backend.scan("probes/") if info.modified < before]
    # A checkpoint is of no use once its step is done: a worker killed right after its commit leaves one.
    keepers = {"requests": kept, "attempts": kept, "checkpoints": kept - manifests.keys(), "damaged": frozenset[str]()}
    for kind, keys in keepers.items():
        doomed += _stale(backend.scan(f"{kind}/"), kept=keys, before=before)
    if not dry_run:
        # Manifests first: a collection that is interrupted leaves blobs that the next one finds, not broken artifacts.
        gone = [info.name for info in doomed]
        store.each(backend.delete, [name for name in gone if name.startswith("artifacts/")])
        store.each(backend.delete, [name for name in gone if not name.startswith("artifacts/")])
    doomed += backend.sweep(before=before, dry_run=dry_run)
    return Collection(
        kept=tuple(sorted(kept & manifests.keys())),
        removed=tuple(sorted(removed)),
        objects=len(doomed),
        bytes=sum(info.size for info in doomed),
    )


def _manifests(store: ArtifactStore, keys: list[str]) -> dict[str, Manifest | None]:
    """The manifests of `keys`; None for one that is damaged, whose step runs again anyway."""

    def read(key: str) -> Manifest | None:
        try:
            return store.manifest(key)
        except DataLoss:
            return None

    return dict(zip(keys, store.each(read, keys), strict=True))


def _members(manifest: Manifest | None) -> list[tuple[Blob, ...]]:
    return [] if manifest is None else [member.blobs for member in manifest.members.values()]


def _roots(store: ArtifactStore) -> set[str]:
    keys: set[str] = set()
    for uid in store.experiments():
        data = store.experiment_file(uid, "plan.json")
        if data is None:
            continue
        try:
            named = json.loads(data)["keys"]
            if not all(isinstance(key, str) and KEY_PATTERN.fullmatch(key) for key in named):
                raise ValueError("not all keys are keys")
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(
                f"the plan of experiment {uid} in {store.url} cannot be read ({error}), so nothing is removed; "
                f"remove experiments/{uid} if it is no longer wanted"
            ) from error
        keys.update(named)
    return keys


def _reached(roots: Iterable[str], manifests: Mapping[str, Manifest | None]) -> set[str]:
    reached: set[str] = set()
    frontier = set(roots)
    while frontier:
        reached |= frontier
        known = (manifests.get(key) for key in frontier)
        frontier = {key for manifest in known if manifest is not None for key in manifest.input_keys} - reached
    return reached


def _stale(infos: list[ObjectInfo], *, kept: Iterable[str], before: float) -> list[ObjectInfo]:
    """Objects of keys that are not kept, where all objects of the key are old."""
    by_key: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        by_key.setdefault(info.name.split("/")[1], []).append(info)
    keep = set(kept)
    return [
        info
        for key, group in by_key.items()
        if key not in keep and all(info.modified < before for info in group)
        for info in group
    ]
