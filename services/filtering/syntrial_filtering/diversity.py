"""Diversity within a class: how many images a set's differ like, beside what real images of the class show.

The Vendi score (Friedman and Dieng 2023, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning",
definition 3.1) of a Gaussian kernel on an encoder's features: the exponential of the entropy of the eigenvalues of
K / n, from 1 (all alike) to n (none like another). The kernel's width is that of the real images of the class, so a set
is not made diverse by its scale. The score grows with the sample: every score here is of one sample size.

Pure. Features are float (N, F).
"""

from typing import Final

import numpy as np
from scipy.linalg import eigvalsh

from syntrial.documents.quality import Diversity
from syntrial_filtering.neighbours import squared_distances

HALVES: Final = 20
"""Random halves over which scores are averaged, and whose spread gives the interval."""

LARGEST_HALF: Final = 200
"""At most this many images of each kind are scored together: the work grows with the third power."""

SMALLEST_HALF: Final = 10
"""Under this many images in a half no score is given."""

WIDTH: Final = 0.5
"""The kernel's standard deviation, as a share of the median distance between real images of the class."""

_Z: Final = 1.96


def vendi_score(features_NF: np.ndarray, *, width: float) -> float:
    """exp(-Σ λ ln λ) over the eigenvalues λ of K / n, K = exp(-|x - y|² / (2 width²)).

    Where the width is 0, as where all real images are one, images are alike only if they are equal.
    """
    features = np.asarray(features_NF, dtype=np.float64)
    squares = squared_distances(features, features)
    np.fill_diagonal(squares, 0.0)
    kernel = np.exp(-squares / (2 * width**2)) if width > 0 else (squares < _equal(features)).astype(np.float64)
    values = eigvalsh(kernel / len(features))
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))


def diversity(synthetic_NF: np.ndarray, real_MF: np.ndarray, *, seed: int) -> Diversity | None:
    """Scores of one class, synthetic beside real; None where that leaves fewer than SMALLEST_HALF in a half.

    As many synthetic as real images are drawn once and cut into random halves, again and again. The ratio is the
    geometric mean over halves; the spread of its logarithm over halves estimates the standard error of the whole (the
    delete-half jackknife, Shao and Wu 1989), which gives the interval. Images count as independent.
    """
    half = min(len(synthetic_NF) // 2, len(real_MF) // 2, LARGEST_HALF)
    if half < SMALLEST_HALF:
        return None
    rng = np.random.default_rng([seed, 9])
    synthetic = synthetic_NF[rng.permutation(len(synthetic_NF))[: 2 * half]]
    real = real_MF[rng.permutation(len(real_MF))[: 2 * half]]
    squares = squared_distances(real, real)
    width = WIDTH * float(np.sqrt(np.median(squares[np.triu_indices(len(real), 1)])))
    scores = np.empty((3, HALVES))
    for number in range(HALVES):
        order = rng.permutation(2 * half)
        scores[0, number] = vendi_score(synthetic[rng.permutation(2 * half)[:half]], width=width)
        scores[1, number] = vendi_score(real[order[:half]], width=width)
        scores[2, number] = vendi_score(real[order[half:]], width=width)
    # Both halves of the real images stand for them: what is left is the synthetic images' chance and the real ones'.
    logarithms = np.log(scores)
    differences = logarithms[0] - logarithms[1]
    error = float(differences.std(ddof=1))
    ratio = float((logarithms[0] - logarithms[1:].mean(axis=0)).mean())
    return Diversity(
        sample_size=half,
        synthetic=float(np.exp(logarithms[0].mean())),
        real=float(np.exp(logarithms[1:].mean())),
        ratio=float(np.exp(ratio)),
        interval_95=(float(np.exp(ratio - _Z * error)), float(np.exp(ratio + _Z * error))),
        floor=float(np.exp(-np.abs(logarithms[1] - logarithms[2]).max())),
    )


def _equal(features: np.ndarray) -> float:
    """Squared distances under this are rounding."""
    return 1e-9 * (1.0 + float(np.square(features).sum(axis=1).max()))
