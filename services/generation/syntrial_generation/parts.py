"""A part of a training: it begins with the state that the part before it left, and leaves its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.members import MemberReader
from syntrial.errors import UserError
from syntrial.rpc.context import Checkpoints, StepContext
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import TrainingPart

STATE: Final = "state"


class _Begun:
    """A step's checkpoint; where it has none yet, the state that it begins with."""

    def __init__(self, own: Checkpoints, begun: dict[str, bytes]) -> None:
        self._own, self._begun = own, begun
        self.save, self.add, self.read = own.save, own.add, own.read

    def load(self) -> dict[str, bytes] | None:
        """The last checkpoint saved, or what the part before it left."""
        return self._own.load() or self._begun


class PartContext:
    """The context of a step that trains a part; all else is that of the step."""

    def __init__(self, context: StepContext, part: TrainingPart) -> None:
        """Raises UserError where the part before it left no state."""
        self._context = context
        self.until_images = part.until_images
        self.key, self.output, self.scratch = context.key, context.output, context.scratch
        self.checkpoints: Checkpoints = context.checkpoints
        if part.HasField("begun"):
            if part.begun.member != STATE:
                raise UserError(
                    field="part.begun",
                    rule=f"is the member `{STATE}` of an earlier part of the same training",
                    received=part.begun.member,
                    remedy="Name that.",
                )
            reader = context.open(part.begun)
            self.checkpoints = _Begun(context.checkpoints, {name: reader.read(name) for name in reader.names()})

    def leave(self, blobs: Mapping[str, bytes]) -> None:
        """Writes the state with which the next part begins."""
        for name, data in blobs.items():
            self.output.write(STATE, name, data)

    def open(self, ref: MemberRef, /) -> MemberReader:
        """See `StepContext`."""
        return self._context.open(ref)

    def manifest(self, key: str, /) -> Manifest | None:
        """See `StepContext`."""
        return self._context.manifest(key)

    def source_path(self, digest: str, /) -> Path | None:
        """See `StepContext`."""
        return self._context.source_path(digest)

    def progress(self, done: int, **more: Any) -> None:
        """See `StepContext`."""
        self._context.progress(done, **more)

    def check_cancelled(self) -> None:
        """See `StepContext`."""
        self._context.check_cancelled()

    def checkpoint_due(self) -> bool:
        """See `StepContext`."""
        return self._context.checkpoint_due()
