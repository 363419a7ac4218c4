"""What the status says, by the conventions of the Kubernetes API. Pure.

`status` and its like give it without times of transition; `merged` adds those, from the status that the object has.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from syntrial.controller.batching import stage_name
from syntrial.controller.snapshot import Rate, Snapshot, TrialState
from syntrial.controller.standing import ATTEMPTS, Stand, Standing, since_retry
from syntrial.controller.waiting import (
    INPUTS,
    STORE_UNREACHABLE,
    Reason,
    grouped,
    pending,
    why_job_waits,
)
from syntrial.experiment.model import Experiment
from syntrial.plan.steps import Plan, Step
from syntrial.stages import STAGES

VALID: Final = "Valid"
AUDITED: Final = "Audited"
PROGRESSING: Final = "Progressing"
SUCCEEDED: Final = "Succeeded"

FAILURES_SHOWN: Final = 8
MESSAGE_BYTES: Final = 1024

Status = dict[str, Any]


def status(trial: TrialState, snapshot: Snapshot, stands: Standing) -> Status:
    """The status of a trial that is planned."""
    assert trial.plan is not None
    assert trial.experiment is not None
    plan = trial.plan
    running = _running(snapshot, stands)
    report_key = plan.report[-1].key if plan.report else ""
    found: Status = {
        "observedGeneration": trial.generation,
        "conditions": [
            condition(VALID, "True", "Planned", f"{len(plan.steps)} steps"),
            _audited(plan, snapshot, stands),
            _progressing(trial, snapshot, stands, running=len(running)),
            _succeeded(trial, snapshot, stands),
        ],
        "pending": pending(trial, snapshot, stands),
        "failures": _failures(plan, snapshot, stands),
        "endpoint": endpoint_words(trial.experiment),
    }
    if not (snapshot.store_error and stands.count(Stand.UNKNOWN)):
        # Where nothing is known of some steps, the counts stay what they were: see `merged`.
        total = len(plan.steps) + (0 if plan.report else 1)
        done, failed = stands.count(Stand.DONE), stands.count(Stand.FAILED)
        counts = {"total": total, "done": done, "running": len(running), "failed": failed}
        found["steps"] = {**counts, "waiting": total - done - len(running) - failed}
        found["progress"] = f"{done}/{total}"
        found["stages"] = _stages(plan, stands, running=running)
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
        jobs = [job for job in snapshot.jobs if job.source == (ingest.name, ingest.address)]
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


def condition(kind: str, value: str, reason: str, message: str) -> dict[str, Any]:
    """A condition without its time of transition."""
    return {"type": kind, "status": value, "reason": reason, "message": message}


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
        bad = (kind != PROGRESSING and value == "False") or reason in {STORE_UNREACHABLE, "StepsFailed"}
        if kind == SUCCEEDED and value == "False" and known.get(PROGRESSING) is None:
            continue
        events.append((reason, item["message"], bad))
    unique = {reason: (reason, message, bad) for reason, message, bad in events}
    return list(unique.values())


def endpoint_words(experiment: Experiment) -> str:
    """The primary comparison in words: "auroc, augment-100 with edm, small-cnn"."""
    spec = experiment.spec
    return (
        f"{spec.endpoint.metric}, {spec.primary_arm.name} with {spec.primary_synthetic.name}, "
        f"{spec.primary_classifier.title}"
    )


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


def shortened(text: str, *, length: int = MESSAGE_BYTES) -> str:
    """At most so many bytes of UTF-8, its end left out."""
    data = text.encode()
    return text if len(data) <= length else data[: length - 3].decode(errors="ignore") + "…"


def _audited(plan: Plan, snapshot: Snapshot, stands: Standing) -> dict[str, Any]:
    steps = [step for step in plan.steps if stage_name(step.method) == "data_prep"]
    failed = [step for step in steps if stands.of[step.key] is Stand.FAILED]
    if failed:
        attempt = since_retry(snapshot.attempts[failed[0].key])[-1]
        return condition(AUDITED, "False", attempt.reason or "Failed", shortened(attempt.message))
    if all(stands.of[step.key] is Stand.DONE for step in steps):
        return condition(AUDITED, "True", "Audited", "the data is prepared and its leaks are judged; see the report")
    return condition(AUDITED, "Unknown", "NotPrepared", "the data is not prepared yet")


def _progressing(trial: TrialState, snapshot: Snapshot, stands: Standing, *, running: int) -> dict[str, Any]:
    assert trial.plan is not None
    if trial.plan.report and stands.count(Stand.DONE) == len(stands.of):
        return condition(PROGRESSING, "False", "Finished", "all steps are done")
    if trial.is_suspended:
        return condition(PROGRESSING, "False", "Suspended", "spec.suspend is true")
    if snapshot.store_error:
        return condition(PROGRESSING, "Unknown", STORE_UNREACHABLE, shortened(snapshot.store_error))
    if _is_stuck(stands):
        failed = stands.count(Stand.FAILED)
        return condition(PROGRESSING, "False", "StepsFailed", f"{failed} failed; `syntrial retry` tries again")
    if running:
        return condition(PROGRESSING, "True", "Running", "steps run")
    return condition(PROGRESSING, "True", "Waiting", "steps wait; see status.pending")


def _succeeded(trial: TrialState, snapshot: Snapshot, stands: Standing) -> dict[str, Any]:
    assert trial.plan is not None
    if trial.plan.report and stands.count(Stand.DONE) == len(stands.of) and snapshot.verdict is not None:
        return condition(SUCCEEDED, "True", "VerdictReached", shortened(str(snapshot.verdict.get("words", ""))))
    if _is_stuck(stands) and not snapshot.store_error:
        labels = [step.label for step in stands.steps(trial.plan, Stand.FAILED)]
        return condition(SUCCEEDED, "False", "StepsFailed", shortened(", ".join(labels)))
    return condition(SUCCEEDED, "Unknown", "Progressing", "there is no verdict yet")


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


def _stages(plan: Plan, stands: Standing, *, running: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for name in STAGES:
        steps = [step for step in plan.steps if stage_name(step.method) == name]
        extra = 1 if name == "analysis" and not plan.report else 0
        if steps or extra:
            of = [stands.of[step.key] for step in steps]
            found.append(
                {
                    "name": name,
                    "total": len(steps) + extra,
                    "done": of.count(Stand.DONE),
                    "running": sum(step.key in running for step in steps),
                    "failed": of.count(Stand.FAILED),
                }
            )
    return found


def _failures(plan: Plan, snapshot: Snapshot, stands: Standing) -> list[dict[str, Any]]:
    def entry(step: Step) -> dict[str, Any]:
        attempts = [a for a in since_retry(snapshot.attempts[step.key]) if a.outcome == "failed"]
        last = attempts[-1]
        return {"label": step.label, "key": step.key, "reason": last.reason, "message": shortened(last.message)}

    failed: Sequence[Step] = stands.steps(plan, Stand.FAILED)
    return [entry(step) for step in failed[:FAILURES_SHOWN]]
