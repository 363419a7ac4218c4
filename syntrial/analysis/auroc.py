"""The area under the ROC curve: its leave-one-patient-out values, DeLong's covariances, and its variance beforehand.

The area is the Mann-Whitney statistic (ties count one half), which equals the trapezoidal area. Its leave-out values
come from placements: with w(i) the number of images of the other class that image i is on the right side of, removing
cluster c takes the sum of w over c from the statistic and gives back what c won within itself. Two sorts give all C
values, in O(N log N) instead of C evaluations, and in exact half-integers.

Shapes as in `cases.py`. Papers: DeLong, DeLong & Clarke-Pearson 1988 (placements and covariances of AUROC); Obuchowski
1997, Biometrics 53:567 (the same for clustered cases); Hanley & McNeil 1982, Radiology 143:29 (the variance of an AUROC
from its value and the counts).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.cases import (
    BoolArray,
    ClusteredCases,
    FloatArray,
    LeaveOneOut,
    checked,
    checked_clusters,
    cluster_cases,
    cluster_sums,
    excluded_classes,
    mean_of,
    require_scorable,
)


def auroc(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    """Return the AUROC of class 1 of two, else the mean over classes (one against the rest) or labels."""
    classes = scores_MNK.shape[2]
    excluded = excluded_classes(labels, classes, cases, least=least)
    scored = require_scorable(excluded, classes)
    # With two classes the one-against-rest areas of softmax scores are equal: class 1 is the positive one.
    if labels.ndim == 1 and classes == 2:
        scored = (1,)
    parts = []
    for k in scored:
        positive_N = labels == k if labels.ndim == 1 else labels[:, k] == 1
        parts.append(auroc_leave_one_out(scores_MNK[:, :, k], positive_N=positive_N, cases=cases))
    return mean_of(parts, excluded)


def auroc_variance(cases_per_class: Sequence[float], value: float) -> float:
    """Return the variance over patients of an AUROC of `value` on that many cases of each of K >= 2 classes.

    Of more than two classes, each against the rest, errors of different classes are taken as independent.
    """
    classes, cases = len(cases_per_class), sum(cases_per_class)
    if classes == 2:
        return _hanley_mcneil(value, positives=cases_per_class[1], negatives=cases_per_class[0])
    each = (_hanley_mcneil(value, positives=m, negatives=cases - m) for m in cases_per_class)
    return sum(each) / classes**2


def delong_covariance(
    labels: NDArray[Any], *, scores_MNK: NDArray[Any], clusters: NDArray[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return AUROCs (M,) of class 1 of two, and DeLong's covariances (M, M); Obuchowski's (1997) for clusters.

    Raises ValueError where there are not two classes, otherwise as `leave_one_out`.
    """
    labels, scores_MNK = checked(labels, scores=scores_MNK)
    if labels.ndim != 1 or scores_MNK.shape[2] != 2:
        raise ValueError(f"DeLong's covariances are for two classes; got scores of shape {scores_MNK.shape}")
    cases = cluster_cases(checked_clusters(clusters, len(labels)))
    positive_N = labels[cases.order] == 1
    require_scorable(excluded_classes(labels[cases.order], 2, cases, least=2), 2)
    wins_MN = placement_wins(scores_MNK[:, cases.order, 1], positive_N=positive_N)
    positives, negatives = int(positive_N.sum()), int((~positive_N).sum())
    values_M = wins_MN[:, positive_N].sum(axis=1) / (positives * negatives)
    # Obuchowski 1997, equations 4 to 6: sums of placements per cluster, about what the cluster's size would give.
    v10_MC = cluster_sums(np.where(positive_N, wins_MN / negatives - values_M[:, None], 0.0), cases)
    v01_MC = cluster_sums(np.where(positive_N, 0.0, wins_MN / positives - values_M[:, None]), cases)
    with_positive = np.count_nonzero(cluster_sums(positive_N[None], cases))
    with_negative = np.count_nonzero(cluster_sums(~positive_N[None], cases))
    total = len(cases.starts)
    s10 = np.einsum("ic,jc->ij", v10_MC, v10_MC) * (with_positive / (with_positive - 1) / positives)
    s01 = np.einsum("ic,jc->ij", v01_MC, v01_MC) * (with_negative / (with_negative - 1) / negatives)
    s11 = np.einsum("ic,jc->ij", v10_MC, v01_MC) * (total / (total - 1))
    covariance: FloatArray = s10 / positives + s01 / negatives + (s11 + s11.T) / (positives * negatives)
    return values_M, covariance


