"""The gRPC server of a stage, built from the descriptors of the protos: one for all stages.

Serves the stage's own service, google.longrunning.Operations, ProgressService, health and reflection. Long work goes to
the `OperationTable`; a step that is done in the store is answered from there.
"""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

import grpc
import structlog
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, empty_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from syntrial import errors
from syntrial.artifacts.keys import KEY_PATTERN, step_key
from syntrial.artifacts.references import member_refs
from syntrial.artifacts.store import ArtifactStore
from syntrial.rpc import operations
from syntrial.rpc.access import OPEN, Access, LongCalls
from syntrial.rpc.operations import OperationTable, QueueFull, Stopping, Work
from syntrial.rpc.step import StepRunner
from syntrial.rpc.wire_errors import busy, not_found, refused, to_status
from syntrial.stages import Stage
from syntrial.v1 import progress_pb2
from syntrial.v1.artifacts_pb2 import StepResult
from syntrial.v1.progress_pb2 import StepProgress

OPERATIONS: Final = "google.longrunning.Operations"
PROGRESS: Final = "syntrial.v1.ProgressService"

CANCEL_GRACE: Final = 20.0
"""Seconds that a cancelled step gets before its process is killed: one slow batch and one checkpoint fit in."""

KILLED: Final = 75
"""Exit status of a server that ended itself since a cancelled step did not stop."""

_THREADS: Final = 32
"""Calls at a time."""

LONG_CALLS: Final = 24
"""Of these, how many may be streams or `WaitOperation`, each of which takes one for as long as it lasts."""

_HEALTH_THREADS: Final = 2
"""Of health at an address of its own, whatever the rest is busy with."""

_MARGIN: Final = 0.05
"""Seconds before a call's deadline at which `WaitOperation` answers, so that the answer arrives."""

_log = structlog.stdlib.get_logger(__name__)


