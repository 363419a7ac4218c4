"""Learning rates over a phase, as pure functions of the step."""

import math

from syntrial.v1.classification_pb2 import TrainingRecipe

RISE_FROM = 1 / 25
"""Share of the peak at which one cycle starts (Smith and Topin 2019)."""
DECAY_FACTOR = 0.1
"""What schedule `decay` multiplies with where the recipe names no factor."""


def peak_rate(rate: float, recipe: TrainingRecipe) -> float:
    """The peak at the recipe's batch size: in proportion to it where the recipe says for which size `rate` is meant.

    The linear rule of Goyal et al. 2017.
    """
    return rate * recipe.batch_size / recipe.learning_rate_batch if recipe.learning_rate_batch else rate


def learning_rate(step: int, *, steps: int, epoch: float, peak: float, recipe: TrainingRecipe) -> float:
    """The learning rate of optimiser step `step` (counted from 0) of a phase of `steps`.

    `epoch` is the number of steps of a pass over the phase's pool. One cycle: linear from peak / 25 to the peak over
    the warm-up, then half a cosine to 0, which it would reach at step `steps`. All others rise likewise; then steps:
    ×0.1 at a half and at three quarters of the phase; decay: ×`decay_factor` every `decay_epochs` passes, counted from
    the phase's start; restarts: `cycles` falls along half a cosine, as long as each other (Loshchilov & Hutter 2017,
    equation 5, with T_mult 1).
    """
    rise = min(recipe.warmup_epochs * epoch, float(steps)) if recipe.warmup_epochs else recipe.warmup * steps
    if step < rise:
        return peak * (RISE_FROM + (1 - RISE_FROM) * step / rise)
    match recipe.schedule:
        case TrainingRecipe.SCHEDULE_CONSTANT:
            return peak
        case TrainingRecipe.SCHEDULE_STEPS:
            return peak * (0.1 if 2 * step >= steps else 1.0) * (0.1 if 4 * step >= 3 * steps else 1.0)
        case TrainingRecipe.SCHEDULE_DECAY:
            # A step that begins a pass belongs to it, whatever rounding says.
            falls = math.floor((step / epoch + 1e-9) / recipe.decay_epochs)
            return peak * float((recipe.decay_factor or DECAY_FACTOR) ** falls)
    share = (step - rise) / (steps - rise)
    cycles = recipe.cycles if recipe.schedule == TrainingRecipe.SCHEDULE_RESTARTS else 1
    return peak * 0.5 * (1 + math.cos(math.pi * (share * max(1, cycles) % 1.0)))


def validation_steps(total: int, *, validations: int) -> list[int]:
    """After how many of `total` steps the validation split is evaluated: evenly spread, the last at the end."""
    count = max(1, min(validations, total))
    return sorted({max(1, round(total * (i + 1) / count)) for i in range(count)})
