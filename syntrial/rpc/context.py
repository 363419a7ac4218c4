"""What a step's code sees of its server: inputs, output, checkpoints, progress and cancellation.

A service's verbs take a `StepContext`, so they can be tested with `syntrial.rpc.testing.FakeContext` and no server.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactWriter, MemberReader
from syntrial.rpc.ranks import Ranks
from syntrial.v1.artifacts_pb2 import MemberRef


class Checkpoints(Protocol):
    """The checkpoint of the running step: named blobs, replaced as a whole, deleted once the artifact stands."""

    def load(self) -> dict[str, bytes] | None:
        """The last checkpoint saved for this key by whichever attempt, or None."""
        ...

    def save(self, blobs: Mapping[str, bytes]) -> None:
        """Replaces the checkpoint; a reader sees either the old one or the new one. Weights as safetensors."""
        ...

    def add(self, blobs: Mapping[str, bytes], /) -> None:
        """Adds blobs beside those that the checkpoint has: for what is saved piece by piece, none of it twice."""
        ...

    def read(self, name: str, /) -> bytes | None:
        """One blob of the last checkpoint; None where it has none of that name, or a damaged one."""
        ...


class StepContext(Protocol):
    """One attempt at one step."""

    @property
    def key(self) -> str:
        """The step's key."""
        ...

    @property
    def output(self) -> ArtifactWriter:
        """Where the step writes its members; committed by the server when the step's function returns."""
        ...

    @property
    def checkpoints(self) -> Checkpoints:
        """The step's checkpoint."""
        ...

    @property
    def scratch(self) -> Path:
        """An empty folder that is removed after the step."""
        ...

    @property
    def devices(self) -> int:
        """Over how many devices the step may share its work, by `ranks`; 1: it has one, as most steps."""
        ...

    @property
    def devices_here(self) -> int:
        """How many of them are in this pod or machine."""
        ...

    @property
    def rank(self) -> int:
        """This process's number among those that share the step; what a rank other than 0 writes goes nowhere."""
        ...

    def ranks(self) -> Ranks:
        """The processes that share the step, a context manager: on rank 0 it starts the others, once in a step."""
        ...

    def open(self, ref: MemberRef, /) -> MemberReader:
        """Opens an input; raises ArtifactMissing or DataLoss. Only members that the request names can be opened."""
        ...

    def manifest(self, key: str, /) -> Manifest | None:
        """The manifest of a step that led to an input: where it comes from, never what is in it."""
        ...

    def source_path(self, digest: str, /) -> Path | None:
        """Where the raw source with this digest lies on this machine, or None where the caller named no place."""
        ...

    def progress(
        self, done: int, *, total: int, unit: str, activity: str, figures: Mapping[str, float] | None = None
    ) -> None:
        """Reports progress and raises Cancelled where the step is to stop. Cheap: call it once a batch."""
        ...

    def check_cancelled(self) -> None:
        """Raises Cancelled where the step is to stop."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save a checkpoint: an interval has passed, or the server was asked to stop.

        The answer never changes a result: saving one is free of effect on the training that goes on.
        """
        ...
