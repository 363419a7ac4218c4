"""What is peculiar to S3: settings, the probe, retries of conditional writes, and errors that hold no secret."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from syntrial.artifacts.s3 import S3Backend, open_s3
from syntrial.artifacts.s3_client import LIMITS, settings_from
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import DataLoss, StoreUnavailable, SyntrialError, UserError
from syntrial.v1.artifacts_pb2 import MemberRef

SECRET = "not-to-be-shown"
GIVEN = {
    "SYNTRIAL_S3_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": SECRET,
}


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, then with 200 and `content`.

    An answer is a status and an S3 error code; "cut" breaks the connection off amid the content.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = []
        self.content = b""
        self.requests: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_any(self) -> None:
        assert isinstance(self.server, Server)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.headers.get("If-None-Match")))
        status, code = self.server.answers.pop(0) if self.server.answers else (200, "")
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()
        body = self.server.content if code in {"", "cut"} and self.command == "GET" else body if code else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:10] if code == "cut" else body)
        self.close_connection = code == "cut"

    do_GET = do_PUT = do_DELETE = do_any  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def backend(server: Server, tmp_path: Path) -> S3Backend:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    environment = {**GIVEN, "SYNTRIAL_S3_ENDPOINT": endpoint, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path)}
    return S3Backend(settings_from(environment), bucket="bucket")


def test_a_conditional_write_that_collides_with_another_is_tried_again(server: Server, backend: S3Backend) -> None:
    server.answers = [(409, "ConditionalRequestConflict"), (409, "ConditionalRequestConflict")]
    assert backend.create("x", b"1")
    assert server.requests == [("PUT", "*")] * 3


def test_a_conditional_write_that_finds_an_object_gives_up(server: Server, backend: S3Backend) -> None:
    server.answers = [(412, "PreconditionFailed")]
    assert not backend.create("x", b"1")
    assert server.requests == [("PUT", "*")]


def test_after_a_lost_answer_the_own_object_counts_as_created(server: Server, backend: S3Backend) -> None:
    server.answers = [(503, "SlowDown"), (412, "PreconditionFailed")]
    assert backend.create("x", b"")
    server.answers = [(503, "SlowDown"), (412, "PreconditionFailed")]
    assert not backend.create("x", b"not what the server holds")


def test_a_download_that_breaks_off_is_begun_anew(server: Server, backend: S3Backend) -> None:
    data = b"x" * 100
    server.answers = [(200, "cut")]
    server.content = data
    assert backend.blob_path(hashlib.sha256(data).hexdigest(), size=100).read_bytes() == data
    assert [command for command, _ in server.requests] == ["GET", "GET"]


@pytest.mark.parametrize("times", [1, 2])
def test_a_listing_that_repeats_itself_is_not_believed(server: Server, backend: S3Backend, times: int) -> None:
    entry = "<Contents><Key>experiments/x</Key><Size>1</Size></Contents>"
    server.content = f"<ListBucketResult><Name>bucket</Name>{entry * times}</ListBucketResult>".encode()
    if times == 1:
        assert [info.name for info in backend.scan("experiments/")] == ["experiments/x"]
        return
    with pytest.raises(StoreUnavailable, match="twice"):
        backend.scan("experiments/")


def test_a_listing_that_is_cut_short_is_not_believed(server: Server, backend: S3Backend) -> None:
    server.content = b"<ListBucketResult><Name>bucket</Name><Contents><Key>experiments/x</Key>"
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        backend.scan("experiments/")


def test_a_server_that_overwrites_is_refused(server: Server, backend: S3Backend) -> None:
    with pytest.raises(UserError, match="must heed conditional writes"):
        backend.probe()
    assert server.requests[-1][0] == "DELETE"


def test_a_server_that_keeps_failing_is_unavailable(server: Server, backend: S3Backend) -> None:
    server.answers = [(503, "SlowDown")] * 20
    with pytest.raises(StoreUnavailable):
        backend.create("x", b"1")
    assert len(server.requests) == LIMITS.attempts


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("AccessDenied", "AWS_ACCESS_KEY_ID"),
        ("ExpiredToken", "AWS_SESSION_TOKEN"),
        ("NoSuchBucket", "store"),
    ],
)
def test_what_the_user_must_set_is_named(server: Server, backend: S3Backend, code: str, setting: str) -> None:
    server.answers = [(403, code)] * 2
    with pytest.raises(UserError) as caught:
        backend.create("x", b"1")
    assert caught.value.violations[0].field == setting
    assert SECRET not in str(caught.value)


def test_nothing_that_is_shown_holds_the_secret(tmp_path: Path) -> None:
    environment = {**GIVEN, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path)}
    assert SECRET not in repr(settings_from(environment))
    with pytest.raises(StoreUnavailable) as caught:
        open_s3(bucket="bucket", environment=environment, limits=replace(LIMITS, attempts=1))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        assert "X-Amz-Signature" not in str(error)
        error = error.__cause__


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"SYNTRIAL_S3_ENDPOINT": "127.0.0.1:9000"}, "SYNTRIAL_S3_ENDPOINT"),
        ({"SYNTRIAL_S3_ENDPOINT": "ftp://host"}, "SYNTRIAL_S3_ENDPOINT"),
        ({"SYNTRIAL_S3_ENDPOINT": f"http://me:{SECRET}@host"}, "SYNTRIAL_S3_ENDPOINT"),
        ({"SYNTRIAL_S3_ENDPOINT": "http://host/path"}, "SYNTRIAL_S3_ENDPOINT"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
        ({"SYNTRIAL_CACHE_LIMIT": "much"}, "SYNTRIAL_CACHE_LIMIT"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], field: str) -> None:
    with pytest.raises(UserError) as caught:
        settings_from({**GIVEN, **changes})
    assert caught.value.violations[0].field == field
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://", "s3://UPPER/x", "s3://b", "s3://bucket/a//b", "s3://bucket/../x"])
def test_a_wrong_address_is_refused_before_anything_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        open_store(url)
    assert caught.value.violations[0].field == "store"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, UserError, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "stranger"}, UserError, "AWS_ACCESS_KEY_ID"),
        ({"BUCKET": "bucket-that-is-not-there"}, UserError, "bucket must exist"),
    ],
)
def test_a_real_server_that_refuses_is_understood(
    minio: dict[str, str], tmp_path: Path, changes: dict[str, str], error: type[SyntrialError], words: str
) -> None:
    environment = {**minio, **changes, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path)}
    with pytest.raises(error, match=words) as caught:
        open_s3(bucket=environment["BUCKET"], environment=environment)
    assert SECRET not in str(caught.value)


def test_a_large_blob_goes_up_in_parts_and_comes_down_verified(
    minio: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntrial.artifacts.s3.PART_BYTES", 5 << 20)
    environment = {**minio, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path / "one")}
    store = ArtifactStore(open_s3(bucket=minio["BUCKET"], prefix="large", environment=environment))
    writer = store.writer("a" * 64, method="test/Write", stage_version=1, request={})
    block = os.urandom(1 << 20)
    with writer.open("data", "x") as file:
        for _ in range(12):
            file.write(block)
    blob = store.commit(writer).member("data").blobs[0]
    assert blob.size == 12 << 20

    # Another machine, with an empty cache.
    environment = {**minio, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path / "two")}
    other = ArtifactStore(open_s3(bucket=minio["BUCKET"], prefix="large", environment=environment))
    path = other.open(MemberRef(key="a" * 64, member="data")).path("x")
    assert path.is_relative_to(tmp_path / "two")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == blob.digest

    # Damage on the server shows on a machine that has no copy, and when asked afresh on one that has.
    store.backend.write(f"blobs/sha256/{blob.digest}", b"damaged")
    assert other.backend.blob_path(blob.digest, size=blob.size) == path
    with pytest.raises(DataLoss):
        other.backend.blob_path(blob.digest, size=blob.size, fresh=True)
    assert other.quarantine("a" * 64)
