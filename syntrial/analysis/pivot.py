"""The pivot of a mean over few seeds: quantiles, p-values and detectable differences, by fixed quadrature.

What belongs here: the distribution from which the verdict's interval comes, of many studies at once where that serves
the simulations. `readers.py` says what the variances of a study are, `statistics.py` makes the verdict, `power.py` the
plan, so that all of them use one distribution.

Model. An estimate d of a true difference delta is normal with variance

    V = k + E[m1] + E[m2] + ...

where k, from the covariances over patients, is taken as known, and each m(i) is a scaled mean square with few degrees
of freedom n(i): n(i) m(i) / E[m(i)] ~ chi²(n(i)), all independent of d and of each other. With observed m(i), Z
standard normal and U(i) ~ chi²(n(i)), the quantity

    d - Z sqrt(k + n1 m1 / U1 + n2 m2 / U2 + ...)

has a distribution free of unknown parameters, and its value at the observed data is delta: a generalised pivotal
quantity (Tsui & Weerahandi 1989, J Am Stat Assoc 84:602; Weerahandi 1993, J Am Stat Assoc 88:899). Its quantiles are a
generalised confidence interval, the mass beyond 0 on both sides a generalised p-value, so the two agree. Of the model
of Obuchowski & Rockette with two treatments and J seeds (`readers.py`) k = 2 max(Cov2 - Cov3, 0) and m1 = 2 MS(T*R) / J
with J - 1 degrees of freedom.

Each E[m(i)] is a sum: what seeds add, at least 0, and what patients add to the differences between seeds, which the
covariances over patients tell as well as they tell k. That is its floor f(i), and the pivot has max(f, n m / U) in the
place of n m / U: two seeds that agree by chance do not take away what patients alone add.

With k = 0 and one mean square this is Student's t with n1 degrees of freedom, without mean squares the normal law.
Between the two, Hillis' degrees of freedom (2007) estimate by which t to replace it, and take a mean square that came
out small by chance as a sign of many degrees of freedom; the pivot averages over what the mean square may stand for.

Quadrature: the density of log U decays like exp(-e^w / 2) to the right and like e^(n w / 2) to the left, where the
integrands tend to constants; the trapezoidal rule converges exponentially for such analytic functions (Trefethen &
Weideman 2014, SIAM Rev 56:385). The nodes are fixed: equal inputs give equal figures on every machine up to rounding.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

# scipy.special alone: `syntrial plan` need not wait for the second that scipy.stats takes to import.
from scipy.special import gammaln, ndtr, ndtri

FloatArray = NDArray[np.float64]

LEVEL = 0.95
"""Of the interval that decides."""
POWER = 0.80


@dataclass(frozen=True, slots=True)
class _Rule:
    """How finely the trapezoidal rule integrates."""

    step: float
    """The nodes' distance in log U, in units of its spread where that is below 1: an error of about exp(-pi²/step)."""
    smallest: float
    """Log densities below this are left out."""


