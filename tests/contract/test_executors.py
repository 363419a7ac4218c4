"""What every executor keeps to. The local one is tested here on a stage whose steps do what their request says."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import StoreUnavailable, UserError
from syntrial.executors.drive import drive
from syntrial.executors.executor import Event, ServerDied, StepFailed, StepProgressed, StepStarted, StepWaits
from syntrial.executors.local import LocalExecutor
from syntrial.plan.steps import Program, Step
from syntrial.rpc.main import CHOICES_OF_KERNELS
from syntrial.rpc.scripted import COMMAND, scripted
from syntrial.rpc.testing import method_of
from syntrial.v1.artifacts_pb2 import MemberRef


def step(
    script: dict[str, object], *, after: tuple[str, ...] = (), label: str = "step", command: tuple[str, ...] = COMMAND
) -> Step:
    """A step that does what `script` says, see `syntrial.rpc.scripted`."""
    request = scripted(script, inputs=after)
    return Step(
        key=request.header.key,
        method=method_of(request),
        request=request,
        label=label,
        after=after,
        program=Program(command=command),
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


@pytest.fixture
def executor(store: ArtifactStore) -> Iterator[LocalExecutor]:
    with LocalExecutor(
        store.url,
        cores=2,
        experiment="contract",
        cancel_grace=2.0,
        stop_grace=2.0,
        checkpoint_interval=0.05,
    ) as made:
        yield made


def value_of(store: ArtifactStore, key: str) -> str:
    return store.open(MemberRef(key=key, member="train")).read("value").decode()


def test_a_graph_of_steps_runs_in_its_order(store: ArtifactStore, executor: LocalExecutor) -> None:
    first = step({"value": "a", "ticks": 3, "pause": 0.15}, label="first")
    second = step({"value": "b"}, label="second")
    third = step({"value": "c"}, after=(first.key, second.key), label="third")
    events: list[Event] = []
    outcome = drive([first, second, third], store=store, executor=executor, on_event=events.append)
    assert outcome.is_complete
    assert set(outcome.finished) == {first.key, second.key, third.key}
    assert value_of(store, third.key) == "cab"
    started = [event.key for event in events if isinstance(event, StepStarted)]
    assert started[-1] == third.key
    progressed = [event.progress for event in events if isinstance(event, StepProgressed) and event.key == first.key]
    assert {(p.unit, p.total, p.activity) for p in progressed} >= {("ticks", 3, "ticking")}
    attempt = store.attempts(first.key, experiment="contract")[0].entry
    assert attempt["outcome"] == "succeeded"
    assert "step finished" in attempt["log"]
    assert attempt["resources"]["wall_seconds"] >= 0.3


def test_what_is_done_is_not_run_again_and_no_server_starts(store: ArtifactStore, executor: LocalExecutor) -> None:
    steps = [step({"value": str(index)}) for index in range(3)]
    assert len(drive(steps, store=store, executor=executor).finished) == 3
    before = executor.servers_started
    again = drive(steps, store=store, executor=executor)
    assert again.is_complete
    assert set(again.skipped) == {item.key for item in steps}
    with LocalExecutor(store.url) as fresh:
        assert drive(steps, store=store, executor=fresh).is_complete
        assert fresh.servers_started == 0
    assert executor.servers_started == before


def test_servers_are_reused(store: ArtifactStore, executor: LocalExecutor) -> None:
    steps = [step({"value": str(index)}) for index in range(20)]
    started = time.monotonic()
    assert drive(steps, store=store, executor=executor).is_complete
    assert executor.servers_started <= 2
    assert time.monotonic() - started < 20


def test_a_failure_leaves_independent_steps_running_and_blocks_its_dependants(
    store: ArtifactStore, executor: LocalExecutor
) -> None:
    bad = step({"fail": "user", "print": "the last words"}, label="bad")
    blocked = step({"value": "x"}, after=(bad.key,), label="blocked")
    good = step({"value": "good"}, label="good")
    events: list[Event] = []
    outcome = drive([bad, blocked, good], store=store, executor=executor, on_event=events.append)
    assert outcome.finished == (good.key,)
    assert outcome.blocked == (blocked.key,)
    (failure,) = outcome.failures
    assert (failure.key, failure.reason, failure.retryable) == (bad.key, "UserError", False)
    assert isinstance(failure.error, UserError)
    assert failure.error.violations[0].remedy == "Mend it."
    assert failure.message.startswith("spec.dataset.colorMode: "), "fields are spelled as in the experiment's file"
    assert "the last words" in failure.log_tail
    assert "Traceback" not in failure.message
    assert not any(isinstance(event, StepWaits) for event in events)
    (attempt,) = store.attempts(bad.key)
    assert (attempt.entry["outcome"], attempt.entry["reason"]) == ("failed", "UserError")
    assert attempt.entry["message"] == failure.message


def test_a_bug_is_told_with_its_traceback_in_the_log_alone(store: ArtifactStore, executor: LocalExecutor) -> None:
    (failure,) = drive([step({"fail": "bug"})], store=store, executor=executor).failures
    assert failure.reason == "InternalError"
    assert failure.message == "ZeroDivisionError: a bug"
    assert "Traceback" in failure.log_tail
    assert not failure.retryable


def test_a_full_disk_is_told_without_a_traceback(store: ArtifactStore, executor: LocalExecutor) -> None:
    (failure,) = drive([step({"fail": "full"})], store=store, executor=executor).failures
    assert failure.reason == "StoreFull"
    assert "StoreFull" in failure.log_tail
    assert "Traceback" not in failure.log_tail


def test_an_attempt_that_cannot_be_recorded_is_told_in_the_log_and_fails_nothing(
    store: ArtifactStore, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> int:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(ArtifactStore, "add_attempt", away)
    only = step({"value": "one"})
    assert drive([only], executor=executor, store=store).is_complete
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert only.key in told.getMessage()
    assert "the store is away" in told.getMessage()


def test_what_may_succeed_is_tried_again(store: ArtifactStore, executor: LocalExecutor, tmp_path: Path) -> None:
    flaky = step({"fail_times": 1, "marker": tmp_path / "marker", "value": "v"})
    events: list[Event] = []
    outcome = drive([flaky], store=store, executor=executor, on_event=events.append)
    assert outcome.finished == (flaky.key,)
    (waits,) = [event for event in events if isinstance(event, StepWaits)]
    assert (waits.attempt, waits.reason) == (2, "StoreUnavailable")
    outcomes = [attempt.entry["outcome"] for attempt in store.attempts(flaky.key)]
    assert outcomes == ["failed", "succeeded"]


def test_attempts_are_bounded(store: ArtifactStore, executor: LocalExecutor) -> None:
    hopeless = step({"fail": "memory"})
    outcome = drive([hopeless], store=store, executor=executor, attempts=2)
    assert outcome.failures[0].reason == "OutOfMemory"
    assert len(store.attempts(hopeless.key)) == 2


def test_a_killed_server_is_replaced_and_its_step_done(
    store: ArtifactStore, executor: LocalExecutor, tmp_path: Path
) -> None:
    fragile = step({"die_times": 1, "marker": tmp_path / "marker", "value": "alive"})
    events: list[Event] = []
    outcome = drive([fragile], store=store, executor=executor, on_event=events.append)
    assert outcome.finished == (fragile.key,)
    assert value_of(store, fragile.key) == "alive"
    (died,) = [event for event in events if isinstance(event, ServerDied)]
    assert died.status == -signal.SIGKILL
    (failure,) = [event for event in events if isinstance(event, StepFailed)]
    assert (failure.reason, failure.retryable) == ("ServerDied", True)
    assert "SIGKILL" in failure.message


def test_a_server_that_cannot_start_is_told_with_its_output(store: ArtifactStore) -> None:
    command = (sys.executable, "-c", "print('no such library'); raise SystemExit(3)")
    with LocalExecutor(store.url) as executor:
        (failure,) = drive([step({"value": "x"}, command=command)], store=store, executor=executor, attempts=2).failures
    assert failure.reason == "ServerDied"
    assert "exit status 3" in failure.message
    assert "no such library" in failure.log_tail


def test_a_step_killed_midway_resumes_from_its_checkpoint(
    store: ArtifactStore, executor: LocalExecutor, tmp_path: Path
) -> None:
    long = step({"counts": 40, "pause": 0.03, "resumed": tmp_path / "resumed", "value": "counted"})
    killed = []

    def kill_once(event: Event) -> None:
        if isinstance(event, StepProgressed) and event.progress.done >= 15 and not killed:
            killed.extend(executor.server_pids())
            os.kill(killed[0], signal.SIGKILL)

    outcome = drive([long], store=store, executor=executor, on_event=kill_once)
    assert outcome.finished == (long.key,)
    assert killed
    assert '"start":0' not in (tmp_path / "resumed").read_text()
    assert store.checkpoints(long.key).load() is None


def test_a_cancelled_step_stops_and_says_so(store: ArtifactStore, executor: LocalExecutor) -> None:
    endless = step({"ticks": 100_000})
    executor.start(endless, attempt=1)
    ended: list[StepFailed] = []
    while not ended:
        for event in executor.wait(timeout=20):
            if isinstance(event, StepProgressed):
                executor.cancel(endless.key)
            if isinstance(event, StepFailed):
                ended.append(event)
    assert ended[0].reason == "Cancelled"
    assert not store.is_done(endless.key)


def test_a_step_that_does_not_heed_its_cancellation_is_killed(store: ArtifactStore, executor: LocalExecutor) -> None:
    deaf = step({"sleep": 60})
    executor.start(deaf, attempt=1)
    while not any(isinstance(event, StepStarted) for event in executor.wait(timeout=20)):
        pass
    time.sleep(1.0)
    executor.cancel(deaf.key)
    started = time.monotonic()
    reasons: list[str] = []
    while not reasons:
        reasons = [event.reason for event in executor.wait(timeout=20) if isinstance(event, StepFailed)]
    assert reasons == ["Cancelled"]
    assert time.monotonic() - started < 10
    after = step({"value": "next"})
    assert drive([after], store=store, executor=executor).is_complete


def test_a_damaged_input_is_made_again(store: ArtifactStore, executor: LocalExecutor) -> None:
    source = step({"value": "source"})
    assert drive([source], store=store, executor=executor).is_complete
    manifest = store.manifest(source.key)
    assert manifest is not None
    digest = manifest.members["train"].blobs[0].digest
    place = next(Path(store.url.removeprefix("file://")).rglob(digest))
    place.chmod(0o644)
    place.write_bytes(b"damage")
    user = step({"value": "user-of-"}, after=(source.key,))
    outcome = drive([source, user], store=store, executor=executor)
    assert outcome.is_complete
    assert value_of(store, user.key) == "user-of-source"
    assert [attempt.entry["outcome"] for attempt in store.attempts(source.key)] == ["succeeded", "succeeded"]


def test_sources_are_found_where_the_executor_was_told(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "raw"
    file.write_bytes(b"raw data")
    with LocalExecutor(store.url, source_locations={"sha256:1": file}) as executor:
        reader = step({"source": "sha256:1"})
        assert drive([reader], store=store, executor=executor).is_complete
    assert value_of(store, reader.key) == "raw data"


def test_an_operation_has_one_thread_whatever_the_machine_says(
    store: ArtifactStore, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    asked = step({"environment": "OMP_NUM_THREADS"})
    assert drive([asked], store=store, executor=executor).is_complete
    assert value_of(store, asked.key) == "1"


@pytest.mark.parametrize("name", CHOICES_OF_KERNELS)
def test_kernels_follow_from_the_processor_whatever_the_machine_says(
    name: str, store: ArtifactStore, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "AVX2")
    asked = step({"environment": name})
    assert drive([asked], store=store, executor=executor).is_complete
    assert value_of(store, asked.key) == ""


DRIVER = """
import sys
from syntrial.plan.steps import Program, Step
from syntrial.rpc.scripted import COMMAND, scripted
from syntrial.rpc.testing import method_of
from syntrial.artifacts.store import open_store
from syntrial.executors.drive import drive
from syntrial.executors.local import LocalExecutor

