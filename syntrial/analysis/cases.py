"""The test images as cases of patients, and a metric's values with each patient left out.

What belongs here: what every metric's function needs, whichever metric it is. Called by `auroc.py` and `accuracy.py`;
the table of metrics is in `metrics.py`.

Shapes: N test images, K classes or labels, M columns (one per trained classifier, any arm), C clusters (patients).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syntrial.errors import UserError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


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


def cluster_cases(clusters: NDArray[Any]) -> ClusteredCases:
    """Group images by patient; `clusters` (N,) names each image's patient."""
    _, cluster_N, sizes_C = np.unique(clusters, return_inverse=True, return_counts=True)
    order_N = np.argsort(cluster_N, kind="stable")
    starts_C = np.concatenate(([0], np.cumsum(sizes_C)[:-1])).astype(np.int64)
    return ClusteredCases(order=order_N, starts=starts_C, cluster=cluster_N[order_N].astype(np.int64))


def cluster_sums(values_MN: NDArray[Any], cases: ClusteredCases) -> FloatArray:
    """Return sums over each patient's images, (M, C)."""
    sums: FloatArray = np.add.reduceat(values_MN.astype(np.float64, copy=False), cases.starts, axis=1)
    return sums


def mean_of(parts: list[tuple[FloatArray, FloatArray]], excluded: tuple[int, ...]) -> LeaveOneOut:
    """Return the mean of values (M,) and leave-out values (M, C) over the classes that were scored."""
    values_M = sum(value for value, _ in parts) / len(parts)
    left_out_MC = sum(rest for _, rest in parts) / len(parts)
    return LeaveOneOut(values=np.asarray(values_M), left_out=np.asarray(left_out_MC), excluded_classes=excluded)


def excluded_classes(labels: NDArray[Any], classes: int, cases: ClusteredCases, *, least: int) -> tuple[int, ...]:
    """Return the classes whose positive or negative images come from fewer than `least` patients."""
    excluded = []
    for k in range(classes):
        positive_N = labels == k if labels.ndim == 1 else labels[:, k] == 1
        patients = [len(np.unique(cases.cluster[side_N])) for side_N in (positive_N, ~positive_N)]
        if min(patients) < least:
            excluded.append(k)
    return tuple(excluded)


def require_scorable(excluded: tuple[int, ...], classes: int) -> tuple[int, ...]:
    """Return the classes that are not excluded; raises UserError where none is left."""
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


def checked_clusters(clusters: NDArray[Any], cases: int) -> NDArray[Any]:
    """Return the patients (N,); raises UserError where there are fewer than two."""
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
