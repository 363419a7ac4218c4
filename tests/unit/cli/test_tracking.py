"""MLflow on the command line: where it is shown, and that no trial fails for its sake."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.store import open_store
from syntrial.cli.tracked import Tracking, tracked
from syntrial.executors.executor import StepStarted
from tests.fake_mlflow import FakeMlflow, fake_mlflow
from tests.unit.cli.conftest import PHANTOM, Run
from tests.unit.tracking.conftest import EXPERIMENT, HandMade

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "USERNAME", "PASSWORD", "URI"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture
def mlflow() -> Iterator[FakeMlflow]:
    with fake_mlflow() as server:
        yield server


@pytest.fixture
def trial(tmp_path: Path) -> HandMade:
    """A whole trial in the store `here`, filed as small."""
    (tmp_path / "small.yaml").write_text(EXPERIMENT)
    return HandMade(store=open_store(tmp_path / "here"), uid="small").whole()


def test_track_shows_a_trial_and_says_where(run: Run, trial: HandMade, mlflow: FakeMlflow) -> None:
    code, out, err = run("track", "small.yaml", "--store", "here", "--mlflow", f"{mlflow.url}/")
    assert (code, err) == (0, "")
    top = mlflow.run("small")
    page = f"{mlflow.url}/#/experiments/1/runs/{top.id}?workflowType=machine_learning"
    assert out == f"11 runs, 11 of them written now\nMLflow: {page}\n"
    code, out, _ = run("track", "small.yaml", "--store", "here", "--mlflow", mlflow.url)
    assert (code, out.partition("\n")[0]) == (0, "11 runs, 0 of them written now")


def test_track_says_what_the_server_does_not_take(run: Run, trial: HandMade, mlflow: FakeMlflow) -> None:
    mlflow.passes_files_on = False
    code, _, err = run("track", "small.yaml", "--store", "here", "--mlflow", mlflow.url)
    assert (code, err) == (
        0,
        "MLflow: 5 files left out, since this server does not pass files on: start it with --serve-artifacts\n",
    )


@pytest.mark.parametrize(("status", "code"), [(403, 2), (404, 2), (500, 1)])
def test_track_fails_where_the_server_refuses(
    run: Run, trial: HandMade, mlflow: FakeMlflow, status: int, code: int
) -> None:
    mlflow.refusal = (status, "")
    found, _, err = run("track", "small.yaml", "--store", "here", "--mlflow", mlflow.url)
    assert found == code
    assert f"HTTP {status}" in err
    assert "Traceback" not in err


def test_track_of_a_trial_that_never_ran_says_so(run: Run, tmp_path: Path, mlflow: FakeMlflow) -> None:
    (tmp_path / "small.yaml").write_text(PHANTOM)
    code, _, err = run("track", "small.yaml", "--store", "here", "--mlflow", mlflow.url)
    assert code == 1
    assert "has no plan of experiment small yet" in err


def test_no_variable_of_mlflows_names_the_server(run: Run, trial: HandMade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    code, _, err = run("track", "small.yaml", "--store", "here")
    assert code == 2
    assert "--mlflow" in err


@pytest.mark.parametrize("command", ["run", "track"])
def test_what_is_no_address_is_refused_before_anything_runs(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "small.yaml").write_text(PHANTOM)
    code, out, err = run(command, "small.yaml", "--store", "here", "--mlflow", "mlruns")
    assert (code, out) == (2, "")
    for words in ("--mlflow", "is the http or https address of an MLflow server", "mlruns"):
        assert words in err
    assert not (tmp_path / "here").exists()


def test_a_run_goes_on_without_its_server_and_says_how_to_send_later(
    trial: HandMade, mlflow: FakeMlflow, capfd: pytest.CaptureFixture[str]
) -> None:
    mlflow.refusal = (403, "")
    tracking = Tracking(address=mlflow.url, spelling="small.yaml --store here")
    with tracked(tracking, store=trial.store, name="small", uid="small") as (tell, send_rest):
        assert "the trial goes on" in capfd.readouterr().err
        tell(StepStarted(key="k", attempt=1, place="here"))
    send_rest()
    err = capfd.readouterr().err
    assert "the server lets this user write" in err
    assert f"send it later: syntrial track small.yaml --store here --mlflow {mlflow.url}\n" in err


def test_a_run_that_is_shown_nowhere_asks_nobody(trial: HandMade, mlflow: FakeMlflow) -> None:
    with tracked(None, store=trial.store, name="small", uid="small") as (tell, send_rest):
        tell(StepStarted(key="k", attempt=1, place="here"))
    send_rest()
    assert mlflow.asked == []
