import math
from typing import Any

import pytest
from syntrial_classification.schedule import learning_rate, peak_rate, validation_steps

from syntrial.v1.classification_pb2 import TrainingRecipe

ONE_CYCLE = TrainingRecipe.SCHEDULE_ONE_CYCLE


def rate_of(step: int, *, steps: int, epoch: float = 4, peak: float = 1.0, **recipe: Any) -> float:
    return learning_rate(step, steps=steps, epoch=epoch, peak=peak, recipe=TrainingRecipe(**recipe))


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.04), (10, 0.52), (20, 1.0), (60, 0.5), (99, 0.5 * (1 + math.cos(math.pi * 79 / 80)))],
)
def test_one_cycle_rises_linearly_from_a_25th_and_falls_along_a_cosine(step: int, expected: float) -> None:
    rate = rate_of(step, steps=100, warmup=0.2, schedule=ONE_CYCLE)
    assert rate == pytest.approx(expected, abs=1e-8)


def test_constant_stays_and_steps_fall_tenfold_at_a_half_and_at_three_quarters() -> None:
    def rates(schedule: int) -> list[float]:
        return [rate_of(s, steps=8, schedule=schedule) for s in range(8)]

    assert rates(TrainingRecipe.SCHEDULE_CONSTANT) == [1.0] * 8
    assert rates(TrainingRecipe.SCHEDULE_STEPS) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_phase_of_one_step_has_a_rate() -> None:
    assert rate_of(0, steps=1, peak=2.0, schedule=ONE_CYCLE) == 2.0


def test_validations_are_evenly_spread_and_end_with_the_training() -> None:
    assert validation_steps(100, validations=4) == [25, 50, 75, 100]
    assert validation_steps(3, validations=10) == [1, 2, 3]
    assert validation_steps(7, validations=0) == [7]


def test_decay_multiplies_every_so_many_passes() -> None:
    decay = {"schedule": TrainingRecipe.SCHEDULE_DECAY, "decay_epochs": 2}
    assert [rate_of(s, steps=24, epoch=4, **decay) for s in (0, 7, 8, 15, 16)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rate_of(8, steps=24, epoch=4, decay_factor=0.5, **decay) == 0.5


def test_a_pass_of_a_part_of_a_step_does_not_move_a_fall() -> None:
    # 10 images in batches of 3 are 3 1/3 steps a pass: the third pass begins at step 6 2/3.
    decay = {"schedule": TrainingRecipe.SCHEDULE_DECAY, "decay_epochs": 2}
    assert [rate_of(s, steps=20, epoch=10 / 3, **decay) for s in (6, 7)] == pytest.approx([1, 0.1])


def test_restarts_fall_as_often_as_asked_each_time_from_the_peak() -> None:
    restarts = {"schedule": TrainingRecipe.SCHEDULE_RESTARTS, "cycles": 2}
    rates = [rate_of(s, steps=100, **restarts) for s in (0, 25, 49, 50, 75)]
    assert rates == pytest.approx([1, 0.5, 0.5 * (1 + math.cos(math.pi * 0.98)), 1, 0.5])


def test_a_warm_up_in_passes_stands_for_the_share() -> None:
    assert rate_of(4, steps=100, epoch=4, warmup=0.5, warmup_epochs=2, schedule=ONE_CYCLE) == pytest.approx(0.52)
    assert rate_of(8, steps=100, epoch=4, warmup=0.5, warmup_epochs=2, schedule=ONE_CYCLE) == 1.0
    # One that is longer than the phase rises to its end.
    assert rate_of(3, steps=4, epoch=4, warmup_epochs=5, schedule=ONE_CYCLE) == pytest.approx(0.04 + 0.96 * 0.75)


def test_a_rate_that_is_meant_for_another_batch_size_is_scaled_with_it() -> None:
    assert peak_rate(5e-4, TrainingRecipe(batch_size=128, learning_rate_batch=512)) == pytest.approx(1.25e-4)
    assert peak_rate(5e-4, TrainingRecipe(batch_size=128)) == 5e-4
