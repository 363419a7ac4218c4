"""What every stage's server keeps to on the wire, tested on a server whose steps do what their request says.

Jobs, the server's other life, have a contract of their own: `tests/contract/jobs.py`.
"""

import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from syntrial import errors
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.rpc.client import CHANNEL_OPTIONS, StageClient, operation_name, result_of
from syntrial.rpc.scripted import COMMAND, run_script, scripted
from syntrial.rpc.server import StageServer
from syntrial.rpc.step import StepRunner
from syntrial.rpc.testing import put_artifact
from syntrial.stages import STAGES
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import PrepareDatasetRequest
from syntrial.v1.progress_pb2 import StepProgress, WatchRequest, WatchResponse

PREPARE = "syntrial.v1.DataPreparationService/PrepareDataset"
IMPORT = "syntrial.v1.DataPreparationService/ImportImages"


@pytest.fixture
def memory() -> ArtifactStore:
    return open_store("memory://")


Started = tuple[StageServer, grpc.Channel, list[int]]
Starter = Callable[..., Started]


@pytest.fixture
def start(memory: ArtifactStore, tmp_path: Path) -> Iterator[Starter]:
    """Starts servers in this process; `kills` collects the statuses with which they would have ended it."""
    started: list[Started] = []

    def make(*, cancel_grace: float = 20.0, queue_limit: int = 16) -> Started:
        kills: list[int] = []
        stage = STAGES["data_prep"]
        runner = StepRunner(
            store=memory,
            verbs=lambda: {"PrepareDataset": run_script, "ImportImages": run_script},
            stage_version=stage.version,
            threads=1,
            checkpoint_interval=0.02,
        )
        server = StageServer(
            stage, store=memory, runner=runner, cancel_grace=cancel_grace, queue_limit=queue_limit, kill=kills.append
        )
        address = f"unix:{tmp_path}/{len(started)}.sock"
        server.listen(address)
        started.append((server, grpc.insecure_channel(address), kills))
        return started[-1]

    yield make
    for server, channel, _ in started:
        server.stop(grace=0.1)
        channel.close()


@pytest.fixture
def channel(start: Starter) -> grpc.Channel:
    return start()[1]


@pytest.fixture
def client(channel: grpc.Channel) -> StageClient:
    return StageClient(channel)


def test_a_step_becomes_an_operation_named_by_its_key(client: StageClient, memory: ArtifactStore) -> None:
    request = scripted({"value": "v"})
    operation = client.start(PREPARE, request)
    assert operation.name == f"operations/{request.header.key}"
    operation = client.wait(operation.name, timeout=60)
    assert operation.done
    result = result_of(operation)
    manifest = memory.manifest(request.header.key)
    assert manifest is not None
    assert (result.key, result.artifact_digest) == (request.header.key, manifest.artifact_digest)
    progress = StepProgress()
    assert operation.metadata.Unpack(progress)
    assert progress.state == StepProgress.STATE_SUCCEEDED
    assert progress.resources_used.peak_memory_bytes > 0
    assert manifest.provenance["threads"] == "1"


def test_a_repeated_request_finds_the_work_under_way(client: StageClient, tmp_path: Path) -> None:
    request = scripted({"ticks": 20, "log": tmp_path / "log", "value": "once"})
    names = {client.start(PREPARE, request).name for _ in range(5)}
    assert client.wait(names.pop(), timeout=60).done
    assert not names
    assert client.start(PREPARE, request).done
    assert (tmp_path / "log").read_text() == "once\n"


def test_an_operation_of_another_server_is_answered_from_the_store(start: Starter) -> None:
    first, second = StageClient(start()[1]), StageClient(start()[1])
    request = scripted({"value": "shared"})
    done = first.wait(first.start(PREPARE, request).name, timeout=60)
    found = second.get(done.name)
    assert found.done
    assert result_of(found) == result_of(done)
    assert [response.progress.state for response in second.watch(done.name)] == [StepProgress.STATE_SUCCEEDED]
    assert second.start(PREPARE, request).done


