"""Precision and recall of synthetic images (Kynkäänniemi et al. 2019, "Improved precision and recall metric").

Precision: the share of synthetic images that lie within the real images' manifold (quality); recall: the share of real
images that lie within the synthetic images' (coverage). A manifold is the union of balls around a set's features, each
as wide as the distance to the k-th nearest of the same set. Real images against real ones stand beside both figures:
they do not reach 1.

Pure. Features are float32 (N, F).
"""

from typing import Final

import numpy as np

from syntrial.documents.quality import PrecisionRecall
from syntrial_filtering.neighbours import distance_blocks, nearest

NEIGHBOURS: Final = 3
"""k; the paper's value."""

LARGEST_SAMPLE: Final = 2_000
"""At most this many images of each kind are compared."""


def radii(features_NF: np.ndarray, *, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """float32 (N,): distance to the k-th nearest other member of the set (to the farthest where it has fewer)."""
    count = min(neighbours, len(features_NF) - 1)
    themselves = np.arange(len(features_NF))
    found = nearest(features_NF[None], features_NF, count=count, apart=((themselves, themselves),))
    return np.asarray(found.distances_NK[:, -1])


def covered_share(features_NF: np.ndarray, manifold_MF: np.ndarray, *, radii_M: np.ndarray) -> float:
    """Share of the features that lie within a ball of the manifold."""
    inside = np.zeros(len(features_NF), dtype=bool)
    limits = radii_M.astype(np.float32) ** 2
    for rows, columns, squares in distance_blocks(features_NF[None], manifold_MF):
        inside[rows] |= (squares <= limits[None, columns]).any(axis=1)
    return float(inside.mean())


def precision_recall(synthetic_NF: np.ndarray, real_MF: np.ndarray, *, seed: int) -> PrecisionRecall | None:
    """Both figures on samples of one size; None where that leaves fewer than two of each."""
    size = min(len(synthetic_NF), len(real_MF) // 2, LARGEST_SAMPLE)
    if size < 2:
        return None
    rng = np.random.default_rng([seed, 6])
    order = rng.permutation(len(real_MF))
    real, other = real_MF[order[:size]], real_MF[order[size : 2 * size]]
    synthetic = synthetic_NF[rng.permutation(len(synthetic_NF))[:size]]
    real_radii = radii(real)
    return PrecisionRecall(
        neighbours=NEIGHBOURS,
        sample_size=size,
        precision=covered_share(synthetic, real, radii_M=real_radii),
        recall=covered_share(real, synthetic, radii_M=radii(synthetic)),
        real_precision=covered_share(other, real, radii_M=real_radii),
    )
