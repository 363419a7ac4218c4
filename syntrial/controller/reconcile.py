"""The decision: from what is wanted and what is known to what is done next. Pure; a table of contents.

Each policy has a file of its own: `standing.py` says where steps stand, `batching.py` which of them share a Job,
`waiting.py` why anything waits, `conditions.py` what the status says. Calling this again with the same arguments gives
the same actions, and the controller may be killed before, between and after any of them.
"""

from dataclasses import dataclass
from typing import Any, Final

from syntrial.cluster.manifests import Batch
from syntrial.controller import conditions
from syntrial.controller.batching import batches, downloads, expected_work
from syntrial.controller.snapshot import Evidence, Presence, Refusal, Snapshot, TrialState
from syntrial.controller.standing import (
    JOB_DIED,
    NODE_LOST,
    Stand,
    Standing,
    is_settled,
    next_attempt,
    pause_of_ingest,
    ran_out_of_memory,
    standing,
)
from syntrial.controller.views import JobView
from syntrial.controller.waiting import held_back, room_for_jobs
from syntrial.executors.drive import ATTEMPTS
from syntrial.experiment.model import Experiment
from syntrial.plan.steps import Step, shared_by
from syntrial.sources.named import SourceRef

STARTS: Final = 64
"""Jobs that one reconcile starts at most: the status is written in between."""

WATCH_FAILURES: Final = 10.0
"""Seconds between two looks for `syntrial retry`, which is a record in the store, at a trial with failed steps."""

WATCH_SOURCES: Final = 30.0
"""Seconds between two looks for a source that is to be uploaded."""

WATCH_PODS: Final = 5.0
"""Seconds after which a Job for which Kubernetes has made no pod yet is looked into."""

KEPT_SECONDS: Final = 300.0
"""How long a Job whose end is on record stays: for people to look into, and because the API server, where many end at
once, has other work than to remove them and their pods."""

WATCH_STORE: Final = 10.0
"""Seconds between two looks at a store that did not answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Register:
    """File the experiment and its plan in the store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordAttempt:
    """Record the end of an attempt whose pod could not."""

    key: str
    number: int
    evidence: Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteJob:
    """Delete a Job: one whose end is on record, or one that no longer belongs."""

    name: str
    is_live: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StartJob:
    """Record the requests of these steps, then create their Job."""

    batch: Batch
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StartIngest:
    """Create the Job that brings a source into the store."""

    ref: SourceRef
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTestSplit:
    """Record the look at the test split: all training is done."""