@pytest.mark.parametrize("name", ["operations/" + "0" * 64, "operations/nonsense", "", "../etc"])
def test_an_unknown_operation_is_not_found(channel: grpc.Channel, name: str) -> None:
    get = channel.unary_unary(
        "/google.longrunning.Operations/GetOperation",
        request_serializer=operations_pb2.GetOperationRequest.SerializeToString,
        response_deserializer=operations_pb2.Operation.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        get(operations_pb2.GetOperationRequest(name=name))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = channel.unary_stream(
        "/syntrial.v1.ProgressService/Watch",
        request_serializer=WatchRequest.SerializeToString,
        response_deserializer=WatchResponse.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(watch(WatchRequest(name=name)))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_request_with_another_key_or_version_is_refused(client: StageClient) -> None:
    request = scripted({"value": "v"})
    request.header.key = "0" * 64
    with pytest.raises(errors.VersionMismatch, match="has key"):
        client.start(PREPARE, request)
    request = scripted({"value": "v"})
    request.header.stage_version += 1
    with pytest.raises(errors.VersionMismatch, match="version"):
        client.start(PREPARE, request)


def test_a_refusal_has_the_code_and_the_reason_on_the_wire(channel: grpc.Channel) -> None:
    call = channel.unary_unary(
        f"/{PREPARE}",
        request_serializer=PrepareDatasetRequest.SerializeToString,
        response_deserializer=operations_pb2.Operation.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        call(PrepareDatasetRequest())
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("VERSION_MISMATCH", "syntrial.dev")


@pytest.mark.parametrize(
    ("fail", "kind", "code"),
    [
        ("user", errors.UserError, grpc.StatusCode.INVALID_ARGUMENT),
        ("bug", errors.StepError, grpc.StatusCode.INTERNAL),
        ("memory", errors.StepError, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("full", errors.StoreFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("store", errors.StoreUnavailable, grpc.StatusCode.UNAVAILABLE),
        ("loss", errors.DataLoss, grpc.StatusCode.DATA_LOSS),
    ],
)
def test_a_failed_step_ends_in_a_status_that_comes_back_as_its_exception(
    client: StageClient, fail: str, kind: type[errors.SyntrialError], code: grpc.StatusCode
) -> None:
    operation = client.wait(client.start(PREPARE, scripted({"fail": fail})).name, timeout=60)
    assert operation.done
    assert operation.error.code == code.value[0]
    assert "Traceback" not in operation.error.message
    with pytest.raises(kind):
        result_of(operation)


def test_a_failed_operation_does_not_block_a_new_request(client: StageClient, tmp_path: Path) -> None:
    request = scripted({"fail_times": 1, "marker": tmp_path / "marker", "value": "second"})
    assert client.wait(client.start(PREPARE, request).name, timeout=60).HasField("error")
    assert client.wait(client.start(PREPARE, request).name, timeout=60).HasField("response")


def test_a_damaged_input_is_put_aside(client: StageClient, memory: ArtifactStore) -> None:
    source = "a" * 64
    put_artifact(memory, {"train": {"value": b"x"}}, key=source)
    memory.backend.write(f"artifacts/{source}/manifest.json", b"damage")
    request = scripted({"value": "v"}, inputs=(source,))
    operation = client.wait(client.start(IMPORT, request).name, timeout=60)
    with pytest.raises(errors.DataLoss) as caught:
        result_of(operation)
    assert caught.value.key == source
    assert memory.manifest(source) is None


def test_an_input_that_is_missing_is_a_failed_precondition(client: StageClient) -> None:
    request = scripted({"value": "v"}, inputs=("b" * 64,))
    operation = client.wait(client.start(IMPORT, request).name, timeout=60)
    assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    with pytest.raises(errors.ArtifactMissing):
        result_of(operation)


def test_steps_run_one_at_a_time_and_the_queue_is_bounded(start: Starter, tmp_path: Path) -> None:
    client = StageClient(start(queue_limit=2)[1])
    running = scripted({"ticks": 1000, "value": 0})
    client.start(PREPARE, running)
    _await_state(client, operation_name(running.header.key), StepProgress.STATE_RUNNING)
    queued = [client.start(PREPARE, scripted({"value": index})) for index in (1, 2)]
    assert [_progress(operation).state for operation in queued] == [StepProgress.STATE_QUEUED] * 2
    with pytest.raises(errors.StepError, match="one step at a time") as caught:
        client.start(PREPARE, scripted({"value": 3}))
    assert caught.value.retryable
    client.cancel(operation_name(running.header.key))
    assert all(client.wait(operation.name, timeout=60).HasField("response") for operation in queued)


def test_progress_streams_until_the_end(client: StageClient) -> None:
    name = client.start(PREPARE, scripted({"ticks": 30, "pause": 0.02})).name
    responses = list(client.watch(name))
    ticks = [r.progress.done for r in responses if r.progress.activity == "ticking"]
    assert ticks == sorted(ticks)
    assert len(set(ticks)) >= 3
    assert responses[-1].progress.state == StepProgress.STATE_SUCCEEDED
    assert responses[-2].progress.rate > 0
    assert responses[-2].progress.figures["index"] == responses[-2].progress.done


def test_a_watch_resumes_after_a_known_token_and_begins_with_a_snapshot_otherwise(client: StageClient) -> None:
    request = scripted({"ticks": 10, "pause": 0.01})
    name = client.start(PREPARE, request).name
    assert client.wait(name, timeout=60).done
    (snapshot,) = client.watch(name)
    assert snapshot.progress.state == StepProgress.STATE_SUCCEEDED
    for token in ("nonsense", "00.11.22", snapshot.resume_token):
        assert [r.progress.state for r in client.watch(name, token=token)] == [StepProgress.STATE_SUCCEEDED]

    slow = client.start(PREPARE, scripted({"ticks": 6, "pause": 0.3})).name
    stream = client.watch(slow)
    seen = next(response for response in stream if response.progress.done >= 1)
    resumed = next(client.watch(slow, token=seen.resume_token))
    assert resumed.progress.done > seen.progress.done
    assert resumed.resume_token != seen.resume_token


def test_waiting_honours_its_timeout_and_the_deadline_of_the_call(client: StageClient, channel: grpc.Channel) -> None:
    name = client.start(PREPARE, scripted({"ticks": 1000})).name
    started = time.monotonic()
    assert not client.wait(name, timeout=0.2).done
    wait = channel.unary_unary(
        "/google.longrunning.Operations/WaitOperation",
        request_serializer=operations_pb2.WaitOperationRequest.SerializeToString,
        response_deserializer=operations_pb2.Operation.FromString,
    )
    assert not wait(operations_pb2.WaitOperationRequest(name=name), timeout=0.5).done
    assert time.monotonic() - started < 5
    client.cancel(name)


def test_cancelling_a_running_step_stops_it(client: StageClient) -> None:
    name = client.start(PREPARE, scripted({"ticks": 1000})).name
    _await_state(client, name, StepProgress.STATE_RUNNING)
    client.cancel(name)
    operation = client.wait(name, timeout=60)
    assert operation.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert _progress(operation).state == StepProgress.STATE_CANCELLED
    client.cancel(name)


def test_cancelling_a_waiting_step_ends_it_at_once(client: StageClient) -> None:
    first = client.start(PREPARE, scripted({"ticks": 1000})).name
    second = client.start(PREPARE, scripted({"value": "never"})).name
    client.cancel(second)
    assert client.get(second).error.code == grpc.StatusCode.CANCELLED.value[0]
    client.cancel(first)


def test_a_cancelled_step_saves_a_checkpoint_and_resumes_from_it(
    client: StageClient, memory: ArtifactStore, tmp_path: Path
) -> None:
    request = scripted({"counts": 60, "pause": 0.02, "resumed": tmp_path / "resumed", "value": "v"})
    name = client.start(PREPARE, request).name
    next(response for response in client.watch(name) if response.progress.done >= 10)
    client.cancel(name)
    assert client.wait(name, timeout=60).HasField("error")
    saved = memory.checkpoints(request.header.key).load()
    assert saved is not None
    assert client.wait(client.start(PREPARE, request).name, timeout=60).HasField("response")
    assert (tmp_path / "resumed").read_text() == f'{{"start":{saved["done"].decode()}}}'
    assert memory.checkpoints(request.header.key).load() is None


def test_a_step_that_does_not_heed_its_cancellation_ends_the_server(start: Starter) -> None:
    _, channel, kills = start(cancel_grace=0.2)
    client = StageClient(channel)
    name = client.start(PREPARE, scripted({"sleep": 1.5})).name
    _await_state(client, name, StepProgress.STATE_RUNNING)
    client.cancel(name)
    _eventually(lambda: kills == [75])


def test_operations_are_listed_in_pages_and_forgotten_on_request(client: StageClient, channel: grpc.Channel) -> None:
    names = [client.start(PREPARE, scripted({"value": index})).name for index in range(5)]
    for name in names:
        client.wait(name, timeout=60)
    running = client.start(PREPARE, scripted({"ticks": 1000})).name
    assert [operation.name for operation in client.list(which="done=true")] == names
    assert [operation.name for operation in client.list(which="done=false")] == [running]
    listed = channel.unary_unary(
        "/google.longrunning.Operations/ListOperations",
        request_serializer=operations_pb2.ListOperationsRequest.SerializeToString,
        response_deserializer=operations_pb2.ListOperationsResponse.FromString,
    )
    page = listed(operations_pb2.ListOperationsRequest(page_size=2))
    assert [operation.name for operation in page.operations] == names[:2]
    page = listed(operations_pb2.ListOperationsRequest(page_size=4, page_token=page.next_page_token))
    assert [operation.name for operation in page.operations] == [*names[2:], running]
    assert not page.next_page_token
    client.delete(names[0])
    assert names[0] not in [operation.name for operation in client.list()]
    assert client.get(names[0]).done, "its artifact is still in the store"
    with pytest.raises(errors.SyntrialError, match="not finished"):
        client.delete(running)
    with pytest.raises(errors.SyntrialError, match="filter"):
        client.list(which="name=x")
    client.cancel(running)


def test_health_is_told_of_the_server_and_each_service(channel: grpc.Channel) -> None:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for service in ("", "syntrial.v1.DataPreparationService", "google.longrunning.Operations"):
        assert check(health_pb2.HealthCheckRequest(service=service)).status == health_pb2.HealthCheckResponse.SERVING


def test_a_client_of_reflection_alone_can_start_list_and_watch(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) == {
        "syntrial.v1.DataPreparationService",
        "syntrial.v1.ProgressService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    pool = descriptor_pool.DescriptorPool(database)

    def call(service: str, method_name: str, **fields: Any) -> Any:
        method = pool.FindServiceByName(service).FindMethodByName(method_name)
        request = message_factory.GetMessageClass(method.input_type)(**fields)
        make = channel.unary_stream if method.server_streaming else channel.unary_unary
        return make(
            f"/{service}/{method_name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request)

    known = scripted({"value": "by reflection", "ticks": 3})
    header = {"key": known.header.key, "stage_version": known.header.stage_version}
    lines = [{"from": "value", "to": "by reflection"}, {"from": "ticks", "to": "3"}]
    operation = call("syntrial.v1.DataPreparationService", "PrepareDataset", header=header, class_map=lines)
    *_, last = call("syntrial.v1.ProgressService", "Watch", name=operation.name)
    assert last.progress.state == StepProgress.STATE_SUCCEEDED
    listed = call("google.longrunning.Operations", "ListOperations")
    assert [found.name for found in listed.operations] == [operation.name]


def test_a_step_reads_only_what_its_request_names(start: Starter, memory: ArtifactStore) -> None:
    from syntrial.rpc.attempt import Attempt

    request = scripted({}, inputs=("c" * 64,))
    writer = memory.writer(request.header.key, method=IMPORT, stage_version=1, request={})
    attempt = Attempt(memory, request=request, writer=writer, scratch=Path(), stop=threading.Event())
    with pytest.raises(ValueError, match="does not name"):
        attempt.open(MemberRef(key="c" * 64, member="test"))


# The process


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


def _serve(folder: ArtifactStore, tmp_path: Path, *more: str, **options: Any) -> tuple[subprocess.Popen[str], Path]:
    socket = tmp_path / "stage.sock"
    command = [*COMMAND, "serve", "--store", folder.url, "--address", f"unix:{socket}", *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options), socket


def test_sigterm_saves_a_checkpoint_tells_watchers_and_ends(folder: ArtifactStore, tmp_path: Path) -> None:
    process, socket = _serve(folder, tmp_path, "--checkpoint-interval", "1000")
    with grpc.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS) as channel:
        client = StageClient(channel)
        request = scripted({"counts": 100_000, "pause": 0.02})
        stream = client.watch(client.start(PREPARE, request).name)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        next(response for response in stream if response.progress.done >= 3)
        process.send_signal(signal.SIGTERM)
        try:
            assert [response.progress.state for response in stream][-1] == StepProgress.STATE_CANCELLED
        except errors.StepError as error:
            # The client was sending when the process ended: the kernel then drops the last words that it had not read.
            if "UNAVAILABLE" not in str(error):
                raise
        _, log = process.communicate(timeout=120)
    assert process.returncode == 0
    saved = folder.checkpoints(request.header.key).load()
    assert saved is not None
    assert int(saved["done"]) >= 3
    lines = [line for line in log.splitlines() if '"step started"' in line]
    assert len(lines) == 1
    assert request.header.key in lines[0]
    assert PREPARE in lines[0]


def test_a_server_ends_with_its_parent(folder: ArtifactStore, tmp_path: Path) -> None:
    theirs, ours = os.pipe()
    process, socket = _serve(folder, tmp_path, "--parent-pipe", str(theirs), pass_fds=(theirs,))
    os.close(theirs)
    with grpc.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS) as channel:
        name = StageClient(channel).start(PREPARE, scripted({"sleep": 60})).name
        assert name
        os.close(ours)
        started = time.monotonic()
        process.communicate(timeout=120)
    assert time.monotonic() - started < 20


def test_a_store_that_does_not_exist_is_a_users_error(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--store", "ftp://nowhere", "--address", f"unix:{tmp_path}/s"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "ftp://nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr


def _progress(operation: operations_pb2.Operation) -> StepProgress:
    progress = StepProgress()
    assert operation.metadata.Unpack(progress)
    return progress


def _await_state(client: StageClient, name: str, state: int) -> None:
    _eventually(lambda: _progress(client.get(name)).state == state)


def _eventually(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
