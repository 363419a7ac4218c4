"""The operations of one server: what waits, what runs on the one worker thread, and what became of the rest.

Knows nothing of gRPC: `syntrial.rpc.server` puts it on the wire. An operation is named by its step's key, so a repeated
request finds the work under way; a failed or cancelled operation does not block a new request.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from syntrial.errors import Cancelled
from syntrial.rpc.wire_errors import to_status
from syntrial.v1.artifacts_pb2 import StepResult
from syntrial.v1.progress_pb2 import StepProgress

PREFIX: Final = "operations/"
"""What an operation's name has before the step's key."""

QUEUE_LIMIT: Final = 16
"""Steps that may wait behind the running one; a job's further keys wait in the job, not here."""

TERMINAL: Final = frozenset(
    {StepProgress.STATE_SUCCEEDED, StepProgress.STATE_FAILED, StepProgress.STATE_CANCELLED},
)
"""The states in which an operation stays."""

_KEPT: Final = 1000
"""Finished operations that a server remembers; older ones are answered from the store."""


class QueueFull(Exception):
    """As many steps wait as this server lets wait."""


class Stopping(Exception):
    """The server shuts down and takes no new steps."""


@dataclass(eq=False, kw_only=True, slots=True)
class Work:
    """One operation. Its fields are written under the table's lock."""

    key: str
    method: str
    request: Message
    progress: StepProgress
    sequence: int = 0
    """Counts the changes of `progress`; part of the resume token."""
    result: StepResult | None = None
    error: status_pb2.Status | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the step is to save a checkpoint and stop."""

    @property
    def done(self) -> bool:
        """Whether the operation has reached its last state."""
        return self.progress.state in TERMINAL

    def operation(self) -> operations_pb2.Operation:
        """The operation as the client sees it."""
        return operation(self.key, self.progress, result=self.result, error=self.error)


def operation(
    key: str, progress: StepProgress, *, result: StepResult | None, error: status_pb2.Status | None
) -> operations_pb2.Operation:
    """A `google.longrunning.Operation`: progress as metadata, and a result or an error once it is done."""
    message = operations_pb2.Operation(name=PREFIX + key, done=progress.state in TERMINAL)
    message.metadata.Pack(progress)
    if result is not None:
        message.response.Pack(result)
    elif error is not None:
        message.error.CopyFrom(error)
    return message


class OperationTable:
    """All operations of a server, and the thread that works on them one after another."""

    def __init__(
        self,
        *,
        run: Callable[[Work], StepResult],
        settle: Callable[[Work, BaseException | None], None] = lambda _work, _error: None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """`run` does the work, in the worker thread; `settle` is told of each end before clients are."""
        self._run = run
        self._settle = settle
        self._queue_limit = queue_limit
        self._changed = threading.Condition()
        self._table: dict[str, Work] = {}
        self._queue: deque[Work] = deque()
        self._running: Work | None = None
        self._stopping = False
        self._instance = secrets.token_hex(4)
        self._thread = threading.Thread(target=self._worker, name="step", daemon=True)
        self._thread.start()

    @property
    def running(self) -> Work | None:
        """The operation that the worker has in hand."""
        return self._running

    def submit(self, method: str, request: Message, *, key: str) -> Work:
        """Queues a step, or finds the one of this key that waits, runs or has succeeded.

        Raises QueueFull where too many steps wait and Stopping during shutdown.
        """
        with self._changed:
            known = self._table.get(key)
            if known is not None and not known.done:
                return known
            if self._stopping:
                raise Stopping
            if len(self._queue) >= self._queue_limit:
                raise QueueFull
            progress = StepProgress(key=key, method=method, state=StepProgress.STATE_QUEUED)
            work = Work(key=key, method=method, request=request, progress=progress)
            self._table.pop(key, None)
            self._table[key] = work
            self._forget_oldest()
            self._queue.append(work)
            self._changed.notify_all()
            return work

    def find(self, key: str) -> Work | None:
        """The operation of this key, where the server knows one."""
        with self._changed:
            return self._table.get(key)

    def snapshot(self) -> list[Work]:
        """All known operations, oldest first."""
        with self._changed:
            return list(self._table.values())

    def report(self, work: Work, *, change: Callable[[StepProgress], None]) -> None:
        """Changes the progress of a running operation and wakes whoever watches."""
        with self._changed:
            change(work.progress)
            work.sequence += 1
            self._changed.notify_all()

    def wait(self, work: Work, *, timeout: float | None, is_active: Callable[[], bool] = lambda: True) -> bool:
        """Waits until the operation is done, the time is up or the client has gone; says whether it is done."""
        with self._changed:
            self._changed.wait_for(lambda: work.done or not is_active(), timeout)
            return work.done

    def wake(self) -> None:
        """Lets waiting calls see that their client has gone."""
        with self._changed:
            self._changed.notify_all()

    def watch(
        self, work: Work, *, token: str, is_active: Callable[[], bool], interval: float = 0.1
    ) -> Iterator[tuple[str, StepProgress]]:
        """Snapshots of the progress with their tokens, the last one terminal; at most one each `interval` seconds.

        Starts after the snapshot that a known `token` came with, and with a snapshot otherwise.
        """
        seen = self._sequence_of(work, token)
        while True:
            with self._changed:
                while not (work.sequence > seen or work.done or not is_active()):
                    self._changed.wait()
                if not is_active():
                    return
                seen = work.sequence
                progress = StepProgress()
                progress.CopyFrom(work.progress)
            yield f"{self._instance}.{id(work):x}.{seen}", progress
            if progress.state in TERMINAL:
                return
            with self._changed:
                # Bounds the rate of messages, not the delay of the last one.
                self._changed.wait_for(lambda: work.done or not is_active(), interval)

    def cancel(self, work: Work) -> None:
        """Asks an operation to stop: at once where it waits, cooperatively where it runs."""
        with self._changed:
            if work in self._queue:
                self._queue.remove(work)
                self._finish(work, None, Cancelled("cancelled before it started"))
            elif not work.done:
                work.stop.set()
            self._changed.notify_all()

    def delete(self, work: Work) -> bool:
        """Forgets a finished operation; says False where it is not finished."""
        with self._changed:
            if work.done and self._table.get(work.key) is work:
                del self._table[work.key]
            return work.done

    def stop(self, *, timeout: float) -> bool:
        """Takes no more steps, cancels those that wait, asks the running one to stop; says whether it did in time."""
        with self._changed:
            self._stopping = True
            for work in list(self._queue):
                self.cancel(work)
            if self._running is not None:
                self._running.stop.set()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._running is None, timeout)

    def _worker(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return
                work = self._running = self._queue.popleft()
                work.progress.state = StepProgress.STATE_RUNNING
                work.sequence += 1
                self._changed.notify_all()
            result, error = None, None
            try:
                result = self._run(work)
            except BaseException as caught:  # noqa: BLE001 - what a step raises is its client's to see, SystemExit too
                error = caught
            self._settle(work, error)
            with self._changed:
                self._finish(work, result, error)
                self._running = None
                self._changed.notify_all()

    def _finish(self, work: Work, result: StepResult | None, error: BaseException | None) -> None:
        if error is None:
            work.result = result
            work.progress.state = StepProgress.STATE_SUCCEEDED
        else:
            work.error = to_status(error)
            is_cancelled = isinstance(error, Cancelled)
            work.progress.state = StepProgress.STATE_CANCELLED if is_cancelled else StepProgress.STATE_FAILED
        work.sequence += 1

    def _forget_oldest(self) -> None:
        finished = [key for key, work in self._table.items() if work.done]
        for key in finished[: max(0, len(self._table) - _KEPT)]:
            del self._table[key]

    def _sequence_of(self, work: Work, token: str) -> int:
        instance, _, rest = token.partition(".")
        identity, _, sequence = rest.partition(".")
        if instance == self._instance and identity == f"{id(work):x}" and sequence.isdecimal():
            return min(int(sequence), work.sequence)
        return -1


class Throttle:
    """Says at most once each `interval` seconds that something is due."""

    def __init__(self, *, interval: float) -> None:
        self._interval = interval
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether the interval has passed since this last said so."""
        now = time.monotonic()
        if now - self._last < self._interval:
            return False
        self._last = now
        return True
