"""Experiment objects of a cluster: found by name, applied, suspended, deleted; and what is wrong, in words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from rapidfuzz import process

from syntrial.cluster.door import Door
from syntrial.errors import ArtifactMissing, ClusterRefused, UserError
from syntrial.experiment.model import API_VERSION

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
    def status(self) -> Mapping[str, Any]:
        """What the controller wrote; empty before it has looked."""
        return self.tree.get("status") or {}

    @property
    def is_suspended(self) -> bool:
        """Whether the user paused it."""
        return bool(self.tree.get("spec", {}).get("suspend", False))

    @property
    def is_behind(self) -> bool:
        """Whether the status speaks of an older specification."""
        observed = self.status.get("observedGeneration")
        return observed is not None and observed != self.tree["metadata"].get("generation", observed)

    def condition(self, kind: str) -> str:
        """ "True", "False" or "Unknown"."""
        found = (item for item in self.status.get("conditions", ()) if item.get("type") == kind)
        return next((str(item.get("status")) for item in found), "Unknown")

    @property
    def report_key(self) -> str:
        """The key of the report; raises ArtifactMissing where there is none yet."""
        key = (self.status.get("report") or {}).get("key")
        if not key:
            raise ArtifactMissing(f"{self.name} has no report yet: `syntrial status {self.name}` says how far it is")
        return str(key)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless the user does something."""
        if not self.status or self.is_behind:
            return False
        given_up = self.condition("Progressing") == "False" and self.condition("Succeeded") == "False"
        return self.condition("Succeeded") == "True" or self.condition("Valid") == "False" or given_up


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
    spec = {"suspend": False, **tree["spec"]}
    whole = {**tree, "metadata": {**tree["metadata"], "namespace": namespace}, "spec": spec}
    with installed():
        after = door.apply(whole, field_manager=SUBMITTER)
    word = "created"
    if before is not None:
        generations = [item["metadata"].get("generation") for item in (before, after)]
        word = "unchanged" if generations[0] == generations[1] else "configured"
    return Remote(name=name, namespace=namespace, tree=after), word


def suspend(door: Door, remote: Remote, *, value: bool) -> Remote:
    """Pauses an experiment or takes it up again; its Jobs stop after saving checkpoints, and nothing is lost."""
    tree = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": remote.name, "namespace": remote.namespace},
        "spec": {"suspend": value},
    }
    return Remote(name=remote.name, namespace=remote.namespace, tree=door.apply(tree, field_manager=SWITCH))


def delete(door: Door, remote: Remote) -> None:
    """Deletes the object and its Jobs; artifacts stay until garbage collection."""
    door.delete(KIND, remote.namespace, remote.name)


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
