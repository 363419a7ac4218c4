"""The filters that an experiment may name: one table, from which the model, the schema and the plan are made.

A filter's row, its message in `syntrial.v1.Filter` and its own file in the filtering service are all there is to it
(docs/extending.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from syntrial.experiment.base import Model, OneOf, one_of


class CentroidFilter(OneOf):
    """Keeps those of each class's candidates nearest to the centroid of the class's real features: exactly one of
    {kinds} says how many.
    """

    KINDS = ("keep", "top")

    keep: float | None = Field(None, gt=0, le=1, description="Share of the class's candidates that is kept.")
    top: int | None = Field(None, ge=1, le=1_000_000, description="Candidates of each class that are kept.")
    own: bool = Field(
        False, description="Whether a candidate is rejected to which another class's centroid is nearer than its own."
    )


class RealismFilter(OneOf):
    """Keeps each class's candidates that lie deepest among its real images (realism, Kynkäänniemi et al. 2019):
    exactly one of {kinds} says which.
    """

    KINDS = ("keep", "minimum")

    keep: float | None = Field(None, gt=0, le=1, description="Share of the class's candidates that is kept.")
    minimum: float | None = Field(
        None, gt=0, le=100, description="Least realism; at 1 a candidate lies within the real images' manifold."
    )
    neighbours: int = Field(
        3, ge=1, le=100, description="The neighbour that gives a real image's radius, counted from the nearest."
    )


class ConfidenceFilter(Model):
    """Keeps candidates to whose class a classifier trained on real images gives at least this probability."""

    minimum: float = Field(gt=0, lt=1, description="Smallest probability of the candidate's own class.")


def unknown_share(_: Any) -> None:
    """For filters of which nobody can say beforehand what they keep."""


def centroid_share(own: CentroidFilter) -> float | None:
    """What is kept, where no candidate is rejected for what it looks like."""
    return None if own.own else own.keep


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterKind:
    """What the platform knows of a filter."""

    model: type[Model]
    """Its fields in an experiment: those of its message."""
    share: Callable[[Any], float | None]
    """The share of the candidates that it keeps, in (0, 1], given its model; None where that is not known beforehand.

    So many more candidates are drawn, and the random control keeps as many."""
    rejected: str
    """What the report says of an image that it rejected."""


FILTERS: Final[Mapping[str, FilterKind]] = {
    "centroid": FilterKind(model=CentroidFilter, share=centroid_share, rejected="far from its class"),
    "confidence": FilterKind(model=ConfidenceFilter, share=unknown_share, rejected="not taken for its class"),
    "realism": FilterKind(model=RealismFilter, share=lambda own: own.keep, rejected="unlike real images"),
}
"""The filters by their names in `syntrial.v1.Filter`. Its `random` is missing: the plan adds it as a control."""


class Filter(one_of({name: kind.model for name, kind in FILTERS.items()})):  # type: ignore[misc]
    """One filter: exactly one of {kinds}."""
