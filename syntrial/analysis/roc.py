"""Mean ROC curves over replicates, with their spread.

Curves are averaged vertically: the true-positive rate at each false-positive rate of a fixed grid (Fawcett 2006,
Pattern Recogn Lett 27:861, algorithm 3). One against the rest; the macro curve is the mean over classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.cases import FloatArray
from syntrial.analysis.metrics import unscorable_classes

GRID: FloatArray = np.linspace(0.0, 1.0, 101)
"""False-positive rates at which curves are given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RocCurve:
    """True-positive rates on `GRID`: mean, least and greatest over replicates."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray


def roc_points(positive_N: NDArray[Any], *, scores_N: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """False- and true-positive rates at every threshold, from (0, 0) to (1, 1); ties make slanted pieces.

    `positive_N` bool (N,) with both kinds present; `scores_N` float (N,), greater for positive.
    """
    order = np.argsort(-scores_N, kind="stable")
    ordered, hit = scores_N[order], positive_N[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    true, false = np.cumsum(hit)[last], np.cumsum(1.0 - hit)[last]
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def mean_roc(labels: NDArray[Any], *, scores_JNK: NDArray[Any], class_index: int | None) -> RocCurve | None:
    """The mean curve of a class against the rest, or of all scorable classes (`class_index` None).

    `labels` int64 (N,) or uint8 (N, K); None where no asked class has both positive and negative images.
    """
    classes = scores_JNK.shape[2]
    scorable = [k for k in range(classes) if k not in unscorable_classes(labels, classes=classes)]
    if class_index is None:
        # Of two classes each is the other's rest: the second is the positive one.
        asked = [1] if labels.ndim == 1 and classes == 2 else list(range(classes))
    else:
        asked = [class_index]
    wanted = [k for k in asked if k in scorable]
    if not wanted:
        return None
    rates_JG = np.stack(
        [
            np.mean(
                [_on_grid(labels == k if labels.ndim == 1 else labels[:, k] == 1, scores_NK[:, k]) for k in wanted],
                axis=0,
            )
            for scores_NK in scores_JNK
        ]
    )
    return RocCurve(mean=rates_JG.mean(axis=0), low=rates_JG.min(axis=0), high=rates_JG.max(axis=0))


def _on_grid(positive_N: NDArray[Any], scores_N: NDArray[Any]) -> FloatArray:
    false, true = roc_points(positive_N, scores_N=scores_N)
    # Where the curve rises vertically, np.interp takes the last, that is the highest, point.
    rates: FloatArray = np.interp(GRID, false, true)
    return rates
