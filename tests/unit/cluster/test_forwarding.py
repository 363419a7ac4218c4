"""Local connections and streams to a pod are paired, and end together."""

import threading
from collections.abc import Iterator
from socket import create_connection, socket, socketpair

import pytest

from syntrial.cluster.forwarding import forward
from syntrial.errors import ClusterUnavailable

PORT = 50051


class EchoStream:
    """A stream whose other side sends back what it gets, until it gets "bye"."""

    def __init__(self) -> None:
        self._ours, theirs = socketpair()
        self.thread = threading.Thread(target=self._serve, args=(theirs,), daemon=True)
        self.thread.start()

    def error(self, port_number: int, /) -> str | None:
        assert port_number == PORT
        return None

    def _serve(self, theirs: socket) -> None:
        with theirs:
            while (data := theirs.recv(65536)) and data != b"bye":
                theirs.sendall(data)

    def socket(self, port_number: int, /) -> socket:
        assert port_number == PORT
        return self._ours


class Pod:
    """Opens streams, and keeps them."""

    def __init__(self) -> None:
        self.streams: list[EchoStream] = []
        self.refuses = False

    def __call__(self) -> EchoStream:
        if self.refuses:
            raise ClusterUnavailable("the pod is gone")
        self.streams.append(EchoStream())
        return self.streams[-1]


@pytest.fixture
def pod() -> Iterator[Pod]:
    made = Pod()
    yield made
    for stream in made.streams:
        stream.thread.join(10)
        assert not stream.thread.is_alive(), "the stream was not ended"
        stream.socket(PORT).close()


def dial(address: str) -> socket:
    host, _, port = address.partition(":")
    return create_connection((host, int(port)), timeout=10)


def read(connection: socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (chunk := connection.recv(65536)):
        data += chunk
    return data


def test_each_connection_has_a_stream_of_its_own(pod: Pod) -> None:
    with forward(pod, port=PORT) as address:
        assert address.startswith("127.0.0.1:")
        with dial(address) as first, dial(address) as second:
            first.sendall(b"one")
            second.sendall(b"two")
            assert read(second, 3) == b"two"
            assert read(first, 3) == b"one"
    assert len(pod.streams) == 2


def test_large_bodies_pass_in_both_directions(pod: Pod) -> None:
    body = bytes(range(256)) * 16384
    with forward(pod, port=PORT) as address, dial(address) as connection:
        sender = threading.Thread(target=connection.sendall, args=(body,))
        sender.start()
        assert read(connection, len(body)) == body
        sender.join()


def test_the_pods_end_of_a_stream_ends_the_connection(pod: Pod) -> None:
    with forward(pod, port=PORT) as address, dial(address) as connection:
        connection.sendall(b"bye")
        assert connection.recv(10) == b""


def test_leaving_the_block_ends_connections_and_listens_no_more(pod: Pod) -> None:
    with forward(pod, port=PORT) as address:
        connection = dial(address)
        connection.sendall(b"x")
        assert read(connection, 1) == b"x"
    with connection:
        assert connection.recv(10) == b""
    with pytest.raises(ConnectionError):
        dial(address)


def test_a_stream_that_nobody_used_is_ended(pod: Pod) -> None:
    with forward(pod, port=PORT):
        pass
    assert len(pod.streams) == 1


def test_what_cannot_be_opened_at_first_is_raised(pod: Pod) -> None:
    pod.refuses = True
    with pytest.raises(ClusterUnavailable, match="the pod is gone"), forward(pod, port=PORT):
        pass


def test_what_cannot_be_opened_later_ends_that_connection_alone(pod: Pod) -> None:
    with forward(pod, port=PORT) as address, dial(address) as first:
        first.sendall(b"a")
        assert read(first, 1) == b"a"
        pod.refuses = True
        with dial(address) as second:
            assert second.recv(10) == b""
        first.sendall(b"b")
        assert read(first, 1) == b"b"
