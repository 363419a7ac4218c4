"""What the status says, and what is kept of what it said before."""

from typing import Any

import pytest

from syntrial.controller.conditions import merged, seconds_left, told
from syntrial.controller.reconcile import reconcile
from syntrial.controller.snapshot import AttemptView, Rate
from syntrial.controller.standing import standing
from syntrial.controller.views import PodView
from syntrial.trial.status import condition, shortened
from tests.unit.controller.test_reconcile import PLAN, WHOLE, failed, job, running_pod, snapshot, trial

EARLIER, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
VERDICT = {"decision": "improves", "words": "It helps."}


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def test_a_trial_that_is_done_has_succeeded_with_its_verdict() -> None:
    done = [step.label for step in WHOLE.steps]
    found = reconcile(trial(WHOLE), snapshot(done=done, verdict=VERDICT, report_address="s3://b/artifacts/k")).status
    assert conditions(found) == {
        "Valid": ("True", "Planned"),
        "Audited": ("True", "Audited"),
        "Progressing": ("False", "Finished"),
        "Succeeded": ("True", "VerdictReached"),
    }
    assert found["report"] == {"address": "s3://b/artifacts/k", "key": WHOLE.report[0].key}
    assert found["progress"] == "6/6"


def test_counts_hold_the_report_before_it_is_planned() -> None:
    found = reconcile(trial(), snapshot(done=["dataset"], jobs=(job("a", "b", pods=(running_pod(),)),))).status
    assert found["steps"] == {"total": 6, "done": 1, "running": 1, "failed": 0, "waiting": 4}
    assert found["progress"] == "1/6"
    assert {item["name"]: item["total"] for item in found["stages"]} == {
        "data_prep": 1,
        "classification": 4,
        "analysis": 1,
    }


def test_a_failed_step_ends_the_trial_only_once_nothing_else_goes_on() -> None:
    attempts = {"a": (failed(1, "UserError"),)}
    goes_on = reconcile(trial(), snapshot(done=["dataset", "b"], attempts=attempts, jobs=(job("long"),))).status
    assert conditions(goes_on)["Succeeded"] == ("Unknown", "Progressing")
    assert goes_on["steps"]["failed"] == 1
    stuck = reconcile(trial(), snapshot(done=["dataset", "b", "long"], attempts=attempts)).status
    assert conditions(stuck)["Succeeded"] == ("False", "StepsFailed")
    assert conditions(stuck)["Progressing"] == ("False", "StepsFailed")
    assert stuck["failures"] == [{"label": "a", "key": PLAN.training[1].key, "reason": "UserError", "message": "no"}]


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ({"unschedulable": "0/1 nodes"}, "Unschedulable"),
        ({"waiting": "ImagePullBackOff", "message": "no such image"}, "ImagePull"),
        ({"waiting": "ErrImageNeverPull"}, "ImagePull"),
        ({"waiting": "CreateContainerConfigError", "message": 'secret "x" not found'}, "Configuration"),
    ],
)
def test_what_keeps_a_pod_from_running_is_told(pod: dict[str, str], reason: str) -> None:
    fields = {"name": "p", "uid": "p", "job": "j", "phase": "Pending", "is_stopping": False, "exit_code": None}
    texts = {"namespace": "trials", "experiment": "u", "unschedulable": "", "waiting": "", "message": "", "ended": ""}
    view = PodView(**(fields | texts | pod))  # type: ignore[arg-type]
    found = reconcile(trial(), snapshot(done=["dataset", "long"], jobs=(job("a", "b", pods=(view,)),))).status
    assert [(item["reason"], item["count"]) for item in found["pending"]] == [(reason, 2)]
    assert conditions(found)["Progressing"] == ("True", "Waiting")


def test_a_quota_on_pods_is_told_of_a_job_that_has_none() -> None:
    live = job("a", "b")
    said = 'pods "x" is forbidden: exceeded quota: few'
    found = reconcile(trial(), snapshot(done=["dataset", "long"], jobs=(live,), refused_pods={live.name: said})).status
    assert [(item["reason"], item["message"]) for item in found["pending"]] == [("QuotaExceeded", said)]


def test_a_paused_step_says_why_and_memory_has_a_word_of_its_own() -> None:
    seen = {PLAN.training[1].key: 99.0, PLAN.training[2].key: 99.0}
    attempts = {"a": (failed(1),), "b": (failed(1, "OutOfMemory"),)}
    found = reconcile(trial(), snapshot(done=["dataset", "long"], attempts=attempts, failed_at=seen)).status
    assert {item["reason"] for item in found["pending"]} == {"BackOff", "OutOfMemory"}


def test_times_of_transition_stay_while_a_status_stays() -> None:
    new = {"observedGeneration": 2, "conditions": [condition("Valid", "True", "Planned", "12 steps")]}
    before = {
        "conditions": [{**condition("Valid", "True", "Accepted", ""), "lastTransitionTime": EARLIER}],
        "progress": "3/9",
        "steps": {"total": 9},
    }
    found = merged(new, before, now=NOW, created=EARLIER)
    assert found["conditions"][0]["lastTransitionTime"] == EARLIER
    assert found["conditions"][0]["reason"] == "Planned"
    assert (found["progress"], found["steps"]) == ("3/9", {"total": 9}), "what is not known stays as it was"
    changed = {**new, "conditions": [condition("Valid", "False", "Invalid", "")]}
    assert merged(changed, before, now=NOW, created=EARLIER)["conditions"][0]["lastTransitionTime"] == NOW


def test_a_status_of_rubbish_is_replaced() -> None:
    new = {"observedGeneration": 1, "conditions": [condition("Valid", "True", "Planned", "")]}
    found = merged(new, {"conditions": ["x", {"type": "Valid"}], "steps": None}, now=NOW, created=EARLIER)
    assert found["conditions"][0]["lastTransitionTime"] == NOW
    assert "steps" not in found


def test_events_tell_of_changes_and_not_of_running_and_waiting_in_turns() -> None:
    running = {"conditions": [condition("Progressing", "True", "Running", "steps run")]}
    waiting = {"conditions": [condition("Progressing", "True", "Waiting", "steps wait")]}
    assert told(running, None) == [("Running", "steps run", False)]
    assert told(waiting, running) == []
    failing = {"conditions": [condition("Progressing", "False", "StepsFailed", "1 failed")]}
    assert told(failing, running) == [("StepsFailed", "1 failed", True)]


def test_time_left_is_told_where_it_is_known_and_in_two_digits() -> None:
    stands = standing(trial(), snapshot(done=["dataset"], jobs=(job("a"), job("long"))))
    assert seconds_left(PLAN, {}, stands, lanes=1) is None
    rates = {"classification": Rate(seconds=1234.0, steps=10, work=1e9)}
    assert seconds_left(PLAN, rates, stands, lanes=1) == 1600
    assert seconds_left(PLAN, rates, stands, lanes=2) == 800


def test_messages_are_cut_at_a_whole_character() -> None:
    assert shortened("é" * 1000, length=101).encode() == ("é" * 49).encode() + "…".encode()
    assert shortened("short") == "short"


def test_attempts_without_a_failure_leave_no_failure_in_the_status() -> None:
    stopped = (AttemptView(number=1, outcome="cancelled", reason="Cancelled"),)
    found = reconcile(trial(), snapshot(done=["dataset"], attempts={"a": stopped})).status
    assert found["failures"] == []