def placement_wins(scores_MN: NDArray[Any], *, positive_N: BoolArray) -> FloatArray:
    """Return for each image how many of the other class it is on the right side of (ties one half), float64 (M, N).

    Their sum over the positive images (or, equally, over the negative ones) is the Mann-Whitney statistic.
    """
    ranks_MN = _ranks(scores_MN)
    wins_MN = np.empty(ranks_MN.shape)
    # An image's rank among all less its rank within its class counts the other class below it.
    wins_MN[:, positive_N] = ranks_MN[:, positive_N] - _ranks(scores_MN[:, positive_N])
    below_MN = ranks_MN[:, ~positive_N] - _ranks(scores_MN[:, ~positive_N])
    wins_MN[:, ~positive_N] = positive_N.sum() - below_MN
    return wins_MN


def auroc_leave_one_out(
    scores_MN: NDArray[Any], *, positive_N: BoolArray, cases: ClusteredCases
) -> tuple[FloatArray, FloatArray]:
    """Return AUROCs (M,) and their leave-out values (M, C), for images in the order of their patients.

    NaN where a patient holds all the positive or all the negative images.
    """
    wins_MN = placement_wins(scores_MN, positive_N=positive_N)
    total_M = wins_MN[:, positive_N].sum(axis=1)
    positives_C = cluster_sums(positive_N[None], cases)[0]
    negatives_C = cluster_sums(~positive_N[None], cases)[0]
    within_MC = _wins_within_clusters(scores_MN, positive_N, cases, (positives_C > 0) & (negatives_C > 0))
    positives, negatives = positives_C.sum(), negatives_C.sum()
    pairs_C = (positives - positives_C) * (negatives - negatives_C)
    wins_MC = total_M[:, None] - cluster_sums(wins_MN, cases) + within_MC
    left_out_MC = np.divide(wins_MC, pairs_C, out=np.full(wins_MC.shape, np.nan), where=pairs_C > 0)
    return total_M / (positives * negatives), left_out_MC


def _wins_within_clusters(
    scores_MN: NDArray[Any], positive_N: BoolArray, cases: ClusteredCases, mixed_C: BoolArray
) -> FloatArray:
    """Return the Mann-Whitney statistic (M, C) within each patient who has images of both classes; 0 elsewhere."""
    within_MC = np.zeros((len(scores_MN), len(cases.starts)))
    chosen_N = mixed_C[cases.cluster]
    if not chosen_N.any():
        return within_MC
    positive_N = positive_N[chosen_N]
    _, cluster_N, sizes = np.unique(cases.cluster[chosen_N], return_inverse=True, return_counts=True)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    # Doubled midranks are whole numbers below 2 N + 2, so this key sorts by patient, then by score, and keeps ties.
    doubled_MN = np.rint(2 * _ranks(scores_MN[:, chosen_N]))
    ranks_MN = _ranks(cluster_N * (2.0 * len(cluster_N) + 2.0) + doubled_MN) - starts[cluster_N]
    positives = np.add.reduceat(positive_N.astype(np.float64), starts)
    rank_sums = np.add.reduceat(np.where(positive_N, ranks_MN, 0.0), starts, axis=1)
    within_MC[:, mixed_C] = rank_sums - positives * (positives + 1) / 2
    return within_MC


def _hanley_mcneil(auroc: float, *, positives: float, negatives: float) -> float:
    """Return the variance of an AUROC: Hanley & McNeil 1982, equation 1, with their exponential Q1 and Q2."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2) + (negatives - 1) * (q2 - auroc**2)
    return spread / (positives * negatives)


def _ranks(values: NDArray[Any]) -> FloatArray:
    """Midranks along the last axis."""
    # Seconds of imports, for which `syntrial plan`, which only asks for variances, need not wait.
    from scipy.stats import rankdata

    ranks: FloatArray = rankdata(values, axis=-1)
    return ranks
