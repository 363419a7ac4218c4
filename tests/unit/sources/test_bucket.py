"""Reading a source's bucket: downloads that break off, answers that lack, and whose credentials are used."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from syntrial.errors import SourceError, StoreUnavailable, UserError
from syntrial.sources.bucket import S3Source, SourceObject, source_environment

CONTENT = bytes(range(256)) * 20_000
GIVEN = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown"}


class Server(ThreadingHTTPServer):
    """Serves `CONTENT` as any object, and breaks each of the first `cuts` answers off after `cut_after` bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts = 0
        self.cut_after = 2_500_000
        self.etag = "one"
        self.sent = 0
        self.asked = 0
        self.leads_to: tuple[int, str] | None = None
        """Status and address that every question is answered with."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked += 1
        if self.server.leads_to is not None:
            status, address = self.server.leads_to
            self.send_response(status)
            self.send_header("Location", address)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.headers.get("If-Match") != f'"{self.server.etag}"':
            body = b"<?xml version='1.0'?><Error><Code>PreconditionFailed</Code><Message>m</Message></Error>"
            self.answer(412, body, length=len(body))
            return
        offset = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = CONTENT[offset:]
        self.server.cuts -= 1
        if self.server.cuts >= 0:
            self.answer(206, body[: self.server.cut_after], length=len(body))
            self.close_connection = True
        else:
            self.answer(206, body, length=len(body))

    def answer(self, status: int, body: bytes, *, length: int) -> None:
        assert isinstance(self.server, Server)
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.server.sent += len(body)
        self.wfile.write(body)

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
def source(server: Server) -> S3Source:
    environment = GIVEN | {"SYNTRIAL_S3_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    return S3Source(environment, bucket="bucket", field="spec.dataset")


def found(etag: str = "one") -> SourceObject:
    return SourceObject(name="set.npz", size=len(CONTENT), etag=etag, modified=0.0)


def test_a_download_that_breaks_off_is_taken_up_where_it_broke(server: Server, source: S3Source) -> None:
    server.cuts = 2
    sha = hashlib.sha256()
    for chunk in source.read(found()):
        sha.update(chunk)
    assert sha.hexdigest() == hashlib.sha256(CONTENT).hexdigest()
    assert server.sent < 2 * len(CONTENT), "not from the start each time"


def test_an_object_that_was_replaced_in_between_is_not_pieced_together(server: Server, source: S3Source) -> None:
    server.cuts = 1
    chunks = source.read(found())
    next(chunks)
    server.etag = "two"
    with pytest.raises(SourceError, match="replaced meanwhile"):
        list(chunks)


def test_a_server_that_breaks_off_each_time_is_unavailable(server: Server, source: S3Source) -> None:
    server.cuts, server.cut_after = 1000, 0
    with pytest.raises(StoreUnavailable, match="SOURCE_SYNTRIAL_S3_ENDPOINT"):
        list(source.read(found()))


def test_a_reader_that_stops_early_is_let_go(source: S3Source) -> None:
    chunks = source.read(found())
    assert next(chunks)
    chunks.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("reads", [lambda s: s.find("x"), lambda s: list(s.under("")), lambda s: list(s.read(found()))])
def test_a_redirect_is_refused_and_never_followed(
    server: Server, source: S3Source, status: int, reads: Callable[[S3Source], object]
) -> None:
    with Server() as inside:
        server.leads_to = status, f"http://127.0.0.1:{inside.server_port}/latest/meta-data"
        thread = threading.Thread(target=inside.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with pytest.raises(SourceError, match=f"SOURCE_SYNTRIAL_S3_ENDPOINT: .*HTTP {status}") as caught:
                reads(source)
        finally:
            inside.shutdown()
            thread.join()
        assert inside.asked == 0
    assert "meta-data" not in str(caught.value)


def test_a_source_has_its_own_credentials_or_the_users_and_never_those_of_a_pod() -> None:
    assert source_environment(GIVEN, is_users=True) == GIVEN
    pod = GIVEN | {"AWS_SESSION_TOKEN": "t", "SYNTRIAL_S3_ENDPOINT": "http://minio:9000", "AWS_REGION": "eu"}
    assert source_environment(pod, is_users=False) == {"SYNTRIAL_S3_ENDPOINT": "http://minio:9000", "AWS_REGION": "eu"}
    own = {"SOURCE_AWS_ACCESS_KEY_ID": "a", "SOURCE_AWS_SECRET_ACCESS_KEY": "b", "SOURCE_AWS_REGION": "eu"}
    assert source_environment(GIVEN | own, is_users=False) == {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu",
    }
    with pytest.raises(UserError, match="SOURCE_AWS_SECRET_ACCESS_KEY"):
        source_environment(GIVEN | {"SOURCE_AWS_ACCESS_KEY_ID": "a"}, is_users=False)


def test_no_error_shows_a_secret(server: Server) -> None:
    environment = GIVEN | {"SYNTRIAL_S3_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(StoreUnavailable) as caught:
        S3Source(environment, bucket="bucket", field="x").find("y")
    assert "not-to-be-shown" not in str(caught.value)
