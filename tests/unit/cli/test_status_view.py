import io
from typing import Any

import pytest
from rich.console import Console

from syntrial.cli.status_view import next_command, seconds_words, status_line, status_view
from syntrial.remote.experiments import Remote
from syntrial.trial.status import TrialStatus
from syntrial.v1.progress_pb2 import StepProgress

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {"type": "Valid", "status": "True", "reason": "Planned", "message": "40 steps"},
        {"type": "Progressing", "status": "True", "reason": "Running", "message": "steps run"},
    ],
    "steps": {"total": 40, "done": 12, "running": 2, "failed": 1, "waiting": 25},
    "stages": [{"name": "generation", "total": 4, "done": 2, "running": 1, "failed": 1}],
    "secondsLeft": 320,
    "pending": [{"reason": "Unschedulable", "message": "1 Insufficient nvidia.com/gpu", "count": 3}],
    "failures": [{"label": "filter edm", "key": "ab" * 32, "reason": "UserError", "message": "too few [images]"}],
}


def remote(status: dict[str, Any], *, generation: int = 1, **spec: Any) -> TrialStatus:
    tree = {"metadata": {"uid": "u", "generation": generation}, "spec": spec, "status": status}
    return Remote(name="small", namespace="lab", tree=tree).status


def shown(found: TrialStatus, *, running: dict[str, StepProgress] | None = None) -> str:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(status_view(found, running=running or {}, spelling="small -n lab"))
    return console.export_text()


def test_the_status_says_counts_reasons_failures_and_what_next() -> None:
    text = shown(remote(STATUS))
    for part in (
        "lab/small  12 of 40 steps done; 2 running; 25 waiting; 1 failed; about 5 min left",
        "Planned",
        "2/4",
        "waits: Unschedulable (3): 1 Insufficient nvidia.com/gpu",
        "failed: filter edm (key abababababab)",
        "UserError: too few [images]",
        "next: syntrial logs small -n lab",
    ):
        assert part in text


def test_running_steps_show_their_rate_and_the_time_left() -> None:
    progress = StepProgress(
        key="k" * 64, method="syntrial.v1.GenerationService/TrainGenerator", activity="training", done=500, total=2000
    )
    progress.unit, progress.rate = "images", 50.0
    progress.figures["loss"] = 0.25
    text = shown(remote(STATUS), running={"train diffusion edm": progress})
    assert "train diffusion edm" in text
    for part in ("training", "500 of 2,000 images", "50 images/s", "30 s", "loss 0.25"):
        assert part in text


def test_an_experiment_that_nobody_looked_at_asks_for_the_controller() -> None:
    assert "is the controller running?" in shown(remote({}))


def test_a_change_that_is_not_taken_up_yet_is_said() -> None:
    assert "the last change is not taken up yet" in shown(remote(STATUS, generation=2))


def test_a_verdict_is_shown_with_its_words_and_the_command_for_the_report() -> None:
    verdict = {"decision": "improves", "words": "augment-100 with edm improves AUROC"}
    conditions = [{"type": "Succeeded", "status": "True", "reason": "VerdictReached"}]
    report = {"address": "s3://bucket/lab/experiments", "key": "r"}
    text = shown(remote({"conditions": conditions, "verdict": verdict, "endpoint": "auroc, edm", "report": report}))
    for part in ("IMPROVES  auroc, edm", "improves AUROC", "s3://bucket", "next: syntrial report small -n lab --open"):
        assert part in text


def test_a_harm_within_the_margin_is_not_shouted() -> None:
    small = {"decision": "harms", "byLessThanMargin": True, "words": "by less than the margin of 0.01"}
    assert "Harms by less than the margin" in shown(remote({"verdict": small}))
    assert "HARMS" not in shown(remote({"verdict": small}))
    assert "HARMS" in shown(remote({"verdict": {**small, "byLessThanMargin": False}}))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (remote({"conditions": [{"type": "Valid", "status": "False"}]}), "mend the experiment"),
        (remote({"conditions": []}, suspend=True), "syntrial retry small"),
        (remote({"conditions": []}), ""),
    ],
)
def test_what_a_person_would_do_next(found: TrialStatus, words: str) -> None:
    assert words in next_command(found, spelling="small")
    assert bool(next_command(found, spelling="small")) is bool(words)


def test_a_line_for_output_that_is_no_terminal() -> None:
    line = status_line(remote(STATUS))
    assert "\n" not in line
    assert "12 of 40" in line
    assert "Unschedulable: 1 Insufficient nvidia.com/gpu" in line


@pytest.mark.parametrize(("seconds", "words"), [(40.4, "40 s"), (320, "5 min"), (7800, "2 h 10 min")])
def test_times_are_worded_for_a_person(seconds: float, words: str) -> None:
    assert seconds_words(seconds) == words
