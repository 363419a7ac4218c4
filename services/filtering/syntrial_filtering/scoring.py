"""What a filter is given to score candidates by, and what it gives: the scores, and the rule by which they decide.

A filter is a function from its message in `Filter` and `Given` to a `ScoredFilter`; `registry` lists them by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial_filtering.encoder import Embedding, Encoder
from syntrial_filtering.inputs import embed_with_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredFilter:
    """A filter whose scores are known: keeps a share of each class, or what reaches a bound."""

    kind: str
    """The filter's name in `Filter`, for example "centroid": also the reason that it gives."""
    scores: np.ndarray
    """float64 (N,)."""
    keep: float | None = None
    """Share of each class to keep, of the lowest scores."""
    minimum: float | None = None
    """Least score to keep."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What every filter may look at; images are embedded once, when the first filter asks for it."""

    context: StepContext
    encoder: Encoder
    candidates: ImageSet
    train: ImageSet
    groups: np.ndarray
    """int64 (N,): the candidates' classes, by which every filter keeps."""
    numbers: np.ndarray
    """int64 (N,): each candidate's number within its class."""
    seed: int

    @cached_property
    def embedding(self) -> Embedding:
        """Of the candidates."""
        return embed_with_progress(
            self.context, self.encoder, self.candidates.images_NHWC, activity="embedding candidates"
        )

    @cached_property
    def real(self) -> Embedding:
        """Of the real training images."""
        return embed_with_progress(self.context, self.encoder, self.train.images_NHWC, activity="embedding real images")


Score = Callable[[Any, Given, str], ScoredFilter]
"""The filter's message, what it may look at, and what errors call the filter: "filters[0].centroid"."""


def require_share(keep: float, *, field: str) -> None:
    """Raises UserError for a share of candidates that keeps none or more than all."""
    if not 0.0 < keep <= 1.0:
        raise UserError(
            field=field,
            rule="must be more than 0 and at most 1",
            received=keep,
            remedy="Give the share of each class's candidates to keep, for example 0.8.",
        )
