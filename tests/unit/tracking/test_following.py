"""A run that is followed is never held up, and what could not be sent is told at its end."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from syntrial.errors import SyntrialError, TrackingUnavailable
from syntrial.tracking.following import Follower
from syntrial.tracking.server import Server
from tests.fake_mlflow import FakeMlflow
from tests.unit.tracking.conftest import HandMade
from tests.unit.trial_records import UID


def follower(trial: HandMade, mlflow: FakeMlflow, **settings: Any) -> Follower:
    def opened(address: str) -> Server:
        return Server(address, environment={}, silence=settings.pop("silence", 5.0))

    return Follower(mlflow.url, store=trial.store, name="small", uid=UID, open_server=opened, between=0.01, **settings)


def wait_for(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_ends_while_the_trial_runs_is_there_before_its_end(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.search()
    trial.file("write the report")
    with follower(trial, mlflow) as found:
        found.tell()
        wait_for(lambda: any(run.name == "gan trial 2" and run.ended for run in mlflow.runs.values()))
        trial.labels.clear()
        trial.whole()
    done = found.finish()
    assert mlflow.run("small").status == "FINISHED"
    assert (done.runs, len(mlflow.runs)) == (11, 11)
    assert not any(thread.name == "mlflow" for thread in threading.enumerate())


def test_a_server_that_was_away_gets_all_of_it_at_the_end(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    mlflow.refusal = (503, "")
    with follower(trial, mlflow, away=60.0) as found:
        found.tell()
        wait_for(lambda: bool(mlflow.asked))
        mlflow.refusal = None
    assert found.finish().written == 11


def test_a_server_that_says_nothing_holds_nothing_up(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    mlflow.silence.clear()
    with follower(trial, mlflow, close=0.2) as found:
        began = time.monotonic()
        for _ in range(100):
            found.tell()
        assert time.monotonic() - began < 1.0
        time.sleep(0.1)
    assert time.monotonic() - began < 3.0
    with pytest.raises(SyntrialError, match=r"takes more than 0 s for an answer"):
        found.finish()


def test_who_interrupts_a_run_does_not_wait_for_the_server(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    mlflow.silence.clear()
    began = time.monotonic()
    found = follower(trial, mlflow, close=60.0)

    def interrupted() -> None:
        with found:
            found.tell()
            time.sleep(0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 5.0


def test_a_server_that_still_refuses_at_the_end_is_told_of(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    mlflow.refusal = (500, "")
    with follower(trial, mlflow) as found:
        pass
    with pytest.raises(TrackingUnavailable, match="HTTP 500"):
        found.finish()
