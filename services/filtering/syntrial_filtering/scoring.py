"""What a filter is given to score candidates by, and what it gives: the scores, and the rule by which they decide.

A filter is a function from its message in `Filter` and `Given` to a `ScoredFilter`; `registry` lists them by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from syntrial.errors import UserError
from syntrial.imagesets.features import Features
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial_filtering.encoder import Embedding
from syntrial_filtering.inputs import Encoder, embed_with_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredFilter:
    """A filter whose scores are known: keeps a share of each class, so many of each, or what reaches a bound."""

    kind: str
    """The filter's name in `Filter`, for example "centroid": also the reason that it gives."""
    scores: np.ndarray
    """float64 (N,)."""
    keep: float | None = None
    """Share of each class to keep."""
    top: int | None = None
    """How many of each class to keep."""
    minimum: float | None = None
    """Least score to keep."""
    highest: bool = False
    """Whether the highest scores are the best, not the lowest."""
    barred: np.ndarray | None = None
    """bool (N,): candidates that are rejected whatever their score."""

    @property
    def ranks(self) -> np.ndarray:
        """float64 (N,): the lower, the better."""
        return -self.scores if self.highest else self.scores


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
    needed: int = 0
    """Images that the class which needs most has to have; 0: there may be fewer."""
    features: Features | None = None
    """Of the candidates, for an encoder that does not embed images itself."""
    train_features: Features | None = None

    @cached_property
    def embedding(self) -> Embedding:
        """Of the candidates."""
        return self._embed(self.candidates, self.features, "embedding candidates")

    @cached_property
    def real(self) -> Embedding:
        """Of the real training images."""
        return self._embed(self.train, self.train_features, "embedding real images")

    def _embed(self, images: ImageSet, features: Features | None, activity: str) -> Embedding:
        return embed_with_progress(self.context, self.encoder, images.images_NHWC, features=features, activity=activity)


Score = Callable[[Any, Given, str], ScoredFilter]
"""The filter's message, what it may look at, and what errors call the filter: "filters[0].centroid"."""


def how_many(settings: Any, share: str, other: str, *, field: str) -> dict[str, Any]:
    """Which of two rules a filter's message gives, as an argument of `ScoredFilter`; 0 stands for a field left out.

    Raises UserError where it gives both or none, or a share of candidates that keeps none or more than all.
    """
    found = {name: getattr(settings, name) for name in (share, other) if getattr(settings, name)}
    if len(found) != 1:
        raise UserError(
            field=field,
            rule=f"needs exactly one of {share} and {other}",
            received=" and ".join(f"{name} {value:g}" for name, value in found.items()) or "none of them",
            remedy="Give one of them.",
        )
    if share in found:
        require_share(found[share], field=f"{field}.{share}")
    return found


def require_room(top: int, given: Given, *, field: str) -> None:
    """Raises UserError for a number of each class to keep, unless 0, that is below what a class has to have."""
    if 0 < top < given.needed:
        raise UserError(
            field=field,
            rule=f"keeps as many of each class as are needed: {given.needed}",
            received=top,
            remedy="Raise it, or let the arms need fewer synthetic images.",
        )


def require_share(keep: float, *, field: str) -> None:
    """Raises UserError for a share of candidates that keeps none or more than all."""
    if not 0.0 < keep <= 1.0:
        raise UserError(
            field=field,
            rule="must be more than 0 and at most 1",
            received=keep,
            remedy="Give the share of each class's candidates to keep, for example 0.8.",
        )
