"""Variance models of multi-reader multi-case studies: covariances over patients and values in, standard errors out.

What belongs here: arithmetic on metrics (values per treatment and reader) and on their covariances over patients, for
many studies at once where that serves the simulations. `statistics.py` is the caller, and says what the models mean.

Papers: Obuchowski & Rockette 1995, Commun Stat Simul 24:285; Hillis 2007, Stat Med 26:596; Hillis, Obuchowski & Berbaum
2011, Acad Radiol 18:129; Hillis 2014, Stat Med 33:330; Satterthwaite 1946, Biometrics Bull 2:110.
"""

import math
from dataclasses import dataclass

import numpy as np

from syntrial.analysis.cases import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ObuchowskiRockette:
    """Estimates of many studies at once; arrays of the studies' shape (…)."""

    estimate: FloatArray
    standard_error: FloatArray
    degrees_of_freedom: FloatArray
    """Infinite where MS(T*R) is 0."""
    mean_square_interaction: FloatArray
    error_variance: FloatArray
    cov1: FloatArray
    cov2: FloatArray
    cov3: FloatArray


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
        estimate=estimate,
        standard_error=np.sqrt(2 / readers * scaled),
        degrees_of_freedom=degrees,
        mean_square_interaction=interaction,
        error_variance=error_variance,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
    )


def one_treatment(values_J: FloatArray, *, covariance: FloatArray) -> tuple[float, float | None]:
    """Return the standard error of the mean of J readers and its degrees of freedom (None: normal).

    Hillis, Obuchowski & Berbaum 2011: with c = max(Cov2, 0), SE² = [MS(R) + J c] / J and
    df = [MS(R) + J c]² / [MS(R)² / (J - 1)]. With one reader, its variance over patients alone.
    """
    readers = len(values_J)
    if readers == 1:
        return math.sqrt(max(float(covariance[0, 0]), 0.0)), None
    cov2 = float(covariance.sum() - np.trace(covariance)) / (readers * (readers - 1))
    between = float(values_J.var(ddof=1))
    scaled = between + readers * max(cov2, 0.0)
    degrees = scaled**2 * (readers - 1) / between**2 if between**2 > 0 else None
    return math.sqrt(scaled / readers), degrees


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossedStudy:
    """The mean difference of G generators and J classifier seeds, and its variance's three parts."""

    estimate: float
    generators: float
    """MS(G) / (G J)."""
    seeds: float
    """MS(J) / (G J): what all generators share through the seeds. 0 with one seed."""
    patients: float
    """Covariance over patients between differences with neither generator nor seed in common, at least 0."""
    degrees_of_freedom: float | None
    """None: both mean squares are 0."""

    @property
    def standard_error(self) -> float:
        """Of the mean difference."""
        return math.sqrt(self.generators + self.seeds + self.patients)


def crossed_generators(arm_GJ: FloatArray, *, control_J: FloatArray, covariance: FloatArray) -> CrossedStudy:
    """Return the mean of d(g, j) = arm(g, j) - control(j) with crossed random generators and seeds.

    `covariance` over patients, (G J + J, G J + J), the arm's cells first, generator-major. Taking expectations of the
    mean squares of a two-way layout with errors correlated over patients gives, without bias,

        Var(mean d) = [MS(G) + MS(J) - MS(GJ)] / (G J) + c

    with c the covariance of differences that share neither generator nor seed (the analogue of Hillis' Cov2 - Cov3).
    MS(GJ) is not subtracted and c is clamped at 0, which is conservative and keeps the sum of mean squares positive.
    Degrees of freedom by Satterthwaite from MS(G) and MS(J), and at most those of Hillis' formula with the generators
    as the only readers. Simulated with 5 seeds and 3 or 5 generators, 95% intervals cover .94 to .97, whichever of
    generators, seeds, single classifiers and patients dominates; with 2 seeds as little as .88 where seeds dominate.
    """
    generators, seeds = arm_GJ.shape
    difference_GJ = arm_GJ - control_J
    patients = _covariance_apart(covariance, generators=generators, seeds=seeds)
    by_generator_G, by_seed_J = difference_GJ.mean(axis=1), difference_GJ.mean(axis=0)
    between_generators = float(by_generator_G.var(ddof=1)) / generators
    between_seeds = float(by_seed_J.var(ddof=1)) / seeds if seeds > 1 else 0.0
    candidates = []
    if between_generators**2 > 0:
        candidates.append((between_generators + patients) ** 2 * (generators - 1) / between_generators**2)
    if between_seeds**2 > 0:
        total = between_generators + between_seeds + patients
        spread = between_generators**2 / (generators - 1) + between_seeds**2 / (seeds - 1)
        candidates.append(total**2 / spread)
    return CrossedStudy(
        estimate=float(difference_GJ.mean()),
        generators=between_generators,
        seeds=between_seeds,
        patients=patients,
        degrees_of_freedom=min(candidates, default=None),
    )


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


def _covariance_apart(covariance_MM: FloatArray, *, generators: int, seeds: int) -> float:
    """Return the mean covariance over patients of d(g, j) and d(g', j'), g' not g and j' not j, at least 0.

    With one seed there is no such pair: other generator, same seed stands in, which is larger.
    """
    cells = generators * seeds
    generator_D, seed_D = np.repeat(np.arange(generators), seeds), np.tile(np.arange(seeds), generators)
    contrast_DM = np.concatenate([np.eye(cells), -np.eye(seeds)[seed_D]], axis=1)
    # einsum without BLAS, for the reason given in `jackknife_covariance`.
    half_DM = np.einsum("dm,mn->dn", contrast_DM, covariance_MM)
    covariance_DD = np.einsum("dm,em->de", half_DM, contrast_DM)
    apart = generator_D[:, None] != generator_D
    if seeds > 1:
        apart &= seed_D[:, None] != seed_D
    return max(float(covariance_DD[apart].mean()), 0.0)
