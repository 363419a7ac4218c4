"""Variance models of multi-reader multi-case studies: covariances over patients and values in, pivots out.

What belongs here: arithmetic on metrics (values per treatment and reader) and on their covariances over patients, for
many studies at once where that serves the simulations. `statistics.py` is the caller, and says what the models mean;
`pivot.py` makes intervals of the variances.

Papers: Obuchowski & Rockette 1995, Commun Stat Simul 24:285; Hillis 2007, Stat Med 26:596; Hillis, Obuchowski & Berbaum
2011, Acad Radiol 18:129; Hillis 2014, Stat Med 33:330.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from syntrial.analysis.cases import FloatArray
from syntrial.analysis.pivot import MeanSquare, Pivot


@dataclass(frozen=True, kw_only=True, slots=True)
class ObuchowskiRockette:
    """Estimates of many studies at once; arrays of the studies' shape (…)."""

    readers: int
    """J."""
    estimate: FloatArray
    standard_error: FloatArray
    hillis_degrees_of_freedom: FloatArray
    """Infinite where MS(T*R) is 0."""
    mean_square_interaction: FloatArray
    error_variance: FloatArray
    cov1: FloatArray
    cov2: FloatArray
    cov3: FloatArray

    @property
    def pivot(self) -> Pivot:
        """What the interval comes from: Var = 2 max(Cov2 - Cov3, 0) + 2/J E[MS(T*R)], the latter with J-1 degrees.

        E[MS(T*R)] is at least Var(e) - Cov1 - Cov2 + Cov3 (Hillis 2007, table I).
        """
        by_patients = self.error_variance - self.cov1 - self.cov2 + self.cov3
        interaction = MeanSquare(
            variance=2 / self.readers * self.mean_square_interaction,
            degrees=self.readers - 1,
            floor=2 / self.readers * np.maximum(by_patients, 0.0),
        )
        return Pivot(known=2 * np.maximum(self.cov2 - self.cov3, 0.0), estimated=(interaction,))

    @property
    def hillis_p_value(self) -> FloatArray:
        """The published two-sided test, |t| against Hillis' degrees of freedom, (…); NaN where there is no error."""
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.abs(self.estimate) / self.standard_error
        # Beyond 1e10 degrees of freedom Student's law is the normal one to the last bit.
        return np.asarray(2 * stdtr(np.minimum(self.hillis_degrees_of_freedom, 1e10), -statistic))


def obuchowski_rockette(values_TJ: FloatArray, *, covariance: FloatArray) -> ObuchowskiRockette:
    """Return the Obuchowski-Rockette difference of treatment 0 minus treatment 1, with Hillis' degrees of freedom.

    `values_TJ` (…, 2, J) with J of 2 or more; `covariance` (…, 2 J, 2 J) over patients, treatment-major. Leading axes
    are independent studies. Hillis 2007, equations 5 to 8: with c = max(Cov2 - Cov3, 0),
    SE² = 2/J [MS(T*R) + J c] and df = [MS(T*R) + J c]² / [MS(T*R)² / (J - 1)].
    """
    readers = values_TJ.shape[-1]
    if values_TJ.shape[-2] != 2 or readers < 2 or covariance.shape[-2:] != (2 * readers, 2 * readers):
        raise ValueError(f"values (…, 2, J) and covariance (…, 2J, 2J) wanted: {values_TJ.shape}, {covariance.shape}")
    difference_J = values_TJ[..., 0, :] - values_TJ[..., 1, :]
    estimate = difference_J.mean(axis=-1)
    # With two treatments the interaction's mean square is half the variance of the paired differences.
    interaction = difference_J.var(axis=-1, ddof=1) / 2
    error_variance, cov1, cov2, cov3 = _average_covariances(covariance, readers=readers)
    scaled = interaction + readers * np.maximum(cov2 - cov3, 0.0)
    degrees = np.full(np.shape(interaction), math.inf)
    np.divide(scaled**2 * (readers - 1), interaction**2, out=degrees, where=interaction**2 > 0)
    return ObuchowskiRockette(
        readers=readers,
        estimate=estimate,
        standard_error=np.sqrt(2 / readers * scaled),
        hillis_degrees_of_freedom=degrees,
        mean_square_interaction=interaction,
        error_variance=error_variance,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
    )


