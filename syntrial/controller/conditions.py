"""What the status says, by the conventions of the Kubernetes API. Pure.

`status` and its like give it without times of transition; `merged` adds those, from the status that the object has.
"""

from collections.abc import Mapping
from typing import Any

from syntrial.controller.batching import stage_name
from syntrial.controller.snapshot import Rate, Snapshot, TrialState
from syntrial.controller.standing import Stand, Standing
from syntrial.controller.waiting import (
    GPU_BUDGET,
    INPUTS,
    STORE_UNREACHABLE,
    Reason,
    grouped,
    held_back,
    pending,
    why_job_waits,
)
from syntrial.executors.drive import ATTEMPTS
from syntrial.experiment.model import Experiment
from syntrial.plan.steps import Plan
from syntrial.trial.attempts import FAILED, since_retry
from syntrial.trial.status import (
    AUDITED,
    FAILURES_SHOWN,
    PROGRESSING,
    SUCCEEDED,
    TRACKED,
    VALID,
    StepFailure,
    audited,
    condition,
    endpoint_words,
    failures,
    finished,
    kept,
    planned,
    reached,
    shortened,
    stage_counts,
    stuck,
    total_of,
    unreached,
)

Status = dict[str, Any]


def status(trial: TrialState, snapshot: Snapshot, stands: Standing) -> Status:
    """The status of a trial that is planned."""
    assert trial.plan is not None
    assert trial.experiment is not None
    plan = trial.plan
    done = {key for key, stand in stands.of.items() if stand is Stand.DONE}
    failed = _failed(plan, snapshot, stands)
    running = _running(snapshot, stands)
    report_key = plan.report[-1].key if plan.report else ""
    found: Status = {
        "observedGeneration": trial.generation,
        "conditions": [
            kept(plan) if trial.is_kept else planned(plan),
            audited(plan, done=done, failed=failed),
            _progressing(trial, snapshot, stands, running=len(running)),
            _succeeded(trial, snapshot, stands),
        ],
        "pending": pending(trial, snapshot, stands),
        "failures": failures(plan, failed),
        "endpoint": endpoint_words(trial.experiment),
    }
    if not (snapshot.store_error and stands.count(Stand.UNKNOWN)):
        # Where nothing is known of some steps, the counts stay what they were: see `merged`.
        total = total_of(plan)
        counts = {"total": total, "done": len(done), "running": len(running), "failed": len(failed)}
        found["steps"] = {**counts, "waiting": total - len(done) - len(running) - len(failed)}
        found["progress"] = f"{len(done)}/{total}"
        found["stages"] = stage_counts(plan, done=done, failed=failed, running=running)
    left = seconds_left(plan, snapshot.rates, stands, lanes=len(running))
    if left is not None and not trial.is_suspended:
        found["secondsLeft"] = left
    if snapshot.verdict is not None and report_key:
        found["verdict"] = dict(snapshot.verdict)
        found["report"] = {"address": snapshot.report_address, "key": report_key}
    return found


def unplanned(trial: TrialState, snapshot: Snapshot, *, experiment: Experiment) -> Status:
    """The status while sources are brought into the store, or the store does not answer before the plan is made."""
    reasons: list[Reason] = []
    if snapshot.store_error:
        reasons.append(Reason(reason=STORE_UNREACHABLE, message=snapshot.store_error, count=1))
    if snapshot.refusal is not None and snapshot.now < snapshot.refusal.until:
        reasons.append(Reason(reason=snapshot.refusal.reason, message=snapshot.refusal.message, count=1))
    failures = []
    for ingest in trial.ingests:
        jobs = [job for job in snapshot.jobs if job.source == (ingest.name, ingest.noted)]
        waits = [reason for job in jobs if job.is_live and (reason := why_job_waits(job)) is not None]
        evidence = [snapshot.evidence[job.name] for job in jobs if job.name in snapshot.evidence]
        given_up = len(evidence) >= ATTEMPTS or any(not item.retryable for item in evidence)
        if given_up and not any(job.is_live for job in jobs):
            last = evidence[-1]
            label = f"read {ingest.name} from {ingest.address}"
            failures.append({"label": label, "reason": last.reason, "message": shortened(last.message)})
        elif waits:
            reasons += waits
        else:
            reasons.append(Reason(reason=INPUTS, message=f"{ingest.address} is read into the store", count=1))
    words = "; ".join(reason.message for reason in reasons) or "sources are resolved"
    if trial.is_suspended:
        progressing = condition(PROGRESSING, "False", "Suspended", "spec.suspend is true")
    elif failures:
        progressing = condition(PROGRESSING, "False", "StepsFailed", "a source could not be read")
    elif snapshot.store_error:
        progressing = condition(PROGRESSING, "Unknown", STORE_UNREACHABLE, snapshot.store_error)
    else:
        progressing = condition(PROGRESSING, "True", "ResolvingSources", words)
    return {
        "observedGeneration": trial.generation,
        "conditions": [
            condition(VALID, "True", "Accepted", "the specification is valid"),
            condition(AUDITED, "Unknown", "NotPrepared", "the data is not prepared yet"),
            progressing,
            condition(SUCCEEDED, "False" if failures else "Unknown", "StepsFailed", "a source could not be read")
            if failures
            else condition(SUCCEEDED, "Unknown", "Progressing", "there is no verdict yet"),
        ],
        "pending": grouped(reasons),
        "failures": failures[:FAILURES_SHOWN],
        "endpoint": endpoint_words(experiment),
    }


