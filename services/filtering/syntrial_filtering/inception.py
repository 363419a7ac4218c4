"""FID and KID: how far two sets lie from each other in the features of the Inception that both are defined by.

Beside each stands its floor, by the same random halves of the real images as `frechet` has. FID (Heusel et al. 2017) is
biased upwards, and with fewer images than features by most of its value; KID (Bińkowski et al. 2018) has no bias.

Pure. Features are float (N, F), as the network gave them: standardised ones would give other figures.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh

from syntrial.documents.quality import Inception, KernelDistance, Network
from syntrial_filtering.frechet import FrechetFigures, over_halves

DEGREE: Final = 3
"""Of KID's polynomial kernel, (x·y / F + 1)³."""

_BLOCK: Final = 1_000
"""Rows of a kernel's matrix at a time: 40 MB at the largest sample."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gaussian:
    """A Gaussian by its mean and a root R of its covariance, RᵀR, of min(N, F) rows."""

    mean_F: Floats  # noqa: N815
    root_RF: Floats  # noqa: N815


def gaussian(features_NF: NDArray[np.floating]) -> Gaussian:
    """The one fitted to at least two features, with N - 1 in the denominator."""
    values_NF: Floats = np.asarray(features_NF, dtype=np.float64)
    mean_F = values_NF.mean(axis=0)
    root_RF = (values_NF - mean_F) / np.sqrt(len(values_NF) - 1)
    if len(root_RF) > len(mean_F):
        root_RF = np.linalg.qr(root_RF, mode="r")
    return Gaussian(mean_F=mean_F, root_RF=root_RF)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|² + tr(A + B - 2 (A^½ B A^½)^½), the squared distance, as `frechet.gaussian_distance`.

    The eigenvalues of A^½ B A^½ that are not 0 are those of MMᵀ with M = R_a R_bᵀ, which has no more rows than there
    are images: of hundreds they are found at once, where a root of 2,048 features' covariance takes most of a minute.
    """
    product = a.root_RF @ b.root_RF.T
    cross = np.sqrt(np.maximum(eigvalsh(product @ product.T), 0.0)).sum()
    spread = (a.root_RF**2).sum() + (b.root_RF**2).sum()
    return max(0.0, float(((a.mean_F - b.mean_F) ** 2).sum() + spread - 2.0 * cross))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """A sample's features, and what the kernel says of them among themselves."""

    features_NF: Floats  # noqa: N815
    within: float
    """Mean of the kernel over all pairs of two different images."""


def sample(features_NF: NDArray[np.floating]) -> Sample:
    """That of at least two features."""
    values_NF: Floats = np.asarray(features_NF, dtype=np.float64)
    count, size = values_NF.shape
    own = (((values_NF**2).sum(axis=1) / size + 1.0) ** DEGREE).sum()
    within = (_kernel_sum(values_NF, values_NF) - own) / (count * (count - 1))
    return Sample(features_NF=values_NF, within=float(within))


def kernel_distance(a: Sample, b: Sample) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, equation 3)."""
    between = _kernel_sum(a.features_NF, b.features_NF) / (len(a.features_NF) * len(b.features_NF))
    return a.within + b.within - 2.0 * between


def _kernel_sum(a_NF: Floats, b_MF: Floats) -> float:
    size = a_NF.shape[1]
    blocks = (a_NF[start : start + _BLOCK] @ b_MF.T for start in range(0, len(a_NF), _BLOCK))
    return float(sum(((block / size + 1.0) ** DEGREE).sum() for block in blocks))


def compare(
    synthetic_NF: NDArray[np.floating], real_MF: NDArray[np.floating], *, seed: int, network: Network
) -> Inception | None:
    """FID and KID of synthetic against real, with their floors; None where there are too few for any distance."""
    by_moments = over_halves(synthetic_NF, real_MF, seed=seed, fit=gaussian, distance=frechet_distance)
    by_kernel = over_halves(synthetic_NF, real_MF, seed=seed, fit=sample, distance=kernel_distance)
    if by_moments is None or by_kernel is None:
        return None
    return Inception(
        network=network,
        feature_size=real_MF.shape[1],
        fid=FrechetFigures.of(by_moments).document(),
        kid=KernelDistance(
            sample_size=by_kernel.sample_size,
            synthetic_real=float(np.mean(by_kernel.synthetic)),
            floor=float(np.mean(by_kernel.floor)),
            floor_range=(min(by_kernel.floor), max(by_kernel.floor)),
        ),
    )
