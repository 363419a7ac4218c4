"""Why steps do not run: what `status.pending` says. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from syntrial.controller.batching import stage_name
from syntrial.controller.snapshot import Snapshot, TrialState
from syntrial.controller.standing import NODE_LOST, Stand, Standing, ran_out_of_memory
from syntrial.controller.views import JobView
from syntrial.counting import counted
from syntrial.trial.attempts import since_retry

UNSCHEDULABLE: Final = "Unschedulable"
QUOTA_EXCEEDED: Final = "QuotaExceeded"
REFUSED: Final = "Refused"
QUEUED: Final = "Queued"
IMAGE_PULL: Final = "ImagePull"
CONFIGURATION: Final = "Configuration"
OUT_OF_MEMORY: Final = "OutOfMemory"
RUNNING_ELSEWHERE: Final = "RunningElsewhere"
STORE_UNREACHABLE: Final = "StoreUnreachable"
BACK_OFF: Final = "BackOff"
INPUTS: Final = "Inputs"
JOB_LIMIT: Final = "JobLimit"
GPU_BUDGET: Final = "GpuBudget"

PENDING_SHOWN: Final = 8

_PULLS: Final = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why some steps wait."""

    reason: str
    message: str
    count: int


def pending(trial: TrialState, snapshot: Snapshot, stands: Standing) -> list[dict[str, Any]]:
    """All reasons why steps wait, each once with the number of its steps."""
    assert trial.plan is not None
    found: list[Reason] = []
    waiting = stands.count(Stand.UNKNOWN, Stand.READY, Stand.ENDING)
    if snapshot.store_error:
        found.append(Reason(reason=STORE_UNREACHABLE, message=snapshot.store_error, count=waiting))
    elif snapshot.refusal is not None and snapshot.now < snapshot.refusal.until:
        found.append(Reason(reason=snapshot.refusal.reason, message=snapshot.refusal.message, count=waiting))
    elif room_for_jobs(snapshot) <= 0 and (ready := stands.count(Stand.READY)):
        words = f"an experiment has {counted(snapshot.job_limit, 'Job')} at a time (controller.jobs.perExperiment)"
        found.append(Reason(reason=JOB_LIMIT, message=words, count=ready))
    if (over := snapshot.over_budget) is not None:
        found.append(Reason(reason=GPU_BUDGET, message=over.message, count=len(held_back(trial, snapshot, stands))))
    for job in snapshot.jobs:
        reason = why_job_waits(job, refused=snapshot.refused_pods.get(job.name, ""))
        if job.is_live and reason is not None:
            found.append(reason)
    for key, other in snapshot.elsewhere.items():
        if stands.of.get(key) is Stand.ELSEWHERE:
            found.append(Reason(reason=RUNNING_ELSEWHERE, message=f"experiment {other} runs it", count=1))
    for step in stands.steps(trial.plan, Stand.PAUSED):
        attempts = since_retry(snapshot.attempts[step.key])
        starved = ran_out_of_memory(attempts)
        last = attempts[-1]
        said = last.message.splitlines()[0] if last.message else ""
        words = f"{step.label} is tried again after {last.reason}: {said}"
        found.append(Reason(reason=OUT_OF_MEMORY if starved else BACK_OFF, message=words[:400], count=1))
    return grouped(found)


def held_back(trial: TrialState, snapshot: Snapshot, stands: Standing) -> frozenset[str]:
    """Keys of the steps that are ready, but for the GPU-hours of their namespace."""
    assert trial.plan is not None
    if snapshot.over_budget is None:
        return frozenset()
    stages = snapshot.over_budget.stages
    return frozenset(step.key for step in stands.steps(trial.plan, Stand.READY) if stage_name(step.method) in stages)


def room_for_jobs(snapshot: Snapshot) -> int:
    """How many more Jobs the experiment may have now."""
    return max(0, snapshot.job_limit - sum(job.is_live for job in snapshot.jobs))


def why_job_waits(job: JobView, *, refused: str = "") -> Reason | None:
    """What keeps a live Job from running; None where a pod of it runs or is about to."""
    count = max(1, len(job.keys))
    if job.is_suspended:
        return Reason(reason=QUEUED, message="the queue has not admitted it yet", count=count)
    if job.has_running_pod or job.is_deleting:
        return None
    for pod in job.stopping_pods:
        if pod.disrupted == "DeletionByTaintManager":
            words = "its node does not answer; the step begins elsewhere once its pod counts as lost"
            return Reason(reason=NODE_LOST, message=words, count=count)
    for pod in job.pods:
        if pod.unschedulable:
            return Reason(reason=UNSCHEDULABLE, message=pod.unschedulable, count=count)
        if pod.waiting in _PULLS:
            return Reason(reason=IMAGE_PULL, message=pod.message or pod.waiting, count=count)
        if pod.waiting == "CreateContainerConfigError":
            return Reason(reason=CONFIGURATION, message=pod.message or pod.waiting, count=count)
    if refused and not job.pods:
        quota = "exceeded quota" in refused
        return Reason(reason=QUOTA_EXCEEDED if quota else REFUSED, message=refused, count=count)
    return None


def grouped(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    """One entry for each reason, the commonest first, with the words of the first of its kind."""
    words: dict[str, str] = {}
    counts: dict[str, int] = {}
    for item in reasons:
        if item.count:
            words.setdefault(item.reason, item.message)
            counts[item.reason] = counts.get(item.reason, 0) + item.count
    entries = [{"reason": reason, "message": words[reason], "count": count} for reason, count in counts.items()]
    return sorted(entries, key=lambda entry: (-int(str(entry["count"])), str(entry["reason"])))[:PENDING_SHOWN]
