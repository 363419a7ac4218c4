"""Runs one step from its request to its committed artifact. Shared by the server and `syntrial.rpc.testing`."""

import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

import structlog
from google.protobuf import json_format
from google.protobuf.message import Message

from syntrial.artifacts.keys import canonical_request
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import (
    Cancelled,
    DataLoss,
    StoreFull,
    StoreUnavailable,
    SyntrialError,
    UserError,
    VersionMismatch,
)
from syntrial.rpc.attempt import CHECKPOINT_INTERVAL, STOP_PATIENCE, Attempt, Report, scratch_folder
from syntrial.rpc.context import StepContext
from syntrial.rpc.file_fields import in_file_words, part_of
from syntrial.rpc.logs import AttemptLog
from syntrial.rpc.pods import Lenders
from syntrial.rpc.provenance import provenance
from syntrial.rpc.wire_errors import from_status, is_retryable, reason_of, to_status
from syntrial.stages import METHODS
from syntrial.v1.artifacts_pb2 import StepResult
from syntrial.v1.progress_pb2 import ResourcesUsed

Verb = Callable[[Any, StepContext], None]
"""A stage's method: writes the members of the artifact that a request asks for."""

Settled = Callable[[str, BaseException | None, str, ResourcesUsed], None]
"""Told of each end of an attempt: its key, its error, its log and what it took."""

_log = structlog.stdlib.get_logger(__name__)


def request_record(method: str, request: Message) -> dict[str, object]:
    """What the store keeps as `requests/<key>`: the method, the stage's version and the request in canonical form."""
    header = request.header  # type: ignore[attr-defined]
    return {"method": method, "stage_version": header.stage_version, "request": canonical_request(request)}


def recorded_request(record: Mapping[str, Any], *, key: str) -> tuple[str, Message]:
    """Method and request that `request_record` wrote, with the header filled in; raises VersionMismatch."""
    try:
        method = record["method"]
        request = json_format.ParseDict(record["request"], METHODS[method]())
    except (KeyError, TypeError, json_format.ParseError) as error:
        raise VersionMismatch(f"the recorded request {key} is not one that this release knows: {error}") from error
    header = request.header  # type: ignore[attr-defined]
    header.key, header.stage_version = key, record["stage_version"]
    return method, request


def attempt_entry(error: BaseException | None, *, log: str, used: ResourcesUsed) -> dict[str, object]:
    """What is recorded of an attempt that has ended."""
    known = None if error is None else from_status(to_status(error))
    return {
        "outcome": "succeeded" if known is None else "cancelled" if isinstance(known, Cancelled) else "failed",
        "reason": "" if known is None else reason_of(known),
        "message": "" if known is None else str(known),
        "retryable": known is not None and is_retryable(known),
        "log": log,
        "resources": {
            "wall_seconds": used.wall_seconds,
            "cpu_seconds": used.cpu_seconds,
            "peak_memory_bytes": used.peak_memory_bytes,
        },
    }


class StepRunner:
    """Runs the steps of one stage against a store."""

    def __init__(
        self,
        *,
        store: ArtifactStore,
        verbs: Callable[[], Mapping[str, Verb]],
        stage_version: int,
        threads: int,
        module: str = "",
        lenders: Lenders | None = None,
        checkpoint_interval: float = CHECKPOINT_INTERVAL,
        stop_patience: float = STOP_PATIENCE,
        on_settled: Settled = lambda _key, _error, _log, _used: None,
    ) -> None:
        """`verbs` gives the stage's methods by name; it is asked in the thread that runs the steps. `module` starts the
        stage in further processes, where they share a step, and `lenders` are the pods that hold some of them.
        """
        self._store = store
        self._verbs = verbs
        self._stage_version = stage_version
        self._threads = threads
        self._module = module
        self._lenders = lenders
        self._checkpoint_interval = checkpoint_interval
        self._stop_patience = stop_patience
        self._on_settled = on_settled
        self._attempt_log = AttemptLog()

    def run(
        self, method: str, request: Message, *, stop: Event | None = None, report: Report = lambda _change: None
    ) -> StepResult:
        """Runs `method` ("syntrial.v1.GenerationService/TrainGenerator") and commits its artifact.

        Raises what the verb raises. A damaged artifact that it came upon is put aside, so that it is made again.
        """
        key = request.header.key  # type: ignore[attr-defined]
        with self._attempt_log.captured(key=key, method=method):
            started = time.monotonic()
            _log.info("step started")
            try:
                result = self._run(method, request, key=key, stop=stop or Event(), report=report)
            except BaseException as error:
                self._log_failure(error)
                if isinstance(error, DataLoss) and error.key:
                    self._quarantine(error.key)
                raise
            _log.info("step finished", seconds=round(time.monotonic() - started, 3), digest=result.artifact_digest)
            return result

    def settled(self, method: str, request: Message, error: BaseException | None, *, used: ResourcesUsed) -> None:
        """Passes on the end of an attempt with its log; the attempt's result does not hang on this."""
        key, told = request.header.key, error  # type: ignore[attr-defined]
        try:
            if isinstance(error, UserError):
                told = in_file_words(error, method=method, part=part_of(request, self._store.manifest))
            self._on_settled(key, told, self._attempt_log.text(), used)
        except SyntrialError as caught:
            _log.warning("attempt not recorded", key=key, method=method, error=str(caught))

    def _run(self, method: str, request: Message, *, key: str, stop: Event, report: Report) -> StepResult:
        verb = self._verbs()[method.rpartition("/")[2]]
        body = canonical_request(request)
        self._store.put_request(key, request_record(method, request))
        writer = self._store.writer(key, method=method, stage_version=self._stage_version, request=body)
        with scratch_folder() as scratch:
            attempt = Attempt(
                self._store,
                request=request,
                writer=writer,
                scratch=scratch,
                stop=stop,
                report=report,
                checkpoint_interval=self._checkpoint_interval,
                stop_patience=self._stop_patience,
                module=self._module,
                lenders=self._lenders,
            )
            verb(request, attempt)
        # The commit deletes the checkpoint too, after the manifest: a crash before that resumes from the checkpoint.
        manifest = self._store.commit(writer, provenance=provenance(threads=self._threads, devices=attempt.shared_over))
        return StepResult(key=key, artifact_digest=manifest.artifact_digest)

    def _log_failure(self, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            _log.info("step cancelled")
        elif isinstance(error, UserError):
            _log.error("step refused", error=str(error))
        elif isinstance(error, (StoreFull, StoreUnavailable)):
            # Of the disk or the network, which where in the code it struck says nothing of.
            _log.error("step failed", error=f"{type(error).__name__}: {error}")
        else:
            _log.error("step failed", error=f"{type(error).__name__}: {error}", exc_info=error)

    def _quarantine(self, key: str) -> None:
        try:
            self._store.quarantine(key)
        except StoreUnavailable as error:
            _log.warning("damaged artifact not put aside", damaged=key, error=str(error))
