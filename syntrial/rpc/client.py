"""A client of any stage server, built from the descriptors; errors come back as Syntrial's own exceptions."""

from collections.abc import Iterator
from typing import Any, Final

import grpc
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, duration_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from syntrial.errors import StepError
from syntrial.rpc.operations import PREFIX
from syntrial.rpc.server import OPERATIONS, PROGRESS
from syntrial.rpc.wire_errors import SERVER_DIED, from_rpc_error, from_status
from syntrial.v1.artifacts_pb2 import StepResult
from syntrial.v1.progress_pb2 import WatchRequest, WatchResponse

CHANNEL_OPTIONS: Final = (
    # A server that starts is found at once; gRPC's own first pause is a second.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", 64 * 2**20),
)

CALL_TIMEOUT: Final = 60.0
"""Seconds for a call that only starts or asks: a server answers these in milliseconds once it listens."""


def operation_name(key: str, /) -> str:
    """The name of the operation of the step `key`."""
    return PREFIX + key


def result_of(operation: operations_pb2.Operation, *, key: str = "") -> StepResult:
    """The result of a done operation; raises what the step raised, as far as the wire tells."""
    if operation.HasField("error"):
        raise from_status(operation.error, key=key)
    result = StepResult()
    operation.response.Unpack(result)
    return result


class StageClient:
    """Calls of one server. All methods raise `SyntrialError`s."""

    def __init__(self, channel: grpc.Channel, /) -> None:
        self._channel = channel

    def start(self, method: str, request: Message, *, timeout: float = CALL_TIMEOUT) -> operations_pb2.Operation:
        """Starts a step, waiting for a server that is about to listen."""
        operation: operations_pb2.Operation = self._call(method, request, timeout=timeout)
        return operation

    def get(self, name: str, /) -> operations_pb2.Operation:
        """The operation as it stands."""
        request = operations_pb2.GetOperationRequest(name=name)
        operation: operations_pb2.Operation = self._call(f"{OPERATIONS}/GetOperation", request)
        return operation

    def wait(self, name: str, /, *, timeout: float) -> operations_pb2.Operation:
        """The operation once it is done, or as it stands after `timeout` seconds."""
        limit = duration_pb2.Duration()
        limit.FromNanoseconds(int(timeout * 1e9))
        request = operations_pb2.WaitOperationRequest(name=name, timeout=limit)
        operation: operations_pb2.Operation = self._call(
            f"{OPERATIONS}/WaitOperation", request, timeout=timeout + CALL_TIMEOUT
        )
        return operation

    def watch(self, name: str, /, *, token: str = "") -> Iterator[WatchResponse]:
        """The operation's progress until it is done; the stream ends with its last state."""
        stream = self._channel.unary_stream(
            f"/{PROGRESS}/Watch",
            request_serializer=WatchRequest.SerializeToString,
            response_deserializer=WatchResponse.FromString,
        )
        try:
            yield from stream(WatchRequest(name=name, resume_token=token))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        except ValueError as error:
            raise _closed(error) from error

    def cancel(self, name: str, /) -> None:
        """Asks the operation to stop."""
        self._call(f"{OPERATIONS}/CancelOperation", operations_pb2.CancelOperationRequest(name=name))

    def delete(self, name: str, /) -> None:
        """Makes the server forget a finished operation; its artifact stays in the store."""
        self._call(f"{OPERATIONS}/DeleteOperation", operations_pb2.DeleteOperationRequest(name=name))

    def list(self, *, which: str = "") -> list[operations_pb2.Operation]:
        """The server's operations; `which` is "", "done=true" or "done=false"."""
        listed: list[operations_pb2.Operation] = []
        token = ""
        while True:
            request = operations_pb2.ListOperationsRequest(name="operations", filter=which, page_token=token)
            page: operations_pb2.ListOperationsResponse = self._call(f"{OPERATIONS}/ListOperations", request)
            listed.extend(page.operations)
            token = page.next_page_token
            if not token:
                return listed

    def _call(self, method: str, request: Message, *, timeout: float = CALL_TIMEOUT) -> Any:
        service, _, name = method.partition("/")
        descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        call = self._channel.unary_unary(
            f"/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        try:
            return call(request, timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        except ValueError as error:
            raise _closed(error) from error


def _closed(error: ValueError) -> StepError:
    """gRPC raises ValueError for a call on a channel that was closed since its server ended."""
    return StepError(str(error), key="", reason=SERVER_DIED, retryable=True)
