"""The realism filter: how deep a candidate lies among the real images of its class.

Realism of Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models", equation 3:
the largest, over the real images r, of the distance from r to its k-th nearest real image by the distance from r to the
candidate. At 1 and above the candidate lies in a ball of the real images' manifold. As there, the half of the real
images with the largest radii is left out, since one outlier's ball would take in much that is like no real image. Here
the real images are those of the candidate's class alone.

`score` is what the stage calls; the rest is pure. Features are float32 (N, F), standardised by the real training
images.
"""

import numpy as np

from syntrial.errors import UserError
from syntrial.v1.filtering_pb2 import RealismFilter
from syntrial_filtering.inputs import groups_of
from syntrial_filtering.neighbours import distance_blocks
from syntrial_filtering.precision_recall import radii
from syntrial_filtering.scoring import Given, ScoredFilter, how_many


def score(settings: RealismFilter, given: Given, field: str) -> ScoredFilter:
    """Scores each candidate by its realism; raises UserError for a rule that keeps nothing, and for two rules."""
    most = how_many(settings, "keep", "minimum", field=field)
    if settings.neighbours < 1:
        raise UserError(
            field=f"{field}.neighbours", rule="must be at least 1", received=settings.neighbours, remedy="Give 3."
        )
    features_NF, real_groups = given.embedding.features_NF, groups_of(given.train)
    values = np.zeros(len(features_NF))
    for group in np.unique(given.groups):
        members = given.groups == group
        values[members] = realism(
            features_NF[members], given.real.features_NF[real_groups == group], neighbours=settings.neighbours
        )
    return ScoredFilter(kind="realism", scores=values, highest=True, **most)


def realism(features_NF: np.ndarray, real_MF: np.ndarray, *, neighbours: int) -> np.ndarray:
    """Realism float64 (N,) of the features among the real ones; 0 where there are fewer than two of these."""
    if len(real_MF) < 2:
        return np.zeros(len(features_NF))
    widths = radii(real_MF, neighbours=neighbours)
    # Two that are each other's neighbour are as wide but for rounding.
    kept = np.flatnonzero(widths <= np.median(widths) * (1 + 1e-5))
    widths = widths[kept].astype(np.float64)
    values = np.zeros(len(features_NF))
    for rows, columns, squares in distance_blocks(features_NF[None], real_MF[kept]):
        # A candidate on a real image is as deep as the numbers' precision can tell.
        distances = np.sqrt(np.maximum(squares.astype(np.float64), np.finfo(np.float32).tiny))
        np.maximum(values[rows], (widths[None, columns] / distances).max(axis=1), out=values[rows])
    return values