def invalid(trial: TrialState, snapshot: Snapshot) -> Status:
    """The status of an experiment against a rule: what the laptop says, in the same words."""
    if snapshot.store_error:
        return {
            "observedGeneration": trial.generation,
            "conditions": [condition(VALID, "Unknown", STORE_UNREACHABLE, snapshot.store_error)],
        }
    words = shortened(trial.invalid, length=16_384)
    return {
        "observedGeneration": trial.generation,
        "conditions": [
            condition(VALID, "False", "Invalid", words),
            condition(AUDITED, "Unknown", "Invalid", "the specification is not valid"),
            condition(PROGRESSING, "False", "Invalid", "the specification is not valid"),
            condition(SUCCEEDED, "False", "Invalid", "the specification is not valid"),
        ],
        "pending": [],
        "failures": [],
    }


def unlooked(body: Mapping[str, Any], *, reason: str, message: str) -> Status:
    """The status of an experiment at which a look failed: what was known stays, but whether it progresses."""
    current = body.get("status") or {}
    known = [item for item in current.get("conditions") or () if item.get("type") not in (PROGRESSING, TRACKED)]
    new = condition(PROGRESSING, "Unknown", reason, message)
    return {
        **current,
        "observedGeneration": current.get("observedGeneration", body["metadata"]["generation"]),
        "conditions": [
            *({name: item[name] for name in new} for item in known if new.keys() <= item.keys()),
            new,
        ],
    }


