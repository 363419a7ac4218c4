"""The processes that share a step: rank 0 is the server's own, which starts the others, watches and ends them.

The others are `python -m MODULE rank KEY …`: the same stage, which reads the step's request and its inputs from the
store and writes nothing. Those of other pods are started there when rank 0 calls for them: `pods.py`. What they do
together is the stage's: `syntrial_training.sharing`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, Self

import structlog

from syntrial.counting import counted
from syntrial.errors import UserError

FIELD: Final = "spec.resources.devices"
"""Where a user says how many devices share a step."""

_LOOK: Final = 0.05
"""Seconds between two looks at the other ranks."""

GRACE: Final = 10.0
"""Seconds that the others get to end once the step is done."""

_log = structlog.stdlib.get_logger(__name__)


class RankLost(RuntimeError):
    """One of the processes that share a step has ended before its time; the next attempt goes on from the checkpoint.

    A RuntimeError, as what its machine does to a step: tried again.
    """


class Elsewhere(Protocol):
    """The pods that hold further ranks, as rank 0's sees them."""

    def begin(self) -> None:
        """Has each pod start its ranks, one that is still to come as soon as it is there."""
        ...

    def lost(self) -> tuple[int, str] | None:
        """A rank that has ended before its time, and how."""
        ...


def require_devices(devices: int, *, gpus: int, cores: int) -> None:
    """Raises UserError for more devices than there are GPUs, or cores where there is no GPU."""
    there = gpus or cores
    if devices > there:
        raise UserError(
            field=FIELD,
            rule="each device is a GPU of its own, or a core where there is no GPU",
            received=f"{devices}, with {counted(there, 'GPU' if gpus else 'core')}",
            remedy=f"Give {there} at most; for one machine alone by --devices.",
        )


def require_items(devices: int, *, batch_size: int, of: str = "") -> None:
    """Raises UserError where a device would have nothing of a batch; `of` is whose it is."""
    if devices > batch_size:
        raise UserError(
            field=FIELD,
            rule="each device has an image or more of a batch",
            received=f"{devices}, with {counted(batch_size, 'image')} in a batch{f' of: {of}' if of else ''}",
            remedy=f"Give {batch_size} at most, or raise that batchSize.",
        )


def describe_end(status: int) -> str:
    """What an exit status says, in words; negative for a signal."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"{name} (the usual sign of too little memory)" if -status == signal.SIGKILL else name


class Ranks:
    """The ranks of a step as one of them sees them. A context manager: those that it started are gone when it ends."""

    def __init__(
        self,
        *,
        number: int,
        count: int,
        meeting: str,
        each: int | None = None,
        pod: int = 0,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`meeting` is where ranks find each other: a file, or HOST:PORT of rank 0's pod.

        Of several pods that hold `each` of the ranks this is number `pod`; `elsewhere` are the others.
        """
        self.number, self.count, self.meeting = number, count, meeting
        self._each, self._pod, self._elsewhere = each or count, pod, elsewhere
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._pipes: list[int] = []
        self._lost: RankLost | None = None
        self._on_loss: Callable[[], None] = lambda: None
        self._is_over = threading.Event()

    def start(self, command: Callable[[int], Sequence[str]]) -> Self:
        """Starts all ranks of this machine or pod but rank 0, and calls for the others; `command` is of a number."""
        first = self._pod * self._each
        for number in range(max(first, 1), first + self._each):
            theirs, ours = os.pipe()
            self._pipes.append(ours)
            try:
                self._processes[number] = subprocess.Popen(
                    [*command(number), "--parent-pipe", str(theirs)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs,),
                    env=os.environ | _device_of(number - first),
                )
            finally:
                os.close(theirs)
        if self._elsewhere is not None:
            self._elsewhere.begin()
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()
        return self

    def on_loss(self, act: Callable[[], None], /) -> None:
        """Has `act` called, in another thread, where a rank is lost."""
        self._on_loss = act

    def lost(self, *, within: float) -> RankLost | None:
        """The rank that is lost, or is seen to be in so many seconds."""
        deadline = time.monotonic() + within
        has_others = self._processes or self._elsewhere is not None
        while has_others and self._lost is None and time.monotonic() < deadline:
            time.sleep(_LOOK)
        return self._lost

    def ended(self) -> tuple[int, str] | None:
        """A rank that has ended before its time, and how."""
        for number, process in self._processes.items():
            if status := process.poll():
                return number, describe_end(status)
        return self._elsewhere.lost() if self._elsewhere is not None else None

    def end(self, *, grace: float) -> None:
        """Waits for those that this process started, and kills what has not ended in so many seconds."""
        self._is_over.set()
        deadline = time.monotonic() + grace
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in self._pipes:
            os.close(pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end(grace=GRACE if kind is None else 0.0)

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK):
            ended = self.ended()
            if ended is not None and not self._is_over.is_set():
                number, end = ended
                self._lost = rank_lost(f"rank {number}", f"has ended: {end}", count=self.count)
                _log.error("rank lost", rank=number, ranks=self.count, end=end)
                self._on_loss()
                return


def rank_lost(which: str, end: str, *, count: int) -> RankLost:
    """What is told of a rank, or of several, that rank 0 does without."""
    return RankLost(
        f"{which} of the {count} processes that share the step {end}; the next attempt goes on from the checkpoint"
    )


def rank_command(module: str, *, key: str, store_url: str, number: int, count: int, meeting: str) -> list[str]:
    """What starts a rank of a step of the stage in `module`, but for its pipe."""
    options = {"store": store_url, "rank": number, "ranks": count, "meeting": meeting}
    return [sys.executable, "-m", module, "rank", key, *(f"--{name}={value}" for name, value in options.items())]


def _device_of(number: int) -> dict[str, str]:
    """The environment that shows a rank its own GPU alone: the one of its number among those that its pod has."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given == "":
        return {}
    visible = [name.strip() for name in given.split(",")] if given is not None else []
    return {"CUDA_VISIBLE_DEVICES": visible[number] if number < len(visible) else str(number)}
