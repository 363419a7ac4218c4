"""The filters that an experiment may name: one table, from which the model, the schema and the plan are made.

A filter's row, its message in `syntrial.v1.Filter` and its own file in the filtering service are all there is to it
(docs/extending.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from syntrial.experiment.base import Model, one_of


class CentroidFilter(Model):
    """Keeps the share of each class's candidates nearest to the centroid of the class's real features."""

    keep: float = Field(gt=0, le=1, description="Share of the candidates that is kept.")


class ConfidenceFilter(Model):
    """Keeps candidates to whose class a classifier trained on real images gives at least this probability."""

    minimum: float = Field(gt=0, lt=1, description="Smallest probability of the candidate's own class.")


def unknown_share(_: Any) -> None:
    """For filters of which nobody can say beforehand what they keep."""


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
    "centroid": FilterKind(model=CentroidFilter, share=lambda own: own.keep, rejected="far from its class"),
    "confidence": FilterKind(model=ConfidenceFilter, share=unknown_share, rejected="not taken for its class"),
}
"""The filters by their names in `syntrial.v1.Filter`. Its `random` is missing: the plan adds it as a control."""


class Filter(one_of({name: kind.model for name, kind in FILTERS.items()})):  # type: ignore[misc]
    """One filter: exactly one of {kinds}."""
