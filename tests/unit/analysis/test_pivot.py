"""The pivot: known laws at its ends, draws between them, and power as it is defined."""

import numpy as np
import pytest
from scipy.stats import norm, t

from syntrial.analysis.pivot import MeanSquare, Pivot, detectable_difference


def pivot(known: float, *parts: tuple[float, int]) -> Pivot:
    return Pivot(
        known=np.asarray(known),
        estimated=tuple(MeanSquare(variance=np.asarray(variance), degrees=degrees) for variance, degrees in parts),
    )


def drawn(known: float, *parts: tuple[float, int], draws: int = 1_000_000) -> np.ndarray:
    """Draws of |Z| sqrt(k + n1 m1 / U1 + ...)."""
    rng = np.random.default_rng(draws)
    variance = known + sum(degrees * part / rng.chisquare(degrees, draws) for part, degrees in parts)
    return np.abs(rng.standard_normal(draws)) * np.sqrt(variance)


MIXED = [
    (0.5, (1.0, 1)),
    (2.0, (0.1, 2)),
    (0.3, (0.7, 4)),
    (0.2, (0.5, 2), (0.3, 1)),
    (0.0, (1.0, 3), (0.01, 4)),
]


@pytest.mark.parametrize("degrees", [1, 2, 4, 9, 40])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_without_a_known_part_it_is_students_law(degrees: int, level: float) -> None:
    law = pivot(0.0, (0.04, degrees))
    assert law.half_width(level) == pytest.approx(0.2 * t.ppf((1 + level) / 2, degrees), rel=1e-6)
    assert law.p_value(np.asarray(0.5)) == pytest.approx(2 * t.sf(2.5, degrees), rel=1e-5)


def test_without_an_estimated_part_it_is_the_normal_law() -> None:
    assert pivot(0.04).half_width() == pytest.approx(0.2 * norm.ppf(0.975))
    assert pivot(0.04, (0.0, 4)).half_width() == pytest.approx(0.2 * norm.ppf(0.975))
    assert pivot(0.04).p_value(np.asarray(-0.5)) == pytest.approx(2 * norm.sf(2.5))


@pytest.mark.parametrize("parts", MIXED)
def test_between_them_it_is_what_draws_give(parts) -> None:
    draws = drawn(*parts)
    half = float(pivot(*parts).half_width())
    # Four standard errors of a share of .05 among a million draws.
    assert np.mean(draws > half) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / len(draws)))
    for estimate in (0.5, 3.0):
        p = float(pivot(*parts).p_value(np.asarray(estimate)))
        assert np.mean(draws > estimate) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / len(draws)))


@pytest.mark.parametrize("parts", MIXED)
def test_the_p_value_is_five_percent_where_the_interval_ends_at_nothing(parts) -> None:
    law = pivot(*parts)
    assert law.p_value(law.half_width()) == pytest.approx(0.05, rel=1e-9)


def test_many_studies_at_once_are_each_as_alone() -> None:
    known, variance = np.array([0.1, 0.0, 2.0, 0.0]), np.array([1.0, 0.5, 0.0, 0.0])
    many = Pivot(known=known, estimated=(MeanSquare(variance=variance, degrees=2),))
    alone = [float(pivot(k, (v, 2)).half_width()) for k, v in zip(known, variance, strict=True)]
    assert many.half_width() == pytest.approx(np.array(alone))
    assert many.half_width()[3] == 0.0
    assert many.standard_error == pytest.approx(np.sqrt(known + variance))


def test_a_small_mean_square_is_not_taken_for_many_degrees_of_freedom() -> None:
    # Two seeds that agree by chance: Hillis' degrees of freedom would be 121 and the quantile 1.98.
    law = pivot(1.0, (0.1, 1))
    assert law.half_width() > 2.3 * law.standard_error


@pytest.mark.parametrize("parts", [(0.04,), (0.0, (0.04, 4)), (0.02, (0.02, 2)), (0.01, (0.02, 3), (0.01, 2))])
def test_the_detectable_difference_is_found_in_four_of_five_trials(parts) -> None:
    known, *squares = parts
    difference = detectable_difference(pivot(known, *squares))
    rng = np.random.default_rng(1)
    trials = 4000
    spread = np.sqrt(known + sum(variance for variance, _ in squares))
    estimates = difference + spread * rng.standard_normal(trials)
    repeated = Pivot(
        known=np.full(trials, known),
        estimated=tuple(
            MeanSquare(variance=variance * rng.chisquare(degrees, trials) / degrees, degrees=degrees)
            for variance, degrees in squares
        ),
    )
    found = np.mean(np.abs(estimates) > repeated.half_width())
    assert found == pytest.approx(0.80, abs=4 * np.sqrt(0.8 * 0.2 / trials))


def test_seeds_that_agree_by_chance_take_away_nothing_that_patients_add() -> None:
    agreed = MeanSquare(variance=np.asarray(0.0), degrees=1, floor=np.asarray(0.03))
    law = Pivot(known=np.asarray(0.01), estimated=(agreed,))
    assert law.standard_error == pytest.approx(0.2)
    assert law.half_width() == pytest.approx(0.2 * norm.ppf(0.975))
    assert law.p_value(np.asarray(0.5)) == pytest.approx(2 * norm.sf(2.5))


def test_a_floor_is_where_draws_below_it_are_put() -> None:
    rng = np.random.default_rng(5)
    draws = 1_000_000
    part = MeanSquare(variance=np.asarray(0.04), degrees=2, floor=np.asarray(0.03))
    law = Pivot(known=np.asarray(0.01), estimated=(part,))
    drawn_V = 0.01 + np.maximum(2 * 0.04 / rng.chisquare(2, draws), 0.03)
    beyond = np.mean(np.abs(rng.standard_normal(draws)) * np.sqrt(drawn_V) > law.half_width())
    assert beyond == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / draws))


def test_nothing_is_detectable_without_an_error_to_hold_it_against() -> None:
    with pytest.raises(ValueError, match="without a standard error"):
        detectable_difference(pivot(0.0, (0.0, 3)))


def test_a_mean_square_without_degrees_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 degree of freedom, got 0"):
        pivot(1.0, (1.0, 0)).half_width()
