"""The lives of a stage's process, from its start to its exit status: `serve`, `job`, and `rank` of a shared step."""

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import ArtifactMissing, Cancelled, SyntrialError, UserError
from syntrial.rpc.access import OPEN, Access
from syntrial.rpc.attempt import STOP_PATIENCE, Attempt, scratch_folder
from syntrial.rpc.exits import DONE, FAILED, STOPPED, USER_ERROR
from syntrial.rpc.logs import configure_logging
from syntrial.rpc.operations import Stopping
from syntrial.rpc.pods import Lenders, PodGroup, lend
from syntrial.rpc.server import CANCEL_GRACE, StageServer
from syntrial.rpc.step import Settled, StepRunner, Verb, attempt_entry, recorded_request
from syntrial.rpc.wire_errors import from_status
from syntrial.stages import STAGES, stage_of
from syntrial.v1.progress_pb2 import ResourcesUsed

_ORPHAN_GRACE: Final = 1.0
"""Seconds to save a checkpoint in when the parent has gone; an orphan must not hold the machine for long."""

_SAVING: Final = 12.0
"""Seconds of the stop's grace that are kept for saving the checkpoint once it is reached."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessTimes:
    """Times of a stage's process, in seconds."""

    cancel_grace: float = CANCEL_GRACE
    """What a cancelled step gets before the process ends itself."""
    stop_grace: float = 20.0
    """What the running step gets after SIGTERM; below what Kubernetes gives a pod, 30 s unless its Job says more."""
    checkpoint_interval: float = 60.0
    """Between checkpoints: what a killed step may lose, against the time that writing takes."""


def serve(
    stage_name: str,
    verbs: Callable[[], Mapping[str, Verb]],
    *,
    store_url: str,
    address: str,
    parent_pipe: int | None,
    times: ProcessTimes,
    access: Callable[[], Access] = lambda: OPEN,
    health_address: str | None = None,
) -> int:
    """Serves until SIGTERM, SIGINT or the end of the parent; returns the exit status.

    `access` says what is asked of those who call, or raises UserError.
    """
    configure_logging()
    stop = _stop_event()
    try:
        asked = access()
    except UserError as error:
        _log.error("not served", error=str(error))
        return USER_ERROR
    opened = _open(store_url)
    if isinstance(opened, int):
        return opened
    server = _server(stage_name, verbs, store=opened, times=times, access=asked)
    server.listen(address, health_address=health_address)
    _log.info("serving", stage=stage_name, address=address, store=opened.url, pid=os.getpid())
    if parent_pipe is not None:
        threading.Thread(target=_follow_parent, args=(parent_pipe, server), name="parent", daemon=True).start()
    stop.wait()
    _log.info("stopping", stage=stage_name)
    server.stop(grace=times.stop_grace)
    return _leave(DONE)


