"""Work in threads: as many as were given, results and errors in order, and no more under way than is asked for."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from syntrial.workers import CORES, IN_FLIGHT, MOST_THREADS, in_blocks, in_order, threads_here


@pytest.mark.parametrize(
    ("seen", "asked", "expected"),
    [(4, None, 4), (64, None, MOST_THREADS), (64, "2", 2), (64, "1", 1), (2, "6", 2), (64, "32", MOST_THREADS)],
)
def test_a_pod_uses_what_it_asked_for_and_a_laptop_its_cores(
    monkeypatch: pytest.MonkeyPatch, seen: int, asked: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(seen)))
    monkeypatch.delenv(CORES, raising=False)
    if asked is not None:
        monkeypatch.setenv(CORES, asked)
    assert threads_here() == expected


def failing(number: int, at: int) -> int:
    if number == at:
        raise ValueError(f"piece {number}")
    return number


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("together", [1, 3, 100])
@pytest.mark.parametrize("at", [0, 7, 39])
def test_an_error_comes_after_all_that_came_before_it(threads: int, together: int, at: int) -> None:
    pieces = in_order((partial(failing, number, at) for number in range(40)), threads=threads, together=together)
    given: list[int] = []
    with pytest.raises(ValueError, match=f"piece {at}"):
        given.extend(pieces)
    assert given == list(range(at))


@pytest.mark.parametrize("together", [1, 4])
def test_few_pieces_are_under_way_and_none_begins_once_the_caller_stops(together: int) -> None:
    walked, done = [0], [0]

    def work() -> Iterator[Callable[[], None]]:
        for _ in range(10_000):
            walked[0] += 1
            yield lambda: done.__setitem__(0, done[0] + 1)

    pieces = in_order(work(), threads=2, together=together)
    next(pieces)
    assert walked[0] <= (2 * IN_FLIGHT + 1) * together
    pieces.close()  # type: ignore[attr-defined]
    assert done[0] <= walked[0] <= (2 * IN_FLIGHT + 1) * together
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


@pytest.mark.parametrize(("count", "size"), [(0, 4), (3, 4), (8, 4), (9, 4)])
def test_blocks_cover_all_once(count: int, size: int) -> None:
    found = [
        number
        for block in in_blocks(lambda here: range(here.start, here.stop), count=count, size=size)
        for number in block
    ]
    assert found == list(range(count))
