"""The executor of a laptop: stage servers as processes of this machine, within its cores, memory and GPUs.

Servers are started when they are wanted, kept warm for the next step of their stage, stopped when another stage wants
their memory, and replaced when they die. Called by the command line through `drive`.
"""

import logging
import shutil
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from google.protobuf.message import Message

from syntrial.artifacts.references import source_digests
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import Cancelled, StepError, SyntrialError, UserError
from syntrial.executors.executor import (
    LOG_TAIL_LINES,
    Event,
    ServerDied,
    StepFailed,
    StepProgressed,
    StepStarted,
    StepSucceeded,
)
from syntrial.executors.processes import (
    ServerProcess,
    backoff_seconds,
    require_programs,
    wait_all,
)
from syntrial.executors.slots import Assignment, Machine, Slot, place, this_machine
from syntrial.plan.steps import Step, is_shared
from syntrial.rpc.client import operation_name, result_of
from syntrial.rpc.file_fields import in_file_words, part_of
from syntrial.rpc.logs import readable
from syntrial.rpc.main import THREAD_ENVIRONMENT
from syntrial.rpc.ranks import describe_end
from syntrial.rpc.step import attempt_entry
from syntrial.rpc.wire_errors import INTERNAL, SERVER_DIED, is_retryable, reason_of
from syntrial.stages import Stage, stage_of
from syntrial.v1.artifacts_pb2 import StepResult
from syntrial.v1.progress_pb2 import StepProgress

_log = logging.getLogger(__name__)

OVERTAKES: Final = 8
"""How many later steps may begin before one for which there is no room yet; then cores are kept free for it."""

CANCEL_GRACE: Final = 20.0
"""Seconds that a cancelled step gets before its server ends itself."""

STOP_GRACE: Final = 10.0
"""Seconds that servers get, at the end, to save checkpoints."""

_RECONNECTIONS: Final = 3
"""Times that a watch is taken up again while its server lives."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Task:
    """A step that was given to the executor and has not ended."""

    step: Step
    attempt: int
    priority: float
    overtaken: int = 0
    is_cancelled: bool = False
    is_begun: bool = False
    """Whether its server knows it, so that a cancellation finds it there."""
    server: "_Server | None" = None


@dataclass(eq=False, kw_only=True, slots=True)
class _Server:
    """A place for one step at a time; its process starts in the thread of the first step."""

    slot: int
    stage: Stage
    gpu: str
    command: tuple[str, ...]
    """How its program is started; empty: it is the stage's own."""
    task: _Task | None
    devices: int = 1
    """Processes that share its step, itself included."""
    process: ServerProcess | None = None


