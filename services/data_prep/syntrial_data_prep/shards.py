"""What of a preparation is done already: shards of formed images, in the checkpoint of the step.

A killed preparation of a large source goes on after its last shard, and decodes nothing before it again. Shards are
added to the checkpoint as they come, at its intervals; one follows on another, so that a reader needs no list of them.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from syntrial.artifacts.keys import canonical_json
from syntrial.documents import document
from syntrial.documents.scale import Scale
from syntrial.errors import VersionMismatch
from syntrial.rpc.context import StepContext
from syntrial_data_prep.scales import Clipped

MOST_BYTES: Final = 32 << 20
"""Of a shard's images: what saving one takes of memory."""
_SCALE: Final = "scale.json"

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shard:
    """Formed images of a split that follow on each other."""

    start: int
    """The first one's place among those of the split that are wanted, read or not."""
    stop: int
    images_NHWC: NDArray[np.uint8]  # noqa: N815
    """Those that could be read."""
    unreadable: tuple[int, ...] = ()
    """The places of the others."""
    clipped: Clipped = field(default_factory=Clipped)


class Shards:
    """The shards of one step, over all of its splits."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._pending: list[tuple[str, Shard]] = []
        self._new_scale: Scale | None = None

    def restored(self, split: str, *, shape: tuple[int, ...]) -> Iterator[Shard]:
        """The shards of a split that an earlier attempt saved, in order; `shape` is that of all of its images."""
        start = 0
        while (shard := self._read(split, start, shape=shape)) is not None:
            yield shard
            start = shard.stop
        if start:
            _log.info("resumed", split=split, images=start)

    def keep(self, split: str, shard: Shard) -> None:
        """Takes a shard, whose images stay as they are, to be saved when a checkpoint is due."""
        self._pending.append((split, shard))

    def is_due(self) -> bool:
        """Whether it is time to save what was kept."""
        return self._context.checkpoint_due()

    def save(self) -> None:
        """Adds what is not saved yet to the checkpoint, a shard at a time."""
        if self._new_scale is not None:
            self._context.checkpoints.add({_SCALE: canonical_json(document.as_json(self._new_scale))})
            self._new_scale = None
        while self._pending:
            split, shard = self._pending.pop(0)
            images = io.BytesIO()
            np.lib.format.write_array(images, np.ascontiguousarray(shard.images_NHWC), version=(1, 0))
            clipped = shard.clipped
            told = {
                "stop": shard.stop,
                "unreadable": list(shard.unreadable),
                "clipped": [clipped.below, clipped.above, clipped.total],
            }
            name = _name(split, shard.start)
            self._context.checkpoints.add({f"{name}.npy": images.getvalue(), f"{name}.json": canonical_json(told)})

    def scale(self) -> Scale | None:
        """The scale that an earlier attempt found, which for deep pixels takes reading all of them."""
        data = self._context.checkpoints.read(_SCALE)
        try:
            return None if data is None else document.parse(Scale, data, place=_SCALE)
        except VersionMismatch:
            return None

    def keep_scale(self, scale: Scale) -> None:
        """Takes the scale that was found, to be saved with the next shards."""
        if scale != Scale():
            self._new_scale = scale

    def _read(self, split: str, start: int, *, shape: tuple[int, ...]) -> Shard | None:
        name = _name(split, start)
        told, data = self._context.checkpoints.read(f"{name}.json"), self._context.checkpoints.read(f"{name}.npy")
        if told is None or data is None:
            return None
        try:
            images = np.load(io.BytesIO(data), allow_pickle=False)
            found = json.loads(told)
            below, above, total = found["clipped"]
            shard = Shard(
                start=start,
                stop=int(found["stop"]),
                images_NHWC=images,
                unreadable=tuple(map(int, found["unreadable"])),
                clipped=Clipped(below=below, above=above, total=total),
            )
        except (ValueError, KeyError, TypeError):
            # Of a release that wrote them otherwise.
            return None
        is_whole = images.dtype == np.uint8 and images.shape == (
            shard.stop - start - len(shard.unreadable),
            *shape[1:],
        )
        return shard if is_whole and start < shard.stop <= shape[0] else None


class Filling:
    """The images of one split, put into an array as they are formed; begins with what an earlier attempt saved."""

    def __init__(self, images_NHWC: NDArray[np.uint8], *, split: str, shards: Shards) -> None:
        """`images_NHWC` has room for all images of the split that are wanted."""
        self._images_NHWC = images_NHWC
        self._split, self._shards = split, shards
        self._per_shard = max(1, MOST_BYTES // max(1, int(np.prod(images_NHWC.shape[1:]))))
        self.read: list[int] = []
        """The place of each image in the array among those that are wanted."""
        self.unreadable: list[int] = []
        self.clipped = Clipped()
        for shard in shards.restored(split, shape=images_NHWC.shape):
            left_out = set(shard.unreadable)
            self._images_NHWC[len(self.read) : len(self.read) + len(shard.images_NHWC)] = shard.images_NHWC
            self.read += [place for place in range(shard.start, shard.stop) if place not in left_out]
            self.unreadable += shard.unreadable
            self.clipped += shard.clipped
        self._begin_shard()

    @property
    def done(self) -> int:
        """How many images are done, read or not."""
        return len(self.read) + len(self.unreadable)

    def add(self, found: tuple[NDArray[np.uint8], Clipped] | None) -> None:
        """Takes the next image, and what of it was clipped; None where it could not be read."""
        if found is None:
            self.unreadable.append(self.done)
        else:
            self._images_NHWC[len(self.read)], clipped = found
            self._clipped += clipped
            self.clipped += clipped
            self.read.append(self.done)
        if self.done - self._start == self._per_shard:
            self.close()

    def save_if_due(self) -> None:
        """Saves what is done where a checkpoint is due."""
        if self._shards.is_due():
            self.close()
            self._shards.save()

    def close(self) -> None:
        """Makes a shard of what is in none."""
        if self.done == self._start:
            return
        shard = Shard(
            start=self._start,
            stop=self.done,
            images_NHWC=self._images_NHWC[self._first_image : len(self.read)],
            unreadable=tuple(self.unreadable[self._first_unreadable :]),
            clipped=self._clipped,
        )
        self._shards.keep(self._split, shard)
        self._begin_shard()

    def _begin_shard(self) -> None:
        self._start, self._first_image, self._first_unreadable = self.done, len(self.read), len(self.unreadable)
        self._clipped = Clipped()


def _name(split: str, start: int) -> str:
    return f"{split}-{start:09d}"
