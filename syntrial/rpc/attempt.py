"""One attempt at one step inside a server: the `StepContext` that verbs see, on top of the artifact store."""

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Final

import structlog
from google.protobuf.message import Message

from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.references import member_refs
from syntrial.artifacts.store import ArtifactStore, ArtifactWriter, MemberReader
from syntrial.artifacts.uploads import materialise
from syntrial.errors import Cancelled
from syntrial.rpc.operations import Throttle
from syntrial.rpc.pods import Lenders
from syntrial.rpc.ranks import Ranks, rank_command
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.progress_pb2 import StepProgress

CHECKPOINT_INTERVAL: Final = 60.0
"""Seconds between checkpoints: what a killed step may lose, against the time that writing takes."""

STOP_PATIENCE: Final = 8.0
"""Seconds that a step which saves checkpoints gets, once asked to stop, to reach the next place where it saves one."""

_RATE_WINDOW: Final = 5.0
"""Seconds over which the rate of progress is taken."""

_LOG_INTERVAL: Final = 30.0
"""Seconds between lines of progress in the log."""

_log = structlog.stdlib.get_logger(__name__)

Report = Callable[[Callable[[StepProgress], None]], None]
"""Applies a change to the operation's progress and wakes its watchers."""


class StoreCheckpoints:
    """The step's checkpoint in the store."""

    def __init__(self, store: ArtifactStore, *, key: str) -> None:
        self._stored = store.checkpoints(key)
        self.saved = 0
        """How often this attempt has saved one."""

    def load(self) -> dict[str, bytes] | None:
        """The last checkpoint saved for this key by whichever attempt, or None."""
        return self._stored.load()

    def save(self, blobs: Mapping[str, bytes]) -> None:
        """Replaces the checkpoint as a whole."""
        self._stored.save(blobs)
        self.saved += 1

    def add(self, blobs: Mapping[str, bytes], /) -> None:
        """Adds blobs beside those that the checkpoint has."""
        self._stored.add(blobs)
        self.saved += 1

    def read(self, name: str, /) -> bytes | None:
        """One blob of the last checkpoint, or None."""
        return self._stored.read(name)


