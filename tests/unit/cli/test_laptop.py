"""The commands on a trial of this machine: what its file and its store say, in the words of a cluster's."""

from pathlib import Path

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.cluster.crd.status import Status
from syntrial.documents.search import MEMBER, NAME
from syntrial.experiment.file import parse_experiment
from syntrial.experiment.model import Experiment
from syntrial.plan.steps import Step
from syntrial.rpc.testing import MemberValue, put_member
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.handle import LocalTrial
from syntrial.trial.run import Trial, draft, grow, open_test_split, register, with_looks
from tests.unit.cli.conftest import PHANTOM, Run
from tests.unit.trial_records import REPORT, image_set

VERDICT = {
    "outcome": "improves",
    "by_less_than_margin": False,
    "words": "It improves.",
    "estimate": 0.1,
    "interval_95": [0.05, 0.15],
}
WHOLE_REPORT = {**REPORT, "verdict": VERDICT, "endpoint": {"metric": "auroc"}}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "here")


@pytest.fixture(autouse=True)
def _short_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that was made by hand has not all that the summary shows."""
    monkeypatch.setattr("syntrial.analysis.tables.terminal_summary", lambda report: report["verdict"]["words"])


@pytest.fixture
def trial(store: ArtifactStore, tmp_path: Path) -> Trial:
    """The trial of small.yaml, registered and with nothing done."""
    (tmp_path / "small.yaml").write_text(PHANTOM)
    experiment = parse_experiment(PHANTOM)
    made = draft(experiment, resolve_sources(experiment, base=tmp_path, store=store))
    register(made, store=store)
    return made


def do(store: ArtifactStore, step: Step, members: dict[str, MemberValue]) -> None:
    writer = store.writer(step.key, method=step.method, stage_version=1, request={})
    for name, value in members.items():
        put_member(writer, name, value)
    store.commit(writer)


def finish(store: ArtifactStore, trial: Trial) -> Trial:
    """Puts results in the place of all steps, as a run leaves them."""
    for step in (*trial.plan.training, *trial.plan.evaluation):
        is_dataset = step.key == trial.plan.dataset
        made: dict[str, MemberValue] = {"test": image_set()} if is_dataset else {"made": {"a.json": {}}}
        if step.key in trial.plan.undecided:
            made[MEMBER] = {NAME: {"schema": 1, "kind": "quota"}}
        do(store, step, made)
    trial = grow(trial, store=store)
    whole = with_looks(trial, open_test_split(trial, store=store))
    register(whole, store=store)
    do(store, whole.plan.report[0], {"report": {"report.json": WHOLE_REPORT, "report.html": b"<!doctype html>"}})
    return whole


def fail(store: ArtifactStore, step: Step) -> None:
    entry = {"outcome": "failed", "reason": "UserError", "message": "too few [images]", "log": "what it printed"}
    store.add_attempt(step.key, entry, experiment="small")


def status_of(trial: Trial, store: ArtifactStore) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition; the whole is of the schema that the API server keeps."""
    handle = LocalTrial(
        trial.experiment, store=store, spelling="small.yaml", draft=lambda: trial, run=lambda _trial: None
    )
    found = handle.look().found
    Status.model_validate(
        {
            **found,
            "conditions": [{**item, "lastTransitionTime": "2026-01-01T00:00:00Z"} for item in found["conditions"]],
        }
    )
    return {item["type"]: (item["status"], item["reason"]) for item in found["conditions"]}


def test_the_status_before_a_run_names_the_command_that_begins_it(trial: Trial, store: ArtifactStore, run: Run) -> None:
    assert status_of(trial, store) == {
        "Valid": ("True", "Planned"),
        "Audited": ("Unknown", "NotPrepared"),
        "Progressing": ("Unknown", "NotWatched"),
        "Succeeded": ("Unknown", "Progressing"),
    }
    code, out, _ = run("status", "small.yaml", "--store", "here")
    assert code == 0
    assert f"small  0 of {len(trial.plan.steps) + 1} steps done" in out
    assert "classification" in out
    assert "next: syntrial run small.yaml --store here" in out


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_trial_of_too_many_steps_is_refused_before_anything_is_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "large.yaml").write_text(PHANTOM)
    monkeypatch.setenv("SYNTRIAL_STEP_LIMIT", "12")
    code, _, err = run(command, "large.yaml", "--store", "here")
    assert code == 2
    for words in (
        "error: spec",
        "a trial has at most 12 steps",
        "received: 37 steps: 1 synthetic set with 1 replicate",
    ):
        assert words in err
    assert "SYNTRIAL_STEP_LIMIT" in err
    assert not (tmp_path / "runs").exists()


