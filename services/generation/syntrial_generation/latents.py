"""Latents as a member of an artifact: the moments of each image's latents, computed once by EncodeImages.

moments-00000.npy …   float32, N×2C×h×w, at most 256 MiB each: means, then logarithms of variances
latents.json          count, shape (2C, h, w), autoencoder (key)
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic.alias_generators import to_camel
from syntrial_training.compute import reproducible
from syntrial_training.parts import PARTS, side_by_side
from syntrial_training.tensors import from_bytes, under
from torch import Tensor

from syntrial.artifacts.members import MemberReader
from syntrial.documents.generator import NAME as DESCRIPTION
from syntrial.errors import UserError
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import EncodeImagesRequest
from syntrial_generation.autoencoder import MICRO_BATCH, Autoencoder

AUTOENCODER: Final = "autoencoder/"
"""How the names of its weights begin in a generator that holds it."""

_SHARD_BYTES: Final = 256 * 2**20


@reproducible
def encode_images(request: EncodeImagesRequest, context: StepContext) -> None:
    """Writes `latents`. Raises UserError for images of another shape than the autoencoder's, and Cancelled."""
    autoencoder = Autoencoder.of(*read_autoencoder(context.open(request.autoencoder)))
    images_NHWC = read_image_set(context.open(request.images)).images_NHWC
    network = autoencoder.network
    wanted = (network.height, network.width, network.image_channels)
    if images_NHWC.shape[1:] != wanted:
        raise UserError(
            field="images",
            rule="must have the shape of the images that the autoencoder was trained on",
            received=f"{images_NHWC.shape[1:]}, the autoencoder's {wanted} (height, width, channels)",
            remedy="Prepare them in the form of the trial's images.",
        )
    channels, height, width = network.latent_shape
    shape = (2 * channels, height, width)
    total = len(images_NHWC)
    per_shard = max(MICRO_BATCH, _SHARD_BYTES // (4 * int(np.prod(shape))) // MICRO_BATCH * MICRO_BATCH)
    starts = range(0, total, per_shard)
    for number, start in enumerate(starts):
        moments = np.empty((min(per_shard, total - start), *shape), dtype=np.float32)
        for first in range(0, len(moments), PARTS * MICRO_BATCH):
            ends = range(first, min(first + PARTS * MICRO_BATCH, len(moments)), MICRO_BATCH)
            rows = [slice(start + end, min(start + end + MICRO_BATCH, start + len(moments))) for end in ends]
            parts = side_by_side(lambda row: autoencoder.moments(images_NHWC[row]), rows)
            found = np.concatenate(parts)
            moments[first : first + len(found)] = found
            done = start + first + len(found)
            context.progress(done, total=total, unit="images", activity="encoding")
        context.output.array("latents", _shard(number), moments)
    context.output.json(
        "latents",
        "latents.json",
        {"count": total, "shape": list(shape), "shards": len(starts), "autoencoder": request.autoencoder.key},
    )


def read_autoencoder(reader: MemberReader) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of an autoencoder and what `autoencoder.json` says: of a member `autoencoder`, or of a generator that
    holds one. Raises UserError for a generator that holds none.
    """
    weights = from_bytes(reader.read("weights.safetensors"))
    if DESCRIPTION not in reader.names():
        return weights, reader.json("autoencoder.json")
    description = reader.json(DESCRIPTION)
    if "autoencoder" not in description["settings"]:
        raise UserError(
            field="autoencoder",
            rule="is an autoencoder, or a generator of latentDiffusion, which holds one",
            received=f"a generator of {to_camel(description['family'])}",
            remedy="Name one of latentDiffusion.",
        )
    return under(weights, AUTOENCODER), description["settings"]["autoencoder"]


class Moments:
    """The moments in a member, memory-mapped."""

    def __init__(self, reader: MemberReader) -> None:
        description: dict[str, Any] = reader.json("latents.json")
        self._shards: Sequence[NDArray[np.float32]] = [
            reader.array(_shard(number)) for number in range(description["shards"])
        ]
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self.shape: tuple[int, int, int] = tuple(description["shape"])
        """2C, h, w."""
        self.autoencoder: str = description["autoencoder"]
        """The key of the autoencoder that made them."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `rows`."""
        return self.rows(rows)

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 N×2C×h×w: those of the images `rows`, in their order."""
        if len(self._shards) == 1:
            return np.asarray(self._shards[0][rows])
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        return np.stack(
            [self._shards[number][row - self._starts[number]] for number, row in zip(numbers, rows, strict=True)]
        )


def _shard(number: int) -> str:
    return f"moments-{number:05d}.npy"
