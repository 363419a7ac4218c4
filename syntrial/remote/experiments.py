"""Experiment objects of a cluster: found by name, applied, suspended, deleted; and what is wrong, in words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from rapidfuzz import process

from syntrial.cluster.door import LAST_APPLIED, Door
from syntrial.errors import ClusterRefused, UserError
from syntrial.experiment.model import API_VERSION, CONTINUES, PLAN_ANEW
from syntrial.trial.status import TrialStatus

KIND: Final = "Experiment"

SUBMITTER: Final = "syntrial-submit"
"""Field manager of what `submit` applies: the whole experiment."""
SWITCH: Final = "syntrial-switch"
"""Field manager of what `cancel` and `retry` change. Another than the submitter's: whoever applies fewer fields under
one name takes back those that it left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """An Experiment as the API server has it."""

    name: str
    namespace: str
    tree: Mapping[str, Any]

    @property
    def uid(self) -> str:
        """What the store files the experiment under."""
        return str(self.tree["metadata"]["uid"])

    @property
    def is_suspended(self) -> bool:
        """Whether the user paused it."""
        return bool(self.tree.get("spec", {}).get("suspend", False))

    @property
    def status(self) -> TrialStatus:
        """What the controller wrote, and whether that is of the specification as it is now."""
        found = self.tree.get("status") or {}
        observed = found.get("observedGeneration")
        return TrialStatus(
            title=f"{self.namespace}/{self.name}",
            found=found,
            waits_for="retry" if self.is_suspended else "",
            is_suspended=self.is_suspended,
            is_behind=observed is not None and observed != self.tree["metadata"].get("generation", observed),
        )


def find(door: Door, name: str, *, namespace: str) -> Remote:
    """The Experiment of that name; raises UserError where there is none, with the nearest name that there is."""
    tree = door.get(KIND, namespace, name)
    if tree is not None:
        return Remote(name=name, namespace=namespace, tree=tree)
    with installed():
        known = [item["metadata"]["name"] for item in door.list(KIND, namespace)]
    nearest = process.extractOne(name, known, score_cutoff=60)
    if nearest:
        remedy = f"Did you mean {nearest[0]}?"
    elif known:
        remedy = f"Experiments here: {', '.join(sorted(known)[:8])}."
    else:
        remedy = (
            f"There are none in namespace {namespace}: `syntrial submit FILE` makes one, -n names another namespace."
        )
    raise UserError(field="NAME", rule="names an Experiment", received=f"{namespace}/{name}", remedy=remedy)


def namespace_of(tree: Mapping[str, Any], *, door: Door, asked: str | None) -> str:
    """The namespace that an object goes to, as kubectl decides it; raises UserError where file and option differ."""
    own = tree["metadata"].get("namespace")
    if own and asked and own != asked:
        raise UserError(
            field="metadata.namespace",
            rule="the file's namespace is the one asked for",
            received=f"{own} in the file, --namespace {asked}",
            remedy="Leave one of them out, or name the same.",
        )
    return str(own or door.namespace)


def apply(door: Door, tree: Mapping[str, Any], *, namespace: str) -> tuple[Remote, str]:
    """Makes the object in `tree`, or changes it; returns it and what became of it: created, configured or unchanged.

    `spec.suspend` is always said, so that an experiment that was cancelled goes on. Raises UserError.
    """
    name = str(tree["metadata"]["name"])
    before = door.get(KIND, namespace, name)
    with installed():
        after = door.apply(_whole(tree, namespace), field_manager=SUBMITTER)
    word = "created"
    if before is not None:
        generations = [item["metadata"].get("generation") for item in (before, after)]
        word = "unchanged" if generations[0] == generations[1] else "configured"
    return Remote(name=name, namespace=namespace, tree=after), word


def check(door: Door, tree: Mapping[str, Any], *, namespace: str) -> None:
    """Raises UserError where the API server would not take the object: its rules, policies and permissions."""
    with installed():
        door.apply(_whole(tree, namespace), field_manager=SUBMITTER, dry_run=True)


def _whole(tree: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    spec = {"suspend": False, **tree["spec"]}
    return {**tree, "metadata": {**tree["metadata"], "namespace": namespace}, "spec": spec}


def suspend(door: Door, remote: Remote, *, value: bool) -> Remote:
    """Pauses an experiment or takes it up again; its Jobs stop after saving checkpoints, and nothing is lost."""
    tree = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": remote.name, "namespace": remote.namespace},
        "spec": {"suspend": value},
    }
    return Remote(name=remote.name, namespace=remote.namespace, tree=door.apply(tree, field_manager=SWITCH))


def plan_anew(door: Door, remote: Remote, *, report: str) -> None:
    """Asks the controller to plan a trial anew, which another version planned and brought to the report of this key."""
    tree = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": remote.name, "namespace": remote.namespace, "annotations": {PLAN_ANEW: report}},
        "spec": {"suspend": False},
    }
    door.apply(tree, field_manager=SWITCH)


def delete(door: Door, remote: Remote) -> None:
    """Deletes the object and its Jobs; artifacts stay until garbage collection."""
    door.delete(KIND, remote.namespace, remote.name)


def restorable(door: Door, *, namespace: str) -> list[dict[str, Any]]:
    """The Experiments of a namespace as objects that may be applied again, to this cluster or to another.

    Each names the UID that it has now: under another one it goes on with what it has on record.
    """
    with installed():
        found = door.list(KIND, namespace)
    return [_restorable(tree) for tree in sorted(found, key=lambda tree: str(tree["metadata"]["name"]))]


def _restorable(tree: Mapping[str, Any]) -> dict[str, Any]:
    metadata = tree["metadata"]
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if metadata.get(name)}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {**kept, "annotations": {**annotations, CONTINUES: metadata["uid"]}},
        "spec": tree["spec"],
    }


@contextmanager
def installed() -> Iterator[None]:
    """Words the API server's ignorance of Experiments."""
    try:
        yield
    except ClusterRefused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        raise UserError(
            field="cluster",
            rule=f"the cluster knows Experiments of {API_VERSION}",
            received="no such resource",
            remedy="Install Syntrial there (`make deploy`), or name another cluster with --context.",
        ) from error
