"""A trial that runs, shown in MLflow while it does: what is finished is sent from beside it.

The run tells of what ended and goes on at once; a thread of its own sends, seldom, and a server that is away or slow
costs the trial nothing but, at its end, some seconds.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from types import TracebackType
from typing import Final, Self

from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import SyntrialError
from syntrial.tracking.material import Material
from syntrial.tracking.sending import Sent, send
from syntrial.tracking.server import Server

BETWEEN_SECONDS: Final = 20.0
"""From the end of a sending to the next; the trial's figures come in minutes."""

AWAY_SECONDS: Final = 120.0
"""From a sending that failed to the next."""

CLOSE_SECONDS: Final = 30.0
"""What a sending under way gets when the trial has ended."""


class Follower:
    """Sends a trial's runs while it runs; a context manager around the run."""

    def __init__(
        self,
        address: str,
        *,
        store: ArtifactStore,
        name: str,
        uid: str,
        open_server: Callable[[str], Server] = Server,
        between: float = BETWEEN_SECONDS,
        away: float = AWAY_SECONDS,
        close: float = CLOSE_SECONDS,
    ) -> None:
        """`between`, `away` and `close` in seconds."""
        self._address, self._open_server = address, open_server
        self._store, self._name, self._uid = store, name, uid
        self._between, self._away, self._close = between, away, close
        self._new, self._ended = threading.Event(), threading.Event()
        self._before: Material | None = None
        self._failure: SyntrialError | None = None
        self._thread = threading.Thread(target=self._follow, name="mlflow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._new.set()
        # Who interrupts a run does not wait for a server.
        self._thread.join(self._close if kind is None else 0)

    def tell(self) -> None:
        """Something ended: there may be more to send. Returns at once."""
        self._new.set()

    def finish(self) -> Sent:
        """Sends the rest, when the block has ended.

        Raises TrackingRefused, TrackingUnavailable and the store's errors.
        """
        if self._thread.is_alive():
            # It still waits for an answer, and two would write one run twice.
            raise self._failure or SyntrialError(f"{self._address} takes more than {self._close:.0f} s for an answer")
        return self._send()

    def _follow(self) -> None:
        while not self._ended.is_set():
            self._new.wait()
            self._new.clear()
            if self._ended.is_set():
                return
            try:
                self._before, self._failure = self._send().material, None
            except SyntrialError as error:
                self._failure = error
            self._ended.wait(self._away if self._failure is not None else self._between)

    def _send(self) -> Sent:
        with closing(self._open_server(self._address)) as server:
            return send(self._store, name=self._name, uid=self._uid, server=server, before=self._before)
