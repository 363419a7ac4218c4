"""Learning rates over a phase, as pure functions of the step."""

import math

from syntrial.v1.classification_pb2 import TrainingRecipe

RISE_FROM = 1 / 25
"""Share of the peak at which one cycle starts (Smith and Topin 2019)."""


def learning_rate(step: int, *, steps: int, peak: float, warmup: float, schedule: int) -> float:
    """The learning rate of optimiser step `step` (counted from 0) of a phase of `steps`.

    One cycle: linear from peak / 25 to the peak over the first `warmup` of the phase, then half a cosine to 0, which
    it would reach at step `steps`. Constant and steps rise over the same share; steps: ×0.1 at a half and at three
    quarters of the phase.
    """
    rise = warmup * steps
    if step < rise:
        return peak * (RISE_FROM + (1 - RISE_FROM) * step / rise)
    if schedule == TrainingRecipe.SCHEDULE_CONSTANT:
        return peak
    if schedule == TrainingRecipe.SCHEDULE_STEPS:
        return peak * (0.1 if 2 * step >= steps else 1.0) * (0.1 if 4 * step >= 3 * steps else 1.0)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def validation_steps(total: int, *, validations: int) -> list[int]:
    """After how many of `total` steps the validation split is evaluated: evenly spread, the last at the end."""
    count = max(1, min(validations, total))
    return sorted({max(1, round(total * (i + 1) / count)) for i in range(count)})
