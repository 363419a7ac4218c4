from typing import Any

import numpy as np
import pytest
from syntrial_classification.phases import USUAL_BATCHES, TrainingPlan, plan_training
from syntrial_classification.pools import REAL, SYNTHETIC

from syntrial.errors import UserError
from syntrial.experiment.presets.classifiers import RECIPES
from syntrial.v1.classification_pb2 import TrainingPhase, TrainingRecipe
from syntrial.v1.generation_pb2 import Balance

AS_SYNTHETIC = TrainingPhase.REAL_PROPORTIONS_AS_SYNTHETIC


@pytest.fixture
def plan(build: Any) -> Any:
    def make(*phases: TrainingPhase, **fields: Any) -> TrainingPlan:
        real = build.images(20, seed=1)
        synthetic = build.images(50, seed=2)
        return plan_training(build.request(*phases, **fields), train=real, synthetic=synthetic)

    return make


def phase(**fields: Any) -> TrainingPhase:
    return TrainingPhase(**{"steps": 5, "learning_rate": 1e-3, **fields})


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"real": 1}, (20, 0, 0)),
        ({"synthetic": 1}, (0, 0, 20)),
        ({"real": 1, "synthetic": 2}, (20, 0, 40)),
        ({"real": 0.5, "synthetic": 0.5}, (10, 0, 10)),
        ({"real": 1, "duplicated": 1.5}, (20, 30, 0)),
    ],
)
def test_pools_count_exactly_what_their_phase_says(plan: Any, fields: Any, counts: tuple[int, int, int]) -> None:
    real, duplicated, synthetic = counts
    pool = plan(phase(**fields)).phases[0].pool
    assert pool.counts() == {"real": real, "duplicated": duplicated, "synthetic": synthetic}


def test_the_table_holds_the_synthetic_images_that_some_phase_uses_and_no_others(plan: Any, build: Any) -> None:
    found = plan(phase(synthetic=0.5), phase(real=1, synthetic=1))
    assert found.origins.tolist() == [REAL] * 20 + [SYNTHETIC] * 20
    assert np.array_equal(found.images[1], build.images(50, seed=2).images_NHWC[:20])
    assert set(found.phases[0].pool.rows) <= set(found.phases[1].pool.rows)
    assert plan(phase(real=1)).origins.tolist() == [REAL] * 20


def test_lengths_are_steps_of_full_batches_or_passes_over_the_pool(plan: Any) -> None:
    steps, epochs = plan(phase(real=1), phase(real=1, synthetic=1, epochs=1.5)).phases
    assert (steps.steps, steps.draws) == (5, 40)
    assert (epochs.steps, epochs.draws) == (8, 60)


def test_shuffled_labels_belong_to_synthetic_images_alone(plan: Any) -> None:
    straight = plan(phase(real=1, synthetic=1), seed=3)
    shuffled = plan(phase(real=1, synthetic=1), seed=3, shuffle_synthetic_labels=True)
    assert np.array_equal(straight.labels[:20], shuffled.labels[:20])
    assert not np.array_equal(straight.labels[20:], shuffled.labels[20:])
    assert np.bincount(straight.labels[20:]).tolist() == np.bincount(shuffled.labels[20:]).tolist()


def test_real_images_are_resampled_to_the_synthetic_proportions(build: Any) -> None:
    synthetic = build.images(40, seed=2)
    synthetic = synthetic.take(np.flatnonzero((synthetic.labels == 0) | (np.arange(40) % 4 == 1)))
    assert synthetic.class_counts.tolist() == [20, 10]
    request = build.request(phase(real=1, real_proportions=AS_SYNTHETIC))
    found = plan_training(request, train=build.images(30, seed=1), synthetic=synthetic)
    assert np.bincount(found.labels[found.phases[0].pool.rows]).tolist() == [20, 10]
    assert found.origins.tolist() == [REAL] * 30