class Attempt:
    """The `StepContext` of a step that a server works on."""

    def __init__(
        self,
        store: ArtifactStore,
        *,
        request: Message,
        writer: ArtifactWriter,
        scratch: Path,
        stop: Event,
        report: Report = lambda _change: None,
        checkpoint_interval: float = CHECKPOINT_INTERVAL,
        stop_patience: float = STOP_PATIENCE,
        module: str = "",
        rank: int = 0,
        meeting: str = "",
        lenders: Lenders | None = None,
    ) -> None:
        """`module` starts further ranks; `rank` other than 0 is one of those, which find rank 0 by `meeting`.

        `lenders` are the pods that hold some of them, where there are several.
        """
        header = request.header  # type: ignore[attr-defined]
        self._store = store
        self._writer = writer
        self._checkpoints = StoreCheckpoints(store, key=writer.key)
        self._scratch = scratch
        self._module, self._rank, self._meeting = module, rank, meeting
        self._devices = max(int(header.execution.devices), 1)
        self._lenders = lenders
        self.shared_over = 1
        """How many processes shared the step."""
        self._stop = stop
        self._report = report
        self._stop_patience = stop_patience
        self._inputs = frozenset((ref.key, ref.member) for ref in member_refs(request))
        self._places = {place.digest: Path(place.path) for place in header.execution.source_locations if place.path}
        self._checkpoint_timer = Throttle(interval=checkpoint_interval)
        self._log_timer = Throttle(interval=_LOG_INTERVAL)
        self._asks_for_checkpoints = False
        self._stopped_at: float | None = None
        self._saved_at_stop = 0
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def key(self) -> str:
        """The step's key."""
        return self._writer.key

    @property
    def output(self) -> ArtifactWriter:
        """Where the step writes its members."""
        return self._writer

    @property
    def checkpoints(self) -> StoreCheckpoints:
        """The step's checkpoint."""
        return self._checkpoints

    @property
    def scratch(self) -> Path:
        """An empty folder that is removed after the step."""
        return self._scratch

    @property
    def devices(self) -> int:
        """Over how many devices the step may share its work."""
        return self._devices

    @property
    def devices_here(self) -> int:
        """How many of them are in this pod or machine."""
        return self._devices // (self._lenders.group.count if self._lenders is not None else 1)

    @property
    def rank(self) -> int:
        """This process's number among those that share the step."""
        return self._rank

    def ranks(self) -> Ranks:
        """The processes that share the step; rank 0 starts the others."""
        folder = self._scratch / "ranks"
        meeting = self._meeting or str(folder / "meeting")
        if self._lenders is not None:
            # Rank 0's pod may be there before its own name is known.
            meeting = replace(self._lenders.group, host="localhost").meeting
        ranks = Ranks(
            number=self._rank,
            count=self._devices,
            meeting=meeting,
            each=self.devices_here,
            elsewhere=self._lenders,
        )
        self.shared_over = self._devices
        if self._rank:
            return ranks
        folder.mkdir()

        def command(number: int) -> list[str]:
            return rank_command(
                self._module,
                key=self.key,
                store_url=self._store.url,
                number=number,
                count=self._devices,
                meeting=meeting,
            )

        return ranks.start(command)

    def open(self, ref: MemberRef, /) -> MemberReader:
        """Opens an input, and records its digest for the manifest.

        Raises ArtifactMissing or DataLoss, and ValueError for a member that the request does not name.
        """
        if (ref.key, ref.member) not in self._inputs:
            raise ValueError(f"the request does not name {ref.key}#{ref.member}: a step reads only what it asks for")
        reader = self._store.open(ref)
        self._writer.record_input(ref, digest=reader.digest)
        return reader

    def manifest(self, key: str, /) -> Manifest | None:
        """The manifest of a step that led to an input, or None where it is gone."""
        return self._store.manifest(key)

    def source_path(self, digest: str, /) -> Path | None:
        """Where the raw source with this digest lies on this machine: a place that the caller named, else a copy.

        A copy of what was uploaded to the store lies in the step's scratch folder. None where there is neither. Raises
        DataLoss for an upload that is damaged, which is set aside.
        """
        if digest not in self._places:
            folder = self._scratch / "sources"
            found = materialise(self._store, digest, folder=folder, on_progress=lambda _count: self.check_cancelled())
            if found is None:
                return None
            self._places[digest] = found
        return self._places[digest]

    def progress(
        self, done: int, *, total: int, unit: str, activity: str, figures: Mapping[str, float] | None = None
    ) -> None:
        """Reports progress and raises Cancelled where the step is to stop."""
        rate = self._rate(done)

        def change(progress: StepProgress) -> None:
            progress.done, progress.total, progress.unit, progress.activity = done, total, unit, activity
            progress.rate = rate
            progress.figures.clear()
            progress.figures.update(figures or {})

        self._report(change)
        if self._rank == 0 and self._log_timer.is_due():
            _log.info("progress", activity=activity, done=done, total=total, unit=unit, **(figures or {}))
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raises Cancelled where the step is to stop.

        A step that saves checkpoints is let run on to the next place where it saves one, for a while.
        """
        stopped_at = self._stop_noticed()
        if stopped_at is None:
            return
        has_saved = self._checkpoints.saved > self._saved_at_stop
        out_of_patience = time.monotonic() - stopped_at > self._stop_patience
        if has_saved or out_of_patience or not self._asks_for_checkpoints:
            raise Cancelled("the step was asked to stop")

    def checkpoint_due(self) -> bool:
        """Whether an interval has passed since the last checkpoint, or the step is to stop."""
        self._asks_for_checkpoints = True
        if self._stop_noticed() is not None:
            # The first save after the request to stop ends the step; see `check_cancelled`.
            return self._checkpoints.saved <= self._saved_at_stop
        return self._checkpoint_timer.is_due()

    def _stop_noticed(self) -> float | None:
        """When the step first saw that it is to stop, or None."""
        if self._stopped_at is None and self._stop.is_set():
            self._stopped_at = time.monotonic()
            self._saved_at_stop = self._checkpoints.saved
        return self._stopped_at

    def _rate(self, done: int) -> float:
        now = time.monotonic()
        if self._recent and done < self._recent[-1][1]:
            self._recent.clear()
        self._recent.append((now, done))
        while len(self._recent) > 2 and now - self._recent[0][0] > _RATE_WINDOW:
            self._recent.popleft()
        since, first = self._recent[0]
        return (done - first) / (now - since) if now > since else 0.0


@contextmanager
def scratch_folder(within: Path | None = None) -> Iterator[Path]:
    """An empty folder for the block."""
    folder = Path(tempfile.mkdtemp(prefix="syntrial-step-", dir=within))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
