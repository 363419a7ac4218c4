"""A step that several pods share: rank 0's pod, and those that lend it their devices.

They are the pods of an Indexed Job. That of index 0 works on the step as the pod of any Job does, and its process is
rank 0. Each other one calls it, waits until rank 0 wants its ranks, starts them as processes of its own, and ends with
the line between them: by that line each learns of the other's end, as ranks of one machine do by a pipe.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self, TextIO

import structlog

from syntrial.rpc.exits import DONE, FAILED, LEFT, STOPPED
from syntrial.rpc.ranks import GRACE, Ranks, rank_command

PATIENCE: Final = 600.0
"""Seconds in which the pods of a step have to come: one of them may be pulling its image."""

_BEGIN: Final = b"b"
_DONE: Final = b"d"
_STOP: Final = "stop"
_LOST: Final = "lost"

_LOOK: Final = 0.05
"""Seconds between two looks."""

_AGAIN: Final = 1.0
"""Seconds between two calls of a pod that does not answer yet."""

_SILENCE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))
"""A machine that does not answer for half a minute is gone."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PodGroup:
    """The pods that share a step, as each of them is told."""

    count: int
    index: int
    """Which of them this is."""
    host: str
    """Where that of index 0 is found."""
    port: int
    """Where it answers the others; its ranks meet at the next one."""

    @classmethod
    def at(cls, address: str, *, count: int, index: int) -> Self:
        """The group whose first pod answers at host:port."""
        host, _, port = address.rpartition(":")
        return cls(count=count, index=index, host=host, port=int(port))

    @property
    def meeting(self) -> str:
        """Where ranks find each other."""
        return f"{self.host}:{self.port + 1}"


class Lenders:
    """The pods that lend their devices to this one, which is rank 0's."""

    def __init__(self, group: PodGroup, *, each: int, on_stop: Callable[[], None] = lambda: None) -> None:
        """`each` is how many ranks a pod holds; `on_stop` is called where one of them is asked to stop."""
        self._group, self._each, self._on_stop = group, each, on_stop
        self._lock = threading.Lock()
        self._lines: dict[int, socket.socket] = {}
        self._lost: dict[int, str] = {}
        self._has_begun = False
        self._server: socket.socket | None = None

    @property
    def group(self) -> PodGroup:
        """All pods of the Job."""
        return self._group

    def listen(self) -> Self:
        """Answers them from now on."""
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        self._server = socket.create_server(("", self._group.port), family=family, dualstack_ipv6=dual)
        threading.Thread(target=self._accept, args=(self._server,), name="pods", daemon=True).start()
        return self

    def close(self) -> None:
        """Answers no more, and ends all lines."""
        for open_socket in filter(None, (self._server, *self._lines.values())):
            _close(open_socket)

    def begin(self) -> None:
        """Has each pod start its ranks, one that is still to come as soon as it is there."""
        with self._lock:
            self._has_begun = True
            for pod, line in self._lines.items():
                self._tell(pod, line, _BEGIN)

    def done(self) -> None:
        """Tells the others that the step is done: without that they end as left."""
        with self._lock:
            for pod, line in self._lines.items():
                self._tell(pod, line, _DONE)

    def lost(self) -> tuple[int, str] | None:
        """A rank that has ended before its time, and how."""
        return next(iter(list(self._lost.items())), None)

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                threading.Thread(target=self._follow, args=(line,), name="pod", daemon=True).start()

    def _follow(self, line: socket.socket) -> None:
        """Hears a pod until its line ends."""
        _keep_alive(line)
        with line.makefile("r", encoding="ascii", errors="replace") as words:
            pod = _number(_heard(words))
            if pod not in range(1, self._group.count):
                line.close()
                return
            with self._lock:
                if pod in self._lines:
                    self._note(pod, "its pod began anew")
                    line.close()
                    return
                self._lines[pod] = line
                if self._has_begun:
                    self._tell(pod, line, _BEGIN)
            while said := _heard(words):
                word, _, rest = said.partition(" ")
                if word == _STOP:
                    self._on_stop()
                elif word == _LOST:
                    number, _, end = rest.partition(" ")
                    self._lost.setdefault(_number(number), end)
        self._note(pod, "its pod is gone")

    def _note(self, pod: int, end: str) -> None:
        self._lost.setdefault(pod * self._each, end)

    def _tell(self, pod: int, line: socket.socket, word: bytes) -> None:
        try:
            line.sendall(word)
        except OSError:
            self._note(pod, "its pod is gone")


