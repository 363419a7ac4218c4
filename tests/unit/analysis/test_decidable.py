"""What may be decided: effective numbers of patients, and the rules on them."""

import numpy as np
import pytest

from syntrial.analysis.decidable import (
    effective_number,
    fewest_patients,
    movers,
    too_few_move,
    undecidable,
    undecidable_before,
)


@pytest.mark.parametrize(
    ("weights", "number"),
    [([1, 1, 1, 1], 4.0), ([100, 100], 2.0), ([7], 1.0), ([3, 1], 1.6), ([5, 0, 0], 1.0), ([0, 0], 0.0), ([], 0.0)],
)
def test_patients_who_weigh_more_make_fewer_in_effect(weights, number: float) -> None:
    assert effective_number(np.asarray(weights, np.float64)) == pytest.approx(number)


def test_each_scored_class_and_its_rest_is_counted() -> None:
    labels = np.repeat([0, 1, 2], [50, 8, 3])
    clusters = np.arange(61)
    counted = {"clusters": clusters, "by_class": True}
    assert fewest_patients(labels, **counted, excluded=()) == 3
    assert fewest_patients(labels, **counted, excluded=(2,)) == 8
    # The rest of class 0 are 11 patients.
    assert fewest_patients(labels, **counted, excluded=(1, 2)) == 11
    assert fewest_patients(labels, clusters=clusters, by_class=False, excluded=()) == 61


def test_a_label_is_counted_present_and_absent() -> None:
    labels = np.array([[1, 1]] * 30 + [[0, 1]] * 5 + [[0, 0]] * 20, np.uint8)
    assert fewest_patients(labels, clusters=np.arange(55), by_class=True, excluded=()) == 20
    clusters = np.concatenate([np.arange(35), np.full(20, 99)])
    assert fewest_patients(labels, clusters=clusters, by_class=True, excluded=()) == 1


def test_the_patients_who_move_an_estimate_are_counted_by_how_far() -> None:
    assert movers(np.full(40, 0.7)) == 0.0
    one = np.full(200, 0.7)
    one[3] = 0.6
    assert movers(one) == pytest.approx(1.0, abs=0.02)
    assert movers(np.array([0.6, 0.8] * 10)) == pytest.approx(20)


def test_rounding_moves_nobody() -> None:
    assert movers(0.7 + 1e-16 * np.arange(40)) == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replicates": 1}, "with one replicate nothing is known of other seeds"),
        ({"patients": 4.0}, "a scored class has 4 test patients, and 10 are needed"),
        ({"patients": 1.0}, "a scored class has 1 test patient, and 10 are needed"),
        ({"patients": 9.84}, "a scored class has 9.8 test patients in effect, and 10 are needed"),
        ({"standard_error": 0.0}, "the standard error came out as 0, so that chance could not be estimated"),
    ],
)
def test_what_cannot_be_decided_says_why(changes, words: str) -> None:
    usual = {"replicates": 2, "patients": 10.0, "standard_error": 0.01}
    assert undecidable(**usual) == ()
    assert undecidable(**{**usual, **changes}) == (words,)


def test_a_plan_knows_what_it_cannot_decide() -> None:
    assert undecidable_before((40, 60), replicates=2, by_class=True) == ()
    assert len(undecidable_before((9, 60), replicates=1, by_class=True)) == 2
    assert undecidable_before((9, 60), replicates=2, by_class=False) == ()


def test_who_moves_too_few_is_said() -> None:
    assert "the difference moves with 2.3 test patients in effect alone, and 6 are needed" in too_few_move(2.31)
