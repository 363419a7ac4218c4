"""Arms: one concept, a list of training phases over real and synthetic images, and the presets that users name.

Called by the experiment model, which validates names, and by the planner, which fills in the budget. Ratios count
accepted synthetic images and refer to the number of real training images.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from rapidfuzz import process

ControlKind = Literal["matched", "real", "real-twice"]

MATCHED: Final = "real-as-"
"""How the names of controls begin that are made for an arm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A pool of images and the length of training over it."""

    real: float = 0.0
    """Share of the real training images in the pool, in [0, 1]."""
    synthetic: float = 0.0
    """Accepted synthetic images in the pool, as a ratio to the number of real training images."""
    duplicated: float = 0.0
    """Repetitions of the real images beyond the first, as a ratio."""
    steps: int | None = None
    """Optimiser steps; None: the experiment's budget."""
    epochs: float | None = None
    """Passes over the pool; None: the experiment's budget."""
    learning_rate: float | None = None
    """None: the classifier's recipe."""
    passes: float = 1.0
    """Of a matched control whose classifiers have stages in epochs: passes over its pool for one over the arm's."""
    real_as_synthetic: bool = False
    """Whether real images are resampled to the class proportions of the synthetic set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A way to train a classifier."""

    name: str
    phases: tuple[Phase, ...]
    shuffled_labels: bool = False
    """The negative control: the synthetic images' labels are permuted among them."""
    control: ControlKind = "real"
    """What this arm is compared with: `real`, `real-twice`, or an arm of equal phases that is made for it."""

    @property
    def synthetic_ratio(self) -> float:
        """The largest ratio of synthetic images in a phase; 0 where the arm uses none."""
        return max(phase.synthetic for phase in self.phases)


REAL: Final = Arm(name="real", phases=(Phase(real=1.0),))
"""The control of every experiment."""
REAL_TWICE: Final = Arm(name="real-twice", phases=(Phase(real=1.0), Phase(real=1.0)))
"""The control of `finetune`: real images under the same two schedules."""

PRESETS: Final[dict[str, str]] = {
    "synthetic": "synthetic images alone, as many as there are real ones",
    "augment-N": "all real images and N% as many synthetic ones, for example augment-100",
    "replace-N": "N% of the real images replaced by as many synthetic ones, for example replace-50",
    "finetune": "trained on synthetic images, then on the real ones",
    "real-N": "N% of the real images, for example real-50",
}
"""What users may name beside `real`, which always runs."""

_NUMBERED = re.compile(r"(augment|replace|real)-(\d{1,5})")


def arm_preset(name: str) -> Arm:
    """The arm of a preset's name.

    Raises ValueError with the rule and the nearest right name for an unknown one.
    """
    if name == "real":
        return REAL
    if name == "synthetic":
        return Arm(name=name, phases=(Phase(synthetic=1.0),))
    if name == "finetune":
        return Arm(name=name, phases=(Phase(synthetic=1.0), Phase(real=1.0)), control="real-twice")
    match = _NUMBERED.fullmatch(name)
    percent = int(match[2]) if match else 0
    if match and match[1] == "augment" and percent > 0:
        return Arm(name=name, phases=(Phase(real=1.0, synthetic=percent / 100),))
    if match and match[1] == "replace" and 0 < percent < 100:
        share = percent / 100
        return Arm(name=name, phases=(Phase(real=1.0 - share, synthetic=share),))
    if match and match[1] == "real" and 0 < percent < 100:
        return Arm(name=name, phases=(Phase(real=percent / 100),))
    if match:
        raise ValueError(f"{match[1]}-N takes a percentage {'above 0' if match[1] == 'augment' else 'from 1 to 99'}")
    known = ["real", "synthetic", "finetune", "augment-100", "augment-200", "augment-300", "replace-50", "real-50"]
    nearest = process.extractOne(name, known)[0]
    raise ValueError(f"unknown arm; did you mean {nearest!r}? Presets: real, {', '.join(PRESETS)}")


def matched(arm: Arm, *, epochs: float | None, staged: bool = False) -> Arm:
    """The control of `arm` with equal phases: all real images under the same schedules, for as many steps.

    A phase in epochs takes as many passes over the real images as make up its own pool. `epochs` is the experiment's
    budget where that is in epochs, `staged` whether a classifier has stages in epochs. An arm whose phases all have the
    experiment's budget is matched by `real` or `real-twice`, where they have as many phases.
    """
    phases = []
    for phase in arm.phases:
        given = phase.epochs if phase.epochs is not None else (epochs if phase.steps is None else None)
        # Rounded, so that 0.7 + 0.3 passes are one.
        pool = round(phase.real + phase.synthetic + phase.duplicated, 9)
        passes = None if given is None else round(given * pool, 9)
        phases.append(
            Phase(
                real=1.0,
                steps=phase.steps,
                epochs=None if passes == epochs else passes,
                learning_rate=phase.learning_rate,
                passes=pool if staged else 1.0,
            )
        )
    same = next((control for control in (REAL, REAL_TWICE) if control.phases == tuple(phases)), None)
    return same or Arm(name=f"{MATCHED}{arm.name}", phases=tuple(phases))


def shuffled(arm: Arm) -> Arm:
    """The negative control of `arm`: the same phases, with the synthetic labels permuted."""
    return replace(arm, name=f"{arm.name}-shuffled", shuffled_labels=True)


def duplicated(arm: Arm) -> Arm:
    """The control of `arm` under a budget in epochs: real images repeated in place of the synthetic ones."""
    phases = tuple(
        replace(phase, synthetic=0.0, duplicated=phase.synthetic, real=phase.real or 1.0) for phase in arm.phases
    )
    return Arm(name=f"{arm.name}-duplicated", phases=phases, control=arm.control)


def resampled(arm: Arm) -> Arm:
    """The control of `arm` where the synthetic set has other class proportions: real images resampled to them."""
    phases = tuple(replace(phase, synthetic=0.0, real=1.0, real_as_synthetic=True) for phase in arm.phases)
    return Arm(name=f"{arm.name}-resampled", phases=phases, control=arm.control)
