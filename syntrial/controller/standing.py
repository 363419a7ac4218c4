"""Where each step of a trial stands: done, under way, given up, waiting, ready. Pure.

Done is read from manifests, do-not-retry from attempts, under way from Jobs; nothing else is remembered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from syntrial.controller.snapshot import AttemptView, Presence, Snapshot, TrialState
from syntrial.controller.views import JobView
from syntrial.plan.steps import Plan, Step
from syntrial.trial.attempts import is_given_up, since_retry

FIRST_PAUSE: Final = 5.0
"""Seconds before the second attempt; each further pause is four times as long, up to `LONGEST_PAUSE`."""

LONGEST_PAUSE: Final = 300.0

OUT_OF_MEMORY: Final = "OutOfMemory"

JOB_DIED: Final = "JobDied"
"""Recorded for a step whose Job died before it came to it; the step then gets a Job of its own."""

POD_LOST: Final = "PodLost"
"""Recorded for a step whose pod went without a trace: deleted by hand, or with its node."""

NODE_LOST: Final = "NodeLost"
"""Recorded for a step whose pod is being deleted and does not end: its node does not answer."""

LOST: Final = frozenset({POD_LOST, NODE_LOST})
BY_CONTROLLER: Final = frozenset({JOB_DIED, *LOST})


class Stand(Enum):
    """Where a step stands."""

    DONE = "done"
    UNKNOWN = "unknown"
    """The store did not answer."""
    CARRIED = "carried"
    """A live Job of this experiment has it."""
    ENDING = "ending"
    """Its Job ended, and its end is not on record yet."""
    ELSEWHERE = "elsewhere"
    """A live Job of another experiment has it."""
    FAILED = "failed"
    """Given up until the user changes something or asks for another try."""
    PAUSED = "paused"
    """It failed, and its next attempt is not due yet."""
    BLOCKED = "blocked"
    """It waits for other steps."""
    READY = "ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where all steps of a plan stand."""

    of: Mapping[str, Stand]
    due: Mapping[str, float]
    """Of paused steps: when the next attempt is due, by the clock of `Snapshot.now`."""

    def count(self, *stands: Stand) -> int:
        """How many steps stand so."""
        return sum(stand in stands for stand in self.of.values())

    def steps(self, plan: Plan, *stands: Stand) -> list[Step]:
        """The steps that stand so, in the plan's order."""
        return [step for step in plan.steps if self.of[step.key] in stands]


def standing(trial: TrialState, snapshot: Snapshot) -> Standing:
    """Where each step of the trial's plan stands."""
    assert trial.plan is not None
    carried = {key for job in snapshot.jobs if job.is_live for key in job.keys}
    ending = {
        key
        for job in snapshot.jobs
        if not job.is_live
        for key in job.keys
        if not is_settled(key, job, snapshot=snapshot)
    }
    done = {key for key, presence in snapshot.presence.items() if presence is Presence.PRESENT}
    open_part = released(trial.plan, done)
    of: dict[str, Stand] = {}
    due: dict[str, float] = {}
    for step in trial.plan.steps:
        key = step.key
        if key in done:
            of[key] = Stand.DONE
        elif key in carried:
            of[key] = Stand.CARRIED
        elif snapshot.presence.get(key, Presence.UNKNOWN) is Presence.UNKNOWN:
            of[key] = Stand.UNKNOWN
        elif key in ending:
            of[key] = Stand.ENDING
        elif key in snapshot.elsewhere:
            of[key] = Stand.ELSEWHERE
        elif key not in open_part or not done.issuperset(step.after):
            of[key] = Stand.BLOCKED
        elif key not in snapshot.attempts:
            of[key] = Stand.UNKNOWN
        elif is_given_up(snapshot.attempts[key]):
            of[key] = Stand.FAILED
        else:
            when = snapshot.failed_at.get(key, snapshot.now) + pause(snapshot.attempts[key])
            if when > snapshot.now:
                of[key], due[key] = Stand.PAUSED, when
            else:
                of[key] = Stand.READY
    return Standing(of=of, due=due)


def released(plan: Plan, done: set[str]) -> set[str]:
    """Keys of the parts of the plan that may run: evaluation after all training, the report after all evaluation.

    Evaluation is released only once the look at the test split is on record, which the plan's report step shows.
    """
    keys = {step.key for step in plan.training}
    if plan.report and done.issuperset(keys):
        evaluation = {step.key for step in plan.evaluation}
        keys |= evaluation
        if done.issuperset(evaluation):
            keys |= {step.key for step in plan.report}
    return keys


def pause(attempts: Sequence[AttemptView]) -> float:
    """Seconds between the last failure and the next attempt; 0 where the last end was no failure."""
    recent = since_retry(attempts)
    if not recent or not (recent[-1].outcome == "failed" or recent[-1].reason in LOST):
        return 0.0
    failures = sum(attempt.outcome == "failed" or attempt.reason in LOST for attempt in recent)
    # The exponent is bounded: an outage of hours makes hundreds of attempts.
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 4.0 ** min(failures - 1, 8)))


def ran_out_of_memory(attempts: Sequence[AttemptView]) -> bool:
    """Whether the last failed attempt ended for want of memory."""
    failed = [attempt for attempt in since_retry(attempts) if attempt.outcome == "failed"]
    return bool(failed) and failed[-1].reason == OUT_OF_MEMORY


def next_attempt(keys: Sequence[str], attempts: Mapping[str, Sequence[AttemptView]]) -> int:
    """The number of the next Job's attempt at these keys: one more than are on record of any of them."""
    return 1 + max((recorded[-1].number for key in keys if (recorded := attempts.get(key))), default=0)


def is_settled(key: str, job: JobView, *, snapshot: Snapshot) -> bool:
    """Whether the end of a Job that ended is on record for one of its steps, or nothing came of it to be recorded."""
    if snapshot.presence.get(key) is Presence.PRESENT:
        return True
    evidence = snapshot.evidence.get(job.name)
    crashed = evidence is not None and evidence.outcome == "failed"
    for attempt in snapshot.attempts.get(key, ()):
        if attempt.number < job.attempt:
            continue
        # A pod that was evicted and one that took its place may both have ended within one Job.
        if attempt.outcome != "cancelled" or attempt.reason in BY_CONTROLLER or not crashed:
            return True
    return False


def pause_of_ingest(failed: Sequence[JobView], snapshot: Snapshot) -> float:
    """Seconds until a source is tried again, given its failed Jobs in the order of their attempts."""
    if not failed:
        return 0.0
    since = snapshot.failed_at.get(failed[-1].name, snapshot.now)
    return max(0.0, since + min(LONGEST_PAUSE, FIRST_PAUSE * 4.0 ** (len(failed) - 1)) - snapshot.now)
