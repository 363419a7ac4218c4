"""Connections to a server that is not trusted with this process's time and memory: each request has an end.

A time limit of a connection is one for each piece that comes: a server that sends a byte now and then is never too slow
by it. Here a request and its answer have one limit together, headers included; an answer that the client reads as a
whole has a limit in bytes too, and is read no further.
"""

import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from urllib3 import BaseHTTPResponse, HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError

_PIECE_BYTES: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLimits:
    """What one request may take."""

    connect_seconds: float
    read_seconds: float
    """Between two pieces of the answer."""
    total_seconds: float | None = None
    """From the request to the last byte of its answer; None: as long as pieces come."""
    attempts: int
    """How often a request is sent before the server counts as unavailable."""
    answer_bytes: int | None = None
    """Of an answer that is read as a whole, such as a page of a listing; None: any."""


def bounded_pools(
    limits: RequestLimits, *, most: int, retries: urllib3.Retry, authority: str = ""
) -> urllib3.PoolManager:
    """Connections, up to `most` to a server, whose requests keep to `limits`, and which no answer sends elsewhere.

    `authority` is the PEM of the one that servers' certificates must come from; empty: those that the system trusts.
    """
    timeout = urllib3.Timeout(connect=limits.connect_seconds, read=limits.read_seconds)
    pools = _Connections(timeout=timeout, maxsize=most, retries=retries, ca_cert_data=authority or None)
    if limits.total_seconds is not None or limits.answer_bytes is not None:
        pools.pool_classes_by_scheme = {
            scheme: type(f"Bounded{pool.__name__}", (_BoundedPool, pool), {"limits": limits, "ConnectionCls": kind})
            for scheme, pool, kind in (
                ("http", HTTPConnectionPool, type("Timed", (_Timed, HTTPConnection), {"limits": limits})),
                ("https", HTTPSConnectionPool, type("TimedTLS", (_Timed, HTTPSConnection), {"limits": limits})),
            )
        }
    return pools


class Redirected(Exception):
    """The server sent elsewhere; the message says with which status, and not where to."""


class _Connections(urllib3.PoolManager):
    """Connections to one server, which is not left for another."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **words: Any) -> BaseHTTPResponse:  # type: ignore[override] # noqa: ARG002
        """Raises Redirected in place of following."""
        response = super().urlopen(method, url, redirect=False, **words)
        if response.get_redirect_location():
            response.close()
            raise Redirected(f"HTTP {response.status}")
        return response


class _BoundedPool:
    """Of a pool: reads answers that are wanted whole up to the limit, and no further."""

    limits: RequestLimits

    def urlopen(self, method: str, url: str, *given: Any, **named: Any) -> BaseHTTPResponse:
        whole = named.pop("preload_content", True)
        most = self.limits.answer_bytes
        response: HTTPResponse = super().urlopen(method, url, *given, preload_content=False, **named)  # type: ignore[misc]
        if whole and response._body is None:
            pieces, size = [], 0
            while piece := response.read1(_PIECE_BYTES):
                pieces.append(piece)
                size += len(piece)
                if most is not None and size > most:
                    response.close()
                    raise ProtocolError(f"an answer of more than {most} bytes")
            response._body = b"".join(pieces)
            response.release_conn()
        return response


class _Timed:
    """Of a connection: what is received ends with the request's time."""

    limits: RequestLimits
    sock: Any
    until: float = float("inf")

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock = _TimedSocket(self.sock, self)

    def request(self, *given: Any, **named: Any) -> None:
        if self.limits.total_seconds is not None:
            self.until = time.monotonic() + self.limits.total_seconds
        super().request(*given, **named)  # type: ignore[misc]


class _TimedSocket:
    """A socket whose files read no longer than the connection's request may last."""

    def __init__(self, inside: socket.socket, connection: _Timed) -> None:
        self._inside = inside
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    def makefile(self, mode: str, *_given: Any, **_named: Any) -> io.BufferedReader:
        """As of a socket; the client reads answers through this alone."""
        assert mode == "rb"
        raw = _TimedFile(self._inside, "r")
        raw.connection = self._connection
        # As `socket.makefile` counts the files that are open on it.
        self._inside._io_refs += 1  # type: ignore[attr-defined]
        return io.BufferedReader(raw)


class _TimedFile(socket.SocketIO):
    connection: _Timed

    def readinto(self, buffer: Any) -> int | None:
        left = self.connection.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(min(left, self.connection.limits.read_seconds))  # type: ignore[attr-defined]
        return super().readinto(buffer)


def headers_size(headers: Mapping[str, str]) -> int:
    """The length that an answer announces; 0 where it announces none."""
    text = headers.get("Content-Length") or ""
    return int(text) if text.isascii() and text.isdigit() else 0
