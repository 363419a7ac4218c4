"""Whether an interval may decide at all: how many seeds and patients stand behind it.

What belongs here: the counts that a jackknife over patients and a variance over seeds need to mean something, the rules
on them, and their words. `statistics.py` counts, `verdict.py` obeys, `power.py` says beforehand what cannot be decided.

The number that counts for patients who weigh unequally is the effective one, (sum w)² / sum w²: with w the images of
each patient, Kish's effective sample size (Kish 1965, Survey Sampling, 8.2); with w each cluster's contribution to the
variance, the effective number of clusters by which cluster-robust inference stands or falls (Carter, Schnepel &
Steigerwald 2017, Rev Econ Stat 99:698). Two patients with 100 images each are two.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted

FEWEST_PATIENTS: Final = 10
"""Effective patients that each scored class (and its rest) needs for any outcome."""
FEWEST_MOVERS: Final = 6
"""Effective patients on whom the standard error must rest for `equivalent`: with five who move, even an exact test of
signs finds nothing (2 / 2^5 = .06), so their agreement is no evidence of equality. Near an AUROC of 1 the jackknife
otherwise takes a test split in which by chance nobody was ranked wrongly for one in which nobody can be."""
NO_ERROR: Final = 1e-9
"""A standard error below this is 0 but for rounding."""


def effective_number(weights: NDArray[Any]) -> float:
    """Return (sum w)² / sum w² of weights of 0 and more: between 0 (all are 0) and their number (all are equal)."""
    largest = float(np.max(weights, initial=0.0))
    if largest == 0.0:
        return 0.0
    scaled = weights / largest
    return float(scaled.sum() ** 2 / np.square(scaled).sum())


def fewest_patients(
    labels: NDArray[Any], *, clusters: NDArray[Any], by_class: bool, excluded: Collection[int]
) -> float:
    """Return the smallest effective number of patients with images of a class that the metric scores, or of its rest.

    `labels` int64 (N,) or uint8 (N, K); `clusters` (N,) the patients; `excluded` classes are not scored. A metric
    that is not `by_class` is a mean over all images whatever their class, so it asks for the patients of all.
    """
    _, patient_N = np.unique(clusters, return_inverse=True)
    classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    groups = [np.ones(len(labels), dtype=np.bool_)]
    if by_class:
        scored = [k for k in range(classes) if k not in excluded]
        members = [labels == k if labels.ndim == 1 else labels[:, k] == 1 for k in scored]
        groups = [side_N for member_N in members for side_N in (member_N, ~member_N)]
    return min(effective_number(np.bincount(patient_N[group_N])) for group_N in groups)


def movers(moved_C: NDArray[np.float64]) -> float:
    """Return the effective number of patients on whom a jackknife's variance rests; 0 where none moves the estimate.

    `moved_C` (C,): the estimate with each patient left out.
    """
    deviation_C = np.abs(moved_C - moved_C.mean())
    # What is below is the rounding of sums that are equal.
    deviation_C[deviation_C < NO_ERROR / max(len(moved_C), 1)] = 0.0
    return effective_number(np.square(deviation_C))


def undecidable(*, replicates: int, patients: float, standard_error: float | None) -> tuple[str, ...]:
    """Return why a comparison gets no outcome, whatever its interval, each a clause; empty where it may get one.

    `patients` as `fewest_patients` counts them; `standard_error` None where it is not known yet.
    """
    reasons = []
    if replicates == 1:
        reasons.append("with one replicate nothing is known of other seeds")
    if patients < FEWEST_PATIENTS:
        reasons.append(f"a scored class has {_few(patients)}, and {FEWEST_PATIENTS} are needed")
    if standard_error is not None and standard_error < NO_ERROR:
        reasons.append("the standard error came out as 0, so that chance could not be estimated")
    return tuple(reasons)


def undecidable_before(cases_per_class: Sequence[float], *, replicates: int, by_class: bool) -> tuple[str, ...]:
    """Return why a trial that is planned can get no outcome, each a clause; empty where it can.

    `cases_per_class` as in `power.detectable_effect_before`: test patients of each class; `by_class` as in `Metric`.
    """
    patients = min(cases_per_class) if by_class else sum(cases_per_class)
    return undecidable(replicates=replicates, patients=patients, standard_error=None)


def too_few_move(patients: float) -> str:
    """The clause for a comparison that would be `equivalent` by its interval, but for who stands behind it."""
    return (
        f"the interval lies inside the margin, but the difference moves with {_few(patients)} alone, and "
        f"{FEWEST_MOVERS} are needed to call arms equivalent"
    )


def _few(patients: float) -> str:
    if float(patients).is_integer():
        return counted(int(patients), "test patient")
    return f"{patients:.1f} test patients in effect"
