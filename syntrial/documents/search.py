"""`decision.json`: what a search decided, or a filtering. A plan that waits for a decision is made anew with it."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT

MEMBER = "decision"
NAME = "decision.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialFigures:
    """A trial as it was when a search chose."""

    number: int
    parameters: dict[str, Any]
    """By field; of a generator that stood beside the search, none."""
    title: str
    """Of such a generator, in words."""
    figures: tuple[float, ...]
    """What it was judged by, after each part of its training."""
    pruned: bool
    """Whether it was stopped before its end."""
    failed: str
    """Why it gave nothing; empty: it did."""
    part: int | None = None
    """Of snapshots: the part by which it counts, counted from 0; None: what is at its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassQuota:
    """What a class needs, and has of its candidates."""

    name: Annotated[str, Field(alias="class")]
    needed: int
    accepted: int
    candidates: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Trials to come, trials that are trained on, the best, or how many candidates come: `kind` says which."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    kind: Literal["propose", "prune", "choose", "quota"]
    proposed: tuple[dict[str, Any], ...] = ()
    """The fields of each trial to come; fewer than were asked for where all there are were tried."""
    going_on: tuple[int, ...] = ()
    """Numbers of the trials that are trained on, of those that were to be decided on."""
    best: int | None = None
    """The number of the best trial."""
    objective: str = ""
    lowest: bool = False
    """Whether the lowest figure is the best."""
    reference: float | None = None
    """What real images reach by the same judge: a classifier trained on them, or others of them at that distance."""
    trials: tuple[TrialFigures, ...] = ()
    """In order."""
    oversample: float | None = None
    """Candidates that are to be drawn for each image needed; None: each class has the images that it needs."""
    quotas: tuple[ClassQuota, ...] = ()
    """By which of a filtering that was decided."""
