"""Garbage collection: removes what no experiment reaches and nobody made lately.

Roots are the plans of experiments (`experiments/<uid>/plan.json`, a JSON object with "keys", "given" and "sources"),
and beside them the digests that an ingest noted and the keys of what one of their classifiers was shown. Kept are the
artifacts that they name, all that those were made from, the uploads that they name, and whatever is younger than a
given age by the store's clock, with what it was made from. Experiments themselves and the ledger of looks are never
touched;
`tombstones.py` takes the roots of experiments that were deleted.

It may run beside writers: a blob that is written again becomes young again, and the age of each object is read once
more before it goes. Whatever a root reaches is read by its own name: a listing with gaps keeps too much, never too
little. A step or an upload that takes longer than the given age between its first blob and its manifest or record is
protected no more; keep the age above the longest.
"""

import json
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from syntrial.artifacts.backend import ObjectInfo, is_name
from syntrial.artifacts.keys import KEY_PATTERN
from syntrial.artifacts.manifest import Blob, Manifest
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.artifacts.uploads import UploadedFile, parse_upload, record_name
from syntrial.errors import DataLoss, UserError

DEFAULT_AGE_SECONDS: Final = 7 * 86400.0
"""Seven days: longer than a step or a pause between two runs, shorter than it takes to fill a disk."""

PLAN: Final = "plan.json"
"""An experiment's file with the keys of its steps."""

ROOT: Final = re.compile(r"experiments/[A-Za-z0-9][A-Za-z0-9._-]*/(plan|(source|shown)-[A-Za-z0-9._-]*)\.json")
"""Names of the objects that are roots."""

_MANIFEST = re.compile(rf"artifacts/{KEY_PATTERN.pattern}/manifest\.json")
_KINDS = ("artifacts", "uploads", "probes", "ingests", "requests", "attempts", "checkpoints", "damaged")
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
    held: int
    """Length of the objects that were there, but for those of experiments and the ledger."""


def collect(
    store: ArtifactStore,
    /,
    *,
    older_than: float = DEFAULT_AGE_SECONDS,
    dry_run: bool = True,
    without: Container[str] = (),
    most: float = 1.0,
) -> Collection:
    """Removes what no root reaches and what is older than `older_than` seconds; with `dry_run` only says what.

    The plans of experiments in `without` (UIDs) are no roots. Raises DataLoss where the plan of an experiment cannot be
    read, and UserError where more than the share `most` of the store's bytes would go: nothing is removed then.
    """
    backend = store.backend
    before = backend.clock() - older_than
    places = {kind: _listed(store, f"{kind}/") for kind in _KINDS}
    listed = [info for info in places["artifacts"] if _MANIFEST.fullmatch(info.name)]
    manifests = _manifests(store, [info.name.split("/")[1] for info in listed])
    young = {info.name.split("/")[1] for info in listed if info.modified >= before}
    records = places["uploads"]
    uploads = _uploads(store, [info.name for info in records])
    blobs = _listed(store, "blobs/")
    # Last, so that an experiment which begins now and finds its artifacts done is most likely seen.
    roots = _roots(store, without=without)
    kept = _reached(roots.keys | young, manifests, store=store)
    removed = manifests.keys() - kept
    kept_uploads = {info.name for info in records if info.modified >= before or _digest_of(info.name) in roots.sources}
    # What a root names is read by its name where no listing has it.
    unlisted = sorted({name for digest in roots.sources if (name := record_name(digest))} - uploads.keys())
    uploads |= _uploads(store, unlisted)
    kept_uploads |= set(unlisted)

    needed = {blob.digest for key in kept & manifests.keys() for m in _members(manifests[key]) for blob in m}
    needed |= {file.sha256 for name in kept_uploads for file in uploads[name]}
    doomed = [info for info in listed if info.name.split("/")[1] in removed]
    doomed += [info for info in records if info.name not in kept_uploads]
    doomed += [info for info in blobs if info.name.rpartition("/")[2] not in needed and info.modified < before]
    for kind in ("probes", "ingests"):
        doomed += [info for info in places[kind] if info.modified < before]
    # A checkpoint is of no use once its step is done: a worker killed right after its commit leaves one.
    keepers = {"requests": kept, "attempts": kept, "checkpoints": kept - manifests.keys(), "damaged": frozenset[str]()}
    for kind, keys in keepers.items():
        doomed += _stale(places[kind], kept=keys, before=before)
    held = sum(info.size for infos in (*places.values(), blobs) for info in infos)
    going = sum(info.size for info in doomed)
    if not dry_run:
        _check_share(going, held, most=most, url=store.url)
        # What names blobs first: a collection that is interrupted leaves blobs that the next one finds, and nothing
        # broken. Each is looked at once more: whoever has written it again since the listing counts on it.
        naming = [info for info in doomed if info.name.startswith(_NAMING)]
        others = [info for info in doomed if not info.name.startswith(_NAMING)]
        doomed = []
        for infos in (naming, others):
            went = store.each(lambda info: backend.delete_old(info.name, before=before), infos)
            doomed += [info for info, is_gone in zip(infos, went, strict=True) if is_gone]
    doomed += backend.sweep(before=before, dry_run=dry_run)
    return Collection(
        kept=tuple(sorted(kept & manifests.keys())),
        removed=tuple(sorted(removed)),
        objects=len(doomed),
        bytes=sum(info.size for info in doomed),
        held=held,
    )


