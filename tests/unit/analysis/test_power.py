"""The effect that a trial is expected to detect, before it runs."""

import numpy as np
import pytest

from syntrial.analysis.metrics import METRICS
from syntrial.analysis.pivot import MeanSquare, Pivot, detectable_difference
from syntrial.analysis.power import PlanningAssumptions, detectable_effect_before

PNEUMONIA = {"cases_per_class": (234, 390), "training_cases": 4708}
BREAST = {"cases_per_class": (42, 114), "training_cases": 546}


def planned(cases_per_class, **rest) -> float | None:
    return detectable_effect_before(cases_per_class, **{"replicates": 5, "metric": "accuracy", **rest})


def test_the_plan_agrees_with_what_is_known_of_two_public_test_splits() -> None:
    assert planned(**PNEUMONIA) == pytest.approx(0.029, abs=0.001)
    assert planned(**BREAST) == pytest.approx(0.075, abs=0.001)


@pytest.mark.parametrize("metric", METRICS)
def test_more_patients_more_replicates_and_more_training_images_detect_less(metric: str) -> None:
    base = planned((100, 100), metric=metric, training_cases=1000)
    assert planned((200, 200), metric=metric, training_cases=1000) < base
    assert planned((100, 100), metric=metric, training_cases=1000, replicates=10) < base
    assert planned((100, 100), metric=metric, training_cases=2000) < base


def test_what_no_outcome_can_come_of_detects_nothing() -> None:
    assert planned((100, 100), replicates=1) is None
    assert planned((9, 100), metric="auroc") is None
    assert planned((10, 100), metric="auroc") > 0
    # Accuracy is a mean over all patients, of whichever class.
    assert planned((9, 100), metric="accuracy") > 0


def test_two_replicates_detect_far_less_than_three() -> None:
    # One degree of freedom for the seeds' variance: Hillis' formula would have promised .036.
    two, three, five = (planned((42, 114), replicates=count, training_cases=546) for count in (2, 3, 5))
    assert two > 2.5 * three
    assert three > five


def test_a_plan_agrees_with_the_verdict_of_a_trial_that_is_as_assumed() -> None:
    assumed = PlanningAssumptions(value=0.8, same_arm_correlation=0.7, other_arm_correlation=0.6)
    variance = 0.8 * 0.2 / 200
    seeds = assumed.training_instability * variance * 200 / 1000
    pivot = Pivot(
        known=np.asarray(2 * variance * 0.1),
        estimated=(
            MeanSquare(
                variance=np.asarray(2 / 4 * (seeds + variance * 0.3)),
                degrees=3,
                floor=np.asarray(2 / 4 * variance * 0.3),
            ),
        ),
    )
    plan = planned((100, 100), replicates=4, training_cases=1000, assumptions=assumed)
    assert plan == pytest.approx(detectable_difference(pivot))


def test_assumptions_can_be_changed_and_are_said() -> None:
    calm = PlanningAssumptions(training_instability=0.5)
    assert planned(**PNEUMONIA, assumptions=calm) < planned(**PNEUMONIA)
    assert "0.5 times" in calm.words
    assert [calm.value_of(METRICS[name]) for name in ("auroc", "balanced-accuracy")] == [0.95, 0.85]
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
