"""The statistics of the verdict: is an arm better than its control, on real test patients, with other seeds?

What belongs here: paired comparisons of an arm with its control, their intervals, and the verdict rule. Metrics and
their covariances over patients are in `metrics.py`, the effect that a trial can detect in `power.py`; `tables.py` and
the report call this module.

Model. Replicates (seeds) are readers, patients are cases, arm and control are two treatments that every reader applies
to every case: a fully crossed multi-reader multi-case study. The metric of treatment t and reader j is

    theta(t, j) = mu + tau(t) + R(j) + (tau R)(t, j) + e(t, j)

where R and (tau R) are random over seeds and the errors e are correlated over patients: Cov1 between treatments with
the same reader, Cov2 between readers with the same treatment, Cov3 between both. A jackknife over patients
estimates the three. Both sources of chance thus enter the interval: other patients, and other seeds.

Papers: Obuchowski & Rockette 1995, Commun Stat Simul 24:285 (the model and its test); Hillis 2007, Stat Med 26:596 (the
degrees of freedom); Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129 and Hillis 2014, Stat Med 33:330 (one
treatment's interval, one reader, the relation to other tests); DeLong et al. 1988; Obuchowski 1997; Schuirmann 1987, J
Pharmacokinet Biopharm 15:657 (equivalence by two one-sided tests: by an interval inside the margin); Chen, Petrick &
Sahiner 2012, Acad Radiol 19:1158 (the same for such studies); Holm 1979, Scand J Stat 6:65. That the interval of
equivalence is the 95% one, and what that costs: docs/adr/0006.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from syntrial.analysis.auroc import delong_covariance
from syntrial.analysis.cases import FloatArray
from syntrial.analysis.metrics import METRICS, jackknife_covariance, leave_one_out, metric_named
from syntrial.analysis.power import detectable_difference
from syntrial.analysis.readers import ObuchowskiRockette, crossed_generators, obuchowski_rockette, one_treatment

CovarianceMethod = Literal["jackknife", "delong"]
Outcome = Literal["improves", "harms", "equivalent", "inconclusive"]

FEW_PATIENTS = 20
"""Below this number of patients a jackknife covariance is itself too uncertain to be trusted without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Components:
    """What the variance of a difference is made of; metric units squared, for one classifier unless said otherwise."""

    error_variance: float
    """Variance of one classifier's metric over patients."""
    cov1: float
    """Covariance over patients between arm and control of the same seed."""
    cov2: float
    """Covariance over patients between two seeds of the same arm."""
    cov3: float
    """Covariance over patients between two seeds, one of the arm and one of the control."""
    mean_square_interaction: float | None
    """MS(T*R), with J-1 degrees of freedom. None with one replicate."""
    replicate_variance: float | None
    """Variance over seeds of (tau R), by which seeds alter an arm's difference. None with one replicate."""
    generator_variance: float | None = None
    """Variance of the difference between generators, where there are several: MS(G) / (G J)."""
    shared_seed_variance: float | None = None
    """Variance of the difference that all generators share through the classifier seeds, where there are several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference in a metric between an arm and its control (arm minus control)."""

    metric: str
    estimate: float
    standard_error: float
    degrees_of_freedom: float | None
    """None: no seed variance entered, and the quantiles are those of the normal distribution."""
    interval_95: tuple[float, float]
    p_value: float
    """Two-sided, of no difference."""
    arm_mean: float
    control_mean: float
    replicates: int
    """Paired classifier seeds (within each generator, where there are several)."""
    generators: int | None
    """Generator replicates where the comparison speaks of a method; None where it speaks of these images."""
    cases: int
    """Test images."""
    clusters: int
    """Test patients."""
    components: Components
    covariance: CovarianceMethod
    excluded_classes: tuple[int, ...]
    """Classes or labels with too few patients to be scored; no part of the metric."""
    notes: tuple[str, ...]
    """What qualifies the interval, each a sentence's part for the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmEstimate:
    """One arm's own metric, mean over its replicates."""

    metric: str
    mean: float
    standard_error: float
    degrees_of_freedom: float | None
    interval_95: tuple[float, float]
    """Cut to the range of the metric."""
    per_replicate: tuple[float, ...]
    excluded_classes: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a comparison says of an arm, for a margin."""

    outcome: Outcome
    by_less_than_margin: bool
    """Improves or harms, yet the whole 95% interval lies inside the margin."""
    margin: float
    detectable_effect: float
    """The true difference that this trial finds (two-sided 5%) with 80% power, by its own variances."""
    words: str
    """One sentence for the report."""


def compare(
    labels: NDArray[Any],
    *,
    arm_scores: NDArray[Any],
    control_scores: NDArray[Any],
    clusters: NDArray[Any],
    metric: str,
    covariance: CovarianceMethod = "jackknife",
) -> Comparison:
    """Compare an arm with its control on these synthetic images.

    `labels` int64 (N,) or uint8 (N, K); `arm_scores` and `control_scores` float64 (J, N, K), probabilities, paired by
    replicate (where one has more, its surplus is not used); `clusters` (N,) the patients. With one replicate the
    variance over seeds cannot be estimated: the interval speaks of these trained classifiers only, and a note says so.
    `covariance="delong"` is for AUROC of two classes. Raises ValueError for shapes that do not match, UserError for
    scores that are not finite or a test split that cannot be scored.
    """
    arm_scores, control_scores = np.asarray(arm_scores), np.asarray(control_scores)
    if arm_scores.ndim != 3 or control_scores.ndim != 3 or arm_scores.shape[1:] != control_scores.shape[1:]:
        raise ValueError(f"scores of shape (J, N, K) wanted: {arm_scores.shape}, {control_scores.shape}")
    replicates = min(len(arm_scores), len(control_scores))
    scores_MNK = np.concatenate([arm_scores[:replicates], control_scores[:replicates]])
    values_M, covariance_MM, excluded = _values_and_covariance(
        labels, scores_MNK=scores_MNK, clusters=clusters, metric=metric, method=covariance
    )
    patients = len(np.unique(clusters))
    notes = _notes(replicates=replicates, patients=patients, excluded=excluded)
    if len(arm_scores) != len(control_scores):
        notes += (f"{replicates} of {max(len(arm_scores), len(control_scores))} replicates have a pair",)
    values_TJ = values_M.reshape(2, replicates)
    degrees: float | None
    if replicates == 1:
        estimate = float(values_M[0] - values_M[1])
        variance = covariance_MM[0, 0] + covariance_MM[1, 1] - 2 * covariance_MM[0, 1]
        standard_error, degrees = math.sqrt(max(float(variance), 0.0)), None
        components = Components(
            error_variance=float(np.diag(covariance_MM).mean()),
            cov1=float(covariance_MM[0, 1]),
            cov2=0.0,
            cov3=0.0,
            mean_square_interaction=None,
            replicate_variance=None,
        )
    else:
        study = obuchowski_rockette(values_TJ, covariance=covariance_MM)
        estimate, standard_error = float(study.estimate), float(study.standard_error)
        degrees = float(study.degrees_of_freedom) if np.isfinite(study.degrees_of_freedom) else None
        components = _components(study)
    return _comparison(
        metric=metric,
        estimate=estimate,
        standard_error=standard_error,
        degrees=degrees,
        means=(float(values_TJ[0].mean()), float(values_TJ[1].mean())),
        counts=(replicates, len(labels), patients),
        generators=None,
        components=components,
        covariance=covariance,
        excluded=excluded,
        notes=notes,
    )


def compare_methods(
    labels: NDArray[Any],
    *,
    arm_scores: Sequence[NDArray[Any]],
    control_scores: NDArray[Any],
    clusters: NDArray[Any],
    metric: str,
) -> Comparison:
    """Compare an arm, as a method that trains a generator anew, with its control.

    `arm_scores` holds for each of G >= 3 generators scores (J, N, K) of J classifier seeds; `control_scores` (J, N, K)
    has the same seeds. Model: the paired differences d(g, j) = arm(g, j) - control(j) have crossed random effects of
    generators and of seeds, since every generator's classifiers use the same seeds and share one control, and errors
    correlated over patients. Averaging seeds within a generator and taking the variance between generators would miss
    what they share: the seeds' effect, the control's own chance included. So three parts add up: generators, what seeds
    alter for all generators alike, and patients; see `readers.crossed_generators`. With one classifier seed the second
    part is not estimable and a note says so.
    Shapes and errors otherwise as `compare`; ValueError with fewer than 3 generators.
    """
    generators = len(arm_scores)
    if generators < 3:
        raise ValueError(f"a comparison of methods needs 3 generators, got {generators}")
    seeds = min(len(control_scores), *(len(scores) for scores in arm_scores))
    stacked = [np.asarray(scores)[:seeds] for scores in (*arm_scores, control_scores)]
    values_M, covariance_MM, excluded = _values_and_covariance(
        labels, scores_MNK=np.concatenate(stacked), clusters=clusters, metric=metric, method="jackknife"
    )
    arm_GJ, control_J = values_M[:-seeds].reshape(generators, seeds), values_M[-seeds:]
    study = crossed_generators(arm_GJ, control_J=control_J, covariance=covariance_MM)
    patients = len(np.unique(clusters))
    notes = _notes(replicates=seeds, patients=patients, excluded=excluded)
    if seeds == 2:
        notes += ("2 classifier seeds: too few to tell what all generators share",)
    arm_covariance = covariance_MM[:-seeds, :-seeds]
    same_seed = np.tile(np.eye(seeds, dtype=np.bool_), (generators, 1))
    return _comparison(
        metric=metric,
        estimate=study.estimate,
        standard_error=study.standard_error,
        degrees=study.degrees_of_freedom,
        means=(float(arm_GJ.mean()), float(control_J.mean())),
        counts=(seeds, len(labels), patients),
        generators=generators,
        components=Components(
            error_variance=float(np.diag(covariance_MM).mean()),
            cov1=float(covariance_MM[:-seeds, -seeds:][same_seed].mean()),
            cov2=float(arm_covariance[~np.eye(len(arm_covariance), dtype=np.bool_)].mean()),
            cov3=float(covariance_MM[:-seeds, -seeds:][~same_seed].mean()) if seeds > 1 else 0.0,
            mean_square_interaction=None,
            replicate_variance=None,
            generator_variance=study.generators,
            shared_seed_variance=study.seeds if seeds > 1 else None,
        ),
        covariance="jackknife",
        excluded=excluded,
        notes=notes,
    )


def estimate_arm(
    labels: NDArray[Any],
    *,
    scores: NDArray[Any],
    clusters: NDArray[Any],
    metric: str,
    covariance: CovarianceMethod = "jackknife",
) -> ArmEstimate:
    """Return one arm's metric, mean over replicates, with its 95% interval over patients and seeds.

    `scores` float64 (J, N, K); otherwise as `compare`. One treatment's interval as in Hillis et al. 2011.
    """
    values_J, covariance_JJ, excluded = _values_and_covariance(
        labels, scores_MNK=np.asarray(scores), clusters=clusters, metric=metric, method=covariance
    )
    mean = float(values_J.mean())
    standard_error, degrees = one_treatment(values_J, covariance=covariance_JJ)
    low, high = _interval(mean, standard_error=standard_error, degrees=degrees, level=0.95)
    least, greatest = metric_named(metric).range
    return ArmEstimate(
        metric=metric,
        mean=mean,
        standard_error=standard_error,
        degrees_of_freedom=degrees,
        interval_95=(max(low, least), min(high, greatest)),
        per_replicate=tuple(values_J.tolist()),
        excluded_classes=excluded,
        notes=_notes(replicates=len(values_J), patients=len(np.unique(clusters)), excluded=excluded),
    )


def verdict(comparison: Comparison, *, margin: float, arm: str = "the arm", control: str = "its control") -> Verdict:
    """Return what a comparison says, for `margin`, the smallest effect of interest (metric units, above 0).

    `improves` or `harms`: the 95% interval excludes 0, on the side that is better or worse in this metric. Else
    `equivalent`: it lies inside ± the margin (two one-sided tests at 2.5% each). Else `inconclusive`.
    """
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be above 0, got {margin}")
    low, high = comparison.interval_95
    if not METRICS[comparison.metric].higher_is_better:
        low, high = -high, -low
    inside = -margin < low and high < margin
    outcome: Outcome
    if low > 0:
        outcome = "improves"
    elif high < 0:
        outcome = "harms"
    elif inside:
        outcome = "equivalent"
    else:
        outcome = "inconclusive"
    by_less = inside and outcome in {"improves", "harms"}
    detectable = detectable_difference(comparison.standard_error, degrees_of_freedom=comparison.degrees_of_freedom)
    return Verdict(
        outcome=outcome,
        by_less_than_margin=by_less,
        margin=margin,
        detectable_effect=detectable,
        words=_words(
            comparison,
            outcome=outcome,
            by_less=by_less,
            margin=margin,
            detectable=detectable,
            names=(arm, control),
        ),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values, in the order given: at level a, those at most a are found."""
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"p-values from 0 to 1 wanted, got {list(p_values)}")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return tuple(adjusted.tolist())


