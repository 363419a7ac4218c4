"""The statistics of the verdict: how an arm compares with its control, on real test patients, with other seeds.

What belongs here: paired comparisons of an arm with its control, an arm's own metric, and their intervals. Metrics and
their covariances over patients are in `metrics.py`, variance models in `readers.py`, quantiles in `pivot.py`, what may
be decided in `decidable.py`, the rule and its words in `verdict.py`; `findings.py` calls this module.

Model. Replicates (seeds) are readers, patients are cases, arm and control are two treatments that every reader applies
to every case: a fully crossed multi-reader multi-case study. The metric of treatment t and reader j is

    theta(t, j) = mu + tau(t) + R(j) + (tau R)(t, j) + e(t, j)

where R and (tau R) are random over seeds and the errors e are correlated over patients: Cov1 between treatments with
the same reader, Cov2 between readers with the same treatment, Cov3 between both. A jackknife over patients
estimates the three. Both sources of chance thus enter the interval: other patients, and other seeds.

The interval and the p-value are those of a generalised pivot, which covers with two replicates as with ten; Hillis'
degrees of freedom, which err with two and three, give the published p-value that stands beside it (docs/adr/0007).

Papers: Obuchowski & Rockette 1995, Commun Stat Simul 24:285 (the model and its test); Hillis 2007, Stat Med 26:596 (the
degrees of freedom); Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129 and Hillis 2014, Stat Med 33:330 (one
treatment's interval, one reader, the relation to other tests); DeLong et al. 1988; Obuchowski 1997.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.auroc import delong_covariance
from syntrial.analysis.cases import FloatArray
from syntrial.analysis.decidable import NO_ERROR, fewest_patients, movers, undecidable
from syntrial.analysis.metrics import jackknife_covariance, leave_one_out, metric_named
from syntrial.analysis.pivot import Pivot
from syntrial.analysis.readers import (
    ObuchowskiRockette,
    contrasted_covariance,
    crossed_generators,
    obuchowski_rockette,
    one_treatment,
)
from syntrial.counting import counted

CovarianceMethod = Literal["jackknife", "delong"]

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
    """0 where it is 0 but for rounding."""
    pivot: Pivot
    """The distribution from which interval and p-value come, with the variance's parts."""
    interval_95: tuple[float, float] | None
    """None where the standard error is 0."""
    p_value: float | None
    """Two-sided, of no difference, generalised as the interval is. None where nothing may be decided."""
    hillis_degrees_of_freedom: float | None
    """None: there are none, or infinitely many."""
    hillis_p_value: float | None
    """The published test's two-sided p-value. None with one replicate, with several generators, or without error."""
    undecidable: tuple[str, ...]
    """Why no outcome is given whatever the interval; empty where one may be."""
    movers: float
    """Effective number of patients on whom the variance over patients rests."""
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
    interval_95: tuple[float, float] | None
    """Cut to the range of the metric; over patients alone with one replicate; None without standard error."""
    per_replicate: tuple[float, ...]
    """Generator-major, where there are several generators."""
    excluded_classes: tuple[int, ...]


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
    variance over seeds cannot be estimated: the interval is over patients alone, and nothing may be decided by it.
    `covariance="delong"` is for AUROC of two classes. Raises ValueError for shapes that do not match, UserError for
    scores that are not finite or a test split that cannot be scored.
    """
    arm_scores, control_scores = np.asarray(arm_scores), np.asarray(control_scores)
    if arm_scores.ndim != 3 or control_scores.ndim != 3 or arm_scores.shape[1:] != control_scores.shape[1:]:
        raise ValueError(f"scores of shape (J, N, K) wanted: {arm_scores.shape}, {control_scores.shape}")
    replicates = min(len(arm_scores), len(control_scores))
    scores_MNK = np.concatenate([arm_scores[:replicates], control_scores[:replicates]])
    values_M, covariance_MM, moved_MC, excluded = _values_and_covariance(
        labels, scores_MNK=scores_MNK, clusters=clusters, metric=metric, method=covariance
    )
    notes: tuple[str, ...] = ()
    if len(arm_scores) != len(control_scores):
        most = max(len(arm_scores), len(control_scores))
        notes += (f"of {counted(most, 'replicate')}, {counted(replicates, 'has', 'have')} a pair",)
    values_TJ = values_M.reshape(2, replicates)
    published: tuple[float, float] | None = None
    if replicates == 1:
        variance = covariance_MM[0, 0] + covariance_MM[1, 1] - 2 * covariance_MM[0, 1]
        pivot = Pivot(known=np.maximum(variance, 0.0))
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
        pivot, components = study.pivot, _components(study)
        published = float(study.hillis_degrees_of_freedom), float(study.hillis_p_value)
    return _comparison(
        labels,
        clusters=clusters,
        metric=metric,
        means=(float(values_TJ[0].mean()), float(values_TJ[1].mean())),
        replicates=replicates,
        generators=None,
        pivot=pivot,
        published=published,
        moved_C=moved_MC[:replicates].mean(axis=0) - moved_MC[replicates:].mean(axis=0),
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
    part is not estimable, and nothing may be decided.
    Shapes and errors otherwise as `compare`; ValueError with fewer than 3 generators.
    """
    generators = len(arm_scores)
    if generators < 3:
        raise ValueError(f"a comparison of methods needs 3 generators, got {generators}")
    seeds = min(len(control_scores), *(len(scores) for scores in arm_scores))
    stacked = [np.asarray(scores)[:seeds] for scores in (*arm_scores, control_scores)]
    values_M, covariance_MM, moved_MC, excluded = _values_and_covariance(
        labels, scores_MNK=np.concatenate(stacked), clusters=clusters, metric=metric, method="jackknife"
    )
    cells = generators * seeds
    arm_GJ, control_J = values_M[:cells].reshape(generators, seeds), values_M[cells:]
    same_seed = np.tile(np.eye(seeds, dtype=np.bool_), (generators, 1))
    study = crossed_generators(
        arm_GJ - control_J,
        covariance=contrasted_covariance(
            covariance_MM, contrast=np.concatenate([np.eye(cells), -same_seed.astype(np.float64)], axis=1)
        ),
    )
    arm_covariance, across = covariance_MM[:cells, :cells], covariance_MM[:cells, cells:]
    return _comparison(
        labels,
        clusters=clusters,
        metric=metric,
        means=(float(arm_GJ.mean()), float(control_J.mean())),
        replicates=seeds,
        generators=generators,
        pivot=study.pivot,
        published=None,
        moved_C=moved_MC[:cells].mean(axis=0) - moved_MC[cells:].mean(axis=0),
        components=Components(
            error_variance=float(np.diag(covariance_MM).mean()),
            cov1=float(across[same_seed].mean()),
            cov2=float(arm_covariance[~np.eye(cells, dtype=np.bool_)].mean()),
            cov3=float(across[~same_seed].mean()) if seeds > 1 else 0.0,
            mean_square_interaction=None,
            replicate_variance=None,
            generator_variance=float(study.generators.variance),
            shared_seed_variance=None if study.seeds is None else float(study.seeds.variance),
        ),
        covariance="jackknife",
        excluded=excluded,
        notes=(),
    )