def test_a_set_that_is_too_small_is_taken_as_it_is_and_the_gap_is_counted(plan: Any) -> None:
    found = plan(phase(real=1, synthetic=4), balance=Balance.BALANCE_UNIFORM).phases[0]
    assert found.pool.counts()["synthetic"] == 50
    assert found.synthetic_missing == 30


def test_several_labels_take_nested_parts_of_the_set(build: Any) -> None:
    real, synthetic = build.images(10, several=True), build.images(40, several=True, seed=2)
    request = build.request(phase(synthetic=1), phase(synthetic=2))
    small, large = (p.pool for p in plan_training(request, train=real, synthetic=synthetic).phases)
    assert (len(small), len(large)) == (10, 20)
    assert set(small.codes) <= set(large.codes)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"real": 1.5}, "real"),
        ({"synthetic": -1}, "synthetic"),
        ({"real": 1, "learning_rate": 0}, "learning_rate"),
        ({"real": 0.001}, r"phases\[0\]"),
        ({"real": 1, "epochs": 0.001}, "epochs"),
    ],
)
def test_phases_out_of_range_are_the_users_errors(plan: Any, fields: Any, field: str) -> None:
    with pytest.raises(UserError, match=field):
        plan(phase(**fields))


def test_a_phase_without_a_length_or_a_set_is_the_users_error(build: Any) -> None:
    with pytest.raises(UserError, match="steps or epochs"):
        plan_training(build.request(TrainingPhase(real=1, learning_rate=1)), train=build.images(8), synthetic=None)
    with pytest.raises(UserError, match="names their set"):
        plan_training(build.request(phase(synthetic=1)), train=build.images(8), synthetic=None)


def test_a_synthetic_set_of_other_classes_or_shape_is_refused(build: Any) -> None:
    for other, word in ((build.images(8, classes=3), "classes"), (build.images(8, side=10), "shape")):
        with pytest.raises(UserError, match=word):
            plan_training(build.request(phase(synthetic=1)), train=build.images(8), synthetic=other)


@pytest.mark.parametrize(
    ("fields", "batch", "room"),
    [
        ({"real": 1}, 21, 20),
        ({"real": 0.5}, 11, 10),
        ({"real": 0.5, "synthetic": 0.5}, 21, 20),
        # Those that the set lacks are not the batch's fault.
        ({"synthetic": 3}, 61, 60),
    ],
)
def test_a_batch_that_is_larger_than_its_pool_is_told_with_the_one_that_fits(
    plan: Any, build: Any, fields: Any, batch: int, room: int
) -> None:
    says = (
        rf"recipe\.batch_size: .* received {batch}, where phase 1 has {room} training images\. Set it to {room} or less"
    )
    with pytest.raises(UserError, match=says):
        plan(phase(**fields), recipe=build.recipe(batch_size=batch))
    assert plan(phase(**fields), recipe=build.recipe(batch_size=room)).phases[0].draws == 5 * room


def test_a_balanced_pool_counts_with_its_repetitions(build: Any) -> None:
    real = build.images(20, seed=1).take(np.arange(0, 15))
    largest = int(real.class_counts.max()) * len(real.classes)
    for batch in (largest, largest + 1):
        recipe = build.recipe(batch_size=batch, sampling=TrainingRecipe.SAMPLING_BALANCED)
        request = build.request(phase(real=1), recipe=recipe)
        if batch > largest:
            with pytest.raises(UserError, match=f"has {largest} training images"):
                plan_training(request, train=real, synthetic=None)
        else:
            assert len(plan_training(request, train=real, synthetic=None).phases[0].pool) == largest


def test_the_batches_of_families_may_be_larger_than_a_small_set(plan: Any, build: Any) -> None:
    assert {preset.batch_size for preset in RECIPES.values()} == USUAL_BATCHES
    for batch in USUAL_BATCHES:
        assert plan(phase(real=1), recipe=build.recipe(batch_size=batch)).phases[0].draws == 5 * batch
