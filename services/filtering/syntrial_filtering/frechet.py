"""Fréchet distances between sets of features, beside the floor that sets of real images of the same size show.

Heusel et al. 2017, "GANs trained by a two time-scale update rule", equation 6, on the features of an encoder trained
on this data set's real training images (so figures of different data sets cannot be compared). The estimate is biased
upwards by about the number of features over the sample size: every distance here is between samples of one size, and
is to be read by its ratio to the floor. It rewards matching moments and alone says little of what an image is worth.

Pure. Features are float (N, F); distances are squared, as usual for this figure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from scipy.linalg import eigh, eigvalsh

from syntrial.documents.document import extended
from syntrial.documents.quality import Frechet, FrechetBesideGaussian

SPLITS: Final = 5
"""Random halves of the real images over which every distance is averaged."""

LARGEST_SAMPLE: Final = 5_000
"""At most this many images of each kind are compared."""

SMALLEST_SAMPLE: Final = 10
"""Under this many images of each kind no distance is given."""

_Fitted = TypeVar("_Fitted")


def moments(features_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean float64 (F,) and covariance float64 (F, F), with N - 1 in the denominator."""
    features = np.asarray(features_NF, dtype=np.float64)
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def gaussian_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """|m_a - m_b|² + tr(A + B - 2 (A^½ B A^½)^½) (Dowson and Landau 1982).

    The trace of the root is the sum of the roots of the eigenvalues of the symmetric A^½ B A^½: no root of a
    non-symmetric matrix, and nothing imaginary to drop; eigenvalues under 0 by rounding count as 0.
    """
    values, vectors = eigh(covariance_a)
    root_a = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = root_a @ covariance_b @ root_a
    cross = np.sqrt(np.maximum(eigvalsh((product + product.T) / 2), 0.0)).sum()
    shift = float(((mean_a - mean_b) ** 2).sum())
    return max(0.0, shift + float(np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * cross))


def frechet_distance(a_NF: np.ndarray, b_MF: np.ndarray) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets of at least two features each."""
    return gaussian_distance(*moments(a_NF), *moments(b_MF))


@dataclass(frozen=True, kw_only=True, slots=True)
class Halves:
    """Distances at one sample size, one of each kind for each random half of the real images."""

    sample_size: int
    synthetic: list[float]
    floor: list[float]
    """One half of the real images against the other."""
    gaussian: list[float]
    """Of features of a third kind, where these are given; else empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrechetFigures:
    """Distances at one sample size, each the mean over the same random halves of the real images."""

    sample_size: int
    synthetic: float
    floor: float
    """One half of the real images against the other."""
    gaussian: float | None
    """Real images against independent Gaussian pixels with the real means and deviations of each class."""

    @classmethod
    def of(cls, halves: Halves) -> "FrechetFigures":
        """The means over the halves."""
        return cls(
            sample_size=halves.sample_size,
            synthetic=float(np.mean(halves.synthetic)),
            floor=float(np.mean(halves.floor)),
            gaussian=float(np.mean(halves.gaussian)) if halves.gaussian else None,
        )

    def document(self) -> Frechet:
        """The figures and their ratios to the floor."""
        return Frechet(
            sample_size=self.sample_size,
            synthetic_real=self.synthetic,
            floor=self.floor,
            ratio_to_floor=self._ratio(self.synthetic),
        )

    def beside_gaussian(self) -> FrechetBesideGaussian:
        """The same with the Gaussian's, which must be known."""
        assert self.gaussian is not None
        return extended(
            FrechetBesideGaussian,
            self.document(),
            gaussian_real=self.gaussian,
            gaussian_ratio_to_floor=self._ratio(self.gaussian),
        )

    def _ratio(self, distance: float) -> float | None:
        return distance / self.floor if self.floor > 0 else None


def compare(
    synthetic_NF: np.ndarray, real_MF: np.ndarray, *, seed: int, gaussian_PF: np.ndarray | None = None
) -> FrechetFigures | None:
    """Synthetic against real, with the floor and (where features are given) the Gaussian, as `over_halves`."""
    halves = over_halves(
        *(synthetic_NF, real_MF),
        seed=seed,
        gaussian_PF=gaussian_PF,
        fit=moments,
        distance=lambda a, b: gaussian_distance(*a, *b),
    )
    return None if halves is None else FrechetFigures.of(halves)


def over_halves(
    synthetic_NF: np.ndarray,
    real_MF: np.ndarray,
    *,
    seed: int,
    fit: Callable[[np.ndarray], _Fitted],
    distance: Callable[[_Fitted, _Fitted], float],
    gaussian_PF: np.ndarray | None = None,
) -> Halves | None:
    """A distance between what is fitted to each sample, for random halves of the real images, at one sample size.

    Every split draws two disjoint samples of real images and one of each other kind. None where that leaves fewer
    than SMALLEST_SAMPLE of each.
    """
    size = min(len(synthetic_NF), len(real_MF) // 2, LARGEST_SAMPLE)
    if gaussian_PF is not None:
        size = min(size, len(gaussian_PF))
    if size < SMALLEST_SAMPLE:
        return None
    synthetic, floor, gaussian = [], [], []
    for split in range(SPLITS):
        rng = np.random.default_rng([seed, 4, split])
        order = rng.permutation(len(real_MF))
        reference = fit(real_MF[order[:size]])
        floor.append(distance(fit(real_MF[order[size : 2 * size]]), reference))
        drawn = synthetic_NF[rng.permutation(len(synthetic_NF))[:size]]
        synthetic.append(distance(fit(drawn), reference))
        if gaussian_PF is not None:
            chosen = gaussian_PF[rng.permutation(len(gaussian_PF))[:size]]
            gaussian.append(distance(fit(chosen), reference))
    return Halves(sample_size=size, synthetic=synthetic, floor=floor, gaussian=gaussian)


def gaussian_pixels(images_NHWC: np.ndarray, groups: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """`count` uint8 images of independent Gaussian pixels, with each group's real means and deviations by pixel.

    What a generator must beat at the very least. The groups keep their real shares: image i takes the group of a real
    image drawn for it; its stream is (seed, i).
    """
    statistics = {
        int(group): (
            images_NHWC[groups == group].mean(axis=0, dtype=np.float64),
            images_NHWC[groups == group].std(axis=0, dtype=np.float64),
        )
        for group in np.unique(groups)
    }
    drawn = np.empty((count, *images_NHWC.shape[1:]), dtype=np.uint8)
    for number in range(count):
        rng = np.random.default_rng([seed, 5, number])
        mean, deviation = statistics[int(groups[rng.integers(len(groups))])]
        drawn[number] = np.clip(np.rint(rng.normal(mean, deviation)), 0, 255).astype(np.uint8)
    return drawn
