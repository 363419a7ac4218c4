"""Who may call a served stage, what callers may name, and that those who watch leave room for the rest."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import StepError, SyntrialError, UserError
from syntrial.rpc.access import OPEN, Access, access_from, is_reachable
from syntrial.rpc.calls import stage_at
from syntrial.rpc.client import StageClient, result_of
from syntrial.rpc.scripted import COMMAND, run_script, scripted
from syntrial.rpc.server import LONG_CALLS, StageServer
from syntrial.rpc.step import StepRunner
from syntrial.rpc.testing import with_header
from syntrial.stages import STAGES
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import FolderSource, ImportImagesRequest, PrepareDatasetRequest, Source
from syntrial.v1.progress_pb2 import WatchRequest, WatchResponse

PREPARE = "syntrial.v1.DataPreparationService/PrepareDataset"
IMPORT = "syntrial.v1.DataPreparationService/ImportImages"
TOKEN = "a-token-of-forty-characters-for-the-tests"
HEALTH = "/grpc.health.v1.Health/Check"

Starter = Callable[..., tuple[str, str]]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


@pytest.fixture
def start(store: ArtifactStore) -> Iterator[Starter]:
    """Starts a server; its address, and that of its health."""
    started: list[StageServer] = []

    def make(access: Access = OPEN, *, address: str = "127.0.0.1:0", health: str = "") -> tuple[str, str]:
        stage = STAGES["data_prep"]
        verbs = {"PrepareDataset": run_script, "ImportImages": run_script}
        runner = StepRunner(store=store, verbs=lambda: verbs, stage_version=stage.version, threads=1)
        server = StageServer(stage, store=store, runner=runner, access=access)
        started.append(server)
        port = server.listen(address, health_address=health or None)
        return address.replace(":0", f":{port}"), health

    yield make
    for server in started:
        server.stop(grace=0.1)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def ask_health(address: str, *, timeout: float = 5) -> int:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            HEALTH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return int(check(health_pb2.HealthCheckRequest(), timeout=timeout).status)


# Who may call


def test_only_the_token_opens_a_server_that_has_one(start: Starter, token_file: Path, tmp_path: Path) -> None:
    address, health = start(
        access_from("0.0.0.0:50051", token_file=token_file),
        health=f"unix:{tmp_path}/health",
    )
    request = scripted({"value": "v"})
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "Bearer", TOKEN.upper()):
        with stage_at(address, token=wrong) as client:
            for call in (
                lambda client=client: client.start(PREPARE, request),
                lambda client=client: client.get("operations/x"),
                lambda client=client: list(client.watch("operations/x")),
                lambda client=client: client.list(),
            ):
                with pytest.raises(UserError, match=r"SYNTRIAL_STAGE_TOKEN: .*wants its token"):
                    call()
    with stage_at(address, token=TOKEN) as client:
        operation = client.wait(client.start(PREPARE, request).name, timeout=60)
        assert result_of(operation).key == request.header.key
    assert ask_health(health) == health_pb2.HealthCheckResponse.SERVING


def test_nothing_is_told_without_the_token_not_even_by_reflection(start: Starter, token_file: Path) -> None:
    address, _ = start(access_from("0.0.0.0:50051", token_file=token_file))
    with grpc.insecure_channel(address) as channel:
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            next(reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/no.such/Method")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_client_takes_its_token_from_the_environment(
    start: Starter, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = start(access_from("0.0.0.0:50051", token_file=token_file))
    monkeypatch.setenv("SYNTRIAL_STAGE_TOKEN", TOKEN)
    with stage_at(address) as client:
        assert client.list() == []


def certificates(folder: Path) -> None:
    """An authority, and certificates of its own for a server at 127.0.0.1 and for a client."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl: no certificates are made")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")

    def run(*words: object) -> None:
        subprocess.run([openssl, *map(str, words)], check=True, capture_output=True, timeout=30, cwd=folder)

    run("req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    for name in ("tls", "client"):
        run("req", "-x509", *key, "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:stage",
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-keyout", f"{name}.key", "-out", f"{name}.crt")  # fmt: skip


def test_a_server_asks_its_clients_for_certificates(start: Starter, tmp_path: Path) -> None:
    certificates(tmp_path)
    address, _ = start(access_from("0.0.0.0:50051", tls=tmp_path, client_ca=tmp_path / "ca.crt"))
    authority, key, own = ((tmp_path / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt"))
    with stage_at(address, tls=grpc.ssl_channel_credentials(authority, key, own), server_name="stage") as client:
        assert client.list() == []
    for tls in (grpc.ssl_channel_credentials(authority), None):
        with (
            stage_at(address, tls=tls) as client,
            pytest.raises(SyntrialError, match=r"UNAVAILABLE|DEADLINE"),
        ):
            client._call(
                "google.longrunning.Operations/ListOperations", operations_pb2.ListOperationsRequest(), timeout=2
            )


@pytest.mark.parametrize(
    ("address", "reachable"),
    [
        ("unix:/run/stage.sock", False),
        ("127.0.0.1:50051", False),
        ("127.8.8.8:1", False),
        ("[::1]:50051", False),
        ("localhost:50051", False),
        ("0.0.0.0:50051", True),
        ("[::]:50051", True),
        ("10.0.0.7:50051", True),
        ("stage.lab:50051", True),
        (":50051", True),
    ],
)
def test_which_addresses_others_reach(address: str, reachable: bool) -> None:
    assert is_reachable(address) is reachable


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--address: a server that other machines reach asks its clients for a token or a certificate"),
        (["--token-file", "absent"], "--token-file: the file is there"),
        (["--token-file", "short"], "--token-file: a token is 32 or more printable"),
        (["--client-ca", "ca.crt"], "--client-ca: clients show a certificate to a server that has one"),
        (["--tls", ".", "--token-file", "good"], "--tls: the file is there"),
    ],
)
def test_a_server_that_would_be_open_is_not_started(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "short").write_text("x" * 31)
    (tmp_path / "good").write_text(TOKEN)
    command = [*COMMAND, "serve", "--store", str(tmp_path / "store"), "--address", "0.0.0.0:0", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "x" * 31 not in ended.stderr


# What callers may name


def test_a_path_of_the_servers_machine_is_refused_but_on_its_socket(start: Starter, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    digest = f"sha256:{'0' * 64}"
    request = scripted({"source": digest})
    request.header.execution.source_locations.add(digest=digest, path=os.fspath(secret))
    with (
        stage_at(start()[0]) as client,
        pytest.raises(UserError, match=r"header\.execution\.source_locations") as caught,
    ):
        client.start(PREPARE, request)
    assert "secret" not in str(caught.value)
    request.header.execution.source_locations[0].path = ""
    with stage_at(start()[0]) as client:
        assert client.wait(client.start(PREPARE, request).name, timeout=60).done
    taken = scripted({"source": digest, "value": "other"})
    taken.header.execution.source_locations.add(digest=digest, path=os.fspath(secret))
    with stage_at(start(address=f"unix:{tmp_path}/s")[0]) as client:
        result_of(client.wait(client.start(PREPARE, taken).name, timeout=60))


@pytest.mark.parametrize("key", ["../../secret", "/etc", "..", "", "s3://other/x", "file:///etc", "A" * 64])
def test_a_reference_is_to_an_artifact_of_the_servers_store_alone(start: Starter, tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "manifest.json").write_text('{"members": {}}')
    ref = MemberRef(key=key, member="train")
    with stage_at(start()[0]) as client:
        request: Any = with_header(ImportImagesRequest(train=ref, validation=ref, test=ref))
        with pytest.raises(SyntrialError) as caught:
            result_of(client.wait(client.start(IMPORT, request).name, timeout=60))
        assert not isinstance(caught.value, StepError), caught.value
        for member in ("../../secret", "/etc/passwd"):
            request = with_header(ImportImagesRequest(train=MemberRef(key="0" * 64, member=member)))
            with pytest.raises(SyntrialError):
                result_of(client.wait(client.start(IMPORT, request).name, timeout=60))


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "/etc/passwd", "s3://other/x", "file:///etc"])
def test_a_digest_leads_to_no_file(store: ArtifactStore, tmp_path: Path, digest: str) -> None:
    from syntrial.artifacts.uploads import find_upload, materialise

    request = PrepareDatasetRequest(source=Source(folder=FolderSource(), digest=digest))
    try:
        assert find_upload(store, request.source.digest) is None
        assert materialise(store, request.source.digest, folder=tmp_path / "out") is None
    except (SyntrialError, ValueError):
        pass
    assert not (tmp_path / "out").exists()


# Those who watch


def watching(channel: grpc.Channel, name: str) -> grpc.Call:
    watch = channel.unary_stream(
        "/syntrial.v1.ProgressService/Watch",
        request_serializer=WatchRequest.SerializeToString,
        response_deserializer=WatchResponse.FromString,
    )
    stream: grpc.Call = watch(WatchRequest(name=name))
    return stream


def test_as_many_watch_as_leave_room_for_the_rest(start: Starter, tmp_path: Path) -> None:
    address, health = start(health=f"unix:{tmp_path}/health")
    with stage_at(address) as client, grpc.insecure_channel(address) as channel:
        name = client.start(PREPARE, scripted({"ticks": 100_000})).name
        streams = [watching(channel, name) for _ in range(LONG_CALLS)]
        for stream in streams:
            assert next(stream).progress.key  # type: ignore[call-overload]
        for more in (lambda: next(watching(channel, name)), lambda: wait_for(channel, name)):  # type: ignore[call-overload]
            with pytest.raises(grpc.RpcError) as caught:
                more()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        begun = time.monotonic()
        assert ask_health(address) == ask_health(health) == health_pb2.HealthCheckResponse.SERVING
        assert not client.get(name).done
        assert time.monotonic() - begun < 5
        streams[0].cancel()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert next(watching(channel, name)).progress.key  # type: ignore[call-overload]
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for stream in streams:
            stream.cancel()
        client.cancel(name)


def wait_for(channel: grpc.Channel, name: str) -> operations_pb2.Operation:
    wait = channel.unary_unary(
        "/google.longrunning.Operations/WaitOperation",
        request_serializer=operations_pb2.WaitOperationRequest.SerializeToString,
        response_deserializer=operations_pb2.Operation.FromString,
    )
    answer: operations_pb2.Operation = wait(
        operations_pb2.WaitOperationRequest(name=name, timeout=duration_pb2.Duration(seconds=20)), timeout=25
    )
    return answer


def test_health_answers_while_every_thread_of_the_server_is_held(
    start: Starter, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(type(store), "is_done", lambda *_: released.wait(30) and False)
    address, health = start(health=f"unix:{tmp_path}/health")
    with grpc.insecure_channel(address) as channel:
        get = channel.unary_unary(
            "/google.longrunning.Operations/GetOperation",
            request_serializer=operations_pb2.GetOperationRequest.SerializeToString,
            response_deserializer=operations_pb2.Operation.FromString,
        )
        held = [get.future(operations_pb2.GetOperationRequest(name=f"operations/{'0' * 64}")) for _ in range(64)]
        try:
            assert ask_health(health) == health_pb2.HealthCheckResponse.SERVING
            assert not any(call.done() for call in held)
        finally:
            released.set()
            for call in held:
                call.cancel()


def test_a_served_stage_is_called_with_its_token_from_a_process(tmp_path: Path, token_file: Path) -> None:
    command = [*COMMAND, "serve", "--store", str(tmp_path / "store"), "--address", f"unix:{tmp_path}/s",
               "--token-file", str(token_file), "--health-address", f"unix:{tmp_path}/h"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with stage_at(f"unix:{tmp_path}/s", token=TOKEN) as client:
            request = scripted({"value": "v"})
            assert client.start(PREPARE, request).name == f"operations/{request.header.key}"
        assert ask_health(f"unix:{tmp_path}/h") == health_pb2.HealthCheckResponse.SERVING
        with stage_at(f"unix:{tmp_path}/s", token="another") as client, pytest.raises(UserError):
            StageClient.list(client)
    finally:
        process.terminate()
        process.wait(30)