def one_treatment(values_J: FloatArray, *, covariance: FloatArray) -> Pivot:
    """Return the pivot of the mean of J readers of one treatment; with one reader, of its patients alone.

    Hillis, Obuchowski & Berbaum 2011: with c = max(Cov2, 0), SE² = [MS(R) + J c] / J.
    """
    readers = len(values_J)
    if readers == 1:
        return Pivot(known=np.maximum(covariance[0, 0], 0.0))
    cov2 = (covariance.sum() - np.trace(covariance)) / (readers * (readers - 1))
    return Pivot(known=np.maximum(cov2, 0.0), estimated=(_between(values_J, covariance=covariance),))


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossedStudy:
    """The mean over G generators and J classifier seeds, and its variance's three parts."""

    estimate: float
    generators: MeanSquare
    """MS(G) / (G J)."""
    seeds: MeanSquare | None
    """MS(J) / (G J): what all generators share through the seeds. None with one seed."""
    patients: float
    """Covariance over patients between values with neither generator nor seed in common, at least 0."""

    @property
    def pivot(self) -> Pivot:
        """What the interval comes from."""
        estimated = (self.generators,) if self.seeds is None else (self.generators, self.seeds)
        return Pivot(known=np.asarray(self.patients), estimated=estimated)


def crossed_generators(values_GJ: FloatArray, *, covariance: FloatArray) -> CrossedStudy:
    """Return the mean of values (an arm's, or its differences from a control) with crossed random generators and seeds.

    `values_GJ` with G of 2 or more; `covariance` over patients, (G J, G J), generator-major. Taking expectations of the
    mean squares of a two-way layout with errors correlated over patients gives, without bias,

        Var(mean) = [MS(G) + MS(J) - MS(GJ)] / (G J) + c

    with c the covariance of values that share neither generator nor seed (the analogue of Hillis' Cov2 - Cov3).
    MS(GJ) is not subtracted and c is clamped at 0, which is conservative and keeps the sum of mean squares positive.
    MS(G) and MS(J) are independent, so each enters the pivot with its own degrees of freedom.
    """
    generators, seeds = values_GJ.shape
    blocks = covariance.reshape(generators, seeds, generators, seeds)
    return CrossedStudy(
        estimate=float(values_GJ.mean()),
        generators=_between(values_GJ.mean(axis=1), covariance=blocks.mean(axis=(1, 3))),
        seeds=_between(values_GJ.mean(axis=0), covariance=blocks.mean(axis=(0, 2))) if seeds > 1 else None,
        patients=_covariance_apart(covariance, generators=generators, seeds=seeds),
    )


def _between(means_M: FloatArray, *, covariance: FloatArray) -> MeanSquare:
    """Return what the spread of M means adds to the variance of their mean; `covariance` (M, M) over patients.

    Its expectation is at least what patients add to that spread: the variance of a mean less the covariance of two.
    """
    count = len(means_M)
    variance = np.trace(covariance) / count
    shared = (covariance.sum() - np.trace(covariance)) / (count * (count - 1))
    return MeanSquare(
        variance=means_M.var(ddof=1) / count,
        degrees=count - 1,
        floor=np.maximum(np.asarray((variance - shared) / count), 0.0),
    )


def contrasted_covariance(covariance: FloatArray, *, contrast: FloatArray) -> FloatArray:
    """Return the covariances (D, D) of contrasts (D, M) of what has covariances (M, M)."""
    # einsum without BLAS, for the reason given in `jackknife_covariance`.
    half_DM = np.einsum("dm,mn->dn", contrast, covariance)
    contrasted: FloatArray = np.einsum("dm,em->de", half_DM, contrast)
    return contrasted


def _average_covariances(
    covariance: FloatArray, *, readers: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the error variance, Cov1, Cov2 and Cov3 (…) of covariances (…, 2 J, 2 J)."""
    blocks = covariance.reshape(*covariance.shape[:-2], 2, readers, 2, readers)
    within = (blocks[..., 0, :, 0, :] + blocks[..., 1, :, 1, :]) / 2
    across = (blocks[..., 0, :, 1, :] + blocks[..., 1, :, 0, :]) / 2
    diagonal = np.eye(readers, dtype=np.bool_)
    return (
        within[..., diagonal].mean(axis=-1),
        across[..., diagonal].mean(axis=-1),
        within[..., ~diagonal].mean(axis=-1),
        across[..., ~diagonal].mean(axis=-1),
    )


def _covariance_apart(covariance: FloatArray, *, generators: int, seeds: int) -> float:
    """Return the mean covariance over patients of values (g, j) and (g', j'), g' not g and j' not j, at least 0.

    With one seed there is no such pair: other generator, same seed stands in, which is larger.
    """
    generator_D, seed_D = np.repeat(np.arange(generators), seeds), np.tile(np.arange(seeds), generators)
    apart = generator_D[:, None] != generator_D
    if seeds > 1:
        apart &= seed_D[:, None] != seed_D
    return max(float(covariance[apart].mean()), 0.0)