class StageServer:
    """A stage's service over gRPC, working on one step at a time."""

    def __init__(
        self,
        stage: Stage,
        *,
        store: ArtifactStore,
        runner: StepRunner,
        cancel_grace: float = CANCEL_GRACE,
        queue_limit: int = operations.QUEUE_LIMIT,
        kill: Callable[[int], object] = os._exit,
        access: Access = OPEN,
    ) -> None:
        """`runner` does the steps; `kill` ends the process where a cancelled step does not stop in `cancel_grace`.

        `access` says what is asked of those who call.
        """
        self._access = access
        self._takes_paths = False
        self._health_server: grpc.Server | None = None
        self._stage = stage
        self._store = store
        self._runner = runner
        self._cancel_grace = cancel_grace
        self._kill = kill
        self.table = OperationTable(run=self._run, settle=self._settle, queue_limit=queue_limit)
        self._health = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 * 2**20)],
            interceptors=[*access.interceptors(), LongCalls(LONG_CALLS)],
        )
        services = [stage.service, OPERATIONS, PROGRESS]
        self._server.add_generic_rpc_handlers(self._handlers())
        _add_health(self._health, self._server)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        self._services = ["", *services]

    def listen(self, address: str, *, health_address: str | None = None) -> int:
        """Opens "unix:/path" (for this user alone) or "host:port", and serves; returns the port (1 for a socket).

        Only a socket takes paths of this machine. Health is served at `health_address` too, open to all.
        """
        self._takes_paths = address.startswith("unix:")
        previous = os.umask(0o177)
        try:
            credentials = self._access.credentials
            port = (
                self._server.add_secure_port(address, credentials)
                if credentials is not None
                else self._server.add_insecure_port(address)
            )
        finally:
            os.umask(previous)
        if health_address is not None:
            pool = ThreadPoolExecutor(_HEALTH_THREADS, thread_name_prefix="health")
            self._health_server = grpc.server(pool, options=[("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=16)
            _add_health(self._health, self._health_server)
            self._health_server.add_insecure_port(health_address)
            self._health_server.start()
        self._server.start()
        for service in self._services:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    def stop(self, *, grace: float) -> bool:
        """Shuts down: no new steps, the running one saves a checkpoint and stops; says whether it did in `grace`."""
        self._health.enter_graceful_shutdown()
        has_stopped = self.table.stop(timeout=grace)
        # Watchers get the terminal states before the connections go.
        self._server.stop(1.0).wait(2.0)
        if self._health_server is not None:
            self._health_server.stop(None)
        return has_stopped

    def submit(self, method: str, request: Message) -> operations_pb2.Operation:
        """Starts a step, or finds it under way or done; raises VersionMismatch, QueueFull or Stopping."""
        header = request.header  # type: ignore[attr-defined]
        self._check(method, request)
        known = self.table.find(header.key)
        if known is None or known.done:
            finished = self._finished(header.key, method)
            if finished is not None:
                return finished
        return self.table.submit(method, request, key=header.key).operation()

    def cancel(self, work: Work) -> None:
        """Asks a step to stop, and ends the process where it does not within the grace."""
        self.table.cancel(work)
        if not work.done:
            threading.Thread(target=self._kill_after_grace, args=(work,), name="cancel", daemon=True).start()

    def _check_places(self, request: Message) -> None:
        """Raises UserError where a request names what is no artifact of the store, such as a path or another store.

        A path of this machine could be any file: only who reaches the server's socket may name one.
        """
        for ref in member_refs(request):
            if not KEY_PATTERN.fullmatch(ref.key):
                raise errors.UserError(
                    field="key of a reference",
                    rule="it names an artifact of the server's store: 64 lower-case hexadecimal digits",
                    received=ref.key[:100] or "nothing",
                    remedy="Give the key of the step that made the artifact.",
                )
        places = request.header.execution.source_locations  # type: ignore[attr-defined]
        if any(place.path for place in places) and not self._takes_paths:
            raise errors.UserError(
                field="header.execution.source_locations",
                rule="a server that listens at host:port reads its own store, and no path that a client names",
                received=f"{sum(bool(place.path) for place in places)} with a path",
                remedy="Put the data into the store (`syntrial upload`): it is found there by its digest.",
            )

    def _check(self, method: str, request: Message) -> None:
        header = request.header  # type: ignore[attr-defined]
        if header.stage_version != self._stage.version:
            raise errors.VersionMismatch(
                f"this server has version {self._stage.version} of stage {self._stage.name}; the request was planned "
                f"for version {header.stage_version}. Run the same release of Syntrial on both sides and plan again"
            )
        expected = step_key(method, request, stage_version=self._stage.version)
        if header.key != expected:
            raise errors.VersionMismatch(
                f"the request's key is {header.key or 'empty'}, but {method} of it has key {expected}. "
                "Run the same release of Syntrial on both sides and plan again"
            )

    def _finished(self, key: str, method: str) -> operations_pb2.Operation | None:
        """The done operation of a step whose artifact stands in the store."""
        if not self._store.is_done(key):
            return None
        manifest = self._store.manifest(key)
        if manifest is None:
            return None
        progress = StepProgress(key=key, method=method or manifest.method, state=StepProgress.STATE_SUCCEEDED)
        result = StepResult(key=key, artifact_digest=manifest.artifact_digest)
        return operations.operation(key, progress, result=result, error=None)

    def _run(self, work: Work) -> StepResult:
        started, cpu = time.monotonic(), time.process_time()
        try:
            return self._runner.run(
                work.method, work.request, stop=work.stop, report=lambda change: self.table.report(work, change=change)
            )
        finally:

            def change(progress: StepProgress) -> None:
                progress.resources_used.wall_seconds = time.monotonic() - started
                progress.resources_used.cpu_seconds = time.process_time() - cpu
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                progress.resources_used.peak_memory_bytes = peak * 1024

            self.table.report(work, change=change)

    def _settle(self, work: Work, error: BaseException | None) -> None:
        self._runner.settled(work.method, work.request, error, used=work.progress.resources_used)

    def _kill_after_grace(self, work: Work) -> None:
        if not self.table.wait(work, timeout=self._cancel_grace):
            _log.error("step did not stop", key=work.key, grace_seconds=self._cancel_grace)
            self._kill(KILLED)

    # The wire

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        service = descriptor_pool.Default().FindServiceByName(self._stage.service)
        methods = {method.name: self._starter(f"{service.full_name}/{method.name}") for method in service.methods}
        return [
            service_handler(self._stage.service, methods),
            service_handler(
                OPERATIONS,
                {
                    "GetOperation": self._get_operation,
                    "WaitOperation": self._wait_operation,
                    "CancelOperation": self._cancel_operation,
                    "ListOperations": self._list_operations,
                    "DeleteOperation": self._delete_operation,
                },
            ),
            service_handler(PROGRESS, {"Watch": self._watch}),
        ]

    def _starter(self, method: str) -> Callable[[Message, grpc.ServicerContext], operations_pb2.Operation]:
        def start(request: Message, context: grpc.ServicerContext) -> operations_pb2.Operation:
            try:
                self._check_places(request)
                return self.submit(method, request)
            except QueueFull:
                _abort(context, busy(operations.QUEUE_LIMIT))
            except Stopping:
                _abort(context, refused(code_pb2.UNAVAILABLE, "this server is shutting down", "STOPPING"))
            except errors.SyntrialError as error:
                _abort(context, to_status(error))

        return start

    def _operation(self, name: str, context: grpc.ServicerContext) -> Work | operations_pb2.Operation:
        """What this server knows of the operation, or else its store; aborts with NOT_FOUND."""
        key = name.removeprefix(operations.PREFIX)
        work = self.table.find(key)
        if work is not None:
            return work
        try:
            finished = self._finished(key, "") if KEY_PATTERN.fullmatch(key) else None
        except errors.SyntrialError as error:
            _abort(context, to_status(error))
        if finished is None:
            _abort(context, not_found(name))
        return finished

    def _get_operation(
        self, request: operations_pb2.GetOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        found = self._operation(request.name, context)
        return found.operation() if isinstance(found, Work) else found

    def _wait_operation(
        self, request: operations_pb2.WaitOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Answers when the operation is done, or with its state when the request's or the call's time is up."""
        found = self._operation(request.name, context)
        if not isinstance(found, Work):
            return found
        limits = []
        if request.HasField("timeout"):
            limits.append(max(0.0, request.timeout.ToTimedelta().total_seconds()))
        remaining = context.time_remaining()
        if remaining is not None:
            limits.append(max(0.0, remaining - _MARGIN))
        context.add_callback(self.table.wake)
        self.table.wait(found, timeout=min(limits, default=None), is_active=context.is_active)
        return found.operation()

    def _cancel_operation(
        self, request: operations_pb2.CancelOperationRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        found = self._operation(request.name, context)
        if isinstance(found, Work):
            self.cancel(found)
        return empty_pb2.Empty()

    def _list_operations(
        self, request: operations_pb2.ListOperationsRequest, context: grpc.ServicerContext
    ) -> operations_pb2.ListOperationsResponse:
        """This server's operations; the filter is empty, "done=true" or "done=false"."""
        accepted = {"": (True, False), "done=true": (True,), "done=false": (False,)}
        if request.filter.replace(" ", "") not in accepted:
            message = f'the filter is empty, "done=true" or "done=false"; received {request.filter!r}'
            _abort(context, refused(code_pb2.INVALID_ARGUMENT, message, "BAD_FILTER"))
        wanted = accepted[request.filter.replace(" ", "")]
        listed = [work for work in self.table.snapshot() if work.done in wanted]
        start = int(request.page_token) if request.page_token.isdecimal() else 0
        size = request.page_size or 100
        page = operations_pb2.ListOperationsResponse(
            operations=[work.operation() for work in listed[start : start + size]]
        )
        if start + size < len(listed):
            page.next_page_token = str(start + size)
        return page

    def _delete_operation(
        self, request: operations_pb2.DeleteOperationRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        found = self._operation(request.name, context)
        if isinstance(found, Work) and not self.table.delete(found):
            message = f"{request.name} is not finished; cancel it first"
            _abort(context, refused(code_pb2.FAILED_PRECONDITION, message, "NOT_FINISHED"))
        return empty_pb2.Empty()

    def _watch(
        self, request: progress_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[progress_pb2.WatchResponse]:
        found = self._operation(request.name, context)
        if not isinstance(found, Work):
            progress = StepProgress()
            found.metadata.Unpack(progress)
            yield progress_pb2.WatchResponse(progress=progress)
            return
        context.add_callback(self.table.wake)
        for token, progress in self.table.watch(found, token=request.resume_token, is_active=context.is_active):
            yield progress_pb2.WatchResponse(resume_token=token, progress=progress)


def service_handler(name: str, methods: Mapping[str, Callable[..., Any]]) -> grpc.GenericRpcHandler:
    """The handlers of the service of that full name; its descriptor says what is streamed and which messages travel."""
    service = descriptor_pool.Default().FindServiceByName(name)
    handlers = {}
    for method_name, function in methods.items():
        method = service.methods_by_name[method_name]
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method_name] = make(
            function,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(name, handlers)


def _add_health(servicer: health.HealthServicer, server: grpc.Server) -> None:
    handlers: dict[str, Callable[..., Any]] = {"Check": servicer.Check, "Watch": servicer.Watch}
    server.add_generic_rpc_handlers((service_handler(health.SERVICE_NAME, handlers),))


def _abort(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status raises")
