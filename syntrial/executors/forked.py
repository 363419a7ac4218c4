"""A stage's server, forked from a process that has imported torch: several servers pay for one import.

The process is multiprocessing's forkserver. It has one thread and no CUDA, so that what it forks is sound; it is
started with the first server and ends with this process, however that ends.
"""

import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Final

_CONTEXT: Final = multiprocessing.get_context("forkserver")
# torch's optimisers import its compiler where they are first made: as long again as torch itself.
_CONTEXT.set_forkserver_preload(["syntrial.executors.preload", "torch", "torch._dynamo"])

_ALONE: Final = threading.Lock()
"""Held while a process is started or its end is read: multiprocessing does not do both at once."""


class ForkedServer:
    """`python -m module arguments…` without its imports; gives what `subprocess.Popen` does, under the same names."""

    def __init__(
        self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], parent_pipe: int
    ) -> None:
        """Starts it in a session of its own, with `--parent-pipe` and the descriptor of `parent_pipe` in it.

        `environment` is all of it. Raises OSError where nothing can be forked.
        """
        ours, theirs = _CONTEXT.Pipe(duplex=False)
        with ours, theirs, Connection(os.dup(parent_pipe), writable=False) as parent:
            given = (module, list(arguments), dict(environment), theirs, parent)
            self._process = _CONTEXT.Process(target=_serve, args=given, name=module, daemon=True)
            try:
                with _ALONE:
                    self._process.start()
            except EOFError as error:
                raise ChildProcessError("the process that servers are forked from has ended") from error
            self.stdout: Final = io.FileIO(os.dup(ours.fileno()))
        self.pid: Final = self._process.pid or 0
        self._status: int | None = None
        self._has_ended = threading.Event()
        threading.Thread(target=self._await_end, name=f"end of {self.pid}", daemon=True).start()

    def poll(self) -> int | None:
        """Exit status, negative for a signal, or None while it lives; 255 where the forkserver died, which knows it."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; the exit status. Raises `subprocess.TimeoutExpired`."""
        if not self._has_ended.wait(timeout):
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        assert self._status is not None
        return self._status

    def terminate(self) -> None:
        """Sends SIGTERM, unless it has ended."""
        with _ALONE:
            self._process.terminate()

    def kill(self) -> None:
        """Sends SIGKILL, unless it has ended."""
        with _ALONE:
            self._process.kill()

    def _await_end(self) -> None:
        wait([self._process.sentinel])
        with _ALONE:
            self._process.join()
            self._status = self._process.exitcode
        self._has_ended.set()


def _serve(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Connection, parent: Connection
) -> None:
    """The life of the forked process: what `python -m` would have found in a session, an environment of its own."""
    # Ctrl-C is for the executor, which passes it on in order.
    os.setsid()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(output.fileno(), number)
        # Anew: those of the parent may be closed, and are of its encoding. Unbuffered, as PYTHONUNBUFFERED has them:
        # where the reader has gone, what could not be written must not come up again at the end.
        raw = io.FileIO(number, "w", closefd=False)
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        setattr(sys, name, stream)
    output.close()
    os.environ.clear()
    os.environ.update(environment)
    # What the import has asked for is remembered; the folder for scratch files is the server's own.
    tempfile.tempdir = None
    sys.argv = [module, *arguments, "--parent-pipe", str(parent.fileno())]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
