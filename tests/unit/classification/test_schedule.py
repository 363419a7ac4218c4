import math

import pytest
from syntrial_classification.schedule import learning_rate, validation_steps

from syntrial.v1.classification_pb2 import TrainingRecipe


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.04), (10, 0.52), (20, 1.0), (60, 0.5), (99, 0.5 * (1 + math.cos(math.pi * 79 / 80)))],
)
def test_one_cycle_rises_linearly_from_a_25th_and_falls_along_a_cosine(step: int, expected: float) -> None:
    rate = learning_rate(step, steps=100, peak=1.0, warmup=0.2, schedule=TrainingRecipe.SCHEDULE_ONE_CYCLE)
    assert rate == pytest.approx(expected, abs=1e-8)


def test_constant_stays_and_steps_fall_tenfold_at_a_half_and_at_three_quarters() -> None:
    def rates(schedule: int) -> list[float]:
        return [learning_rate(s, steps=8, peak=1.0, warmup=0.0, schedule=schedule) for s in range(8)]

    assert rates(TrainingRecipe.SCHEDULE_CONSTANT) == [1.0] * 8
    assert rates(TrainingRecipe.SCHEDULE_STEPS) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_phase_of_one_step_has_a_rate() -> None:
    assert learning_rate(0, steps=1, peak=2.0, warmup=0.0, schedule=TrainingRecipe.SCHEDULE_ONE_CYCLE) == 2.0


def test_validations_are_evenly_spread_and_end_with_the_training() -> None:
    assert validation_steps(100, validations=4) == [25, 50, 75, 100]
    assert validation_steps(3, validations=10) == [1, 2, 3]
    assert validation_steps(7, validations=0) == [7]
