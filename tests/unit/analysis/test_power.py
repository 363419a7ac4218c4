"""The effect that a trial can detect, before and after it ran."""

import numpy as np
import pytest

from syntrial.analysis.metrics import METRICS
from syntrial.analysis.power import PlanningAssumptions, detectable_difference, detectable_effect_before

PNEUMONIA = {"cases_per_class": (234, 390), "training_cases": 4708}
BREAST = {"cases_per_class": (42, 114), "training_cases": 546}


def planned(cases_per_class, **rest) -> float:
    return detectable_effect_before(cases_per_class, **{"replicates": 5, "metric": "accuracy", **rest})


def test_the_plan_agrees_with_what_is_known_of_two_public_test_splits() -> None:
    assert planned(**PNEUMONIA) == pytest.approx(0.027, abs=0.001)
    assert planned(**BREAST) == pytest.approx(0.070, abs=0.002)


@pytest.mark.parametrize("degrees", [1.5, 4.0, 15.26, 200.0, None])
def test_a_test_finds_the_detectable_difference_four_times_of_five(degrees: float | None) -> None:
    rng = np.random.default_rng(0)
    difference = detectable_difference(0.02, degrees_of_freedom=degrees)
    draws = 200_000
    spread = np.ones(draws) if degrees is None else np.sqrt(rng.chisquare(degrees, draws) / degrees)
    # Student's quantile from its definition, so that only the noncentral law is under test.
    null = np.abs(rng.standard_normal(draws) / spread)
    critical = np.quantile(null, 0.95)
    statistic = (difference / 0.02 + rng.standard_normal(draws)) / spread
    assert np.mean(statistic > critical) == pytest.approx(0.80, abs=0.01)


def test_without_chance_any_difference_is_detected() -> None:
    assert detectable_difference(0.0, degrees_of_freedom=4.0) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_more_patients_more_replicates_and_more_training_images_detect_less(metric: str) -> None:
    base = planned((100, 100), metric=metric, training_cases=1000)
    assert planned((200, 200), metric=metric, training_cases=1000) < base
    assert planned((100, 100), metric=metric, training_cases=1000, replicates=10) < base
    assert planned((100, 100), metric=metric, training_cases=2000) < base


def test_one_replicate_plans_for_patients_alone() -> None:
    assumed = PlanningAssumptions()
    variance = 2 * 0.85 * 0.15 / 200 * (1 - assumed.other_arm_correlation)
    assert planned((100, 100), replicates=1) == pytest.approx(2.8016 * np.sqrt(variance), rel=1e-4)


def test_assumptions_can_be_changed_and_are_said() -> None:
    calm = PlanningAssumptions(training_instability=0.5)
    assert planned(**PNEUMONIA, assumptions=calm) < planned(**PNEUMONIA)
    assert "0.5 times" in calm.words(METRICS["auroc"])
    assert "a control with AUROC 0.95" in calm.words(METRICS["auroc"])
    assert "a control with balanced accuracy 0.85" in calm.words(METRICS["balanced-accuracy"])
    skilled = PlanningAssumptions(value=0.95)
    assert planned(**PNEUMONIA, assumptions=skilled) < planned(**PNEUMONIA)


def test_macro_auroc_of_nine_classes_is_planned_too() -> None:
    assert 0 < planned((80,) * 9, metric="auroc") < planned((80, 80), metric="auroc")


@pytest.mark.parametrize(
    ("cases", "changes", "message"),
    [
        ((100,), {}, "two classes"),
        ((100, 0), {}, "two classes"),
        ((100, 100), {"replicates": 0}, "a replicate"),
        ((100, 100), {"metric": "f1"}, "metric must be"),
        ((100, 100), {"training_cases": 0}, "training_cases"),
    ],
)
def test_what_cannot_be_planned_is_refused(cases, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        planned(cases, **changes)
