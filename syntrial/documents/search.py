"""`decision.json`: what a search decided. A plan that waits for a decision is made anew with it."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Trials to come, trials that are trained on, or the best: `kind` says which."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    kind: Literal["propose", "prune", "choose"]
    proposed: tuple[dict[str, Any], ...] = ()
    """The fields of each trial to come; fewer than were asked for where all there are were tried."""
    going_on: tuple[int, ...] = ()
    """Numbers of the trials that are trained on, of those that were to be decided on."""
    best: int | None = None
    """The number of the best trial."""
    best_part: int | None = None
    """The part of its training after which it was the best, counted from 0; None: only ends of trainings were compared.
    """
    objective: str = ""
    lowest: bool = False
    """Whether the lowest figure is the best."""
    reference: float | None = None
    """What real images reach by the same judge: a classifier trained on them, or others of them at that distance."""
    trials: tuple[TrialFigures, ...] = ()
    """In order."""
