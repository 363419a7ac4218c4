"""Accuracy, balanced accuracy and recall: their leave-one-patient-out values, and their variances beforehand.

Shapes as in `cases.py`.
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
    cluster_sums,
    excluded_classes,
    mean_of,
    require_scorable,
)

MULTI_LABEL_THRESHOLD = 0.5
"""A label counts as predicted from this probability on."""


def accuracy(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    """Return the share of right arg-max classes; for multi-label, of right decisions over all images and labels."""
    del least
    if labels.ndim == 1:
        right_MN = (scores_MNK.argmax(axis=2) == labels).astype(np.float64)
    else:
        right_MN = ((scores_MNK >= MULTI_LABEL_THRESHOLD) == labels).mean(axis=2)
    everything_N = np.ones(right_MN.shape[1], dtype=np.bool_)
    return mean_of([mean_leave_one_out(right_MN, everything_N, cases)], ())


def balanced_accuracy(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    """Return the mean recall over classes; for multi-label, of (sensitivity + specificity) / 2 over labels."""
    classes = scores_MNK.shape[2]
    excluded = excluded_classes(labels, classes, cases, least=least)
    parts = []
    for k in require_scorable(excluded, classes):
        member_N, right_MN = _members_and_right(labels, scores_MNK, k)
        parts.append(mean_leave_one_out(right_MN, member_N, cases))
        if labels.ndim == 2:
            wrongly_absent_MN = scores_MNK[:, :, k] < MULTI_LABEL_THRESHOLD
            parts.append(mean_leave_one_out(wrongly_absent_MN, ~member_N, cases))
    return mean_of(parts, excluded)


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


def accuracy_variance(cases_per_class: Sequence[float], value: float) -> float:
    """Return the variance over patients of an accuracy of `value` on that many cases of each class."""
    return value * (1 - value) / sum(cases_per_class)


def balanced_accuracy_variance(cases_per_class: Sequence[float], value: float) -> float:
    """Return the variance over patients of a mean of recalls that are `value` in each class."""
    return sum(value * (1 - value) / members for members in cases_per_class) / len(cases_per_class) ** 2


def _members_and_right(labels: NDArray[Any], scores_MNK: FloatArray, k: int) -> tuple[BoolArray, BoolArray]:
    """Return which images are of class (or have label) k, (N,), and which are so predicted, (M, N)."""
    if labels.ndim == 1:
        return labels == k, scores_MNK.argmax(axis=2) == k
    return labels[:, k] == 1, scores_MNK[:, :, k] >= MULTI_LABEL_THRESHOLD


def mean_leave_one_out(
    right_MN: NDArray[Any], member_N: BoolArray, cases: ClusteredCases
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of `right_MN` over members, (M,), and its leave-out values, (M, C)."""
    total_M = right_MN[:, member_N].sum(axis=1)
    members_C = cluster_sums(member_N[None], cases)[0]
    rest_C = members_C.sum() - members_C
    rest_MC = total_M[:, None] - cluster_sums(np.where(member_N, right_MN, 0.0), cases)
    left_out_MC = np.divide(rest_MC, rest_C, out=np.full(rest_MC.shape, np.nan), where=rest_C > 0)
    return total_M / members_C.sum(), left_out_MC
