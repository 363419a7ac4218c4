"""Metrics of predictions on a split: accuracy, balanced accuracy, macro AUROC and recall of each class."""

from typing import Any

import numpy as np
import numpy.typing as npt

THRESHOLD = 0.5
"""Probability from which a label of several counts as predicted."""

_FLOOR = 1e-12


def class_aurocs(scores_NK: npt.NDArray[np.float64], truth_NK: npt.NDArray[np.bool_]) -> list[float | None]:
    """AUROC of each class against the rest; None where a class has no positive or no negative image."""
    # More than a second of imports, which a server that is only asked for its health need not spend.
    from sklearn.metrics import roc_auc_score

    return [
        float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else None
        for truth, scores in zip(truth_NK.T, scores_NK.T, strict=True)
    ]


def one_hot(labels: npt.NDArray[Any], *, classes: int) -> npt.NDArray[np.bool_]:
    """Labels, int64 (N,) or uint8 (N, K), as booleans (N, K)."""
    return labels.astype(bool) if labels.ndim == 2 else labels[:, None] == np.arange(classes)


def macro_auroc(scores_NK: npt.NDArray[np.float64], labels: npt.NDArray[Any]) -> float | None:
    """Mean of the classes' AUROCs, over the classes that have one; None where none has."""
    found = [a for a in class_aurocs(scores_NK, one_hot(labels, classes=scores_NK.shape[1])) if a is not None]
    return float(np.mean(found)) if found else None


def accuracy(scores_NK: npt.NDArray[np.float64], labels: npt.NDArray[Any]) -> float:
    """Share of images whose likeliest class is the true one; of several labels, the share of right decisions."""
    if labels.ndim == 2:
        return float(np.mean((scores_NK >= THRESHOLD) == labels.astype(bool)))
    return float(np.mean(scores_NK.argmax(axis=1) == labels))


def compute(
    scores_NK: npt.NDArray[np.float64], labels: npt.NDArray[Any], *, classes: tuple[str, ...]
) -> dict[str, Any]:
    """All metrics of a split, as JSON.

    `scores_NK` float64 probabilities (N, K); `labels` int64 (N,) or uint8 (N, K). `auroc` and `balanced_accuracy` are
    means over the classes that the split has, `classes_without_auroc` names the others. Of several labels, recall and
    balanced accuracy are taken at the threshold 0.5 for each label, balanced accuracy as the mean of sensitivity and
    specificity over the labels.
    """
    truth_NK = one_hot(labels, classes=len(classes))
    aurocs = class_aurocs(scores_NK, truth_NK)
    several = labels.ndim == 2
    predicted_NK = scores_NK >= THRESHOLD if several else one_hot(scores_NK.argmax(axis=1), classes=len(classes))
    recalls = [_share(p[t]) for p, t in zip(predicted_NK.T, truth_NK.T, strict=True)]
    specificities = [_share(~p[~t]) for p, t in zip(predicted_NK.T, truth_NK.T, strict=True)]
    if several:
        balanced = [(r + s) / 2 for r, s in zip(recalls, specificities, strict=True) if r is not None and s is not None]
        log_loss = -np.mean(np.log(np.maximum(np.where(truth_NK, scores_NK, 1 - scores_NK), _FLOOR)))
    else:
        balanced = [r for r in recalls if r is not None]
        log_loss = -np.mean(np.log(np.maximum(scores_NK[truth_NK], _FLOOR)))
    found = [a for a in aurocs if a is not None]
    return {
        "images": len(labels),
        "accuracy": accuracy(scores_NK, labels),
        "balanced_accuracy": float(np.mean(balanced)) if balanced else None,
        "auroc": float(np.mean(found)) if found else None,
        "log_loss": float(log_loss),
        "classes_without_auroc": [name for name, a in zip(classes, aurocs, strict=True) if a is None],
        "per_class": {
            name: {"images": int(n), "auroc": a, "recall": r, "specificity": s}
            for name, n, a, r, s in zip(classes, truth_NK.sum(axis=0), aurocs, recalls, specificities, strict=True)
        },
    }


def _share(hits: npt.NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None