def _check_share(going: int, held: int, *, most: float, url: str) -> None:
    if going > most * held:
        raise UserError(
            field=f"the collection of {url}",
            rule=f"removes at most {most:.0%} of the bytes at a time, unless it is forced",
            received=f"{going / 2**20:.1f} of {held / 2**20:.1f} MiB",
            remedy="See what would go with --dry-run, then give --force.",
        )


def _listed(store: ArtifactStore, prefix: str) -> list[ObjectInfo]:
    """The objects of a kind; those whose names no store gives are somebody else's, and left alone."""
    return [info for info in store.backend.scan(prefix) if is_name(info.name)]


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


def _roots(store: ArtifactStore, *, without: Container[str]) -> _Roots:
    names = [info.name for info in store.backend.scan("experiments/") if ROOT.fullmatch(info.name)]
    named = store.each(lambda name: _named(store, name), [name for name in names if name.split("/")[1] not in without])
    return _Roots(
        keys={key for keys, _ in named for key in keys}, sources={digest for _, sources in named for digest in sources}
    )


def _named(store: ArtifactStore, root: str) -> tuple[list[str], list[str]]:
    """Keys and digests of sources that a root names."""
    uid, file = root.split("/")[1:]
    try:
        data = store.backend.read(root, limit=RECORD_BYTES)
        if data is None:
            return [], []
        tree = json.loads(data)
        is_source = file.startswith("source-")
        # What a plan's steps are given was made by no step of it, and is lost to those that have not run yet.
        keys = [] if is_source else [*tree["keys"], *tree.get("given", [])]
        sources = [tree["digest"]] if is_source else tree.get("sources", [])
        if not all(isinstance(key, str) and KEY_PATTERN.fullmatch(key) for key in keys):
            raise ValueError("not all keys are keys")
        if not all(isinstance(digest, str) for digest in sources):
            raise ValueError("not all sources are digests")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DataLoss) as error:
        raise DataLoss(
            f"{file} of experiment {uid} in {store.url} cannot be read ({error}), so nothing is removed; "
            f"remove experiments/{uid} if it is no longer wanted"
        ) from error
    return keys, sources


def _uploads(store: ArtifactStore, records: list[str]) -> dict[str, tuple[UploadedFile, ...]]:
    """The files of each upload by the name of its record; none for one that is damaged or just went."""

    def read(name: str) -> tuple[UploadedFile, ...]:
        try:
            data = store.backend.read(name, limit=RECORD_BYTES)
            return () if data is None else parse_upload(data, digest=_digest_of(name)).files
        except DataLoss:
            return ()

    return dict(zip(records, store.each(read, records), strict=True))


def _digest_of(record: str) -> str:
    """The digest that the name of an upload's record stands for."""
    return record.removeprefix("uploads/").replace("/", ":", 1)


def _reached(roots: Iterable[str], manifests: dict[str, Manifest | None], *, store: ArtifactStore) -> set[str]:
    """The roots and all keys that they were made from; what no listing had is added to `manifests`."""
    reached: set[str] = set()
    frontier = set(roots)
    while frontier:
        reached |= frontier
        unlisted = _manifests(store, sorted(frontier - manifests.keys()))
        manifests.update({key: manifest for key, manifest in unlisted.items() if manifest is not None})
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
