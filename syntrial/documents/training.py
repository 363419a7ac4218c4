"""`training.json` and `curves.json`: how a training went, and what it was shown."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """`curves.json` of a generator; of a classifier, a part of `training.json`."""

    __pydantic_config__ = DOCUMENT

    x_unit: str
    """"images", "steps", or "fits": of a probe, one for each strength of the penalty that a phase tries."""
    x: tuple[int, ...]
    series: dict[str, tuple[float | None, ...]]
    """By name, as long as `x`; None where a figure does not exist."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownEpochs:
    """Passes over a phase's pool, one after another, that each showed as many images of each label."""

    passes: int
    images: int
    """Of each pass."""
    labels: dict[str, int]
    """Of each pass: images of each class or label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedPhase:
    """A phase of a classifier's training."""

    steps: int
    images_seen: dict[str, int]
    """Draws by origin: real, duplicated, synthetic."""
    pool: dict[str, int]
    """Images to draw from, by origin."""
    synthetic_missing: int
    """Synthetic images that the arm asks for and the set does not have."""
    learning_rate: float
    train: tuple[str, ...] = ()
    """The parts of the network that were trained; empty: all."""
    l2: float | None = None
    """Of a probe: the strength of the penalty that was the best on validation."""
    epochs: tuple[ShownEpochs, ...] = ()
    """Where each pass draws at most so many images of a label: what each showed, in order; the last may be a part."""
    distinct: int | None = None
    """Then: items of the pool that were shown at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Convergence:
    """Whether the validation loss still fell at the end."""

    rule: str
    from_step: int
    to_step: int
    fall: float
    """Relative fall of the mean validation loss between the two steps."""
    fall_in_standard_errors: float


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptCheckpoint:
    """Which weights the classifier has."""

    choice: str
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierTraining:
    """`training.json`."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    curves: Curves
    phases: tuple[TrainedPhase, ...]
    undertrained: bool
    convergence: Convergence | None
    """None where the last phase was evaluated less than twice."""
    checkpoint: KeptCheckpoint
    bootstrap: bool = False
    """Whether the seed drew how much each training patient counts, and nothing else."""