def own(current: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status that an object has, without the condition that another process writes."""
    conditions = current.get("conditions")
    if not any(item.get("type") == TRACKED for item in conditions or ()):
        return current
    return {**current, "conditions": [item for item in conditions or () if item.get("type") != TRACKED]}


def has_succeeded(status: Status) -> bool:
    """Whether a status says that the verdict is there."""
    return any(item["type"] == SUCCEEDED and item["status"] == "True" for item in status["conditions"])


def merged(new: Status, current: Mapping[str, Any] | None, *, now: str, created: str) -> Status:
    """The status as it is written: `new` with times of transition, and what it leaves open as it was.

    `current` is what the object has, perhaps edited by hand; `now` and `created` are times as Kubernetes writes them.
    """
    before = current or {}
    known = {item.get("type"): item for item in before.get("conditions") or () if isinstance(item, Mapping)}
    conditions = []
    for item in new["conditions"]:
        was = known.get(item["type"], {})
        same = was.get("status") == item["status"] and was.get("lastTransitionTime")
        conditions.append(
            {
                **item,
                "observedGeneration": new["observedGeneration"],
                "lastTransitionTime": was["lastTransitionTime"] if same else now,
            }
        )
    found = {**new, "conditions": conditions, "startTime": created}
    if "steps" not in new:
        found |= {name: before[name] for name in ("steps", "progress", "stages") if before.get(name)}
    succeeded = next((item for item in conditions if item["type"] == SUCCEEDED), None)
    if succeeded is not None and succeeded["status"] == "True":
        found["completionTime"] = succeeded["lastTransitionTime"]
    return found


def told(new: Status, current: Mapping[str, Any] | None) -> list[tuple[str, str, bool]]:
    """Reason, message and whether it is a warning of each event that a change of conditions amounts to."""
    known = {
        item.get("type"): (item.get("status"), item.get("reason"))
        for item in (current or {}).get("conditions") or ()
        if isinstance(item, Mapping)
    }
    events = []
    for item in new["conditions"]:
        kind, value, reason = item["type"], item["status"], item["reason"]
        if known.get(kind) == (value, reason) or (kind not in known and value == "Unknown"):
            continue
        if kind == PROGRESSING and value == "True" and known.get(kind, ("", ""))[0] == "True":
            # Between running and waiting it goes to and fro: no event each time.
            continue
        if (kind, value) == (AUDITED, "Unknown") or (kind == SUCCEEDED and value == "Unknown"):
            continue
        if reason == "Invalid" and kind != VALID:
            continue
        bad = (
            (kind != PROGRESSING and value == "False")
            or reason == "StepsFailed"
            or (kind, value) == (PROGRESSING, "Unknown")
        )
        if kind == SUCCEEDED and value == "False" and known.get(PROGRESSING) is None:
            continue
        events.append((reason, item["message"], bad))
    unique = {reason: (reason, message, bad) for reason, message, bad in events}
    return list(unique.values())


def seconds_left(plan: Plan, rates: Mapping[str, Rate], stands: Standing, *, lanes: int) -> int | None:
    """An estimate from Jobs that ended; None where some long step is of a stage of which none has ended.

    `lanes` is the number of Jobs that run now: what is left is shared out among as many.
    """
    total = 0.0
    for step in plan.steps:
        if stands.of[step.key] in (Stand.DONE, Stand.FAILED):
            continue
        rate = rates.get(stage_name(step.method))
        if rate is None or not rate.steps:
            if step.work:
                return None
            continue
        by_work = step.work and rate.work
        total += step.work * rate.seconds / rate.work if by_work else rate.seconds / rate.steps
    if not total:
        return None
    seconds = total / max(1, lanes)
    # Two digits: what is not known better need not be written anew each second.
    digits = 10 ** max(0, len(str(int(seconds))) - 2)
    return int(seconds // digits * digits) or 1


def _failed(plan: Plan, snapshot: Snapshot, stands: Standing) -> dict[str, StepFailure]:
    """Why each step that is given up failed last."""
    found = {}
    for step in stands.steps(plan, Stand.FAILED):
        attempts = [a for a in since_retry(snapshot.attempts[step.key]) if a.outcome == FAILED]
        found[step.key] = StepFailure(reason=attempts[-1].reason, message=attempts[-1].message)
    return found


def _progressing(trial: TrialState, snapshot: Snapshot, stands: Standing, *, running: int) -> dict[str, Any]:
    assert trial.plan is not None
    if trial.plan.report and stands.count(Stand.DONE) == len(stands.of):
        return finished()
    if trial.is_suspended:
        return condition(PROGRESSING, "False", "Suspended", "spec.suspend is true")
    if snapshot.store_error:
        return condition(PROGRESSING, "Unknown", STORE_UNREACHABLE, shortened(snapshot.store_error))
    if _is_stuck(stands):
        return stuck(stands.count(Stand.FAILED))
    if running:
        return condition(PROGRESSING, "True", "Running", "steps run")
    others = stands.count(Stand.CARRIED, Stand.ENDING, Stand.READY, Stand.PAUSED, Stand.ELSEWHERE, Stand.UNKNOWN)
    held = held_back(trial, snapshot, stands)
    if (over := snapshot.over_budget) is not None and held and others == len(held):
        return condition(PROGRESSING, "False", GPU_BUDGET, over.message)
    return condition(PROGRESSING, "True", "Waiting", "steps wait; see status.pending")


def _succeeded(trial: TrialState, snapshot: Snapshot, stands: Standing) -> dict[str, Any]:
    assert trial.plan is not None
    if trial.plan.report and stands.count(Stand.DONE) == len(stands.of) and snapshot.verdict is not None:
        return reached(snapshot.verdict)
    is_stuck = _is_stuck(stands) and not snapshot.store_error
    return unreached(trial.plan, failed=[s.key for s in stands.steps(trial.plan, Stand.FAILED)] if is_stuck else ())


def _is_stuck(stands: Standing) -> bool:
    """Whether steps failed for good and nothing else can go on."""
    return stands.count(Stand.FAILED) > 0 and not stands.count(
        Stand.CARRIED, Stand.ENDING, Stand.READY, Stand.PAUSED, Stand.ELSEWHERE, Stand.UNKNOWN
    )


def _running(snapshot: Snapshot, stands: Standing) -> dict[str, str]:
    """Of each Job with a running pod the step that it is at, as far as can be known: its first that is not done."""
    found = {}
    for job in snapshot.jobs:
        if job.is_live and job.has_running_pod:
            step = next((key for key in job.keys if stands.of.get(key) is Stand.CARRIED), None)
            if step is not None:
                found[step] = job.name
    return found
