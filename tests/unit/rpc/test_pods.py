"""The pods that share a step, by the line between them: one that is rank 0's, and one that lends it its devices."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from syntrial.rpc import pods
from syntrial.rpc.exits import DONE, FAILED, LEFT, STOPPED
from syntrial.rpc.pods import Lenders, PodGroup, lend

WAITS = "import os, sys; os.read(int(sys.argv[-1]), 1)"
"""What a rank does until its pod is gone: its last argument is the pipe."""

Lend = Callable[..., Future[int]]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def group() -> PodGroup:
    return PodGroup(count=3, index=0, host="127.0.0.1", port=free_port())


@pytest.fixture
def lenders(group: PodGroup) -> Iterator[Lenders]:
    found = Lenders(group, each=2).listen()
    yield found
    found.close()


@pytest.fixture
def lends(group: PodGroup, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lend]:
    """Starts the pod of an index, whose ranks run some code."""
    code: dict[int, str] = {}
    monkeypatch.setattr(pods, "GRACE", 0.5)
    monkeypatch.setattr(pods, "rank_command", lambda _module, *, number, **_: [sys.executable, "-c", code[number]])
    stops: list[threading.Event] = []

    with ThreadPoolExecutor(4) as pool:

        def start(index: int, *ranks: str, stop: threading.Event | None = None, patience: float = 30.0) -> Future[int]:
            code.update(enumerate(ranks, start=2 * index))
            stops.append(stop or threading.Event())
            return pool.submit(
                lend,
                replace(group, index=index),
                module="stage",
                key="a",
                store_url="store",
                count=6,
                stop=stops[-1],
                patience=patience,
            )

        yield start
        for stop in stops:
            stop.set()


def lost(lenders: Lenders) -> tuple[int, str]:
    deadline = time.monotonic() + 30
    while (found := lenders.lost()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_pods_start_their_ranks_when_they_are_called_for_and_end_as_the_first_does(
    lenders: Lenders, lends: Lend
) -> None:
    early = lends(1, WAITS, WAITS)
    lenders.begin()
    late = lends(2, "", "")
    time.sleep(0.5)
    assert not early.done()
    # Its ranks have done their part, and it waits for the end of the step.
    assert not late.done()
    assert lenders.lost() is None
    lenders.done()
    lenders.close()
    assert (early.result(30), late.result(30)) == (DONE, DONE)


def test_a_pod_that_the_first_leaves_says_so_by_its_exit_status(lenders: Lenders, lends: Lend) -> None:
    lending = lends(1, WAITS, WAITS)
    lenders.begin()
    time.sleep(0.5)
    lenders.close()
    assert lending.result(30) == LEFT


def test_a_rank_that_ends_in_another_pod_is_known_by_its_number_and_end(lenders: Lenders, lends: Lend) -> None:
    lending = lends(2, WAITS, "import os; os.kill(os.getpid(), 9)")
    lenders.begin()
    assert lost(lenders) == (5, "SIGKILL (the usual sign of too little memory)")
    assert lending.result(30) == FAILED


def test_a_pod_that_is_gone_or_began_anew_is_known_by_its_first_rank(lenders: Lenders, group: PodGroup) -> None:
    with socket.create_connection((group.host, group.port)) as line:
        line.sendall(b"1\n")
    assert lost(lenders) == (2, "its pod is gone")
    lenders.begin()
    with socket.create_connection((group.host, group.port)) as line:
        line.sendall(b"2\n")
        assert line.recv(1) == b"b"
        with socket.create_connection((group.host, group.port)) as again:
            again.sendall(b"2\n")
            assert again.recv(1) == b""


def test_a_pod_that_is_to_stop_tells_the_first_and_waits_for_its_end(group: PodGroup, lends: Lend) -> None:
    asked, stop = threading.Event(), threading.Event()
    first = Lenders(group, each=2, on_stop=asked.set).listen()
    lending = lends(1, WAITS, WAITS, stop=stop)
    first.begin()
    time.sleep(0.5)
    stop.set()
    assert asked.wait(30)
    assert not lending.done()
    first.close()
    assert lending.result(30) == LEFT


def test_a_pod_that_is_not_called_for_stops_at_once(lenders: Lenders, lends: Lend) -> None:
    stop = threading.Event()
    lending = lends(1, stop=stop)
    stop.set()
    assert lending.result(30) == STOPPED
    assert lenders.lost() in (None, (2, "its pod is gone"))


def test_a_first_pod_that_does_not_come_is_told_of(lends: Lend, caplog: pytest.LogCaptureFixture) -> None:
    assert lends(1, patience=0.1).result(30) == FAILED