store = open_store(sys.argv[1])
scripts = [{"value": i, "log": sys.argv[2], "ticks": 3 if i < 4 else 40, "pause": 0.03} for i in range(8)]
steps = [
    Step(
        key=request.header.key,
        method=method_of(request),
        request=request,
        label="step",
        after=(),
        program=Program(command=COMMAND),
    )
    for request in map(scripted, scripts)
]
with LocalExecutor(store.url, cores=2) as executor:
    print("pids", flush=True)
    def show(event):
        print(type(event).__name__, *executor.server_pids(), flush=True)
    assert drive(steps, store=store, executor=executor, on_event=show).is_complete
print("complete", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_server_and_is_taken_up_where_it_stood(
    store: ArtifactStore, tmp_path: Path, how: signal.Signals
) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", DRIVER, store.url, str(log)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    ends, pids = 0, set()
    for line in run.stdout:
        name, *numbers = line.split()
        pids |= {int(number) for number in numbers if number.isdecimal()}
        ends += name == "StepSucceeded"
        if ends == 4:
            break
    before = list(psutil.process_iter())
    run.send_signal(how)
    run.communicate(timeout=120)
    assert run.returncode != 0
    _, alive = psutil.wait_procs([server for server in before if server.pid in pids], timeout=10.0)
    assert not alive
    second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 0, second.stderr
    written = log.read_text().split()
    assert set(written) == {str(index) for index in range(8)}
    assert all(written.count(str(index)) == 1 for index in range(4))


def test_a_server_that_died_while_idle_is_replaced_unseen(store: ArtifactStore, executor: LocalExecutor) -> None:
    assert drive([step({"value": "before"})], store=store, executor=executor).is_complete
    (pid,) = executor.server_pids()
    server = psutil.Process(pid)
    server.kill()
    psutil.wait_procs([server], timeout=2.0)
    assert drive([step({"value": "after"})], store=store, executor=executor).is_complete


@pytest.mark.slow
def test_two_hundred_steps_that_do_nothing_take_less_than_ten_seconds_of_processor_time(
    store: ArtifactStore, executor: LocalExecutor
) -> None:
    """Processor time of this process and the servers: on a free machine the wall clock shows less."""
    steps = [step({"value": index}) for index in range(200)]
    before = os.times()
    assert len(drive(steps, store=store, executor=executor).finished) == 200
    executor.close()
    assert sum(os.times()[:4]) - sum(before[:4]) < 10.0