def estimate_arm(
    labels: NDArray[Any],
    *,
    scores: NDArray[Any],
    clusters: NDArray[Any],
    metric: str,
    covariance: CovarianceMethod = "jackknife",
) -> ArmEstimate:
    """Return one arm's metric, mean over its classifiers, with its 95% interval over patients, seeds and generators.

    `scores` float64 (J, N, K), or (G, J, N, K) where G generators each gave images for the same J seeds; otherwise as
    `compare`. One treatment's variance is that of Hillis et al. 2011, with several generators that of crossed effects.
    """
    scores = np.asarray(scores)
    generators, seeds = scores.shape[:2] if scores.ndim == 4 else (1, len(scores))
    values_M, covariance_MM, _, excluded = _values_and_covariance(
        labels,
        scores_MNK=scores.reshape(generators * seeds, *scores.shape[-2:]),
        clusters=clusters,
        metric=metric,
        method=covariance,
    )
    if generators == 1:
        pivot = one_treatment(values_M, covariance=covariance_MM)
    else:
        pivot = crossed_generators(values_M.reshape(generators, seeds), covariance=covariance_MM).pivot
    mean, standard_error = float(values_M.mean()), _standard_error(pivot)
    interval = _interval(mean, pivot=pivot, standard_error=standard_error)
    least, greatest = metric_named(metric).range
    return ArmEstimate(
        metric=metric,
        mean=mean,
        standard_error=standard_error,
        interval_95=interval and (max(interval[0], least), min(interval[1], greatest)),
        per_replicate=tuple(values_M.tolist()),
        excluded_classes=excluded,
    )


