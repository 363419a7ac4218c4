"""A server's process: what it writes is its step's log, however late this machine comes to read it."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.executors.processes import ServerProcess
from syntrial.stages import STAGES

SERVER = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[1])
for number in (1, 2):
    while not (place / f"go {number}").exists():
        time.sleep(0.01)
    print(f"first of {number}\\nlast of {number}", flush=True)
    (place / f"done {number}").touch()
sys.stdout.write("no end of line")
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    started = ServerProcess(
        next(iter(STAGES.values())),
        command=[sys.executable, "-c", SERVER, str(tmp_path)],
        arguments={},
        folder=tmp_path,
        number=0,
        environment={},
    )
    yield started
    started.terminate()
    started.end(grace=5)


@pytest.fixture
def _slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that reads the log comes late, as on a busy machine."""
    read = os.read

    def late(place: int, count: int) -> bytes:
        if threading.current_thread().name == "log 0":
            time.sleep(0.3)
        return read(place, count)

    monkeypatch.setattr(os, "read", late)


def write(place: Path, number: int) -> None:
    (place / f"go {number}").touch()
    deadline = time.monotonic() + 60
    while not (place / f"done {number}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.usefixtures("_slow_reader")
def test_what_was_written_is_in_the_log_and_in_no_later_one(process: ServerProcess, tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert process.log().splitlines() == ["first of 1", "last of 1"]
    process.begin_log()
    write(tmp_path, 2)
    assert process.has_ended(within=30)
    assert process.log().splitlines() == ["first of 2", "last of 2", "no end of line"]


@pytest.mark.usefixtures("_slow_reader")
def test_lines_of_the_step_before_are_forgotten_read_or_not(process: ServerProcess, tmp_path: Path) -> None:
    write(tmp_path, 1)
    process.begin_log()
    assert process.log() == ""
