"""What a stage's `job KEY…` keeps to, wherever it runs: as a process of this machine, and as the pod of a Job.

`JobContract` is inherited by `tests/contract/test_jobs.py` and `tests/cluster/test_jobs.py`, each of which brings a
runner. ADR 4 says why this, and no protocol of Python's, is what both executors share.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import grpc
import pytest

from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import SyntrialError
from syntrial.rpc.client import CHANNEL_OPTIONS, StageClient, operation_name
from syntrial.rpc.scripted import scripted
from syntrial.rpc.step import request_record
from syntrial.rpc.testing import method_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.progress_pb2 import StepProgress, WatchResponse

EXPERIMENT = "the-contract"


class Running(Protocol):
    """A job under way."""

    def reached(self) -> AbstractContextManager[str]:
        """A block in which the job's progress is served at an address of this machine."""
        ...

    def stop(self) -> None:
        """Asks it to stop, as whoever takes the machine away does."""
        ...

    def exit_status(self) -> int:
        """Waits for its end."""
        ...


class Runner(Protocol):
    """Runs jobs of the scripted stage."""

    @property
    def store(self) -> ArtifactStore:
        """Where they read and write."""
        ...

    def start(self, keys: list[str]) -> Running:
        """Starts a job for recorded requests, filed under `EXPERIMENT`."""
        ...


def recorded(runner: Runner, *scripts: dict[str, object]) -> list[str]:
    """Puts a request for each script into the store; returns their keys."""
    requests = [scripted(script) for script in scripts]
    for request in requests:
        runner.store.put_request(request.header.key, request_record(method_of(request), request))
    return [request.header.key for request in requests]


def outcomes(runner: Runner, key: str) -> list[tuple[str, str]]:
    """Outcome and reason of each recorded attempt at a step."""
    attempts = runner.store.attempts(key, experiment=EXPERIMENT)
    return [(str(attempt.entry["outcome"]), str(attempt.entry["reason"])) for attempt in attempts]


@contextmanager
def watched(running: Running, key: str) -> Iterator[Iterator[WatchResponse]]:
    """The progress of a step of a running job, once it serves it."""
    with running.reached() as address, grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        client = StageClient(channel)
        eventually(lambda: bool(client.list()))
        yield client.watch(operation_name(key))


def eventually(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    """Waits for a condition, in whose place a call may fail for now; fails the test where it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except SyntrialError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


class JobContract:
    """The tests; a subclass has the fixture `runner`."""

    @pytest.fixture
    def runner(self) -> Runner:
        """Where jobs run."""
        raise NotImplementedError

    def test_finished_steps_have_artifacts_and_attempts_with_logs(self, runner: Runner) -> None:
        keys = recorded(runner, {"value": "1"}, {"value": "2"})
        assert runner.start(keys).exit_status() == 0
        assert runner.store.done(keys) == set(keys)
        assert runner.store.open(MemberRef(key=keys[1], member="train")).read("value") == b"2"
        assert [outcomes(runner, key) for key in keys] == [[("succeeded", "")]] * 2
        (attempt,) = runner.store.attempts(keys[0], experiment=EXPERIMENT)
        assert "step finished" in attempt.entry["log"]
        assert attempt.entry["resources"]["peak_memory_bytes"] > 0

    def test_what_is_done_is_not_run_again(self, runner: Runner) -> None:
        first, second = recorded(runner, {"value": "done before"}, {"value": "not yet"})
        assert runner.start([first]).exit_status() == 0
        assert runner.start([first, second]).exit_status() == 0
        assert len(outcomes(runner, first)) == 1
        assert len(outcomes(runner, second)) == 1

    def test_a_users_error_is_recorded_and_the_other_steps_go_on(self, runner: Runner) -> None:
        keys = recorded(runner, {"value": "before"}, {"fail": "user"}, {"value": "after"})
        assert runner.start(keys).exit_status() == 2
        assert runner.store.done(keys) == {keys[0], keys[2]}
        assert outcomes(runner, keys[1]) == [("failed", "UserError")]
        (attempt,) = runner.store.attempts(keys[1], experiment=EXPERIMENT)
        assert attempt.entry["retryable"] is False
        assert attempt.entry["message"].startswith("spec.dataset.colorMode: ")
        assert "Mend it." in attempt.entry["log"]

    def test_another_error_outweighs_a_users(self, runner: Runner) -> None:
        keys = recorded(runner, {"fail": "user", "value": "u"}, {"fail": "bug"}, {"value": "beside a bug"})
        assert runner.start(keys).exit_status() == 1
        assert runner.store.done(keys) == {keys[2]}
        assert outcomes(runner, keys[1]) == [("failed", "InternalError")]
        (attempt,) = runner.store.attempts(keys[1], experiment=EXPERIMENT)
        assert "ZeroDivisionError" in attempt.entry["log"]

    def test_a_process_that_dies_leaves_what_was_finished_and_no_attempt_of_the_rest(self, runner: Runner) -> None:
        keys = recorded(runner, {"value": "in time"}, {"exit": 7}, {"value": "too late"})
        assert runner.start(keys).exit_status() == 7
        assert runner.store.done(keys) == {keys[0]}
        assert [len(outcomes(runner, key)) for key in keys] == [1, 0, 0]

    def test_a_key_without_a_request_fails_and_the_other_steps_go_on(self, runner: Runner) -> None:
        (key,) = recorded(runner, {"value": "beside nothing"})
        unknown = "d" * 64
        assert runner.start([unknown, key]).exit_status() == 1
        assert runner.store.is_done(key)
        assert outcomes(runner, unknown) == [("failed", "ArtifactMissing")]

    def test_progress_can_be_watched(self, runner: Runner) -> None:
        (key,) = recorded(runner, {"ticks": 100_000, "pause": 0.05})
        running = runner.start([key])
        with watched(running, key) as responses:
            seen = next(response.progress for response in responses if response.progress.done >= 2)
        assert (seen.state, seen.unit, seen.total) == (StepProgress.STATE_RUNNING, "ticks", 100_000)
        running.stop()
        running.exit_status()

    def test_a_job_that_is_stopped_saves_a_checkpoint_from_which_the_next_one_goes_on(self, runner: Runner) -> None:
        keys = recorded(runner, {"counts": 200, "pause": 0.03, "value": "counted"}, {"value": "behind it"})
        running = runner.start(keys)
        with watched(running, keys[0]) as responses:
            next(response for response in responses if response.progress.done >= 20)
            running.stop()
            assert running.exit_status() == 143
        saved = runner.store.checkpoints(keys[0]).load()
        assert saved is not None
        assert int(saved["done"]) >= 20
        assert [outcomes(runner, key) for key in keys] == [[("cancelled", "Cancelled")], []]

        assert runner.start(keys).exit_status() == 0
        assert runner.store.done(keys) == set(keys)
        assert outcomes(runner, keys[0])[-1] == ("succeeded", "")
        log = runner.store.attempts(keys[0], experiment=EXPERIMENT)[-1].entry["log"]
        assert f'"start": {int(saved["done"])}' in log
        assert runner.store.checkpoints(keys[0]).load() is None
