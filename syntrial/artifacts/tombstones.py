"""Experiments of a cluster that are gone: noticed, noted beside what they filed, and forgotten only long after.

An Experiment object may be gone by mistake (a definition that was removed, a cluster that was made anew, somebody's
slip), and with it go results that took weeks. So the first collection that misses it writes a tombstone,

    experiments/<uid>/gone-since.json        its time is the store's own

and its plan is a root until the tombstone is old. One that is there again loses its tombstone.

    owner.json                               which cluster's namespace the store is collected for

Another one does not collect it: to that one every experiment here is gone.
"""

import json
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import yaml

from syntrial.artifacts.gc import PLAN, ROOT
from syntrial.artifacts.keys import canonical_json
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.errors import DataLoss, StoreUnavailable, UserError

TOMBSTONE: Final = "gone-since.json"
OWNER: Final = "owner.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """The experiments of a store whose plans or sources are roots, beside those that a cluster has."""

    living: frozenset[str]
    """UIDs of the cluster's Experiments, in this store or not."""
    filed: frozenset[str]
    """UIDs of the living that are on record here."""
    gone: dict[str, float | None]
    """By UID of those that the cluster lacks: when their tombstone was written, None where they have none. Neither a
    laptop's (filed under their names) nor those that ask for `retention: retain`."""
    back: frozenset[str]
    """UIDs of the living that have a tombstone."""
    roots: dict[str, tuple[str, ...]]
    """By UID: the names of the objects that are roots."""


def take_census(store: ArtifactStore, /, *, living: Callable[[], Set[str]]) -> Census:
    """Who is here and who is gone.

    `living` gives the uids of the Experiments that exist; it is asked after the store's were listed, so that one which
    begins meanwhile is among them. Raises StoreUnavailable where the listing lacks one that is here.
    """
    began = store.backend.clock()
    roots: dict[str, list[str]] = {}
    tombs: dict[str, float] = {}
    for info in store.backend.scan("experiments/"):
        uid, _, file = info.name.removeprefix("experiments/").partition("/")
        if ROOT.fullmatch(info.name):
            roots.setdefault(uid, []).append(info.name)
        elif file == TOMBSTONE:
            tombs[uid] = info.modified
    there = frozenset(living())
    for uid in sorted(there - roots.keys()):
        # It may have begun since; but a listing that leaves out what was there before would cost others their results.
        if store.experiment_file(uid, PLAN) is not None:
            name = f"experiments/{uid}/{PLAN}"
            modified = {info.name: info.modified for info in store.backend.scan(f"experiments/{uid}/")}
            if modified.get(name, 0.0) < began:
                raise StoreUnavailable(
                    f"{store.url} lists its objects with gaps: it left out {name}; nothing is removed"
                )
            roots[uid] = [name]
    return Census(
        living=there,
        filed=there & roots.keys(),
        gone={uid: tombs.get(uid) for uid in sorted(roots.keys() - there) if not _is_retained(store, uid)},
        back=there & tombs.keys(),
        roots={uid: tuple(names) for uid, names in roots.items()},
    )


def mark(store: ArtifactStore, census: Census, /) -> None:
    """Writes the tombstones of those that are gone and have none, and takes away those of experiments that are back."""
    since = datetime.fromtimestamp(store.backend.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for uid, when in census.gone.items():
        if when is None:
            store.backend.create(f"experiments/{uid}/{TOMBSTONE}", canonical_json({"since": since}))
    for uid in census.back:
        store.backend.delete(f"experiments/{uid}/{TOMBSTONE}")


def forget(store: ArtifactStore, census: Census, uids: Set[str], /) -> None:
    """Takes the roots of experiments away; specification and pre-registration stay: the record of what was asked."""
    for uid in sorted(uids):
        store.each(store.backend.delete, list(census.roots[uid]))
        store.backend.delete(f"experiments/{uid}/{TOMBSTONE}")


def own(store: ArtifactStore, owner: str, /, *, may_claim: bool, adopt: bool, dry_run: bool) -> None:
    """Sees that the store is collected for `owner` (an identifier of a cluster's namespace), or raises UserError.

    A store without a record is claimed with `may_claim`; with `adopt` any is. With `dry_run` nothing is written.
    """
    data = canonical_json({"owner": owner})
    known = store.backend.read(OWNER, limit=RECORD_BYTES)
    if known is None and (may_claim or adopt):
        if dry_run or store.backend.create(OWNER, data):
            return
        known = store.backend.read(OWNER, limit=RECORD_BYTES)
    if known == data:
        return
    if adopt:
        if not dry_run:
            store.backend.write(OWNER, data)
        return
    raise UserError(
        field=f"{OWNER} of {store.url}",
        rule="a store is collected for one namespace of one cluster: to another all its experiments are gone",
        received=f"{_named(known)}, and this is namespace {owner}",
        remedy="Give each cluster a prefix of its own in the store's Secret; if this cluster takes the other's place, "
        "run the collection once with --adopt.",
    )


def _named(known: bytes | None) -> str:
    if known is None:
        return "no owner yet, and none of this namespace's Experiments on record"
    try:
        return f"namespace {json.loads(known)['owner']}"
    except (ValueError, KeyError, TypeError):
        return "a record that cannot be read"


def _is_retained(store: ArtifactStore, uid: str) -> bool:
    """Whether an experiment asks that its artifacts stay, or is a laptop's, which is filed under its own name.

    One whose specification cannot be read stays.
    """
    try:
        data = store.experiment_file(uid, "experiment.yaml")
        if data is None:
            # Its sources came in, but it was never planned: only a cluster does that.
            return False
        tree = yaml.safe_load(data)
        return bool(tree["metadata"]["name"] == uid or tree["spec"].get("retention", "collect") != "collect")
    except (DataLoss, RecursionError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
        return True
