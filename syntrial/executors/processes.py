"""A stage server as a process of this machine: started, talked to over a Unix socket, watched and ended."""

import fcntl
import os
import select
import shutil
import subprocess
import sys
import termios
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import grpc

from syntrial.errors import UserError, Violation
from syntrial.executors.forked import ForkedServer
from syntrial.plan.steps import Step
from syntrial.rpc.client import CHANNEL_OPTIONS, StageClient
from syntrial.rpc.logs import KEPT_LINES
from syntrial.stages import Stage

STARTUP_TIMEOUT: Final = 120.0
"""Seconds until a server listens: its imports may come from a slow disk."""
_LAST_WORDS: Final = 10.0
"""Seconds for the last lines of a server that has ended to be read."""
_READ_AT_ONCE: Final = 1 << 16


def require_programs(steps: Iterable[Step]) -> None:
    """Raises UserError where a step's program is not on this machine, or is known as an image alone."""
    violations: dict[str, Violation] = {}
    for step in steps:
        command, image = step.program.command, step.program.image
        if command and shutil.which(command[0]) is None:
            violations[command[0]] = Violation(
                field="spec.synthetic[].generator.external.command",
                rule="the program is on this machine, and may be run",
                received=command[0],
                remedy="Install it, or name it by its absolute path.",
            )
        elif image and not command and not step.program.is_code:
            violations[image] = Violation(
                field="spec.synthetic[].generator.external.command",
                rule="a laptop starts a command",
                received=f"the image {image} alone",
                remedy="Say how the same program is started here, or use `syntrial submit`.",
            )
    if violations:
        raise UserError(violations=list(violations.values()))


class ServerProcess:
    """One server process. It ends when this object's process does, however that ends."""

    def __init__(
        self,
        stage: Stage,
        *,
        command: Sequence[str],
        arguments: Mapping[str, str],
        folder: Path,
        number: int,
        environment: Mapping[str, str],
    ) -> None:
        """Starts `command serve --address … --parent-pipe … --name value…`; the socket lies in `folder` (mode 0700).

        Without a command it is the stage's own server, in this Python; those that import torch are forked.
        """
        self.stage = stage
        socket = folder / f"{number}.sock"
        ours, self._pipe = os.pipe()
        options = [text for name, value in arguments.items() for text in (f"--{name}", value)]
        words = ["serve", "--address", f"unix:{socket}", *options]
        surroundings = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._process: subprocess.Popen[bytes] | ForkedServer
        try:
            if stage.footprint.accelerator and not command:
                self._process = ForkedServer(stage.module, words, environment=surroundings, parent_pipe=ours)
            else:
                self._process = subprocess.Popen(
                    [*(command or (sys.executable, "-m", stage.module)), *words, "--parent-pipe", str(ours)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(ours,),
                    # Ctrl-C is for the executor, which passes it on in order.
                    start_new_session=True,
                    env=surroundings,
                )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(ours)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._reading = threading.Lock()
        self._has_read_all = False
        self._reader = threading.Thread(target=self._read, name=f"log {number}", daemon=True)
        self._reader.start()
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS)
        self.client = StageClient(self._channel)
        self._closed = threading.Lock()
        threading.Thread(target=self._await_end, name=f"end {number}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal, or None while it lives."""
        return self._process.poll()

    def has_ended(self, *, within: float) -> bool:
        """Whether the process has ended, or does in `within` seconds."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def begin_log(self) -> None:
        """Forgets the lines so far: those that come are the next step's."""
        self._read_so_far()
        self._lines.clear()

    def log(self) -> str:
        """The lines since `begin_log`, the last ones where they are many."""
        if self.status is not None:
            # Bounded: what the server started may hold its output open.
            self._reader.join(_LAST_WORDS)
        else:
            # A step's last lines are in the pipe before its end is told; whether they were read is another matter.
            self._read_so_far()
        return "\n".join(list(self._lines))

    def terminate(self) -> None:
        """Asks the server to save a checkpoint and end."""
        self._process.terminate()

    def end(self, *, grace: float) -> None:
        """Waits until the process has ended, and kills it after `grace` seconds."""
        if not self.has_ended(within=grace):
            self._process.kill()
            self._process.wait()
        self._close()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        place, rest = stream.fileno(), b""
        coming = select.poll()
        coming.register(place, select.POLLIN)
        with stream:
            while True:
                coming.poll()
                # What is no longer in the pipe is among the lines as soon as this is free: see `_read_so_far`.
                with self._reading:
                    some = os.read(place, _READ_AT_ONCE)
                    *lines, rest = (rest + some).split(b"\n")
                    if not some and rest:
                        lines.append(rest)
                    self._lines.extend(line.decode("utf-8", "replace") for line in lines)
                    if not some:
                        self._has_read_all = True
                        return

    def _read_so_far(self) -> None:
        """Waits until all that the server has written by now is among the lines; a moment, or `_LAST_WORDS` at most."""
        stream = self._process.stdout
        assert stream is not None
        deadline = time.monotonic() + _LAST_WORDS
        while time.monotonic() < deadline:
            with self._reading:
                if self._has_read_all or stream.closed or not _waiting_in(stream.fileno()):
                    return
            time.sleep(0.002)

    def _await_end(self) -> None:
        self._process.wait()
        # Calls that wait for an answer, or for the server to listen, end now.
        self._close()

    def _close(self) -> None:
        with self._closed:
            if self._pipe >= 0:
                os.close(self._pipe)
                self._pipe = -1
                self._channel.close()


def _waiting_in(pipe: int) -> int:
    """Bytes that were written into a pipe and are not read yet."""
    count: array[int] = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def backoff_seconds(failures: int, /) -> float:
    """Seconds before the next try after so many failures in a row: 0, then 0.25 doubling up to 10."""
    return min(10.0, 0.25 * 2.0 ** (failures - 1)) if failures > 0 else 0.0


def wait_all(processes: Sequence[ServerProcess], *, grace: float) -> None:
    """Ends several processes that were asked to end, `grace` seconds being for all of them together."""
    deadline = time.monotonic() + grace
    for process in processes:
        process.end(grace=max(0.0, deadline - time.monotonic()))
