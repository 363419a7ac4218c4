"""The processes that share a step: rank 0 is the server's own, which starts the others, watches and ends them.

The others are `python -m MODULE rank KEY …`: the same stage, which reads the step's request and its inputs from the
store and writes nothing. What they do together is the stage's: `syntrial_training.sharing`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

import structlog

from syntrial.counting import counted
from syntrial.errors import UserError

FIELD: Final = "spec.resources.devices"
"""Where a user says how many devices share a step."""

_LOOK: Final = 0.05
"""Seconds between two looks at the other ranks."""

_GRACE: Final = 10.0
"""Seconds that the others get to end once the step is done."""

_log = structlog.stdlib.get_logger(__name__)


class RankLost(RuntimeError):
    """One of the processes that share a step has ended before its time; the next attempt goes on from the checkpoint.

    A RuntimeError, as what its machine does to a step: tried again.
    """


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


def describe_end(status: int) -> str:
    """What an exit status says, in words; negative for a signal."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"{name} (the usual sign of too little memory)" if -status == signal.SIGKILL else name


class Ranks:
    """The ranks of a step as one of them sees them. A context manager: those that it started are gone when it ends."""

    def __init__(self, *, number: int, count: int, meeting: Path) -> None:
        """`meeting` is the file by which ranks find each other."""
        self.number, self.count, self.meeting = number, count, meeting
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._pipes: list[int] = []
        self._lost: RankLost | None = None
        self._on_loss: Callable[[], None] = lambda: None
        self._is_over = threading.Event()

    def start(self, command: Callable[[int], Sequence[str]]) -> Self:
        """Starts all ranks but this one; `command` gives that of a number."""
        for number in range(1, self.count):
            theirs, ours = os.pipe()
            self._pipes.append(ours)
            try:
                self._processes[number] = subprocess.Popen(
                    [*command(number), "--parent-pipe", str(theirs)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs,),
                    env=os.environ | _device_of(number),
                )
            finally:
                os.close(theirs)
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()
        return self

    def on_loss(self, act: Callable[[], None], /) -> None:
        """Has `act` called, in another thread, where a rank is lost."""
        self._on_loss = act

    def lost(self, *, within: float) -> RankLost | None:
        """The rank that is lost, or is seen to be in so many seconds."""
        deadline = time.monotonic() + within
        while self._processes and self._lost is None and time.monotonic() < deadline:
            time.sleep(_LOOK)
        return self._lost

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over.set()
        deadline = time.monotonic() + (_GRACE if kind is None else 0.0)
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in self._pipes:
            os.close(pipe)

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK):
            for number, process in self._processes.items():
                status = process.poll()
                if status and not self._is_over.is_set():
                    self._lost = RankLost(
                        f"rank {number} of the {self.count} processes that share the step has ended: "
                        f"{describe_end(status)}; the next attempt goes on from the checkpoint"
                    )
                    _log.error("rank lost", rank=number, ranks=self.count, end=describe_end(status))
                    self._on_loss()
                    return


def rank_command(module: str, *, key: str, store_url: str, number: int, count: int, meeting: Path) -> list[str]:
    """What starts a rank of a step of the stage in `module`, but for its pipe."""
    options = {"store": store_url, "rank": number, "ranks": count, "meeting": meeting}
    return [sys.executable, "-m", module, "rank", key, *(f"--{name}={value}" for name, value in options.items())]


def _device_of(number: int) -> dict[str, str]:
    """The environment that shows a rank its own GPU alone: the one of its number among those that the step has."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given == "":
        return {}
    visible = [name.strip() for name in given.split(",")] if given is not None else []
    return {"CUDA_VISIBLE_DEVICES": visible[number] if number < len(visible) else str(number)}
