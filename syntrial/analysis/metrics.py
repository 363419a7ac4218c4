"""Metrics on the test split, their leave-one-patient-out values, and the covariances of metrics over patients.

What belongs here: how labels and scores become a number, and how that number moves when one patient's images are left
out. What the numbers then say of an arm is in `statistics.py`, which is this module's caller.

Shapes: N test images, K classes or labels, M columns (one per trained classifier, any arm), C clusters (patients).
`scores` are float64 (…, N, K): softmax probabilities with `labels` int64 (N,), or per-label sigmoids with `labels`
uint8 (N, K). Every column is judged on the same N images.

The area under the ROC curve is the Mann-Whitney statistic (ties count one half), which equals the trapezoidal area. Its
leave-out values come from placements: with w(i) the number of images of the other class that image i is on the right
side of, removing cluster c takes the sum of w over c from the statistic and gives back what c won within itself. Two
sorts give all C values, in O(N log N) instead of C evaluations, and in exact half-integers.

Papers: DeLong, DeLong & Clarke-Pearson 1988 (placements and covariances of AUROC); Obuchowski 1997, Biometrics 53:567
(the same for clustered cases); Efron & Tibshirani 1993, chapter 11 (the jackknife).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from syntrial.errors import UserError

MetricName = Literal["auroc", "accuracy", "balanced_accuracy"]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

MULTI_LABEL_THRESHOLD = 0.5
"""A label counts as predicted from this probability on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaveOneOut:
    """A metric of M columns of scores, and what it becomes when each of C patients is left out."""

    values: FloatArray
    """(M,)"""
    left_out: FloatArray
    """(M, C)"""
    excluded_classes: tuple[int, ...]
    """Classes (or labels) without cases of both kinds in at least two patients: no part of the average."""

    @property
    def clusters(self) -> int:
        """How many patients there are."""
        return len(self.left_out[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusteredCases:
    """The test images in the order of their patients."""

    order: IntArray
    """(N,) sorts images by patient."""
    starts: IntArray
    """(C,) where each patient's images start in that order."""
    cluster: IntArray
    """(N,) the patient's number (0 to C-1) of each image, in that order."""


def metric_value(metric: str, *, labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Return one metric of one classifier.

    `auroc`: of class 1 where there are two classes, else the mean over classes (one against the rest) or labels.
    `accuracy`: share of right arg-max classes; for multi-label, of right decisions at 0.5 over all images and labels.
    `balanced_accuracy`: mean recall over classes; for multi-label, mean of (sensitivity + specificity) / 2 over labels.

    Classes and labels without a positive or without a negative image are no part of an average; `unscorable_classes`
    names them. `labels` int64 (N,) or uint8 (N, K); `scores` float64 (N, K). Raises ValueError for an unknown metric or
    shapes that do not match, UserError where scores are not finite or where no class can be scored.
    """
    labels, scores_MNK = checked(labels, scores=np.asarray(scores)[None])
    cases = np.arange(len(labels))
    return float(_METRICS[_known(metric)](labels, scores_MNK, cluster_cases(cases), 1).values[0])


def per_class_recall(labels: NDArray[Any], *, scores: NDArray[Any]) -> FloatArray:
    """Return the recall of each class (multi-label: the sensitivity of each label at 0.5), float64 (K,).

    NaN where a class has no image. Shapes and errors as `metric_value`.
    """
    labels, scores_MNK = checked(labels, scores=np.asarray(scores)[None])
    recalls = np.full(scores_MNK.shape[2], np.nan)
    for k in range(len(recalls)):
        member_N, right_MN = _members_and_right(labels, scores_MNK, k)
        if member_N.any():
            recalls[k] = right_MN[0, member_N].mean()
    return recalls


def unscorable_classes(labels: NDArray[Any], *, classes: int) -> tuple[int, ...]:
    """Return the classes (or labels) that have no positive or no negative image: no AUROC exists for them."""
    return _excluded(labels, classes, cluster_cases(np.arange(len(labels))), least=1)


def leave_one_out(
    metric: str, *, labels: NDArray[Any], scores_MNK: NDArray[Any], clusters: NDArray[Any]
) -> LeaveOneOut:
    """Return a metric of every column and its values with each patient left out.

    `clusters` (N,) names each image's patient: integers or strings. A class whose positive or negative images all
    belong to one patient has no leave-out value and is excluded, and named in the result. Raises as `metric_value`;
    UserError also where there are fewer than two patients.
    """
    labels, scores_MNK = checked(labels, scores=scores_MNK)
    cases = cluster_cases(_checked_clusters(clusters, len(labels)))
    return _METRICS[_known(metric)](labels[cases.order], scores_MNK[:, cases.order], cases, 2)


def jackknife_covariance(left_out: FloatArray) -> FloatArray:
    """Return the delete-one-patient jackknife covariances (…, M, M) of leave-out values (…, M, C)."""
    clusters = left_out.shape[-1]
    deviations = left_out - left_out.mean(axis=-1, keepdims=True)
    # einsum without BLAS: the sum does not depend on the number of threads, so that a report keeps its bytes.
    covariance: FloatArray = np.einsum("...ic,...jc->...ij", deviations, deviations) * ((clusters - 1) / clusters)
    return covariance


def delong_covariance(
    labels: NDArray[Any], *, scores_MNK: NDArray[Any], clusters: NDArray[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return AUROCs (M,) of class 1 of two, and DeLong's covariances (M, M); Obuchowski's (1997) for clusters.

    Raises ValueError where there are not two classes, otherwise as `leave_one_out`.
    """
    labels, scores_MNK = checked(labels, scores=scores_MNK)
    if labels.ndim != 1 or scores_MNK.shape[2] != 2:
        raise ValueError(f"DeLong's covariances are for two classes; got scores of shape {scores_MNK.shape}")
    cases = cluster_cases(_checked_clusters(clusters, len(labels)))
    positive_N = labels[cases.order] == 1
    _require_scorable(_excluded(labels[cases.order], 2, cases, least=2), 2)
    wins_MN = placement_wins(scores_MNK[:, cases.order, 1], positive_N=positive_N)
    positives, negatives = int(positive_N.sum()), int((~positive_N).sum())
    values_M = wins_MN[:, positive_N].sum(axis=1) / (positives * negatives)
    # Obuchowski 1997, equations 4 to 6: sums of placements per cluster, about what the cluster's size would give.
    v10_MC = _cluster_sums(np.where(positive_N, wins_MN / negatives - values_M[:, None], 0.0), cases)
    v01_MC = _cluster_sums(np.where(positive_N, 0.0, wins_MN / positives - values_M[:, None]), cases)
    with_positive = np.count_nonzero(_cluster_sums(positive_N[None], cases))
    with_negative = np.count_nonzero(_cluster_sums(~positive_N[None], cases))
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
    ranks_MN = rankdata(scores_MN, axis=1)
    wins_MN = np.empty(ranks_MN.shape)
    # An image's rank among all less its rank within its class counts the other class below it.
    wins_MN[:, positive_N] = ranks_MN[:, positive_N] - rankdata(scores_MN[:, positive_N], axis=1)
    below_MN = ranks_MN[:, ~positive_N] - rankdata(scores_MN[:, ~positive_N], axis=1)
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
    positives_C = _cluster_sums(positive_N[None], cases)[0]
    negatives_C = _cluster_sums(~positive_N[None], cases)[0]
    within_MC = _wins_within_clusters(scores_MN, positive_N, cases, (positives_C > 0) & (negatives_C > 0))
    positives, negatives = positives_C.sum(), negatives_C.sum()
    pairs_C = (positives - positives_C) * (negatives - negatives_C)
    wins_MC = total_M[:, None] - _cluster_sums(wins_MN, cases) + within_MC
    left_out_MC = np.divide(wins_MC, pairs_C, out=np.full(wins_MC.shape, np.nan), where=pairs_C > 0)
    return total_M / (positives * negatives), left_out_MC


def cluster_cases(clusters: NDArray[Any]) -> ClusteredCases:
    """Group images by patient; `clusters` (N,) names each image's patient."""
    _, cluster_N, sizes_C = np.unique(clusters, return_inverse=True, return_counts=True)
    order_N = np.argsort(cluster_N, kind="stable")
    starts_C = np.concatenate(([0], np.cumsum(sizes_C)[:-1])).astype(np.int64)
    return ClusteredCases(order=order_N, starts=starts_C, cluster=cluster_N[order_N].astype(np.int64))


def checked(labels: NDArray[Any], *, scores: NDArray[Any]) -> tuple[NDArray[Any], FloatArray]:
    """Return labels and scores (M, N, K) as arrays after checking shapes, ranges and that all scores are finite."""
    labels = np.asarray(labels)
    scores_MNK = np.asarray(scores, dtype=np.float64)
    if scores_MNK.ndim != 3 or labels.ndim not in {1, 2} or len(labels) != scores_MNK.shape[1]:
        raise ValueError(f"scores of shape (M, N, K) and labels of length N wanted: {scores_MNK.shape}, {labels.shape}")
    classes = scores_MNK.shape[2]
    if len(labels) == 0:
        raise UserError(
            field="test split",
            rule="has at least one image",
            received="0 images",
            remedy="Give a test split with images.",
        )
    if labels.ndim == 2 and labels.shape[1] != classes:
        raise ValueError(f"multi-label labels of shape (N, {classes}) wanted, got {labels.shape}")
    if labels.ndim == 1 and (classes < 2 or labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels from 0 to {classes - 1} wanted, got {labels.min()} to {labels.max()}")
    if labels.ndim == 2 and not np.isin(labels, (0, 1)).all():
        raise ValueError("multi-label labels must be 0 or 1")
    wrong = int(np.count_nonzero(~np.isfinite(scores_MNK)))
    if wrong:
        columns = np.flatnonzero(~np.isfinite(scores_MNK).all(axis=(1, 2))).tolist()
        raise UserError(
            field="scores",
            rule="every score is a finite number",
            received=f"{wrong} scores that are NaN or infinite, in classifiers {columns}",
            remedy="The training diverged: lower the learning rate or lengthen the warm-up, then run again.",
        )
    return labels, scores_MNK


def _auroc(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    classes = scores_MNK.shape[2]
    excluded = _excluded(labels, classes, cases, least=least)
    scored = _require_scorable(excluded, classes)
    # With two classes the one-against-rest areas of softmax scores are equal: class 1 is the positive one.
    if labels.ndim == 1 and classes == 2:
        scored = (1,)
    parts = []
    for k in scored:
        positive_N = labels == k if labels.ndim == 1 else labels[:, k] == 1
        parts.append(auroc_leave_one_out(scores_MNK[:, :, k], positive_N=positive_N, cases=cases))
    return _mean_of(parts, excluded)


def _accuracy(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    del least
    if labels.ndim == 1:
        right_MN = (scores_MNK.argmax(axis=2) == labels).astype(np.float64)
    else:
        right_MN = ((scores_MNK >= MULTI_LABEL_THRESHOLD) == labels).mean(axis=2)
    everything_N = np.ones(right_MN.shape[1], dtype=np.bool_)
    return _mean_of([_mean_leave_one_out(right_MN, everything_N, cases)], ())


def _balanced_accuracy(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    classes = scores_MNK.shape[2]
    excluded = _excluded(labels, classes, cases, least=least)
    parts = []
    for k in _require_scorable(excluded, classes):
        member_N, right_MN = _members_and_right(labels, scores_MNK, k)
        parts.append(_mean_leave_one_out(right_MN, member_N, cases))
        if labels.ndim == 2:
            wrongly_absent_MN = scores_MNK[:, :, k] < MULTI_LABEL_THRESHOLD
            parts.append(_mean_leave_one_out(wrongly_absent_MN, ~member_N, cases))
    return _mean_of(parts, excluded)


_METRICS: dict[str, Callable[[NDArray[Any], FloatArray, ClusteredCases, int], LeaveOneOut]] = {
    "auroc": _auroc,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}

METRIC_NAMES: dict[str, str] = {"auroc": "AUROC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
"""What each metric is called in sentences and tables."""


def _known(metric: str) -> str:
    if metric not in _METRICS:
        raise ValueError(f"metric must be one of {sorted(_METRICS)}, got {metric!r}")
    return metric


def _members_and_right(labels: NDArray[Any], scores_MNK: FloatArray, k: int) -> tuple[BoolArray, BoolArray]:
    """Return which images are of class (or have label) k, (N,), and which are so predicted, (M, N)."""
    if labels.ndim == 1:
        return labels == k, scores_MNK.argmax(axis=2) == k
    return labels[:, k] == 1, scores_MNK[:, :, k] >= MULTI_LABEL_THRESHOLD


def _mean_leave_one_out(
    right_MN: NDArray[Any], member_N: BoolArray, cases: ClusteredCases
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of `right_MN` over members, (M,), and its leave-out values, (M, C)."""
    total_M = right_MN[:, member_N].sum(axis=1)
    members_C = _cluster_sums(member_N[None], cases)[0]
    rest_C = members_C.sum() - members_C
    rest_MC = total_M[:, None] - _cluster_sums(np.where(member_N, right_MN, 0.0), cases)
    left_out_MC = np.divide(rest_MC, rest_C, out=np.full(rest_MC.shape, np.nan), where=rest_C > 0)
    return total_M / members_C.sum(), left_out_MC


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
    doubled_MN = np.rint(2 * rankdata(scores_MN[:, chosen_N], axis=1))
    ranks_MN = rankdata(cluster_N * (2.0 * len(cluster_N) + 2.0) + doubled_MN, axis=1) - starts[cluster_N]
    positives = np.add.reduceat(positive_N.astype(np.float64), starts)
    rank_sums = np.add.reduceat(np.where(positive_N, ranks_MN, 0.0), starts, axis=1)
    within_MC[:, mixed_C] = rank_sums - positives * (positives + 1) / 2
    return within_MC


def _cluster_sums(values_MN: NDArray[Any], cases: ClusteredCases) -> FloatArray:
    sums: FloatArray = np.add.reduceat(values_MN.astype(np.float64, copy=False), cases.starts, axis=1)
    return sums


def _mean_of(parts: list[tuple[FloatArray, FloatArray]], excluded: tuple[int, ...]) -> LeaveOneOut:
    values_M = sum(value for value, _ in parts) / len(parts)
    left_out_MC = sum(rest for _, rest in parts) / len(parts)
    return LeaveOneOut(values=np.asarray(values_M), left_out=np.asarray(left_out_MC), excluded_classes=excluded)


def _excluded(labels: NDArray[Any], classes: int, cases: ClusteredCases, *, least: int) -> tuple[int, ...]:
    """Return the classes whose positive or negative images come from fewer than `least` patients."""
    excluded = []
    for k in range(classes):
        positive_N = labels == k if labels.ndim == 1 else labels[:, k] == 1
        patients = [len(np.unique(cases.cluster[side_N])) for side_N in (positive_N, ~positive_N)]
        if min(patients) < least:
            excluded.append(k)
    return tuple(excluded)


def _require_scorable(excluded: tuple[int, ...], classes: int) -> tuple[int, ...]:
    scored = tuple(k for k in range(classes) if k not in excluded)
    # Of two classes each is the other's rest: both go, or none.
    if not scored:
        raise UserError(
            field="test split",
            rule="at least one class has positive and negative images, each from two patients or more",
            received=f"none of {classes} classes",
            remedy="Give a test split with more patients of each class, or choose the metric accuracy.",
        )
    return scored


def _checked_clusters(clusters: NDArray[Any], cases: int) -> NDArray[Any]:
    clusters = np.asarray(clusters)
    if clusters.shape != (cases,):
        raise ValueError(f"one patient per image wanted, shape ({cases},), got {clusters.shape}")
    if len(np.unique(clusters)) < 2:
        raise UserError(
            field="test split",
            rule="has images of at least two patients",
            received="1 patient",
            remedy="Give a test split with more patients: an interval speaks of patients, not of images.",
        )
    return clusters
