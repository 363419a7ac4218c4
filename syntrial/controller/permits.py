"""What an experiment may ask of this cluster: so many steps, what its operator allows, claims whose owners opted in."""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from syntrial.errors import ClusterRefused, SourceError
from syntrial.experiment.allowed import Allowed, check_allowed
from syntrial.experiment.model import Experiment
from syntrial.experiment.on_cluster import check_on_cluster
from syntrial.plan.size import check_size
from syntrial.sources.addresses import ClaimAddress, parse_address
from syntrial.sources.named import SourceRef

LABEL_READABLE: Final = "syntrial.dev/readable"
"""On a PersistentVolumeClaim, with the value "true": experiments of its namespace may read what is in it."""


class Claims(Protocol):
    """What is asked of the cluster."""

    def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """An object, or None."""
        ...


class Permits:
    """Says no to what an experiment may not have, by UserError."""

    def __init__(self, cluster: Claims, *, allowed: Allowed, step_limit: int, store_secret: str) -> None:
        """`store_secret` names the Secret with the store's credentials, which no source may name."""
        self._cluster = cluster
        self._store_secret = store_secret
        self._allowed = allowed
        self._step_limit = step_limit

    def check(self, experiment: Experiment, *, has_verdict: bool) -> None:
        """Raises UserError for what this cluster does not run; a trial that has its verdict asks for no more pods."""
        check_on_cluster(experiment, store_secret=self._store_secret)
        check_size(experiment, limit=self._step_limit)
        if not has_verdict:
            check_allowed(experiment, self._allowed)

    def check_sources(self, refs: Iterable[SourceRef], *, namespace: str) -> None:
        """Raises SourceError for a claim that is not there, or not meant for experiments; ClusterUnavailable."""
        for ref in refs:
            address = parse_address(ref.address) if ref.address is not None else None
            if isinstance(address, ClaimAddress):
                self._check_claim(address.claim, ref, namespace=namespace)

    def _check_claim(self, name: str, ref: SourceRef, *, namespace: str) -> None:
        try:
            claim = self._cluster.get("PersistentVolumeClaim", namespace, name)
        except ClusterRefused as error:
            received, remedy = f"of {name}: {error.message}", "Let the controller get claims: upgrade its chart."
        else:
            labels = (claim or {}).get("metadata", {}).get("labels") or {}
            if labels.get(LABEL_READABLE) == "true":
                return
            received = f"{name}, which {'has no such label' if claim is not None else 'is not there'}"
            remedy = f"Its owner lets experiments read all of it by: kubectl label pvc {name} {LABEL_READABLE}=true"
            if claim is None:
                remedy = f"Make it in namespace {namespace}, with that label."
        raise SourceError(
            field=ref.field,
            rule=f'a claim is read where it has the label {LABEL_READABLE}: "true"',
            received=received,
            remedy=remedy,
        )
