"""The metrics of a trial: one table, whose rows say all that the rest of Syntrial knows of each.

What belongs here: `METRICS`, and how a metric is asked for. How labels and scores become a number, and how that number
moves when one patient's images are left out, is in a file beside this for each family (`auroc.py`, `accuracy.py`); what
the numbers then say of an arm is in `statistics.py`. docs/extending.md shows what a further metric takes.

Shapes: N test images, K classes or labels, M columns (one per trained classifier, any arm), C clusters (patients).
`scores` are float64 (…, N, K): softmax probabilities with `labels` int64 (N,), or per-label sigmoids with `labels`
uint8 (N, K). Every column is judged on the same N images.

Paper: Efron & Tibshirani 1993, chapter 11 (the jackknife).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.accuracy import (
    accuracy,
    accuracy_variance,
    balanced_accuracy,
    balanced_accuracy_variance,
)
from syntrial.analysis.auroc import auroc, auroc_variance
from syntrial.analysis.cases import (
    ClusteredCases,
    FloatArray,
    LeaveOneOut,
    checked,
    checked_clusters,
    cluster_cases,
    excluded_classes,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A row of the table of metrics."""

    name: str
    """As users and reports spell it: the value of `Endpoint.Metric` in lower case, with hyphens."""
    words: str
    """What it is called in sentences, charts and tables."""
    heading: str
    """What it is called over a narrow column."""
    higher_is_better: bool
    range: tuple[float, float]
    """The least and the greatest value that it can take."""
    by_class: bool
    """Whether classes are scored one by one, so that each needs patients enough of its own."""
    function: Callable[[NDArray[Any], FloatArray, ClusteredCases, int], LeaveOneOut]
    """From labels and scores (M, N, K) in the order of their patients, the patients, and the least number of patients
    on each side of a class that is scored, to the values of all columns and what they become without each patient."""
    planned_range: tuple[float, float]
    """Between which values `syntrial plan` takes the control to end, the worse first, before anything is trained."""
    planned_variance: Callable[[Sequence[float], float], float]
    """From the test patients of each class and an assumed value, the variance over patients of one classifier's."""


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(
            name="auroc",
            words="AUROC",
            heading="AUROC",
            higher_is_better=True,
            range=(0.0, 1.0),
            by_class=True,
            function=auroc,
            planned_range=(0.8, 0.95),
            planned_variance=auroc_variance,
        ),
        Metric(
            name="accuracy",
            words="accuracy",
            heading="acc.",
            higher_is_better=True,
            range=(0.0, 1.0),
            by_class=False,
            function=accuracy,
            planned_range=(0.7, 0.85),
            planned_variance=accuracy_variance,
        ),
        Metric(
            name="balanced-accuracy",
            words="balanced accuracy",
            heading="bal. acc.",
            higher_is_better=True,
            range=(0.0, 1.0),
            by_class=True,
            function=balanced_accuracy,
            planned_range=(0.7, 0.85),
            planned_variance=balanced_accuracy_variance,
        ),
    )
}
"""All metrics by name, in the order of the columns of the report's tables."""


def metric_named(name: str) -> Metric:
    """The row of that name; raises ValueError, which lists those that there are."""
    if name not in METRICS:
        raise ValueError(f"metric must be one of {sorted(METRICS)}, got {name!r}")
    return METRICS[name]


def metric_value(metric: str, *, labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Return one metric of one classifier.

    `auroc`: of class 1 where there are two classes, else the mean over classes (one against the rest) or labels.
    `accuracy`: share of right arg-max classes; for multi-label, of right decisions at 0.5 over all images and labels.
    `balanced-accuracy`: mean recall over classes; for multi-label, mean of (sensitivity + specificity) / 2 over labels.

    Classes and labels without a positive or without a negative image are no part of an average; `unscorable_classes`
    names them. `labels` int64 (N,) or uint8 (N, K); `scores` float64 (N, K). Raises ValueError for an unknown metric or
    shapes that do not match, UserError where scores are not finite or where no class can be scored.
    """
    labels, scores_MNK = checked(labels, scores=np.asarray(scores)[None])
    cases = np.arange(len(labels))
    return float(metric_named(metric).function(labels, scores_MNK, cluster_cases(cases), 1).values[0])


def unscorable_classes(labels: NDArray[Any], *, classes: int) -> tuple[int, ...]:
    """Return the classes (or labels) that have no positive or no negative image: no AUROC exists for them."""
    return excluded_classes(labels, classes, cluster_cases(np.arange(len(labels))), least=1)


def leave_one_out(
    metric: str, *, labels: NDArray[Any], scores_MNK: NDArray[Any], clusters: NDArray[Any]
) -> LeaveOneOut:
    """Return a metric of every column and its values with each patient left out.

    `clusters` (N,) names each image's patient: integers or strings. A class whose positive or negative images all
    belong to one patient has no leave-out value and is excluded, and named in the result. Raises as `metric_value`;
    UserError also where there are fewer than two patients.
    """
    labels, scores_MNK = checked(labels, scores=scores_MNK)
    cases = cluster_cases(checked_clusters(clusters, len(labels)))
    return metric_named(metric).function(labels[cases.order], scores_MNK[:, cases.order], cases, 2)


def jackknife_covariance(left_out: FloatArray) -> FloatArray:
    """Return the delete-one-patient jackknife covariances (…, M, M) of leave-out values (…, M, C)."""
    clusters = left_out.shape[-1]
    deviations = left_out - left_out.mean(axis=-1, keepdims=True)
    # einsum without BLAS: the sum does not depend on the number of threads, so that a report keeps its bytes.
    covariance: FloatArray = np.einsum("...ic,...jc->...ij", deviations, deviations) * ((clusters - 1) / clusters)
    return covariance
