"""Whether a classifier was trained long enough: does its validation loss still fall when the schedule ends?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syntrial.documents import training as documents

SPAN = 1 / 6
"""The last part of the last phase over which the fall is measured.

There one cycle has its rate below a tenth of the peak: what falls earlier is the noise of a high rate settling.
"""
FALL = 0.05
"""Relative fall over that part from which a training counts as too short."""
ERRORS = 2.0
"""How many standard errors (over the validation images, paired) the fall must exceed."""
RULE = (
    f"undertrained: over the last sixth of the last phase the validation loss fell by more than {FALL:.0%} and by "
    f"more than {ERRORS:g} standard errors of the images' paired differences"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Convergence:
    """The verdict on a training's length, and the figures it rests on."""

    undertrained: bool
    from_step: int
    to_step: int
    fall: float
    """Relative fall of the mean validation loss between the two steps."""
    fall_in_standard_errors: float
    """The same fall in standard errors."""

    def document(self) -> documents.Convergence:
        """As `training.json` has it, with the rule in words."""
        return documents.Convergence(
            rule=RULE,
            from_step=self.from_step,
            to_step=self.to_step,
            fall=self.fall,
            fall_in_standard_errors=self.fall_in_standard_errors,
        )


def judge(
    steps: list[int], *, losses_VN: npt.NDArray[np.float32], phase_start: int, phase_end: int
) -> Convergence | None:
    """Compares the last evaluation with the one nearest to the point where the last `SPAN` of the phase begins.

    `steps` (V) at which the N validation images' losses were taken, ascending. None where the last phase has fewer
    than two evaluations.
    """
    inside = [i for i, step in enumerate(steps) if phase_start < step <= phase_end]
    if len(inside) < 2:
        return None
    target = phase_end - SPAN * (phase_end - phase_start)
    last = inside[-1]
    first = min(inside[:-1], key=lambda i: abs(steps[i] - target))
    falls = losses_VN[first].astype(np.float64) - losses_VN[last].astype(np.float64)
    before = float(losses_VN[first].astype(np.float64).mean())
    error = float(falls.std(ddof=1) / np.sqrt(len(falls))) if len(falls) > 1 else 0.0
    relative = float(falls.mean()) / before if before > 0 else 0.0
    in_errors = float(falls.mean()) / error if error > 0 else 0.0
    return Convergence(
        undertrained=relative > FALL and in_errors > ERRORS,
        from_step=steps[first],
        to_step=steps[last],
        fall=relative,
        fall_in_standard_errors=in_errors,
    )
