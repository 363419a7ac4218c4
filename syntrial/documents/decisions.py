"""`decisions.json`: which candidates a filtering accepted, and what became of the others."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyFigures:
    """A search for copies of training images."""

    searched: int
    count: int
    """Possible copies: they lie nearer to a training image than all but `quantile` of real images do."""
    rate: float
    exact: int
    """Of these, equal to the pixel."""
    threshold: float
    quantile: float
    calibration_images: int
    calibration_share_under_threshold: float
    """Training images at or under the threshold: repeats of a patient, where above the quantile."""
    turned: int = 0
    """Of `count`, those that are mirrored, turned by quarters or inverted: found by a search of their own."""
    turned_threshold: float | None = None
    """Its largest distance; None in figures from before there was one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateCopies(CopyFigures):
    """The search among candidates."""

    removed: bool
    """Whether those found were kept out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterStep:
    """A filter, how many candidates it saw, and how many it kept."""

    kind: str
    candidates: int
    kept: int
    minimum: float | None = None
    """Of a filter that keeps by a bound."""
    keep: float | None = None
    """Of a filter that keeps a share of each class."""
    largest_kept: dict[str, float | None] | None = None
    """The last score that a filter kept which keeps the lowest ones, by the number of the class."""
    top: int | None = None
    """Of a filter that keeps so many of each class."""
    smallest_kept: dict[str, float | None] | None = None
    """The last score that a filter kept which keeps the highest ones, by the number of the class."""
    barred: int | None = None
    """Of a filter that also rejects by another rule than the scores': how many of those it saw that rule rejects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDecisions:
    """What became of one class's candidates."""

    name: Annotated[str, Field(alias="class")]
    candidates: int
    quota: int | None
    """None: everything that passed was accepted."""
    accepted: int
    rejected: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What became of all candidates."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    task: str
    classes: tuple[str, ...]
    candidates: int
    accepted: int
    rejected: dict[str, int]
    """Counts by reason: a filter's kind, `copy`, or `surplus` (passed, and the quota was full)."""
    rejected_pictures: int
    """How many of them the member `rejected` holds."""
    repeated: int
    """Candidates that repeat an earlier one exactly."""
    filters: tuple[FilterStep, ...]
    """In the order in which they were applied."""
    copies: CandidateCopies
    ratio: float
    balance: str
    by_class: tuple[ClassDecisions, ...]
    score_columns: tuple[str, ...]
    """Of `scores.npy`."""
