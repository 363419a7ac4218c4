"""What the controller is told when it starts."""

from dataclasses import dataclass, field
from typing import Final

from syntrial.cluster.manifests import Images
from syntrial.cluster.pod_resources import DEFAULTS, Defaults
from syntrial.controller.gpu_hours import Budget
from syntrial.experiment.allowed import Allowed
from syntrial.plan.size import STEP_LIMIT

FIELD_MANAGER: Final = "syntrial-controller"
"""Under which name the controller writes objects and tells events."""

MANAGED: Final = "app.kubernetes.io/managed-by=syntrial-controller"
"""What chooses the controller's Jobs and their pods."""

WATCHED: Final = {"Experiment": "", "Job": MANAGED, "Pod": MANAGED}
"""The kinds that are watched, with the labels that choose their objects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings, from the command line and the environment."""

    namespaces: tuple[str, ...]
    """Those that are served; empty: all."""
    images: Images
    allowed: Allowed = field(default_factory=Allowed)
    """What experiments may ask of the cluster."""
    pods: Defaults = field(default_factory=lambda: DEFAULTS)
    """What pods may use where their experiment says nothing."""
    store_secret: str = "syntrial-store"  # noqa: S105 - the name of a Secret, not one
    step_limit: int = STEP_LIMIT
    """Steps of a trial: one that has more is not valid."""
    jobs_per_experiment: int = 64
    """Live Jobs of one experiment."""
    jobs_per_namespace: int = 512
    """Live Jobs of all experiments of a namespace."""
    gpu_hours: Budget = field(default_factory=Budget)
    """What the pods of a namespace may use in a month."""
    gpu_ledger: str = ""
    """NAMESPACE/NAME of the ConfigMap in which that is counted."""
    threads: int = 16
    """Looks at a time; they mostly wait for the store and the API. A namespace has a quarter of them at most."""
    acts: int = 4
    """Calls by which one look acts that are under way at a time."""
    look_seconds: float = 60.0
    """After which a look asks nothing more of a store, and counts as failed."""
    remembered_steps: int = 25_000
    """Steps of plans that are remembered between looks, of all namespaces together."""
    resync_seconds: float = 300.0
    """Between two times that everything is read anew, of the cluster and of the store: what no event told."""
    settle_seconds: float = 0.2
    """Between two looks at one experiment: a burst of events amounts to one look."""
    call_seconds: float = 0.5
    """From a Job's place becoming free to the look that takes it, at most: further ones go to the same look."""
    status_seconds: float = 1.0
    """Between two writes of a status in which only counts changed."""
