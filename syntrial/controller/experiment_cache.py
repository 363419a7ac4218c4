"""What the controller remembers of one experiment between two looks: only what could be read again.

Losing it costs reads, nothing else: after a restart the first look reads all. Only the thread that looks at the
experiment touches it. What threads of the pool find out comes back to that one as values (`Submission`), in whatever
order they end; what a resync asks for is a time that the look compares (`ask_for_all`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from syntrial.controller.batching import stage_name
from syntrial.controller.snapshot import AttemptView, Evidence, Rate, Refusal
from syntrial.controller.views import JobView
from syntrial.controller.waiting import JOB_LIMIT, QUOTA_EXCEEDED
from syntrial.experiment.model import Experiment
from syntrial.trial.run import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What came of a Job that was to be made."""

    job: str
    """Its name."""
    keys: tuple[str, ...]
    outcome: Literal["made", "found", "taken", "refused"]
    """Whether it was made, was there already, was left to another experiment or was refused by the API server."""
    refusal: Refusal | None = None


@dataclass(kw_only=True, slots=True)
class ExperimentCache:
    """Of one experiment."""

    generation: int = -1
    experiment: Experiment | None = None
    invalid: str = ""
    lacks_source: bool = False
    """Whether it is invalid for want of a source, or of something else that the file alone does not show."""
    trial: Trial | None = None
    priorities: Mapping[str, float] = field(default_factory=dict)
    registered: tuple[str, ...] = ()
    """Keys of the plan that is on record in the store."""
    present: set[str] = field(default_factory=set)
    """Keys whose artifacts were seen to stand."""
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of steps that were seen to stand: the digests of their artifacts' members."""
    presence_read: dict[str, float] = field(default_factory=dict)
    """When the absence of a key was read."""
    attempts: dict[str, tuple[AttemptView, ...]] = field(default_factory=dict)
    """As read, or as recorded since; a key that must be read again is absent."""
    failed_at: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By key, or by the name of an ingest's Job: the number of the failed attempt, and when it was first seen."""
    carried: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The live Jobs of the last look, and those started since, with their keys."""
    elsewhere: set[str] = field(default_factory=set)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    outdated: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """By the name of a Job: the generation with which it was compared, and whether it would be made otherwise today."""
    stopping: dict[str, float] = field(default_factory=dict)
    """By the UID of a pod that is being deleted: when that was first seen."""
    ended: dict[str, float] = field(default_factory=dict)
    """By the name of a Job that ended: when that was first seen."""
    counted: set[str] = field(default_factory=set)
    """UIDs of the ended Jobs that `rates` holds."""
    rates: dict[str, Rate] = field(default_factory=dict)
    verdict: dict[str, Any] | None = None
    verdict_key: str = ""
    refusal: Refusal | None = None
    has_met_quota: bool = False
    refused_pods: dict[str, str] = field(default_factory=dict)
    asked_events: dict[str, float] = field(default_factory=dict)
    full_read_at: float = float("-inf")
    is_full_due: bool = True
    is_doubted: bool = False
    """Whether the last look found the store other than its own records say."""
    is_new: bool = False
    """Whether nothing of it was on record when it was planned: there are no attempts to be read."""
    has_looked: bool = False
    """Whether what failed was seen before: what fails from then on is news."""
    status_written_at: float = float("-inf")
    failures_read_at: float = float("-inf")

    def plan_anew(self, generation: int) -> None:
        """Forgets all that hangs on the specification."""
        self.generation = generation
        self.experiment, self.invalid, self.trial = None, "", None
        self.lacks_source = False
        # Also where no key differs: what is on record says whether the artifacts are kept for good.
        self.registered = ()
        self.verdict, self.verdict_key = None, ""
        self.refusal = None
        self.is_full_due = True

    def ask_for_all(self, *, before: float) -> None:
        """Has everything read anew, unless that was done since `before`."""
        if self.full_read_at < before:
            self.is_full_due = True

    def take(self, submissions: Iterable[Submission]) -> None:
        """Takes note of a round of Jobs that were to be made: one refusal counts, whatever was made meanwhile."""
        refusals: list[Refusal] = []
        for submission in submissions:
            if submission.refusal is not None:
                refusals.append(submission.refusal)
            elif submission.outcome in ("made", "found"):
                self.refusal = None
                # It may have ended by the next look: what its steps left is then read.
                self.carried[submission.job] = submission.keys
            if submission.outcome == "made":
                self.outdated[submission.job] = (self.generation, False)
        if refusals:
            self.refusal = max(refusals, key=lambda refusal: refusal.until)
            self.has_met_quota |= any(refusal.reason == QUOTA_EXCEEDED for refusal in refusals)

    def has_room(self) -> None:
        """Takes note that the experiment need not wait for room in its namespace."""
        if self.refusal is not None and self.refusal.reason == JOB_LIMIT:
            self.refusal = None

    def read_again(self, keys: Iterable[str]) -> None:
        """Takes what is known of these steps as outdated."""
        for key in keys:
            self.presence_read.pop(key, None)
            self.attempts.pop(key, None)

    def follow(self, jobs: Iterable[JobView]) -> None:
        """Takes note of the live Jobs: of one that ended or went since, what its steps left is read again."""
        live = {job.name: job.keys for job in jobs if job.is_live}
        for name, keys in self.carried.items():
            if name not in live:
                self.read_again(keys)
        self.carried = live

    def count(self, job: JobView) -> None:
        """Takes note of how long a Job took that ended well."""
        if job.uid in self.counted or job.ended != "complete" or not job.keys or job.seconds <= 0 or self.trial is None:
            return
        self.counted.add(job.uid)
        work = {step.key: step.work for step in self.trial.plan.steps}
        was = self.rates.get(job.stage, Rate())
        self.rates[job.stage] = Rate(
            seconds=was.seconds + job.seconds,
            steps=was.steps + len(job.keys),
            work=was.work + sum(work.get(key, 0.0) for key in job.keys),
        )

    def is_news(self, key: str, number: int) -> bool:
        """Whether the attempt `number` of a step ended since this process began to look at the experiment."""
        return self.has_looked and self.failed_at.get(key, (0, 0.0))[0] != number

    def stage_of(self, key: str) -> str:
        """The stage that serves a step of the plan."""
        steps = self.trial.plan.steps if self.trial is not None else ()
        return next((stage_name(step.method) for step in steps if step.key == key), "unknown")

    def first_seen(self, name: str, number: int, now: float) -> float:
        """When the failure `number` of a step or of an ingest was first seen, which is now where it is new."""
        known = self.failed_at.get(name)
        if known is None or known[0] != number:
            known = self.failed_at[name] = (number, now)
        return known[1]