def _values_and_covariance(
    labels: NDArray[Any], *, scores_MNK: NDArray[Any], clusters: NDArray[Any], metric: str, method: CovarianceMethod
) -> tuple[FloatArray, FloatArray, FloatArray, tuple[int, ...]]:
    """Return values (M,), covariances (M, M), values without each patient (M, C), and classes that are not scored."""
    left_out = leave_one_out(metric, labels=labels, scores_MNK=scores_MNK, clusters=clusters)
    if method == "jackknife":
        return left_out.values, jackknife_covariance(left_out.left_out), left_out.left_out, left_out.excluded_classes
    if metric != "auroc":
        raise ValueError(f"covariance 'delong' is for auroc, not {metric}")
    values_M, covariance_MM = delong_covariance(labels, scores_MNK=scores_MNK, clusters=clusters)
    return values_M, covariance_MM, left_out.left_out, left_out.excluded_classes


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
    labels: NDArray[Any],
    *,
    clusters: NDArray[Any],
    metric: str,
    means: tuple[float, float],
    replicates: int,
    generators: int | None,
    pivot: Pivot,
    published: tuple[float, float] | None,
    moved_C: FloatArray,
    components: Components,
    covariance: CovarianceMethod,
    excluded: tuple[int, ...],
    notes: tuple[str, ...],
) -> Comparison:
    estimate, standard_error = means[0] - means[1], _standard_error(pivot)
    patients = len(np.unique(clusters))
    reasons = undecidable(
        replicates=replicates,
        patients=fewest_patients(
            np.asarray(labels), clusters=clusters, by_class=metric_named(metric).by_class, excluded=excluded
        ),
        standard_error=standard_error,
    )
    degrees, hillis_p = published if published and standard_error else (np.inf, None)
    return Comparison(
        metric=metric,
        estimate=estimate,
        standard_error=standard_error,
        pivot=pivot,
        interval_95=_interval(estimate, pivot=pivot, standard_error=standard_error),
        p_value=None if reasons else float(pivot.p_value(np.asarray(estimate))),
        hillis_degrees_of_freedom=degrees if np.isfinite(degrees) else None,
        hillis_p_value=hillis_p,
        undecidable=reasons,
        movers=movers(moved_C),
        arm_mean=means[0],
        control_mean=means[1],
        replicates=replicates,
        generators=generators,
        cases=len(labels),
        clusters=patients,
        components=components,
        covariance=covariance,
        excluded_classes=excluded,
        notes=notes + _notes(patients=patients),
    )


def _standard_error(pivot: Pivot) -> float:
    error = float(pivot.standard_error)
    return error if error >= NO_ERROR else 0.0


def _interval(estimate: float, *, pivot: Pivot, standard_error: float) -> tuple[float, float] | None:
    if standard_error == 0.0:
        return None
    half = float(pivot.half_width())
    return estimate - half, estimate + half


def _notes(*, patients: int) -> tuple[str, ...]:
    few = f"{counted(patients, 'test patient')}: too few for the interval to be trusted"
    return (few,) if patients < FEW_PATIENTS else ()