Action = Register | RecordAttempt | DeleteJob | StartJob | StartIngest | OpenTestSplit


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do, in this order, what to say, and when to look again if nothing happens."""

    actions: tuple[Action, ...]
    status: dict[str, Any]
    """The status but for times of transition, see `conditions.merged`."""
    look_again_after: float | None
    """Seconds; None: only when something happens."""


def reconcile(trial: TrialState, snapshot: Snapshot) -> Decision:
    """What to do about one experiment."""
    if trial.experiment is None:
        wait = WATCH_STORE if snapshot.store_error else WATCH_SOURCES if trial.lacks_source else None
        return Decision(actions=(), status=conditions.invalid(trial, snapshot), look_again_after=wait)
    if snapshot.store_error:
        return _leave_alone(trial, snapshot, experiment=trial.experiment)
    if trial.plan is None:
        return _bring_sources(trial, snapshot, experiment=trial.experiment)
    stands = standing(trial, snapshot)
    actions: list[Action] = []
    if not snapshot.is_registered:
        actions.append(Register())
    for job in snapshot.jobs:
        actions += _settle(job, trial, snapshot) if not job.is_live else _keep_or_stop(job, trial, snapshot)
    if not trial.is_suspended:
        actions += _open_test_split(trial, stands)
        actions += _start(trial, snapshot, stands, experiment=trial.experiment)
    status = conditions.status(trial, snapshot, stands)
    return Decision(
        actions=tuple(actions), status=status, look_again_after=_look_again(snapshot, stands, tuple(actions))
    )


def _leave_alone(trial: TrialState, snapshot: Snapshot, *, experiment: Experiment) -> Decision:
    """While the store does not answer: Jobs stay as they are, also those that ended, but for what the user stops."""
    live = [job for job in snapshot.jobs if trial.is_suspended and job.is_live and not job.is_deleting]
    if trial.plan is None:
        status = conditions.unplanned(trial, snapshot, experiment=experiment)
    else:
        status = conditions.status(trial, snapshot, standing(trial, snapshot))
    return Decision(
        actions=tuple(DeleteJob(name=job.name, is_live=True) for job in live),
        status=status,
        look_again_after=WATCH_STORE,
    )


def _settle(job: JobView, trial: TrialState, snapshot: Snapshot) -> list[Action]:
    """Of a Job that ended: records what its pod could not, and removes it once all is on record."""
    if job.source is not None:
        return _settle_ingest(job, trial)
    known = [key for key in job.keys if snapshot.presence.get(key, Presence.UNKNOWN) is not Presence.UNKNOWN]
    if len(known) < len(job.keys):
        return []
    unsettled = [key for key in job.keys if not is_settled(key, job, snapshot=snapshot)]
    if not unsettled:
        is_due = _removed_after(job, snapshot) <= 0
        return [DeleteJob(name=job.name, is_live=False)] if is_due and not job.is_deleting else []
    evidence = snapshot.evidence.get(job.name)
    if evidence is None or not all(key in snapshot.attempts for key in unsettled):
        return []
    # Steps of a Job run one after another: the first without a record is the one that was under way.
    bystander = Evidence(outcome="cancelled", reason=JOB_DIED, message=f"its Job ended before it: {evidence.message}")
    return [
        RecordAttempt(
            key=key,
            number=max(job.attempt, next_attempt([key], snapshot.attempts)),
            evidence=evidence if index == 0 else bystander,
        )
        for index, key in enumerate(unsettled)
    ]


def _removed_after(job: JobView, snapshot: Snapshot) -> float:
    """Seconds for which a Job that ended still stays; where a quota is met it may be in the way of the next."""
    # One whose node is lost would make another pod once that is back.
    if snapshot.has_met_quota or job.reason == NODE_LOST:
        return 0.0
    return snapshot.ended_at.get(job.name, snapshot.now) + KEPT_SECONDS - snapshot.now


def _settle_ingest(job: JobView, trial: TrialState) -> list[Action]:
    """A failed ingest stays as the record of its failure, until its source is there or no longer wanted."""
    wanted = {(ingest.name, ingest.noted) for ingest in trial.ingests}
    return [] if job.is_deleting or job.source in wanted else [DeleteJob(name=job.name, is_live=False)]


def _keep_or_stop(job: JobView, trial: TrialState, snapshot: Snapshot) -> list[Action]:
    """Of a live Job: stops it where the trial pauses or no longer holds any of its steps, or its pods would differ."""
    assert trial.plan is not None
    if job.is_deleting:
        return []
    stop = DeleteJob(name=job.name, is_live=True)
    if trial.is_suspended:
        return [stop]
    if job.source is not None:
        return _settle_ingest(job, trial) and [stop]
    mine = {step.key for step in trial.plan.steps}
    # Before the look at the test split is known the report is no part of the plan, though it may have a Job.
    belongs = mine.intersection(job.keys) or (job.stage == "analysis" and not trial.plan.report)
    if not belongs:
        return [stop]
    if job.name in snapshot.outdated and not job.has_running_pod:
        return [stop]
    return []


def _open_test_split(trial: TrialState, stands: Standing) -> list[Action]:
    assert trial.plan is not None
    if (
        trial.plan.report
        or trial.plan.undecided
        or not all(stands.of[step.key] is Stand.DONE for step in trial.plan.training)
    ):
        return []
    return [OpenTestSplit()]


def _start(trial: TrialState, snapshot: Snapshot, stands: Standing, *, experiment: Experiment) -> list[Action]:
    assert trial.plan is not None
    if _is_refused(snapshot):
        return []
    held = held_back(trial, snapshot, stands)
    able = [step for step in stands.steps(trial.plan, Stand.READY) if step.key not in held]
    ready = sorted(able, key=lambda step: -trial.priorities[step.key])
    alone = {step.key for step in ready if snapshot.attempts[step.key]}
    found: list[Action] = []
    sharing = experiment.spec.resources
    most = min(STARTS, room_for_jobs(snapshot))
    for stage, steps in batches(ready, alone=alone, work=expected_work(trial.plan.steps), sharing=sharing)[:most]:
        keys = tuple(step.key for step in steps)
        # More memory is worth a try only for a step that had a Job of its own when it ran out.
        starved = len(keys) == 1 and ran_out_of_memory(snapshot.attempts[keys[0]])
        limit = experiment.spec.cluster.placement(stage).out_of_memory_limit if starved else None
        batch = Batch(
            stage=stage,
            keys=keys,
            attempt=next_attempt(keys, snapshot.attempts),
            memory_limit=limit,
            image=steps[0].program.image,
            downloads=downloads(steps[0]),
            sharing=shared_by(steps[0], sharing),
        )
        found.append(StartJob(batch=batch, steps=steps))
    return found


def _bring_sources(trial: TrialState, snapshot: Snapshot, *, experiment: Experiment) -> Decision:
    """Before the plan: the Jobs that bring sources into the store."""
    actions: list[Action] = []
    look_again: list[float] = []
    wanted = {(ingest.name, ingest.noted) for ingest in trial.ingests}
    for job in snapshot.jobs:
        if job.source is not None and job.is_live and not job.is_deleting and trial.is_suspended:
            actions.append(DeleteJob(name=job.name, is_live=True))
        elif job.source is not None and job.source not in wanted and not job.is_deleting:
            actions.append(DeleteJob(name=job.name, is_live=job.is_live))
    for ingest in trial.ingests:
        jobs = [job for job in snapshot.jobs if job.source == (ingest.name, ingest.noted)]
        if any(job.is_live for job in jobs) or trial.is_suspended or _is_refused(snapshot):
            continue
        failed = sorted((job for job in jobs if job.ended == "failed"), key=lambda job: job.attempt)
        evidence = [snapshot.evidence[job.name] for job in failed if job.name in snapshot.evidence]
        if len(evidence) < len(failed) or len(failed) >= ATTEMPTS or any(not item.retryable for item in evidence):
            continue
        due = pause_of_ingest(failed, snapshot)
        if due > 0:
            look_again.append(due)
        else:
            attempt = 1 + max((job.attempt for job in jobs), default=0)
            actions.append(StartIngest(ref=ingest, attempt=attempt))
    if _is_refused(snapshot):
        assert snapshot.refusal is not None
        look_again.append(snapshot.refusal.until - snapshot.now)
    return Decision(
        actions=tuple(actions),
        status=conditions.unplanned(trial, snapshot, experiment=experiment),
        look_again_after=min(look_again, default=None),
    )


def _is_refused(snapshot: Snapshot) -> bool:
    refusal: Refusal | None = snapshot.refusal
    return refusal is not None and snapshot.now < refusal.until


def _look_again(snapshot: Snapshot, stands: Standing, actions: tuple[Action, ...]) -> float | None:
    times = [when - snapshot.now for when in stands.due.values()]
    if stands.count(Stand.FAILED):
        times.append(WATCH_FAILURES)
    if stands.count(Stand.UNKNOWN):
        times.append(WATCH_STORE)
    if _is_refused(snapshot):
        assert snapshot.refusal is not None
        times.append(snapshot.refusal.until - snapshot.now)
    if stands.count(Stand.ENDING):
        times.append(WATCH_PODS)
    if any(job.is_live and not job.pods and not job.is_suspended for job in snapshot.jobs):
        times.append(WATCH_PODS)
    leaving = (_removed_after(job, snapshot) for job in snapshot.jobs if not job.is_live and not job.is_deleting)
    times += [after for after in leaving if after > 0]
    if snapshot.lost_after is not None:
        times.append(snapshot.lost_after)
    starts = sum(isinstance(action, StartJob) for action in actions)
    if starts == STARTS and stands.count(Stand.READY) > STARTS:
        times.append(0.0)
    return max(0.0, min(times)) if times else None