def test_a_finished_trial_has_its_verdict_its_report_and_its_export(
    trial: Trial, store: ArtifactStore, run: Run, tmp_path: Path
) -> None:
    whole = finish(store, trial)
    assert status_of(grow(trial, store=store), store) == {
        "Valid": ("True", "Planned"),
        "Audited": ("True", "Audited"),
        "Progressing": ("False", "Finished"),
        "Succeeded": ("True", "VerdictReached"),
    }
    total = len(whole.plan.steps)
    code, out, _ = run("status", "small.yaml", "--store", "here", "--watch")
    assert code == 0
    for part in (f"{total} of {total} steps done", "IMPROVES", "It improves.", "syntrial report small.yaml"):
        assert part in out
    code, out, _ = run("report", "small.yaml", "--store", "here")
    assert code == 0
    assert "It improves." in out
    assert (tmp_path / "runs" / "small" / "report.html").read_text() == "<!doctype html>"
    assert run("export", "small.yaml", "home", "--store", "here")[0] == 0
    assert (tmp_path / "home" / "experiment.yaml").exists()


def test_the_report_of_a_changed_file_is_not_that_of_what_ran(
    trial: Trial, store: ArtifactStore, run: Run, tmp_path: Path
) -> None:
    finish(store, trial)
    (tmp_path / "small.yaml").write_text(f"# a remark\n{PHANTOM}  cluster: {{queueName: a}}\n")
    assert "has changed" not in run("report", "small.yaml", "--store", "here", "--out", "o")[2]
    (tmp_path / "small.yaml").write_text(f"{PHANTOM}  replicates: 3\n")
    code, _, err = run("report", "small.yaml", "--store", "here")
    assert code == 1
    assert "has changed since it ran" in err
    assert not (tmp_path / "runs").exists()
    code, _, err = run("logs", "small.yaml", "--store", "here")
    assert code == 0
    assert "this is what ran before" in err


def test_a_step_that_failed_for_good_is_shown_and_its_log_kept(trial: Trial, store: ArtifactStore, run: Run) -> None:
    fail(store, trial.plan.training[0])
    found = status_of(trial, store)
    assert found["Audited"] == ("False", "UserError")
    assert found["Progressing"] == ("False", "StepsFailed")
    assert found["Succeeded"] == ("False", "StepsFailed")
    code, out, _ = run("status", "small.yaml", "--store", "here", "--watch")
    assert code == 1
    for part in ("failed: prepare", "too few [images]", "next: syntrial logs small.yaml --store here; mend the cause"):
        assert part in out
    assert "what it printed" in run("logs", "small.yaml", "prepare", "--store", "here")[1]
    code, _, err = run("logs", "small.yaml", "absent", "--store", "here")
    assert code == 2
    assert "STEP" in err


def test_following_what_no_pod_prints_is_refused(trial: Trial, store: ArtifactStore, run: Run) -> None:
    fail(store, trial.plan.training[0])
    code, out, err = run("logs", "small.yaml", "--store", "here", "--follow")
    assert code == 2
    assert "--follow" in err
    assert not out


def test_a_retry_forgives_and_runs(
    trial: Trial, store: ArtifactStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Trial] = []
    monkeypatch.setattr("syntrial.cli.places.run_draft", lambda drafted, **_: ran.append(drafted))
    step = trial.plan.training[0]
    fail(store, step)
    assert run("run", "small.yaml", "--store", "here")[0] == 2
    code, out, _ = run("retry", "small.yaml", "--store", "here")
    assert code == 0
    assert f"tried again: {step.label}" in out
    assert [drafted.plan.dataset for drafted in ran] == [trial.plan.dataset]
    assert store.attempts(step.key, experiment="small")[-1].outcome == "retry"


def test_judge_gives_its_options_on_to_the_experiment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("real/ill", "real/well", "made/0_ill", "made/well"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.webp").touch()
    judged: list[Experiment] = []
    monkeypatch.setattr("syntrial.cli.laptop.run_here", lambda experiment, **_: judged.append(experiment))
    folders = ("judge", "--real", "real", "--synthetic", "made")
    assert run(*folders, "--class-map", "0_ill=ill", "--class-map", "well=healthy", "--color-mode", "grey")[0] == 0
    spec = judged[0].spec
    assert spec.dataset.class_map == {"well": "healthy"}
    assert spec.synthetic[0].images is not None
    assert spec.synthetic[0].images.class_map == {"0_ill": "ill", "well": "healthy"}
    assert spec.dataset.color_mode == "grey"
    code, _, err = run(*folders, "--class-map", "ill")
    assert code == 2
    assert "OTHER=NAME" in err
