"""A server that sends slowly, for ever, or too much: a request to it has an end all the same."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from syntrial.artifacts.connections import RequestLimits, bounded_pools
from syntrial.artifacts.s3 import S3Backend
from syntrial.artifacts.s3_client import settings_from
from syntrial.errors import DataLoss, StoreUnavailable

LIMITS = RequestLimits(connect_seconds=1, read_seconds=0.5, total_seconds=0.6, attempts=1, answer_bytes=1000)
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Starts a server that answers each request so; its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                try:
                    answer(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def say(handler: BaseHTTPRequestHandler, data: bytes, *, pause: float = 0.0) -> None:
    for byte in data if pause else [data]:
        handler.wfile.write(bytes([byte]) if isinstance(byte, int) else byte)
        handler.wfile.flush()
        time.sleep(pause)


def slow_head(handler: BaseHTTPRequestHandler) -> None:
    say(handler, b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 50, pause=0.05)


def slow_body(handler: BaseHTTPRequestHandler) -> None:
    say(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    say(handler, b"x" * 500, pause=0.05)


def endless_body(handler: BaseHTTPRequestHandler) -> None:
    say(handler, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        say(handler, b"x" * 65536)


def get(address: str, **named: bool) -> urllib3.BaseHTTPResponse:
    return bounded_pools(LIMITS, most=2, retries=urllib3.Retry(False)).request("GET", address, **named)


@pytest.mark.parametrize("answer", [slow_head, slow_body])
def test_an_answer_that_drips_ends_with_the_requests_time(serve: Callable[[Answer], str], answer: Answer) -> None:
    address = serve(answer)
    began = time.monotonic()
    with pytest.raises(urllib3.exceptions.HTTPError):
        get(address)
    assert time.monotonic() - began < 2


def test_an_endless_answer_is_read_up_to_the_limit(serve: Callable[[Answer], str]) -> None:
    with pytest.raises(urllib3.exceptions.HTTPError, match="more than 1000 bytes"):
        get(serve(endless_body))


def test_answers_within_the_limits_come_one_after_another_on_a_connection(serve: Callable[[Answer], str]) -> None:
    ports = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        say(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    pools, address = bounded_pools(LIMITS, most=2, retries=urllib3.Retry(False)), serve(answer)
    for _ in range(3):
        response = pools.request("GET", address)
        assert (response.data, response.status) == (b"hello", 200)
        streamed = pools.request("GET", address, preload_content=False)
        assert streamed.read() == b"hello"
        streamed.release_conn()
        time.sleep(0.3)
    assert len(set(ports)) == 1


def backend_at(address: str, monkeypatch: pytest.MonkeyPatch, folder: str) -> S3Backend:
    environment = {
        "SYNTRIAL_S3_ENDPOINT": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-of-it",
        "SYNTRIAL_CACHE_DIR": folder,
    }
    return S3Backend(settings_from(environment), bucket="bucket", limits=LIMITS)


def test_a_small_object_without_a_length_is_read_up_to_its_limit(
    serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    backend = backend_at(serve(endless_body), monkeypatch, str(tmp_path))
    with pytest.raises(DataLoss, match="more than 5000 bytes"):
        backend.read("artifacts/x", limit=5000)


def test_a_listing_without_end_counts_as_no_answer(
    serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    backend = backend_at(serve(endless_body), monkeypatch, str(tmp_path))
    with pytest.raises(StoreUnavailable):
        backend.scan("attempts/")


def test_a_blob_that_is_longer_than_it_should_be_is_no_further_fetched(
    serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    backend = backend_at(serve(endless_body), monkeypatch, str(tmp_path))
    began = time.monotonic()
    with pytest.raises(DataLoss, match="damaged"):
        backend.blob_path("a" * 64, size=100)
    assert time.monotonic() - began < 0.6, "before the time of the request is over"
