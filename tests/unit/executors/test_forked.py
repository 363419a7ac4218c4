"""A forked server is a process like a started one: its output, environment, signals and end are its own."""

import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from syntrial.executors.forked import ForkedServer

MODULE = """
import os, sys, tempfile
pipe = int(sys.argv[sys.argv.index("--parent-pipe") + 1])
print("torch" in sys.modules, "torch._dynamo" in sys.modules, os.environ["OMP_NUM_THREADS"], tempfile.gettempdir())
print(sys.argv[1], os.environ["OF_ITS_OWN"], "OF_ANOTHER" in os.environ, __name__, "\u00b5", file=sys.stderr)
os.read(pipe, 1)
raise SystemExit(int(sys.argv[1]))
"""


class Started:
    """A server with this machine's end of its pipe, and what it writes."""

    def __init__(self, status: int, **environment: str) -> None:
        theirs, self.pipe = os.pipe()
        surroundings = {"OMP_NUM_THREADS": "1", "OF_ITS_OWN": "", **environment}
        self.server = ForkedServer("forked_module", [str(status)], environment=surroundings, parent_pipe=theirs)
        os.close(theirs)

    def lines(self) -> list[str]:
        """The first two lines."""
        read = b""
        while read.count(b"\n") < 2:
            read += self.server.stdout.read(4096) or b""
        return read.decode().splitlines()

    def close(self) -> None:
        """Lets it end, and waits for it."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        self.server.wait(30)
        self.server.stdout.close()


@pytest.fixture
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forked_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_module")
def test_servers_of_one_import_have_output_environment_and_end_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    first = Started(3, OF_ITS_OWN="first", OF_ANOTHER="")
    second = Started(4, OF_ITS_OWN="second", TMPDIR=str(folder), PYTHONIOENCODING="ascii")
    assert first.lines() == [f"True True 1 {tempfile.gettempdir()}", "3 first True __main__ µ"]
    assert second.lines() == [f"True True 1 {folder}", "4 second False __main__ µ"]
    assert psutil.Process(first.server.pid).ppid() == psutil.Process(second.server.pid).ppid()
    assert os.getsid(first.server.pid) == first.server.pid
    assert first.server.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        first.server.wait(0.01)
    first.close()
    assert (first.server.poll(), second.server.poll()) == (3, None)
    second.close()
    assert second.server.poll() == 4


@pytest.mark.usefixtures("_module")
def test_a_signal_is_told_as_such_also_while_others_are_started() -> None:
    servers = [Started(0) for _ in range(6)]
    starting = threading.Thread(target=lambda: servers.extend(Started(0) for _ in range(4)))
    starting.start()
    for number, started in enumerate(servers[:6]):
        (started.server.kill if number % 2 else started.server.terminate)()
    ends = [started.server.wait(30) for started in servers[:6]]
    assert ends == [-signal.SIGTERM, -signal.SIGKILL] * 3
    starting.join()
    for started in servers:
        started.close()


@pytest.mark.usefixtures("_module")
def test_where_the_forkserver_dies_its_servers_count_as_ended_and_the_next_has_another() -> None:
    first = Started(0)
    psutil.Process(psutil.Process(first.server.pid).ppid()).kill()
    assert first.server.wait(30) == 255
    # What the executor does with a server that has ended: it lets go, and the server ends itself.
    left = psutil.Process(first.server.pid)
    os.close(first.pipe)
    psutil.wait_procs([left], timeout=30)
    assert not left.is_running()
    first.server.stdout.close()
    second = Started(0)
    assert second.lines()[0].startswith("True True 1 ")
    second.close()


CHATTERBOX = """
import threading, time
from syntrial.rpc import life

class Table:
    def stop(self, timeout):
        # As a step that is stopped: what it says goes nowhere, since the reader has gone.
        print("stopping", flush=False)

class Server:
    table = Table()

import sys
pipe = int(sys.argv[sys.argv.index("--parent-pipe") + 1])
print("first")
print("second")
threading.Thread(target=life._follow_parent, args=(pipe, Server()), daemon=True).start()
time.sleep(600)
"""


def test_a_server_ends_with_its_parent_also_where_nobody_reads_what_it_says_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forked_module.py").write_text(CHATTERBOX)
    monkeypatch.syspath_prepend(tmp_path)
    started = Started(0)
    started.lines()
    # Both ends at once, as where the parent is killed.
    started.server.stdout.close()
    os.close(started.pipe)
    assert started.server.wait(30) == 0
