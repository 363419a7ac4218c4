"""Room for the live Jobs of each namespace: who has a place, who waits in line, and who is called when one is free.

So many Jobs live at a time, of all experiments of a namespace. Who finds too little room stands in line with the number
of Jobs that it would make, and is called once there is some. The places that it was called with are nobody else's until
its next look has ended, and what that look leaves goes to the next in line: nobody asks in vain, nobody is overtaken.
Tells who is called, and wakes nobody. Safe from several threads.
"""

import threading
from collections.abc import Sequence


class Rooms:
    """The places of all namespaces; experiments by their UIDs."""

    def __init__(self, *, most: int) -> None:
        """`most` is how many live Jobs a namespace has at a time."""
        self._most = most
        self._lock = threading.Lock()
        self._rooms: dict[str, _Room] = {}

    def put(self, namespace: str, job: str) -> None:
        """A Job is live."""
        with self._lock:
            self._room(namespace).live.add(job)

    def drop(self, namespace: str, job: str) -> list[str]:
        """A Job has ended or is gone; who is called."""
        with self._lock:
            room = self._room(namespace)
            room.live.discard(job)
            return room.call(self._most)

    def begin(self, uid: str, namespace: str) -> bool:
        """A look begins: with the places that the experiment was called with. Whether it still waits to be called."""
        with self._lock:
            room = self._room(namespace)
            if places := room.called.pop(uid, 0):
                room.looking[uid] = places
                room.line.pop(uid, None)
            return uid in room.line

    def is_in_line(self, uid: str, namespace: str) -> bool:
        """Whether an experiment waits to be called."""
        with self._lock:
            return uid in self._room(namespace).line

    def called(self, uid: str, namespace: str) -> int:
        """With how many places an experiment is called that has not begun to look since."""
        with self._lock:
            return self._room(namespace).called.get(uid, 0)

    def take(self, uid: str, namespace: str, jobs: Sequence[str]) -> int:
        """Takes places for Jobs that are about to be made, until `made`: how many, of which the first come first.

        For the others the experiment stands in line.
        """
        with self._lock:
            room = self._room(namespace)
            own = room.looking.pop(uid, 0)
            there = room.live | room.making
            free = room.free(self._most)
            taken = 0
            for job in jobs:
                if job not in there:
                    if free <= 0:
                        break
                    free -= 1
                    own -= 1
                room.making.add(job)
                taken += 1
            if own > 0 and free > 0:
                room.looking[uid] = min(own, free)
            if taken < len(jobs):
                # Who stands in line already keeps its turn.
                room.line[uid] = len(jobs) - taken
            else:
                room.line.pop(uid, None)
            return taken

    def made(self, namespace: str, jobs: Sequence[str]) -> list[str]:
        """Ends what `take` began: Jobs are live by now, or are not made. Who is called."""
        with self._lock:
            room = self._room(namespace)
            room.making.difference_update(jobs)
            return room.call(self._most)

    def end(self, uid: str, namespace: str) -> list[str]:
        """A look ends; who is called with the places that it left."""
        with self._lock:
            room = self._room(namespace)
            return room.call(self._most) if room.looking.pop(uid, 0) else []

    def leave(self, uid: str) -> list[str]:
        """An experiment wants no more Jobs, or is gone; who is called in its place."""
        called: list[str] = []
        with self._lock:
            for room in self._rooms.values():
                room.line.pop(uid, None)
                if room.called.pop(uid, 0) + room.looking.pop(uid, 0):
                    called += room.call(self._most)
        return called

    def _room(self, namespace: str) -> "_Room":
        return self._rooms.setdefault(namespace, _Room())


class _Room:
    """The places of one namespace."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        """Names of live Jobs."""
        self.making: set[str] = set()
        """Names of Jobs that are about to be made."""
        self.line: dict[str, int] = {}
        """Who waits, the first first, with the number of Jobs that it would make."""
        self.called: dict[str, int] = {}
        """Places of those who were called and have not begun to look since."""
        self.looking: dict[str, int] = {}
        """Places with which a look began that is under way."""

    def free(self, most: int) -> int:
        """Places that are nobody's; below zero where another controller has made Jobs too."""
        return most - len(self.live | self.making) - sum(self.called.values()) - sum(self.looking.values())

    def call(self, most: int) -> list[str]:
        """Gives the free places to the first in line; each is called at its first place, and at each further one."""
        called: list[str] = []
        free = self.free(most) if self.line else 0
        while free > 0 and self.line:
            uid, wanted = next(iter(self.line.items()))
            given = min(free, wanted)
            free -= given
            self.called[uid] = self.called.get(uid, 0) + given
            called.append(uid)
            if given == wanted:
                del self.line[uid]
            else:
                self.line[uid] = wanted - given
        return called
