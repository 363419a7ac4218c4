"""Port-forwards: a local address that leads to a port in a pod. Part of the one door to Kubernetes.

The official client opens one stream to one pod; here each local connection gets a stream of its own.
"""

import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Final, Protocol

from kubernetes.client import Configuration
from kubernetes.stream.ws_client import PortForward, create_websocket, get_websocket_url
from websocket import WebSocketBadStatusException, WebSocketException

from syntrial.errors import ClusterRefused, ClusterUnavailable, SyntrialError

_CHUNK: Final = 256 * 1024
_log = logging.getLogger(__name__)


class Stream(Protocol):
    """A connection to a port in a pod."""

    def socket(self, port_number: int, /) -> socket.socket:
        """This side's end of it."""
        ...

    def error(self, port_number: int, /) -> str | None:
        """What the other side said was wrong."""
        ...


class PodStream(PortForward):
    """The official client's stream, which ends where the connection breaks: a pod may go at any moment."""

    def _proxy(self) -> None:
        try:
            super()._proxy()  # type: ignore[no-untyped-call]
        except (OSError, ValueError, RuntimeError, WebSocketException) as error:
            _log.debug("port-forward broke off: %s", error)
        finally:
            for port in self.local_ports.values():
                port.python.close()
            # `close` leaves the socket open where the other side closed first.
            self.websocket.close()
            self.websocket.shutdown()


def open_stream(configuration: Configuration, url: str, headers: dict[str, str], *, port: int) -> PodStream:
    """Opens a stream by the API's address of it; raises ClusterRefused or ClusterUnavailable."""
    try:
        websocket = create_websocket(configuration, get_websocket_url(url), headers)
        return PodStream(websocket, [port])  # type: ignore[no-untyped-call]
    except WebSocketBadStatusException as error:
        status = int(error.status_code)
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ClusterUnavailable(f"no port-forward by {url}: {error}") from error
        raise ClusterRefused(
            f"a port-forward to port {port} is refused",
            status=status,
            reason=http.client.responses.get(status, ""),
            field=f"cluster {configuration.host}",
            remedy="Check that the pod runs, and that you may create pods/portforward in its namespace.",
        ) from error
    except (OSError, WebSocketException) as error:
        raise ClusterUnavailable(f"the Kubernetes API at {configuration.host} does not answer: {error}") from error


@contextlib.contextmanager
def forward(connect: Callable[[], Stream], *, port: int) -> Iterator[str]:
    """Listens on a free port of 127.0.0.1 for the block, and gives its address, "127.0.0.1:40123".

    `connect` opens a stream to `port` in the pod; its errors are raised here for the first one, and end the local
    connection for later ones.
    """
    first = connect()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        forwarder = _Forwarder(listener, connect, first, port=port)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            forwarder.close()


class _Forwarder:
    """Pairs local connections with streams until it is closed."""

    def __init__(self, listener: socket.socket, connect: Callable[[], Stream], first: Stream, *, port: int) -> None:
        self._listener = listener
        self._connect = connect
        self._ready: Stream | None = first
        self._port = port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_closed = False
        self._start(self._accept)

    def close(self) -> None:
        """Ends all connections."""
        with self._lock:
            self._is_closed = True
            ends = [self._listener, *self._open]
            if self._ready is not None:
                ends.append(self._ready.socket(self._port))
        for end in ends:
            _shut(end)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, name="port-forward", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, local)

    def _serve(self, local: socket.socket) -> None:
        with self._lock:
            stream, self._ready = self._ready, None
        try:
            stream = stream or self._connect()
        except SyntrialError as error:
            _log.debug("no port-forward: %s", error)
            local.close()
            return
        remote = stream.socket(self._port)
        with self._lock:
            self._open |= {local, remote}
            if self._is_closed:
                _shut(remote)
        back = threading.Thread(target=_copy, args=(remote, local), name="port-forward", daemon=True)
        back.start()
        _copy(local, remote)
        back.join()
        with self._lock:
            self._open -= {local, remote}
        local.close()
        remote.close()
        if said := stream.error(self._port):
            # Nothing listens there, or not yet; the client on this side sees its connection closed.
            _log.debug("port-forward ended: %s", said.strip())


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copies until an end, which is then the end of both: the stream to a pod has no half."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
