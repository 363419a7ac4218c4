"""Features of a set of images as artifacts hold them: what the last layer of a network is given of each image.

A member that holds features has these blobs:

    features.npy    float32 (N, D), row for row those of the set
    features.json   the network: its model, what it was trained with, how pixels are scaled
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.members import ArtifactWriter, MemberReader
from syntrial.errors import DataLoss, UserError, listed

_BLOB: Final = "features.npy"
_HEAD: Final = "features.json"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """The features of a set of images, and the network that they are of."""

    values_ND: NDArray[np.float32]  # noqa: N815
    """May be memory-mapped and read-only."""
    network: Mapping[str, Any]
    """All that features follow from beside the images: "model", "pretraining" and "normalisation"."""

    def __len__(self) -> int:
        """The number of images."""
        return len(self.values_ND)

    def take(self, rows: NDArray[np.int64]) -> "Features":
        """Those of some of the images, by their rows."""
        return Features(values_ND=self.values_ND[rows], network=self.network)


def write_features(writer: ArtifactWriter, member: str, features: Features) -> None:
    """Writes the features as the member's blobs."""
    writer.array(member, _BLOB, features.values_ND)
    writer.json(member, _HEAD, {"schema": 1, "network": dict(features.network)})


def read_features(reader: MemberReader, *, count: int) -> Features:
    """The features of `count` images. Raises DataLoss where the member has another number of them."""
    values_ND = reader.array(_BLOB)
    if values_ND.dtype != np.float32 or values_ND.ndim != 2 or len(values_ND) != count:
        raise DataLoss(f"features of {count} images are {values_ND.dtype} {values_ND.shape}", key=reader.key)
    return Features(values_ND=values_ND, network=reader.json(_HEAD)["network"])


def require_same(found: Mapping[str, Any], *, expected: Mapping[str, Any], field: str) -> None:
    """Raises UserError where features are of another network, other weights, or pixels that are scaled otherwise."""
    differing = sorted(name for name in expected if found.get(name) != expected[name])
    if differing:
        raise UserError(
            field=field,
            rule="features are of the network that is fitted to them",
            received=f"another {listed(differing, last='and')}",
            remedy="Extract them with the same model, weights and training images.",
        )
