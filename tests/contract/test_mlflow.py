"""MLflow's REST API, by the door: what it answers, of the stand-in that fast tests have and of the real server."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from syntrial.artifacts.store import open_store
from syntrial.errors import TrackingRefused, TrackingUnavailable
from syntrial.tracking.sending import RUN_TAG, TRIAL_TAG, send
from syntrial.tracking.server import Metric, Server
from tests.conftest import REPOSITORY
from tests.fake_mlflow import fake_mlflow
from tests.unit.tracking.conftest import HandMade
from tests.unit.trial_records import UID

MLFLOW = "mlflow==3.17.2"
START_SECONDS = 240


@pytest.fixture(scope="module")
def real_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server, in an environment of its own: that of SYNTRIAL_TEST_MLFLOW, or one made here."""
    home = tmp_path_factory.mktemp("mlflow")
    environment = Path(os.environ.get("SYNTRIAL_TEST_MLFLOW", home / "venv"))
    if not environment.exists():
        uv = str(REPOSITORY / ".venv" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", "3.11", str(environment)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), MLFLOW]
        made = subprocess.run(install, check=False, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no MLflow: {made.stderr[-300:]}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(environment / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{home}/db.sqlite"]
    command += ["--artifacts-destination", str(home / "files")]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=quiet, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(address):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < until, (home / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health", timeout=5.0).is_success
    except httpx2.HTTPError:
        return False


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The door to the stand-in, or to the real server."""
    if request.param == "real":
        with closing(Server(request.getfixturevalue("real_mlflow"), environment={}, silence=60.0)) as opened:
            yield opened
        return
    with fake_mlflow() as found, closing(Server(found.url, environment={})) as opened:
        yield opened


def test_an_experiment_is_found_again(server: Server) -> None:
    made = server.experiment("found again", tags={"a": "b"})
    assert server.experiment("found again", tags={}) == made
    assert server.experiment("another", tags={}) != made


def test_a_run_is_found_again_with_all_that_it_was_told(server: Server) -> None:
    experiment = server.experiment("told", tags={})
    run = server.create(experiment, name="one", tags={"syntrial.trial": "t1"}, began=1_700_000_000_000)
    params = {f"synthetic.gan/p {number}": "x" * 500 for number in range(150)}
    metrics = [Metric(name="judged/auroc_low", value=step / 7, step=step, time=run.began) for step in range(1200)]
    server.log(run.id, params=params, metrics=metrics, tags={"mlflow.note.content": "**bold**" * 600})
    server.update(run.id, name="one more", state="FINISHED", ended=1_700_000_001_000)
    server.create(experiment, name="two", tags={"syntrial.trial": "t2"}, began=1_700_000_000_000)
    (found,) = server.runs(experiment, tag="syntrial.trial", value="t1")
    assert (found.id, found.began) == (run.id, 1_700_000_000_000)
    assert found.params == params
    assert found.latest == {"judged/auroc_low": (1199, 1199 / 7)}
    assert found.tags["mlflow.note.content"] == "**bold**" * 600
    assert server.put_file(found, "pictures/a b.png", b"\x89PNG")


def test_a_param_keeps_its_first_value(server: Server) -> None:
    experiment = server.experiment("params", tags={})
    run = server.create(experiment, name="one", tags={}, began=1)
    server.log(run.id, params={"a": "1"}, metrics=(), tags={})
    server.log(run.id, params={"a": "1"}, metrics=(), tags={})
    with pytest.raises(TrackingUnavailable, match="INVALID_PARAMETER_VALUE"):
        server.log(run.id, params={"a": "2"}, metrics=(), tags={})


def test_the_same_value_twice_is_one(server: Server) -> None:
    experiment = server.experiment("twice", tags={})
    run = server.create(experiment, name="one", tags={"k": "v"}, began=5)
    values = [Metric(name="loss", value=0.5, step=step, time=5) for step in range(3)]
    for _ in range(2):
        server.log(run.id, params={}, metrics=values, tags={})
    history = httpx2.get(
        f"{server.address}/api/2.0/mlflow/metrics/get-history", params={"run_id": run.id, "metric_key": "loss"}
    )
    assert [value["step"] for value in history.json()["metrics"]] == [0, 1, 2]


def test_a_run_that_is_not_there_is_said_not_to_be(server: Server) -> None:
    with pytest.raises((TrackingUnavailable, TrackingRefused)):
        server.log("0" * 32, params={"a": "1"}, metrics=(), tags={})


def test_a_trial_is_there_once_however_often_it_is_sent(server: Server, trial: HandMade) -> None:
    trial.search(is_chosen=False)
    trial.file("choose the best trial of gan")
    send(trial.store, name="sent", uid=UID, server=server)
    trial.labels.clear()
    trial.whole()
    first = send(trial.store, name="sent", uid=UID, server=server)
    again = send(trial.store, name="sent", uid=UID, server=server)
    assert (first.written > 0, again.written) == (True, 0)
    found = [*server.runs(server.experiment("sent", tags={}), tag=TRIAL_TAG, value=first.material.trial)]
    assert len({run.tags[RUN_TAG] for run in found}) == len(found) == first.runs
    assert not first.files_left_out


@pytest.fixture
def trial() -> HandMade:
    """A trial with nothing done."""
    return HandMade(store=open_store("memory://"))
