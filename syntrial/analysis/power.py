"""The difference that a trial is expected to detect, before anything is trained.

What belongs here: the variances that a plan assumes of a trial; what is detected with them is said by `pivot.py`, as
after the trial, so that plan and verdict agree. `syntrial plan` calls `detectable_effect_before`, so this module reads
no artifact and needs no scores.

Paper: Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129 (power of Obuchowski-Rockette tests). What is assumed of a
metric, and its variance from the counts, stand in its row of `METRICS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from syntrial.analysis.decidable import undecidable_before
from syntrial.analysis.metrics import Metric, metric_named
from syntrial.analysis.pivot import MeanSquare, Pivot, detectable_difference


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanningAssumptions:
    """What is assumed of a trial before anything is trained.

    The defaults reproduce what is known of two public data sets at five replicates: 2.7 points of accuracy
    detectable on PneumoniaMNIST (624 test, 4,708 training images), 7 on BreastMNIST (156 test, 546 training) by Hillis'
    degrees of freedom; by the interval that decides these are 2.9 and 7.5.
    """

    value: float | None = None
    """Of the control's metric; None: the better end of `Metric.planned_range`."""
    same_arm_correlation: float = 0.75
    """Correlation over patients between two seeds of one arm (Cov2 / variance)."""
    other_arm_correlation: float = 0.71
    """Correlation over patients between an arm's seed and a control's (Cov1, Cov3 / variance)."""
    training_instability: float = 3.0
    """Variance over seeds of an arm's difference (tau R), in units of the variance that the metric would have on a test
    set as large as the training set: seeds matter more where there are fewer training images."""
    training_to_test: float = 3.5
    """Training images per test image (a 70:10:20 split) where the number of training images is not given."""

    def value_of(self, metric: Metric) -> float:
        """What is assumed of the control's metric."""
        return metric.planned_range[1] if self.value is None else self.value

    @property
    def words(self) -> str:
        """What is assumed beside the control's metric, as a sentence's part for `syntrial plan`."""
        return (
            f"assuming correlations over patients of {self.same_arm_correlation:g} between seeds, "
            f"{self.other_arm_correlation:g} between arms, and seeds that add {self.training_instability:g} times the "
            "variance of a test set as large as the training set"
        )


def detectable_effect_before(
    cases_per_class: Sequence[float],
    *,
    replicates: int,
    metric: str,
    training_cases: int | None = None,
    assumptions: PlanningAssumptions | None = None,
) -> float | None:
    """Return the difference that a trial is expected to detect with 80% power (two-sided 5%), before it runs.

    None where it can get no outcome, whatever it finds: `decidable.undecidable_before` says why.

    `cases_per_class`: effective test patients (or images, where each patient has one) of each class, K >= 2 numbers of
    1 and more.
    `training_cases`: images of the real training split. Raises ValueError for counts below 1 or an unknown metric.
    """
    assumed = assumptions or PlanningAssumptions()
    if len(cases_per_class) < 2 or min(cases_per_class) < 1 or replicates < 1:
        raise ValueError(f"two classes with cases and a replicate wanted: {list(cases_per_class)}, {replicates}")
    cases = sum(cases_per_class)
    training = training_cases if training_cases is not None else assumed.training_to_test * cases
    if training < 1:
        raise ValueError(f"training_cases must be at least 1, got {training}")
    row = metric_named(metric)
    if undecidable_before(cases_per_class, replicates=replicates, by_class=row.by_class):
        return None
    variance = row.planned_variance(cases_per_class, assumed.value_of(row))
    same, other = assumed.same_arm_correlation, assumed.other_arm_correlation
    seeds = assumed.training_instability * variance * cases / training
    # Hillis 2007, table I: E[MS(T*R)] = Var(tau R) + Var(e) - Cov1 - (Cov2 - Cov3), here with Cov1 = Cov3.
    interaction = seeds + variance * (1 - same)
    pivot = Pivot(
        known=np.asarray(2 * variance * (same - other)),
        estimated=(
            MeanSquare(
                variance=np.asarray(2 / replicates * interaction),
                degrees=replicates - 1,
                floor=np.asarray(2 / replicates * variance * (1 - same)),
            ),
        ),
    )
    return detectable_difference(pivot)
