"""How many threads data preparation has: what it was given, never what it sees of a node."""

import os

import pytest

from syntrial.imagesets.workers import CORES, MOST_THREADS, threads_here


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