class LocalExecutor:
    """Runs steps on this machine. A context manager; `close` ends all servers."""

    def __init__(
        self,
        store_url: str,
        *,
        source_locations: Mapping[str, Path] | None = None,
        cores: int | None = None,
        memory_mib: int | None = None,
        gpus: Sequence[str] | None = None,
        devices: int = 1,
        experiment: str = "local",
        cancel_grace: float = CANCEL_GRACE,
        stop_grace: float = STOP_GRACE,
        checkpoint_interval: float = 60.0,
    ) -> None:
        """Starts nothing yet.

        `cores`, `memory_mib` and `gpus` default to what this process may use; `devices` share each step that can be
        shared. `experiment` files the attempts.
        """
        self._store: ArtifactStore = open_store(store_url)
        self._sources = dict(source_locations or {})
        self._machine: Machine = this_machine(cores=cores, memory_mib=memory_mib, gpus=gpus)
        self._devices = devices
        self._experiment = experiment
        self._stop_grace = stop_grace
        self._arguments = {
            "store": self._store.url,
            "cancel-grace": str(cancel_grace),
            "stop-grace": str(stop_grace),
            "checkpoint-interval": str(checkpoint_interval),
        }
        self._folder: Path | None = None
        self._changed = threading.Condition()
        self._waiting: list[_Task] = []
        self._tasks: dict[str, _Task] = {}
        self._servers: dict[int, _Server] = {}
        self._events: deque[Event] = deque()
        self._failures: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._started = 0
        self._is_closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def machine(self) -> Machine:
        """What the executor uses of this machine."""
        return self._machine

    @property
    def servers_started(self) -> int:
        """How many server processes have been started so far."""
        return self._started

    def server_pids(self) -> dict[int, str]:
        """The living server processes and their stages."""
        with self._changed:
            processes = [server.process for server in self._servers.values() if server.process is not None]
            return {process.pid: process.stage.name for process in processes}

    def start(self, step: Step, *, attempt: int = 1, priority: float = 0.0) -> None:
        """Takes a step whose inputs are in the store; higher priorities begin first. Returns at once."""
        with self._changed:
            task = _Task(step=step, attempt=attempt, priority=priority)
            self._tasks[step.key] = task
            self._waiting.append(task)
            # Stable: steps of one priority keep their order.
            self._waiting.sort(key=lambda waiting: -waiting.priority)
            self._changed.notify_all()
        self._schedule()

    def wait(self, *, timeout: float | None = None) -> Sequence[Event]:
        """The events since the last call, in order; waits for the first one, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout)
            events = list(self._events)
            self._events.clear()
            return events

    def cancel(self, key: str) -> None:
        """Asks a step to stop; its `StepFailed` with reason "Cancelled" follows."""
        with self._changed:
            task = self._tasks.get(key)
            if task is None:
                return
            task.is_cancelled = True
            if task in self._waiting:
                self._waiting.remove(task)
                self._end_with(task, Cancelled("cancelled before it started"), log="")
                return
            # Before that, the step's own thread sees the flag once the server knows the step.
            process = task.server.process if task.is_begun and task.server is not None else None
        if process is not None:
            _cancel(process, key)

    def close(self) -> None:
        """Asks all servers to save checkpoints and end, and kills those that do not."""
        with self._changed:
            self._is_closing = True
            for task in list(self._waiting):
                self._waiting.remove(task)
                self._end_with(task, Cancelled("the executor was closed"), log="")
            for task in self._tasks.values():
                task.is_cancelled = True
            processes = [server.process for server in self._servers.values() if server.process is not None]
            self._changed.notify_all()
        for process in processes:
            process.terminate()
        # A server's own grace comes first, then the second in which it lets its clients go.
        wait_all(processes, grace=self._stop_grace + 3.0)
        with self._changed:
            self._changed.wait_for(lambda: not self._tasks, 5.0)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # Scheduling

    def _schedule(self) -> None:
        """Gives waiting steps to servers as long as there is room."""
        with self._changed:
            if self._is_closing:
                return
            passed: list[_Task] = []
            for task in list(self._waiting):
                found = place(
                    stage_of(task.step.method),
                    slots=self._slots(),
                    machine=self._machine,
                    command=task.step.program.command,
                    devices=self._devices_of(task.step),
                )
                if found is None:
                    if task.overtaken >= OVERTAKES:
                        return
                    passed.append(task)
                    continue
                for earlier in passed:
                    earlier.overtaken += 1
                self._waiting.remove(task)
                self._assign(task, found)

    def _devices_of(self, step: Step) -> int:
        return self._devices if is_shared(step) else 1

    def _slots(self) -> list[Slot]:
        return [
            Slot(
                number=server.slot,
                stage=server.stage,
                is_busy=server.task is not None,
                gpu=server.gpu,
                command=server.command,
                devices=server.devices if server.task is not None else 1,
            )
            for server in self._servers.values()
        ]

    def _assign(self, task: _Task, found: Assignment) -> None:
        stopped = [self._servers.pop(slot) for slot in found.stop]
        if found.reuse is not None:
            server = self._servers[found.reuse]
        else:
            self._started += 1
            stage = stage_of(task.step.method)
            server = _Server(
                slot=self._started, stage=stage, gpu=found.gpu, command=task.step.program.command, task=None
            )
            self._servers[server.slot] = server
        server.task, server.devices, task.server = task, self._devices_of(task.step), server
        arguments = (task, server, [old.process for old in stopped if old.process is not None])
        threading.Thread(target=self._run, args=arguments, name=f"step {task.step.key[:8]}", daemon=True).start()

    # One step, in a thread of its own

    def _run(self, task: _Task, server: _Server, stopped: Sequence[ServerProcess]) -> None:
        for process in stopped:
            process.terminate()
        wait_all(stopped, grace=self._stop_grace)
        log, result = "", None
        error: SyntrialError | None = None
        progress = StepProgress(key=task.step.key, method=task.step.method)
        try:
            require_programs([task.step])
            warm = server.process
            if warm is not None and warm.status is None:
                warm.begin_log()
                process = warm
            else:
                # What a server says as it starts belongs to this step: it may be all that it ever says.
                process = self._launch(server)
            self._tell(
                StepStarted(key=task.step.key, attempt=task.attempt, place=f"{server.stage.name} server {process.pid}")
            )
            try:
                result = self._follow(task, process, progress)
            except UserError as caught:
                error = self._in_file_words(caught, task.step)
            except SyntrialError as caught:
                error = self._explain(caught, task, process)
            log = process.log()
        except SyntrialError as caught:
            error = caught
        except OSError as caught:
            message = f"the server of stage {server.stage.name} does not start: {caught}"
            error = StepError(message, key=task.step.key, reason=SERVER_DIED, retryable=True)
        except Exception as caught:  # noqa: BLE001 - whoever waits for this step must hear of its end, a bug's too
            message = f"the executor failed: {type(caught).__name__}: {caught}"
            error = StepError(message, key=task.step.key, reason=INTERNAL)
        self._settle(task, server, error=error, result=result, progress=progress, log=log)

    def _launch(self, server: _Server) -> ServerProcess:
        """Starts the server's process, after a pause where the stage's servers have died before."""
        with self._changed:
            pause = backoff_seconds(self._failures[server.stage.name, server.command])
            self._changed.wait_for(lambda: self._is_closing, pause)
            if self._is_closing:
                raise Cancelled("the executor was closed")
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="syntrial-"))
            # Scratch files of a server that was killed go with the executor's folder.
            environment = {**THREAD_ENVIRONMENT, "TMPDIR": str(self._folder)}
            if server.stage.footprint.accelerator:
                environment["CUDA_VISIBLE_DEVICES"] = server.gpu
            server.process = ServerProcess(
                server.stage,
                command=server.command,
                arguments=self._arguments,
                folder=self._folder,
                number=server.slot,
                environment=environment,
            )
            return server.process

    def _follow(self, task: _Task, process: ServerProcess, progress: StepProgress) -> StepResult:
        """Starts the step on the server and follows it to its end; raises what it raised."""
        key = task.step.key
        name = operation_name(key)
        operation = process.client.start(task.step.method, self._with_places(task.step), timeout=120.0)
        task.is_begun = True
        if task.is_cancelled:
            process.client.cancel(name)
        token, reconnections = "", 0
        while not operation.done:
            try:
                for response in process.client.watch(name, token=token):
                    token = response.resume_token
                    progress.CopyFrom(response.progress)
                    if progress.state == StepProgress.STATE_RUNNING:
                        self._tell(StepProgressed(key=key, progress=_copy(progress)))
                operation = process.client.get(name)
            except SyntrialError:
                reconnections += 1
                if process.has_ended(within=0.5) or reconnections > _RECONNECTIONS:
                    raise
        operation.metadata.Unpack(progress)
        return result_of(operation, key=key)

    def _in_file_words(self, error: UserError, step: Step) -> UserError:
        return in_file_words(error, method=step.method, part=part_of(step.request, self._store.manifest))

    def _explain(self, error: SyntrialError, task: _Task, process: ServerProcess) -> SyntrialError:
        """What became of a step whose calls failed: the server's end where it has ended, else the error itself."""
        is_connection = isinstance(error, StepError) and error.reason == SERVER_DIED
        if not (is_connection or isinstance(error, Cancelled)):
            return error
        has_ended = process.has_ended(within=1.0)
        if not has_ended and not is_connection:
            return error
        # A server that lives and does not answer is of no more use than one that has ended.
        process.end(grace=0.0)
        if task.is_cancelled:
            return Cancelled("the step was asked to stop")
        status = process.status or 0
        self._tell(ServerDied(stage=process.stage.name, status=status, log_tail=_tail(process.log())))
        how = f"ended during the step: {describe_end(status)}" if has_ended else f"did not answer: {error}"
        message = f"the server of stage {process.stage.name} {how}"
        return StepError(message, key=task.step.key, reason=SERVER_DIED, retryable=True)

    def _with_places(self, step: Step) -> Message:
        """A step's request with the places of the sources that it names on this machine, and with its devices."""
        request = step.request
        full = type(request)()
        full.CopyFrom(request)
        named = source_digests(request)
        for digest, path in self._sources.items():
            if digest in named:
                full.header.execution.source_locations.add(digest=digest, path=str(path))  # type: ignore[attr-defined]
        if (devices := self._devices_of(step)) > 1:
            full.header.execution.devices = devices  # type: ignore[attr-defined]
        return full

    # Ends

    def _settle(
        self,
        task: _Task,
        server: _Server,
        *,
        error: SyntrialError | None,
        result: StepResult | None,
        progress: StepProgress,
        log: str,
    ) -> None:
        process = server.process
        is_alive = process is not None and process.status is None
        entry = attempt_entry(error, log=log, used=progress.resources_used)
        self._record(task.step.key, entry)
        if process is not None and not is_alive:
            process.end(grace=0.0)
        with self._changed:
            server.task = None
            if not is_alive:
                self._servers.pop(server.slot, None)
                self._failures[server.stage.name, server.command] += 1
            elif error is None:
                self._failures[server.stage.name, server.command] = 0
            if error is None and result is not None:
                self._tasks.pop(task.step.key, None)
                self._tell(
                    StepSucceeded(key=task.step.key, artifact_digest=result.artifact_digest, progress=_copy(progress))
                )
            else:
                self._end_with(task, error or Cancelled("no result"), log=log)
        self._schedule()

    def _end_with(self, task: _Task, error: SyntrialError, *, log: str) -> None:
        self._tasks.pop(task.step.key, None)
        self._tell(
            StepFailed(
                key=task.step.key,
                attempt=task.attempt,
                reason=reason_of(error),
                message=str(error),
                log_tail=_tail(log),
                retryable=is_retryable(error),
                error=error,
            )
        )

    def _record(self, key: str, entry: Mapping[str, object]) -> None:
        """Files the attempt. Where the store does not answer, the step's own end is what the user needs to see."""
        try:
            self._store.add_attempt(key, entry, experiment=self._experiment)
        except SyntrialError as error:
            _log.warning("the attempt at step %s is not on record: %s", key, error)

    def _tell(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()


def _cancel(process: ServerProcess, key: str) -> None:
    try:
        process.client.cancel(operation_name(key))
    except SyntrialError:
        # The server has ended, and with it the step.
        return


def _tail(log: str) -> str:
    return "\n".join(readable(log).splitlines()[-LOG_TAIL_LINES:])


def _copy(progress: StepProgress) -> StepProgress:
    copied = StepProgress()
    copied.CopyFrom(progress)
    return copied
