"""A queue of experiments to look at: each at most once in it, and at one thread at a time; groups take turns.

Events that come while an experiment waits, or is being looked at, amount to one more look. Of the threads that wait,
one watches the clock, and no more are woken than there are names to take: at a dozen events a Job it shows.
"""

import heapq
import threading
import time
from collections.abc import Callable
from enum import Enum

from syntrial.controller.fairness import Turns


class Why(Enum):
    """Why an experiment is to be looked at; how soon follows from it."""

    WORK = "there may be something to do"
    ROOM = "it is called: there is room for its Jobs"
    NEWS = "there is something to say of it, and nothing to do"


Wake = Callable[[str, Why], None]
"""Has the experiment of a UID looked at."""


class WorkQueue:
    """Names to work on, now or later. Safe from several threads."""

    def __init__(
        self,
        *,
        places: int,
        group_of: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`places` is how many threads take names; `group_of` says in whose turn a name is taken."""
        self._clock = clock
        self._group_of = group_of
        self._lock = threading.RLock()
        self._clocked = threading.Condition(self._lock)
        """Where the one thread waits that watches the clock."""
        self._idle = threading.Condition(self._lock)
        """Where the others wait."""
        self._idlers = 0
        """How many of these have not been woken."""
        self._is_clocked = False
        self._turns = Turns(places=places)
        self._queued: dict[str, float] = {}
        """Since when each of the ready ones is."""
        self._active: set[str] = set()
        self._again: set[str] = set()
        self._later: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._closed = False

    def add(self, name: str, *, after: float = 0.0) -> None:
        """Puts `name` in the queue, `after` so many seconds; the earliest of several times counts."""
        with self._lock:
            if after <= 0:
                self._put(name)
                return
            due = self._clock() + after
            if due < self._due.get(name, float("inf")):
                self._due[name] = due
                heapq.heappush(self._later, (due, name))
                if self._later[0] == (due, name):
                    # Sooner than what is waited for.
                    self._clocked.notify()

    def take(self, *, wait: bool = True) -> str | None:
        """The next name, which is then this thread's until `finish`; None after `close`.

        Where there is none yet it is waited for, or None without `wait`.
        """
        with self._lock:
            while not self._closed:
                self._promote()
                name = self._turns.take()
                if name is not None:
                    del self._queued[name]
                    self._active.add(name)
                    if self._turns.has_turn or not self._is_clocked:
                        self._wake_idler()
                    return name
                if not wait:
                    return None
                self._rest()
            return None

    def finish(self, name: str) -> None:
        """Gives a name back that `take` gave."""
        with self._lock:
            self._active.discard(name)
            self._turns.finish(name)
            if name in self._again:
                self._again.discard(name)
                self._put(name)
            elif self._turns.has_turn:
                # Another of its group may have waited for the place.
                self._wake()

    def close(self) -> None:
        """Wakes all who wait in `take`, with None."""
        with self._lock:
            self._closed = True
            self._clocked.notify_all()
            self._idle.notify_all()

    def __len__(self) -> int:
        """How many names are ready or being worked on again; those for later are not counted."""
        with self._lock:
            return len(self._turns) + len(self._again)

    def oldest_wait(self) -> float:
        """Seconds since which the first of the ready ones waits; 0 where none does."""
        with self._lock:
            self._promote()
            return max(0.0, self._clock() - min(self._queued.values())) if self._queued else 0.0

    def _put(self, name: str) -> None:
        if name in self._active:
            self._again.add(name)
        elif name not in self._queued:
            self._queued[name] = self._clock()
            self._turns.put(name, self._group_of(name))
            if self._turns.has_turn:
                self._wake()

    def _rest(self) -> None:
        """Waits until there may be a name to take."""
        if self._is_clocked:
            # Whoever wakes it counts it out.
            self._idlers += 1
            self._idle.wait()
            return
        self._is_clocked = True
        try:
            self._clocked.wait(max(0.0, self._later[0][0] - self._clock()) if self._later else None)
        finally:
            self._is_clocked = False

    def _wake(self) -> None:
        """Wakes a thread that waits, the one that watches the clock last."""
        if not self._wake_idler():
            self._clocked.notify()

    def _wake_idler(self) -> bool:
        if self._idlers == 0:
            return False
        self._idlers -= 1
        self._idle.notify()
        return True

    def _promote(self) -> None:
        """Moves what is due to the ready ones."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, name = heapq.heappop(self._later)
            # An entry that an earlier one has overtaken.
            if self._due.get(name) == due:
                del self._due[name]
                self._put(name)
