"""The centroid filter: how far a candidate's features lie from the centre of its class's real features.

`score` is what the stage calls; the rest is pure. Features are float32 (N, F), standardised by the real training
images; labels int64 (N,), or uint8 (N, L) of 0 and 1 where an image has several. The centres are of real images alone.
"""

import numpy as np

from syntrial.v1.filtering_pb2 import CentroidFilter
from syntrial_filtering.scoring import Given, ScoredFilter, how_many, require_room


def score(settings: CentroidFilter, given: Given, field: str) -> ScoredFilter:
    """Scores each candidate by its distance; raises UserError for a share or a number that cannot be kept, or both."""
    most = how_many(settings, "keep", "top", field=field)
    require_room(settings.top, given, field=f"{field}.top")
    # Candidates first, for the order of what progress tells.
    features_NF = given.embedding.features_NF
    centres = centroids(given.real.features_NF, given.train.labels, classes=len(given.train.classes))
    distances = centroid_distances(features_NF, given.candidates.labels, centres_KF=centres)
    barred = nearer_to_others(features_NF, given.candidates.labels, centres_KF=centres) if settings.own else None
    return ScoredFilter(kind="centroid", scores=distances, barred=barred, **most)


def centroids(features_NF: np.ndarray, labels: np.ndarray, *, classes: int) -> np.ndarray:
    """Mean real features of each class (of the images with each label), float64 (K, F).

    With several labels a last row, K + 1 in all, is the mean of the images without any. NaN where there are none.
    """
    if labels.ndim == 1:
        members = [labels == k for k in range(classes)]
    else:
        members = [labels[:, k] == 1 for k in range(classes)]
        members.append(labels.sum(axis=1) == 0)
    centres = np.full((len(members), features_NF.shape[1]), np.nan)
    for k, chosen in enumerate(members):
        if chosen.any():
            centres[k] = features_NF[chosen].mean(axis=0, dtype=np.float64)
    return centres


def centroid_distances(features_NF: np.ndarray, labels: np.ndarray, *, centres_KF: np.ndarray) -> np.ndarray:
    """Euclidean distance of each candidate to its class's centre, float64 (N,).

    With several labels: the mean of the distances to its labels' centres. Infinite for a class that no real training
    image has.
    """
    if labels.ndim == 1:
        distances = np.linalg.norm(features_NF - centres_KF[labels], axis=1)
        return np.asarray(np.where(np.isnan(distances), np.inf, distances), dtype=np.float64)
    belongs = _belonging(labels, classes=len(centres_KF))
    distances = np.zeros(len(labels))
    for k, centre in enumerate(centres_KF):
        to_centre = np.linalg.norm(features_NF[belongs[:, k]] - centre, axis=1)
        distances[belongs[:, k]] += np.where(np.isnan(to_centre), np.inf, to_centre)
    return np.asarray(distances / belongs.sum(axis=1))


def nearer_to_others(features_NF: np.ndarray, labels: np.ndarray, *, centres_KF: np.ndarray) -> np.ndarray:
    """bool (N,): whether the nearest of all centres is not one of the candidate's own.

    With several labels a candidate's own are those of its labels, or that of no label where it has none. Classes that
    no real training image has are nearest to nothing.
    """
    belongs = _belonging(labels, classes=len(centres_KF))
    squares = np.stack([np.square(features_NF - centre, dtype=np.float64).sum(axis=1) for centre in centres_KF], axis=1)
    nearest = np.where(np.isnan(squares), np.inf, squares).argmin(axis=1)
    return np.asarray(~belongs[np.arange(len(labels)), nearest])


def _belonging(labels: np.ndarray, *, classes: int) -> np.ndarray:
    """bool (N, K): the rows of centres that are a candidate's own."""
    if labels.ndim == 1:
        return np.asarray(labels[:, None] == np.arange(classes))
    return np.concatenate([labels == 1, (labels.sum(axis=1) == 0)[:, None]], axis=1)