@dataclass(kw_only=True)
class _Line:
    """A pod's line to rank 0's pod."""

    socket: socket.socket
    has_begun: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)
    is_done: bool = False

    @property
    def status(self) -> int:
        """With what this pod ends after rank 0's."""
        return DONE if self.is_done else LEFT

    def listen(self) -> Self:
        """Hears rank 0's pod from now on."""
        threading.Thread(target=self._hear, name="line", daemon=True).start()
        return self

    def close(self) -> None:
        """Ends the line."""
        _close(self.socket)
        self.has_ended.wait()

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while word := self.socket.recv(1):
                self.is_done = self.is_done or word == _DONE
                if word == _BEGIN:
                    self.has_begun.set()
        self.has_ended.set()
        self.has_begun.set()

    def say(self, words: str) -> None:
        """Tells rank 0's pod."""
        with contextlib.suppress(OSError):
            self.socket.sendall(f"{words}\n".encode())


def lend(
    group: PodGroup,
    *,
    module: str,
    key: str,
    store_url: str,
    count: int,
    stop: threading.Event,
    patience: float = PATIENCE,
) -> int:
    """Lends this pod's devices to the step of `key`, which `count` ranks share; returns the exit status.

    `DONE` once rank 0's pod has done its work, `LEFT` where that ended otherwise, `STOPPED` where this one is to stop
    before it is called for, `FAILED` where rank 0's pod does not answer or a rank of this one ends before its time.
    """
    line = _call(group, stop=stop, patience=patience)
    if line is None:
        return STOPPED if stop.is_set() else FAILED
    try:
        while not line.has_begun.wait(_LOOK):
            if stop.is_set():
                return STOPPED
        if line.has_ended.is_set():
            return line.status

        def command(number: int) -> list[str]:
            return rank_command(module, key=key, store_url=store_url, number=number, count=count, meeting=group.meeting)

        each = count // group.count
        ranks = Ranks(number=-1, count=count, meeting=group.meeting, each=each, pod=group.index)
        try:
            return _keep(ranks.start(command), line, stop=stop)
        finally:
            ranks.end(grace=GRACE if line.is_done else 0.0)
    finally:
        line.close()


def _keep(ranks: Ranks, line: _Line, *, stop: threading.Event) -> int:
    """Waits for the line's end, and tells it of a rank that ends before; returns the exit status."""
    has_asked = False
    while not line.has_ended.wait(_LOOK):
        if ended := ranks.ended():
            line.say(f"{_LOST} {ended[0]} {ended[1]}")
            return FAILED
        if stop.is_set() and not has_asked:
            # Rank 0 saves a checkpoint, and ends the line.
            line.say(_STOP)
            has_asked = True
    return line.status


def _call(group: PodGroup, *, stop: threading.Event, patience: float) -> _Line | None:
    """The line to rank 0's pod, once that answers; None where it does not in time, or this pod is to stop."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found = socket.create_connection((group.host, group.port), timeout=_AGAIN)
        except OSError as error:
            # Its name is known once its pod has an address.
            if time.monotonic() > deadline:
                words = f"rank 0's pod, {group.host}, has not answered in {patience:.0f} seconds: {error}"
                _log.error("not lent", error=words)
                return None
            if stop.wait(_AGAIN):
                return None
            continue
        found.settimeout(None)
        _keep_alive(found)
        line = _Line(socket=found).listen()
        line.say(str(group.index))
        _log.info("devices lent", pod=group.index, pods=group.count, to=group.host)
        return line


def _close(line: socket.socket) -> None:
    """Closes a socket, and ends the calls that wait on it."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()


def _keep_alive(line: socket.socket) -> None:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _SILENCE:
        line.setsockopt(socket.IPPROTO_TCP, option, value)


def _heard(words: TextIO) -> str:
    """The next words of a line; "" where it has ended."""
    try:
        return words.readline().strip()
    except OSError:
        return ""


def _number(words: str) -> int:
    return int(words) if words.isdecimal() else -1