def job(
    stage_name: str,
    verbs: Callable[[], Mapping[str, Verb]],
    *,
    keys: Sequence[str],
    store_url: str,
    address: str,
    experiment: str,
    sources: Mapping[str, str],
    times: ProcessTimes,
    devices: int = 1,
    pods: PodGroup | None = None,
) -> int:
    """Works on the recorded requests of `keys` one after another; returns the exit status.

    Where a step can be shared, `devices` share it, those of `pods` where there are several: that of index 0 works, and
    the others lend it theirs for the one key there is. A failed step is recorded and the next one begins.

    The status is 0 where all are done, 2 where the only errors are
    the user's, else 1; 143 after SIGTERM. A pod that lends its devices: see `lend`.
    """
    configure_logging()
    stop = _stop_event()
    if pods is not None and pods.index:
        (key,) = keys
        module = STAGES[stage_name].module
        return _leave(lend(pods, module=module, key=key, store_url=store_url, count=devices, stop=stop))
    opened = _open(store_url)
    if isinstance(opened, int):
        return opened
    store = opened
    lenders = None
    if pods is not None:
        lenders = Lenders(pods, each=devices // pods.count, on_stop=stop.set).listen()

    def record(key: str, error: BaseException | None, log: str, used: ResourcesUsed) -> None:
        store.add_attempt(key, attempt_entry(error, log=log, used=used), experiment=experiment)

    server = _server(stage_name, verbs, store=store, times=times, on_settled=record, lenders=lenders)
    server.listen(address)
    threading.Thread(target=_end_when_asked, args=(stop, server, times.stop_grace), name="stop", daemon=True).start()
    outcomes: list[SyntrialError | None] = []
    for key in keys:
        if stop.is_set():
            break
        outcome = _work_on(key, server, store=store, stage_name=stage_name, sources=sources, devices=devices)
        if outcome.error is not None and not outcome.has_begun and not isinstance(outcome.error, Cancelled):
            with contextlib.suppress(SyntrialError):
                record(key, outcome.error, "", ResourcesUsed())
        outcomes.append(outcome.error)
    was_stopped = stop.is_set()
    server.stop(grace=times.stop_grace)
    failures = [error for error in outcomes if error is not None]
    if was_stopped and (len(outcomes) < len(keys) or any(isinstance(error, Cancelled) for error in failures)):
        return _leave(STOPPED)
    if not failures:
        if lenders is not None:
            lenders.done()
        return _leave(DONE)
    return _leave(USER_ERROR if all(isinstance(error, UserError) for error in failures) else FAILED)


def rank(
    verbs: Callable[[], Mapping[str, Verb]],
    *,
    key: str,
    store_url: str,
    number: int,
    count: int,
    meeting: str,
    parent_pipe: int,
) -> int:
    """Takes part in the step of `key` as rank `number` of `count`; returns the exit status.

    Rank 0 says when it is to stop, by the end of the pipe. What it writes goes nowhere, its end is nobody's record.
    """
    configure_logging()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, signal.SIG_IGN)
    threading.Thread(target=_end_with_rank_0, args=(parent_pipe,), name="rank 0", daemon=True).start()
    attempt: Attempt | None = None
    with structlog.contextvars.bound_contextvars(key=key, rank=number):
        try:
            store = open_store(store_url)
            record = store.request(key)
            if record is None:
                raise ArtifactMissing(f"the store {store.url} has no request {key}")
            method, request = recorded_request(record, key=key)
            request.header.execution.devices = count  # type: ignore[attr-defined]
            writer = open_store("memory://").writer(key, method=method, stage_version=0, request={})
            # Beside the file by which they meet, which goes with rank 0's.
            within = Path(meeting).parent if Path(meeting).is_absolute() else None
            with scratch_folder(within) as scratch:
                attempt = Attempt(
                    store,
                    request=request,
                    writer=writer,
                    scratch=scratch,
                    stop=threading.Event(),
                    checkpoint_interval=math.inf,
                    rank=number,
                    meeting=meeting,
                )
                verbs()[method.rpartition("/")[2]](request, attempt)
        except UserError as error:
            if attempt is not None and attempt.shared_over > 1:
                # Rank 0 came to the same, of the same request and the same losses, and tells of it.
                return _leave(DONE)
            # Rank 0 is past all that comes before the ranks meet, and waits: this is of this rank's place alone.
            _log.error("rank refused", error=str(error))
            return _leave(FAILED)
        except Exception as error:  # noqa: BLE001 - rank 0 tells of it, and this process's log why
            _log.error("rank failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            return _leave(FAILED)
    return _leave(DONE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What became of one of a job's keys."""

    error: SyntrialError | None
    has_begun: bool = True
    """Whether the step began; the end of one that did is recorded by the server."""


def _work_on(
    key: str, server: StageServer, *, store: ArtifactStore, stage_name: str, sources: Mapping[str, str], devices: int
) -> _Outcome:
    """Runs one recorded request to its end."""
    try:
        record = store.request(key)
        if record is None:
            raise ArtifactMissing(f"the store {store.url} has no request {key}")
        method, request = recorded_request(record, key=key)
        if stage_of(method).name != stage_name:
            raise UserError(
                field=f"key {key}",
                rule=f"a job of stage {stage_name} runs that stage's steps",
                received=method,
                remedy=f"Run it as a job of stage {stage_of(method).name}.",
            )
        for digest, path in sources.items():
            request.header.execution.source_locations.add(digest=digest, path=path)  # type: ignore[attr-defined]
        if devices > 1:
            request.header.execution.devices = devices  # type: ignore[attr-defined]
        operation = server.submit(method, request)
        work = server.table.find(key)
        if not operation.done and work is not None:
            server.table.wait(work, timeout=None)
            operation = work.operation()
    except Stopping:
        return _Outcome(error=Cancelled("the job was asked to stop before the step began"), has_begun=False)
    except SyntrialError as error:
        _log.error("step not started", key=key, error=str(error))
        return _Outcome(error=error, has_begun=False)
    return _Outcome(error=from_status(operation.error, key=key) if operation.HasField("error") else None)


def _server(
    stage_name: str,
    verbs: Callable[[], Mapping[str, Verb]],
    *,
    store: ArtifactStore,
    times: ProcessTimes,
    on_settled: Settled = lambda _key, _error, _log, _used: None,
    access: Access = OPEN,
    lenders: Lenders | None = None,
) -> StageServer:
    stage = STAGES[stage_name]
    runner = StepRunner(
        store=store,
        verbs=verbs,
        stage_version=stage.version,
        threads=stage.footprint.threads,
        module=stage.module,
        lenders=lenders,
        checkpoint_interval=times.checkpoint_interval,
        stop_patience=max(STOP_PATIENCE, times.stop_grace - _SAVING),
        on_settled=on_settled,
    )
    return StageServer(stage, store=store, runner=runner, cancel_grace=times.cancel_grace, access=access)


def _open(url: str) -> ArtifactStore | int:
    try:
        return open_store(url)
    except SyntrialError as error:
        _log.error("store not opened", error=str(error))
        return USER_ERROR if isinstance(error, UserError) else FAILED


def _stop_event() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: event.set())
    return event


def _end_when_asked(stop: threading.Event, server: StageServer, grace: float) -> None:
    """Passes SIGTERM on to a job's step, and ends the job where the step does not stop in time."""
    stop.wait()
    if not server.table.stop(timeout=grace):
        _leave(STOPPED)


def _follow_parent(descriptor: int, server: StageServer) -> None:
    """Ends this process soon after the parent's end of the pipe closes, also where the parent was killed."""
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        while pipe.read(1):
            pass
    try:
        server.table.stop(timeout=_ORPHAN_GRACE)
    finally:
        _leave(DONE)


def _end_with_rank_0(descriptor: int) -> None:
    """Ends this process as soon as rank 0 closes its end of the pipe, also where that was killed."""
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        while pipe.read(1):
            pass
    _leave(DONE)


def _leave(status: int) -> int:
    """Ends the process at once: a step that did not stop in time, in the worker thread, must not hold it."""
    for stream in (sys.stdout, sys.stderr):
        # Whoever read it may have gone.
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)
