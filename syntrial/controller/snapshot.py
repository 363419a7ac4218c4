"""What `reconcile` decides from: the trial as wanted, and what is known of the world at one moment. Only data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from syntrial.controller.views import JobView
from syntrial.experiment.model import Experiment
from syntrial.plan.steps import Plan
from syntrial.sources.named import SourceRef


class Presence(Enum):
    """Whether a step's artifact stands in the store."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """The store did not answer: nothing is started or stopped on that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    """A recorded attempt at a step by this experiment."""

    number: int
    outcome: str
    """succeeded, failed, cancelled or retry."""
    reason: str = ""
    message: str = ""
    retryable: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What became of a Job's pod that ended without recording an attempt."""

    outcome: str
    """failed, or cancelled where the step is not to blame."""
    reason: str
    message: str
    log: str = ""
    retryable: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The API server took no Job: why, and until when none is sent again."""

    reason: str
    """QuotaExceeded or Refused."""
    message: str
    until: float
    """By the clock of `Snapshot.now`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OverBudget:
    """The namespace has used up its GPU-hours."""

    message: str
    stages: frozenset[str]
    """Those whose pods would hold devices: none of their Jobs is begun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialState:
    """The experiment as its object wants it, planned as far as is known."""

    uid: str
    name: str
    namespace: str
    generation: int
    experiment: Experiment | None
    """None where the object is not valid."""
    plan: Plan | None
    """None where it is not valid, or sources are not resolved yet."""
    is_kept: bool = False
    """Whether another version made and finished the plan."""
    priorities: Mapping[str, float] = field(default_factory=dict)
    invalid: str = ""
    """What is wrong, worded as on a laptop."""
    lacks_source: bool = False
    """Whether what is wrong may mend itself: a source that is not in the store yet."""
    ingests: tuple[SourceRef, ...] = ()
    """Sources that are still to be brought into the store."""

    @property
    def is_suspended(self) -> bool:
        """Whether the user stopped it."""
        return self.experiment is not None and self.experiment.spec.suspend


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What is known of one experiment's world."""

    now: float
    """Seconds of a clock that only goes forward; it says nothing of the time of day."""
    presence: Mapping[str, Presence]
    attempts: Mapping[str, tuple[AttemptView, ...]]
    """By key, in order; a key whose attempts were not read is absent."""
    failed_at: Mapping[str, float]
    """By key: when this process first saw the last failed attempt."""
    jobs: tuple[JobView, ...]
    """Of this experiment, with their pods."""
    ended_at: Mapping[str, float] = field(default_factory=dict)
    """By the name of a Job that ended: when this process first saw that."""
    lost_after: float | None = None
    """Seconds until a pod that is being deleted counts as lost; None where there is none."""
    elsewhere: Mapping[str, str]
    """Keys that a live Job of another experiment in the namespace carries, with that experiment's name."""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    """By the name of a failed Job."""
    store_error: str = ""
    """Why the store is not to be reached, for the user; "" where it is."""
    refusal: Refusal | None = None
    over_budget: OverBudget | None = None
    has_met_quota: bool = False
    """Whether a Job of this experiment was ever refused for a quota."""
    is_registered: bool = False
    """Whether this plan is on record in the store."""
    verdict: Mapping[str, Any] | None = None
    """As the status shows it, once the report is there."""
    report_address: str = ""
    job_limit: int = 64
    """Live Jobs that the experiment may have."""
    rates: Mapping[str, "Rate"] = field(default_factory=dict)
    """By stage, from Jobs that ended."""
    outdated: frozenset[str] = frozenset()
    """Names of Jobs that would be made with other pods today."""
    refused_pods: Mapping[str, str] = field(default_factory=dict)
    """By the name of a Job without pods: what keeps Kubernetes from making them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What finished Jobs of a stage took."""

    seconds: float = 0.0
    steps: int = 0
    work: float = 0.0
