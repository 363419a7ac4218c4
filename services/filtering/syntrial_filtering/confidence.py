"""The confidence filter: the probability that the encoder's classifier gives to a candidate's class.

`score` is what the stage calls; the rest is pure. Probabilities are float64 (N, K); labels int64 (N,), or uint8 (N, K)
of 0 and 1 where an image has several.
"""

import numpy as np

from syntrial.errors import UserError
from syntrial.v1.filtering_pb2 import ConfidenceFilter
from syntrial_filtering.scoring import Given, ScoredFilter


def score(settings: ConfidenceFilter, given: Given, field: str) -> ScoredFilter:
    """Scores each candidate by its probability; raises UserError for a bound that is no probability."""
    if not 0.0 <= settings.minimum <= 1.0:
        raise UserError(
            field=f"{field}.minimum",
            rule="must be a probability from 0 to 1",
            received=settings.minimum,
            remedy="Give for example 0.5.",
        )
    values = confidences(given.embedding.probabilities_NK, given.candidates.labels)
    return ScoredFilter(kind="confidence", scores=values, minimum=settings.minimum, highest=True)


def confidences(probabilities_NK: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probability of each candidate's own class, float64 (N,) in [0, 1].

    With several labels: the mean probability of the labels that it has, or, without any, the least probability of a
    label's absence.
    """
    if labels.ndim == 1:
        return np.asarray(probabilities_NK[np.arange(len(labels)), labels], dtype=np.float64)
    present = labels == 1
    counts = present.sum(axis=1)
    of_present = np.where(present, probabilities_NK, 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.asarray(np.where(counts > 0, of_present, 1.0 - probabilities_NK.max(axis=1)), dtype=np.float64)