_FINE = _Rule(step=0.5, smallest=-40.0)
"""For what decides: an error of 1e-7 at most."""
_COARSE = _Rule(step=1.0, smallest=-13.0)
"""For a detectable difference, an integral over the other: an error of 1e-4 at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanSquare:
    """A part of the variance that is estimated from few seeds or generators."""

    variance: FloatArray
    """Its contribution to the variance of the estimate, metric units squared, shape (…) of the studies."""
    degrees: int
    """Its degrees of freedom, at least 1."""
    floor: FloatArray = field(default_factory=lambda: np.zeros(()))
    """The least that its expectation can be: what patients add to it, at least 0, (…)."""

    @property
    def bounded(self) -> FloatArray:
        """The contribution (…), at least the floor."""
        return np.maximum(self.variance, self.floor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pivot:
    """The distribution about the estimate of one study or of many, shape (…)."""

    known: FloatArray
    """The part of the variance that patients add, metric units squared, (…)."""
    estimated: tuple[MeanSquare, ...] = ()

    @property
    def standard_error(self) -> FloatArray:
        """Of the estimate, (…): the root of the sum of all parts."""
        return np.sqrt(sum((part.bounded for part in self.estimated), start=np.asarray(self.known, np.float64)))

    def half_width(self, level: float = LEVEL) -> FloatArray:
        """Return the half width (…) of the interval of this level about the estimate."""
        return self._half_width(level=level, rule=_FINE)

    def p_value(self, estimate: FloatArray) -> FloatArray:
        """Return the two-sided generalised p-value (…) of no difference; NaN where the standard error is 0."""
        variances, weights = self._spread(_FINE)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _beyond(np.abs(np.asarray(estimate, np.float64)), variances=variances, weights=weights)

    def _half_width(self, *, level: float, rule: _Rule) -> FloatArray:
        """Return x (…) with P(|Z| sqrt(V) > x) = 1 - level over the spread of V; 0 where every V is 0.

        That probability falls in x and is convex, so Newton's method from below rises to the root and never passes it.
        """
        variances, weights = self._spread(rule)
        spread = variances.max(axis=-1) > 0
        variances = np.where(spread[..., None], variances, 1.0)
        x = -ndtri((1 - level) / 2) * np.sqrt(variances.min(axis=-1))
        for _ in range(200):
            excess = _beyond(x, variances=variances, weights=weights) - (1 - level)
            density = np.sum(np.exp(-(x[..., None] ** 2) / variances / 2) / np.sqrt(variances) * weights, axis=-1)
            step = excess / (density * math.sqrt(2 / math.pi))
            x = x + step
            if np.all(np.abs(step) <= 1e-12 * x):
                break
        return np.asarray(np.where(spread, x, 0.0))

    def _spread(self, rule: _Rule) -> tuple[FloatArray, FloatArray]:
        """Return the variances (…, Q) that the pivot averages over, and their weights (Q,)."""
        variances, weights = np.asarray(self.known, np.float64)[..., None], np.ones(1)
        for part in self.estimated:
            ratio_Q, weight_Q = _ratios(part.degrees, rule)
            added = np.maximum(np.asarray(part.variance, np.float64)[..., None] / ratio_Q, part.floor[..., None])
            variances = (variances[..., :, None] + added[..., None, :]).reshape(*added.shape[:-1], -1)
            weights = np.multiply.outer(weights, weight_Q).ravel()
        return variances, weights


def detectable_difference(pivot: Pivot, *, power: float = POWER, level: float = LEVEL) -> float:
    """Return the true difference whose interval leaves out 0 with the given power.

    `pivot` of one study, whose variances are taken for the truth. The half width of a repetition depends on the mean
    squares that it draws: over those this integrates, by the module's rule. Units are the metric's. Raises ValueError
    where the standard error is 0.
    """
    error = float(pivot.standard_error)
    if error == 0.0:
        raise ValueError("no detectable difference exists without a standard error")
    drawn: list[FloatArray] = []
    weights = np.ones(1)
    for part in pivot.estimated:
        ratio_Q, weight_Q = _ratios(part.degrees, _COARSE)
        drawn = [np.repeat(earlier, len(ratio_Q)) for earlier in drawn] + [np.tile(ratio_Q, len(weights))]
        weights = np.multiply.outer(weights, weight_Q).ravel()
    repeated = Pivot(
        known=np.broadcast_to(pivot.known, weights.shape),
        estimated=tuple(
            MeanSquare(
                variance=part.variance * ratio,
                degrees=part.degrees,
                floor=np.broadcast_to(part.floor, weights.shape),
            )
            for part, ratio in zip(pivot.estimated, drawn, strict=True)
        ),
    )
    half = repeated._half_width(level=level, rule=_COARSE) / error
    low, high = 0.0, float(half.max()) + 10.0
    for _ in range(60):
        middle = (low + high) / 2
        found = float(weights @ (ndtr(middle - half) + ndtr(-middle - half)))
        low, high = (middle, high) if found < power else (low, middle)
    return error * high


def _beyond(x: FloatArray, *, variances: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray(np.sum(2 * ndtr(-x[..., None] / np.sqrt(variances)) * weights, axis=-1))


@cache
def _ratios(degrees: int, rule: _Rule) -> tuple[FloatArray, FloatArray]:
    """Return nodes of U / n, U ~ chi²(n), and their weights, which sum to 1."""
    if degrees < 1:
        raise ValueError(f"a mean square has at least 1 degree of freedom, got {degrees}")
    step = rule.step * min(1.0, math.sqrt(2 / degrees))
    # The mode is at log U = log n; beyond these ends log densities are below -40 for every n.
    w = math.log(degrees) + step * np.arange(-math.ceil(90 / step), math.ceil(6 / step) + 1)
    log_density = degrees / 2 * (w - math.log(2)) - np.exp(w) / 2 - gammaln(degrees / 2)
    kept = log_density > rule.smallest
    weights = np.exp(log_density[kept])
    return np.exp(w[kept]) / degrees, weights / weights.sum()
