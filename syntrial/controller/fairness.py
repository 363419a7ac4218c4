"""Whose turn it is: names that wait, by the group that they belong to. Pure; the work queue has the clock and the lock.

Groups take turns, so that one with thousands of names delays another by one name at most; and no group has more than
its share at work, so that one whose names take long leaves the other places free.
"""

from collections import deque
from typing import Final

SHARE: Final = 4
"""One in so many of the places, rounded down and at least one, is the most that a group has."""


class Turns:
    """Names that are ready, and those at work."""

    def __init__(self, *, places: int) -> None:
        """`places` is how many names are at work at a time, of all groups together."""
        self.at_once = max(1, places // SHARE)
        """Names of one group that are at work at a time."""
        self._ready: dict[str, deque[str]] = {}
        self._turn: deque[str] = deque()
        """Groups with a ready name and a free place, the next first."""
        self._working: dict[str, int] = {}
        self._group_of: dict[str, str] = {}
        """Of the names at work: as they were put."""
        self._length = 0

    def __len__(self) -> int:
        """How many names are ready."""
        return self._length

    @property
    def has_turn(self) -> bool:
        """Whether `take` has a name to give."""
        return bool(self._turn)

    def put(self, name: str, group: str) -> None:
        """Adds a ready name at the end of its group."""
        names = self._ready.setdefault(group, deque())
        names.append(name)
        self._length += 1
        if len(names) == 1:
            self._queue(group)

    def take(self) -> str | None:
        """The next name, which is then at work until `finish`; None where there is none, or none may begin."""
        if not self._turn:
            return None
        group = self._turn.popleft()
        names = self._ready[group]
        name = names.popleft()
        self._length -= 1
        if not names:
            del self._ready[group]
        self._working[group] = self._working.get(group, 0) + 1
        self._group_of[name] = group
        self._queue(group)
        return name

    def finish(self, name: str) -> None:
        """Gives back the place of a name that `take` gave."""
        group = self._group_of.pop(name)
        was_full = self._working[group] >= self.at_once
        self._working[group] -= 1
        if not self._working[group]:
            del self._working[group]
        if was_full:
            self._queue(group)

    def _queue(self, group: str) -> None:
        """Puts a group at the end of those that have a turn, where it may have one."""
        if group in self._ready and self._working.get(group, 0) < self.at_once:
            self._turn.append(group)
