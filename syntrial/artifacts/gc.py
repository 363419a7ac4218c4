"""Garbage collection: removes what no experiment reaches and nobody made lately.

Roots are the plans of experiments (`experiments/<uid>/plan.json`, a JSON object with "keys" and "sources") and the
digests that an ingest noted beside them. Kept are the artifacts that they name, all that those were made from, the
uploads that they name, and whatever is younger than a given age by the store's clock, with what it was made from.
Experiments themselves and the ledger of looks are never touched; `drop_roots` takes the roots of experiments that were
deleted.

It may run beside writers: a blob that is written again becomes young again, and each blob's age is read from a listing
made after the manifests were read. A step or an upload that takes longer than the given age between its first blob and
its manifest or record is protected no more; keep the age above the longest.
"""

import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from syntrial.artifacts.backend import ObjectInfo
from syntrial.artifacts.keys import KEY_PATTERN
from syntrial.artifacts.manifest import Blob, Manifest
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import UploadedFile, parse_upload
from syntrial.errors import DataLoss

DEFAULT_AGE_SECONDS: Final = 7 * 86400.0
"""Seven days: longer than a step or a pause between two runs, shorter than it takes to fill a disk."""

PLAN: Final = "plan.json"
"""An experiment's file with the keys of its steps."""

_ROOT = re.compile(r"experiments/[^/]+/(plan|source-[^/]*)\.json")
_NAMING = ("artifacts/", "uploads/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What a collection kept and removed, or with `dry_run` would have removed."""

    kept: tuple[str, ...]
    """Keys of the artifacts that stay."""
    removed: tuple[str, ...]
    """Keys of the artifacts that went."""
    objects: int
    """Number of objects removed: manifests, uploads, blobs, requests, attempts, checkpoints, damaged manifests, files
    and parts that dead writers left."""
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
    records = backend.scan("uploads/")
    uploads = _uploads(store, records)
    blobs = backend.scan("blobs/")
    # Last, so that an experiment which begins now and finds its artifacts done is most likely seen.
    roots = _roots(store)
    kept = _reached(roots.keys | young, manifests)
    removed = manifests.keys() - kept
    kept_uploads = {info.name for info in records if info.modified >= before or _digest_of(info.name) in roots.sources}

    needed = {blob.digest for key in kept & manifests.keys() for m in _members(manifests[key]) for blob in m}
    needed |= {file.sha256 for name in kept_uploads for file in uploads[name]}
    doomed = [info for info in listed if info.name.split("/")[1] in removed]
    doomed += [info for info in records if info.name not in kept_uploads]
    doomed += [info for info in blobs if info.name.rpartition("/")[2] not in needed and info.modified < before]
    for kind in ("probes", "ingests"):
        doomed += [info for info in backend.scan(f"{kind}/") if info.modified < before]
    # A checkpoint is of no use once its step is done: a worker killed right after its commit leaves one.
    keepers = {"requests": kept, "attempts": kept, "checkpoints": kept - manifests.keys(), "damaged": frozenset[str]()}
    for kind, keys in keepers.items():
        doomed += _stale(backend.scan(f"{kind}/"), kept=keys, before=before)
    if not dry_run:
        # What names blobs first: a collection that is interrupted leaves blobs that the next one finds, and nothing
        # broken.
        gone = [info.name for info in doomed]
        store.each(backend.delete, [name for name in gone if name.startswith(_NAMING)])
        store.each(backend.delete, [name for name in gone if not name.startswith(_NAMING)])
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Roots:
    keys: set[str]
    sources: set[str]
    """Digests of sources."""


def _roots(store: ArtifactStore) -> _Roots:
    roots = _Roots(keys=set(), sources=set())
    names = [info.name for info in store.backend.scan("experiments/") if _ROOT.fullmatch(info.name)]
    for name, data in zip(names, store.each(store.backend.read, names), strict=True):
        if data is None:
            continue
        uid, file = name.split("/")[1:]
        try:
            tree = json.loads(data)
            keys = tree["keys"] if file == PLAN else []
            sources = tree.get("sources", []) if file == PLAN else [tree["digest"]]
            if not all(isinstance(key, str) and KEY_PATTERN.fullmatch(key) for key in keys):
                raise ValueError("not all keys are keys")
            if not all(isinstance(digest, str) for digest in sources):
                raise ValueError("not all sources are digests")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataLoss(
                f"{file} of experiment {uid} in {store.url} cannot be read ({error}), so nothing is removed; "
                f"remove experiments/{uid} if it is no longer wanted"
            ) from error
        roots.keys.update(keys)
        roots.sources.update(sources)
    return roots


def drop_roots(
    store: ArtifactStore, /, *, living: Callable[[], Container[str]], dry_run: bool = False
) -> tuple[str, ...]:
    """Takes the roots of a cluster's experiments that were deleted, so that `collect` may take what they reached.

    `living` gives the uids of the Experiments that exist; it is asked after the store's were listed, so that one which
    begins meanwhile is among them. Left alone are also experiments of a laptop (filed under their names) and those that
    ask for `retention: retain`. Specification and pre-registration stay: they are the record of what was asked. Returns
    the uids.
    """
    found: dict[str, list[str]] = {}
    for info in store.backend.scan("experiments/"):
        if _ROOT.fullmatch(info.name):
            found.setdefault(info.name.split("/")[1], []).append(info.name)
    there = living()
    dropped = [uid for uid in sorted(found) if uid not in there and not _is_retained(store, uid)]
    if not dry_run:
        store.each(store.backend.delete, [name for uid in dropped for name in found[uid]])
    return tuple(dropped)


def _is_retained(store: ArtifactStore, uid: str) -> bool:
    """Whether an experiment asks that its artifacts stay, or is a laptop's, which is filed under its own name.

    One whose specification cannot be read stays.
    """
    data = store.experiment_file(uid, "experiment.yaml")
    if data is None:
        # Its sources came in, but it was never planned: only a cluster does that.
        return False
    try:
        tree = yaml.safe_load(data)
        return bool(tree["metadata"]["name"] == uid or tree["spec"].get("retention", "collect") != "collect")
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return True


def _uploads(store: ArtifactStore, records: list[ObjectInfo]) -> dict[str, tuple[UploadedFile, ...]]:
    """The files of each upload by the name of its record; none for one that is damaged or just went."""

    def read(info: ObjectInfo) -> tuple[UploadedFile, ...]:
        data = store.backend.read(info.name)
        try:
            return () if data is None else parse_upload(data, digest=_digest_of(info.name)).files
        except DataLoss:
            return ()

    return dict(zip((info.name for info in records), store.each(read, records), strict=True))


def _digest_of(record: str) -> str:
    """The digest that the name of an upload's record stands for."""
    return record.removeprefix("uploads/").replace("/", ":", 1)


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
