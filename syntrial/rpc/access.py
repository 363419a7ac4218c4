"""Who may call a stage's server, and how many calls may last at a time.

A server at an address that other machines reach wants a token in each call's metadata (`authorization: Bearer TOKEN`),
or a certificate of its clients. One on a socket, or on this machine's loopback, may do without. Health at an address of
its own (`syntrial.rpc.server`) is open: Kubernetes' probes carry neither.
"""

import hmac
import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from syntrial.errors import UserError

TOKEN_LENGTH: Final = 32
"""Characters that a token has at least: a shorter one could be guessed."""

_HEADER: Final = "authorization"


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What a server asks of those who call it."""

    token: str = field(default="", repr=False)
    """Each call carries it; empty: none does."""
    credentials: grpc.ServerCredentials | None = None
    """The server's certificate, and the authority of its clients' where they have to show one; None: no TLS."""

    def interceptors(self) -> list[grpc.ServerInterceptor]:
        """What stands before each method."""
        return [_TokenGuard(self.token)] if self.token else []


OPEN: Final = Access()
"""Of a socket or this machine's loopback."""


def access_from(
    address: str, /, *, token_file: Path | None = None, tls: Path | None = None, client_ca: Path | None = None
) -> Access:
    """What a server at `address` asks for: the token in a file; the certificate in a folder (tls.crt, tls.key), and one
    of its clients that comes from `client_ca`.

    Raises UserError for a file that is missing or too short, and for an address that others reach with neither.
    """
    if client_ca is not None and tls is None:
        raise UserError(
            field="--client-ca",
            rule="clients show a certificate to a server that has one",
            received="no --tls",
            remedy="Name the server's certificate with --tls.",
        )
    if is_reachable(address) and token_file is None and client_ca is None:
        raise UserError(
            field="--address",
            rule="a server that other machines reach asks its clients for a token or a certificate",
            received=address,
            remedy="Add --token-file or --client-ca, or serve at 127.0.0.1 or unix:/path.",
        )
    token = _read(token_file, option="--token-file").decode(errors="replace").strip() if token_file else ""
    if token_file and not (len(token) >= TOKEN_LENGTH and token.isascii() and token.isprintable()):
        raise UserError(
            field="--token-file",
            rule=f"a token is {TOKEN_LENGTH} or more printable characters of ASCII",
            received=f"{len(token)} characters",
            remedy="Make one at random, for example by `openssl rand -hex 20`.",
        )
    credentials = None
    if tls is not None:
        pair = _read(tls / "tls.key", option="--tls"), _read(tls / "tls.crt", option="--tls")
        authority = _read(client_ca, option="--client-ca") if client_ca else None
        credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
    return Access(token=token, credentials=credentials)


def is_reachable(address: str, /) -> bool:
    """Whether others than this machine reach a server there."""
    if address.startswith("unix:"):
        return False
    host = address.rpartition(":")[0].strip("[]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


class LongCalls(grpc.ServerInterceptor):
    """Lets so many calls at a time last: those beyond are refused, so that short ones always find a thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = threading.Semaphore(limit)

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], details: grpc.HandlerCallDetails
    ) -> Any:
        """Counts streams and `WaitOperation`; health has no thread to hold."""
        handler = continuation(details)
        method = str(details.method)
        if handler is None or method.startswith("/grpc.health."):
            return handler
        if handler.request_streaming and handler.response_streaming:
            return handler._replace(stream_stream=self._counted(handler.stream_stream))
        if handler.response_streaming:
            return handler._replace(unary_stream=self._counted(handler.unary_stream))
        if method.endswith("/WaitOperation"):
            return handler._replace(unary_unary=self._counted(handler.unary_unary))
        return handler

    def _counted(self, behaviour: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[..., Any]:
        def counted(request: Any, context: grpc.ServicerContext) -> Any:
            if not self._free.acquire(blocking=False):
                message = f"{self._limit} calls that wait or watch are under way here; end some, or ask by GetOperation"
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            # However the call ends, also where its client is gone.
            if not context.add_callback(self._free.release):
                self._free.release()
            return behaviour(request, context)

        return counted


class _TokenGuard(grpc.ServerInterceptor):
    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

        def refuse(_request: Any, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "this server wants its token: authorization: Bearer TOKEN")

        self._refused: Any = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], details: grpc.HandlerCallDetails
    ) -> Any:
        """Refuses before anything of the request is read."""
        given = [value for name, value in details.invocation_metadata if name == _HEADER]
        text = given[0] if len(given) == 1 else ""
        # In constant time, so that nothing is learned of a token by how long it takes.
        if hmac.compare_digest(text.encode() if isinstance(text, str) else bytes(text), self._wanted):
            return continuation(details)
        return self._refused


def _read(file: Path, *, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(
            field=option,
            rule="the file is there and can be read",
            received=f"{file}: {error.strerror}",
            remedy="Check its path and its permissions.",
        ) from None
