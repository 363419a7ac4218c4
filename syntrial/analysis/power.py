"""The difference that a trial can detect: from its own variances after it ran, from assumptions before.

What belongs here: the power of the two-sided 5% test that `statistics.py` makes. `syntrial plan` calls
`detectable_effect_before`, so this module reads no artifact and needs no scores.

Papers: Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129 (power of Obuchowski-Rockette tests); Hanley & McNeil
1982, Radiology 143:29 (the variance of an AUROC from its value and the counts).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# scipy.special alone: `syntrial plan` need not wait for the second that scipy.stats takes to import.
from scipy.special import nctdtrinc, ndtri, stdtrit

POWER = 0.80
SIGNIFICANCE = 0.05
"""Two-sided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanningAssumptions:
    """What is assumed of a trial before anything is trained.

    The defaults reproduce what is known of two public data sets at five replicates: about 2.7 points of accuracy
    detectable on PneumoniaMNIST (624 test, 4,708 training images), about 7 on BreastMNIST (156 test, 546 training).
    """

    auroc: float = 0.95
    """Of the control."""
    accuracy: float = 0.85
    """Of the control; also taken as its recall in each class for balanced accuracy."""
    same_arm_correlation: float = 0.75
    """Correlation over patients between two seeds of one arm (Cov2 / variance)."""
    other_arm_correlation: float = 0.71
    """Correlation over patients between an arm's seed and a control's (Cov1, Cov3 / variance)."""
    training_instability: float = 3.0
    """Variance over seeds of an arm's difference (tau R), in units of the variance that the metric would have on a test
    set as large as the training set: seeds matter more where there are fewer training images."""
    training_to_test: float = 3.5
    """Training images per test image (a 70:10:20 split) where the number of training images is not given."""

    @property
    def words(self) -> str:
        """The assumptions as a sentence's part for `syntrial plan`."""
        return (
            f"assuming a control with AUROC {self.auroc:g} and accuracy {self.accuracy:g}, correlations over patients "
            f"of {self.same_arm_correlation:g} between seeds, {self.other_arm_correlation:g} between arms, and seeds "
            f"that add {self.training_instability:g} times the variance of a test set as large as the training set"
        )


def detectable_difference(standard_error: float, *, degrees_of_freedom: float | None, power: float = POWER) -> float:
    """Return the true difference that a two-sided 5% t test finds with the given power.

    `standard_error` and `degrees_of_freedom` (None: normal) are those of the test; units are the metric's.
    """
    if standard_error == 0.0:
        return 0.0
    if degrees_of_freedom is None or degrees_of_freedom > 1e4:
        return standard_error * float(ndtri(1 - SIGNIFICANCE / 2) + ndtri(power))
    critical = float(stdtrit(degrees_of_freedom, 1 - SIGNIFICANCE / 2))
    # The noncentrality at which the statistic stays below the critical value with probability 1 - power; that it may
    # fall below the other, negative one is left out, being rarer than 1 in 10,000 by then.
    return standard_error * float(nctdtrinc(degrees_of_freedom, 1 - power, critical))


def detectable_effect_before(
    cases_per_class: Sequence[int],
    *,
    replicates: int,
    metric: str,
    training_cases: int | None = None,
    assumptions: PlanningAssumptions | None = None,
) -> float:
    """Return the difference that a trial is expected to detect with 80% power (two-sided 5%), before it runs.

    `cases_per_class`: test patients (or images, where each patient has one) of each class, K >= 2 numbers above 0.
    `training_cases`: images of the real training split. With one replicate only patients count, as in the interval that
    such a trial reports. For AUROC of more than two classes, each class's against the rest, errors of different classes
    are taken as independent. Raises ValueError for counts below 1 or an unknown metric.
    """
    assumed = assumptions or PlanningAssumptions()
    if len(cases_per_class) < 2 or min(cases_per_class) < 1 or replicates < 1:
        raise ValueError(f"two classes with cases and a replicate wanted: {list(cases_per_class)}, {replicates}")
    cases = sum(cases_per_class)
    training = training_cases if training_cases is not None else assumed.training_to_test * cases
    if training < 1:
        raise ValueError(f"training_cases must be at least 1, got {training}")
    variance = _sampling_variance(cases_per_class, metric=metric, assumed=assumed)
    same, other = assumed.same_arm_correlation, assumed.other_arm_correlation
    if replicates == 1:
        return detectable_difference(math.sqrt(2 * variance * (1 - other)), degrees_of_freedom=None)
    seeds = assumed.training_instability * variance * cases / training
    # Hillis 2007, table I: E[MS(T*R)] = Var(tau R) + Var(e) - Cov1 - (Cov2 - Cov3), here with Cov1 = Cov3.
    interaction = seeds + variance * (1 - same)
    scaled = interaction + replicates * variance * (same - other)
    degrees = scaled**2 * (replicates - 1) / interaction**2
    return detectable_difference(math.sqrt(2 / replicates * scaled), degrees_of_freedom=degrees)


def _sampling_variance(cases_per_class: Sequence[int], *, metric: str, assumed: PlanningAssumptions) -> float:
    """Return the variance over patients of one classifier's metric on the test split."""
    classes, cases = len(cases_per_class), sum(cases_per_class)
    if metric == "accuracy":
        return assumed.accuracy * (1 - assumed.accuracy) / cases
    if metric == "balanced_accuracy":
        per_class = sum(assumed.accuracy * (1 - assumed.accuracy) / members for members in cases_per_class)
        return per_class / classes**2
    if metric != "auroc":
        raise ValueError(f"metric must be auroc, accuracy or balanced_accuracy, got {metric!r}")
    if classes == 2:
        return _hanley_mcneil(assumed.auroc, positives=cases_per_class[1], negatives=cases_per_class[0])
    each = (_hanley_mcneil(assumed.auroc, positives=m, negatives=cases - m) for m in cases_per_class)
    return sum(each) / classes**2


def _hanley_mcneil(auroc: float, *, positives: int, negatives: int) -> float:
    """Return the variance of an AUROC: Hanley & McNeil 1982, equation 1, with their exponential Q1 and Q2."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2) + (negatives - 1) * (q2 - auroc**2)
    return spread / (positives * negatives)