def _values_and_covariance(
    labels: NDArray[Any], *, scores_MNK: NDArray[Any], clusters: NDArray[Any], metric: str, method: CovarianceMethod
) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Return values (M,), covariances over patients (M, M) and the classes that are no part of the metric."""
    if method == "delong":
        if metric != "auroc":
            raise ValueError(f"covariance 'delong' is for auroc, not {metric}")
        return *delong_covariance(labels, scores_MNK=scores_MNK, clusters=clusters), ()
    left_out = leave_one_out(metric, labels=labels, scores_MNK=scores_MNK, clusters=clusters)
    return left_out.values, jackknife_covariance(left_out.left_out), left_out.excluded_classes


def _components(study: ObuchowskiRockette) -> Components:
    interaction, error = float(study.mean_square_interaction), float(study.error_variance)
    cov1, cov2, cov3 = float(study.cov1), float(study.cov2), float(study.cov3)
    # Hillis 2007, table I: E[MS(T*R)] = Var(tau R) + Var(e) - Cov1 - max(Cov2 - Cov3, 0).
    return Components(
        error_variance=error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
        mean_square_interaction=interaction,
        replicate_variance=max(interaction - error + cov1 + max(cov2 - cov3, 0.0), 0.0),
    )


def _comparison(
    *,
    metric: str,
    estimate: float,
    standard_error: float,
    degrees: float | None,
    means: tuple[float, float],
    counts: tuple[int, int, int],
    generators: int | None,
    components: Components,
    covariance: CovarianceMethod,
    excluded: tuple[int, ...],
    notes: tuple[str, ...],
) -> Comparison:
    if standard_error == 0.0 and estimate != 0.0:
        notes += ("neither patients nor replicates differ in the difference: no chance could be estimated",)
    return Comparison(
        metric=metric,
        estimate=estimate,
        standard_error=standard_error,
        degrees_of_freedom=degrees,
        interval_95=_interval(estimate, standard_error=standard_error, degrees=degrees, level=0.95),
        p_value=_p_value(estimate, standard_error=standard_error, degrees=degrees),
        arm_mean=means[0],
        control_mean=means[1],
        replicates=counts[0],
        generators=generators,
        cases=counts[1],
        clusters=counts[2],
        components=components,
        covariance=covariance,
        excluded_classes=excluded,
        notes=notes,
    )


def _interval(estimate: float, *, standard_error: float, degrees: float | None, level: float) -> tuple[float, float]:
    upper = (1 + level) / 2
    quantile = float(norm.ppf(upper)) if degrees is None else float(t.ppf(upper, degrees))
    return estimate - quantile * standard_error, estimate + quantile * standard_error


def _p_value(estimate: float, *, standard_error: float, degrees: float | None) -> float:
    if standard_error == 0.0:
        return 1.0 if estimate == 0.0 else 0.0
    statistic = abs(estimate) / standard_error
    return 2 * float(norm.sf(statistic) if degrees is None else t.sf(statistic, degrees))


def _notes(*, replicates: int, patients: int, excluded: tuple[int, ...]) -> tuple[str, ...]:
    notes = []
    if replicates == 1:
        notes.append("replicates=1: seeds are not part of this interval")
    if patients < FEW_PATIENTS:
        notes.append(f"{patients} test patients: too few for the interval to be trusted")
    if excluded:
        names = ", ".join(str(k) for k in excluded)
        notes.append(f"classes {names} have too few test patients and are no part of the metric")
    return tuple(notes)


def _words(
    comparison: Comparison,
    *,
    outcome: Outcome,
    by_less: bool,
    margin: float,
    detectable: float,
    names: tuple[str, str],
) -> str:
    arm, control = names
    metric = METRICS[comparison.metric].words
    trained = f"{comparison.replicates} paired replicate{'s' if comparison.replicates > 1 else ''}"
    if comparison.generators is not None:
        trained = f"{comparison.generators} generators, {comparison.replicates} classifier seeds each"
    scope = f"{trained}, {comparison.clusters} test patients"
    low, high = comparison.interval_95
    within = f", inside ±{margin:g}" if outcome == "equivalent" else ""
    bounds = f"95% interval {_signed(low)} to {_signed(high)}{within}; {scope}"
    difference = f"{_signed(comparison.estimate)} ({bounds})"
    if outcome == "equivalent":
        sentence = f"{arm} and {control} are equivalent in {metric}: difference {difference}"
    elif outcome == "inconclusive":
        sentence = (
            f"whether {arm} differs from {control} in {metric} is inconclusive: difference {difference}; "
            f"this trial could have detected {detectable:.4f} with 80% power"
        )
    else:
        less = f" by less than the margin of {margin:g}" if by_less else ""
        sentence = f"{arm} {outcome} {metric} against {control}{less}: {difference}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _signed(value: float) -> str:
    # The proper minus sign, and no sign on what rounds to zero.
    text = f"{value:+.4f}"
    return "0.0000" if float(text) == 0 else text.replace("-", "\u2212")
