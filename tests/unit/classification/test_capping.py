"""A limit for each label that every pass draws anew."""

from typing import Any

import numpy as np
import pytest
from syntrial_classification.capping import as_a_pass
from syntrial_classification.losses import class_weights
from syntrial_classification.phases import Phase, plan_training
from syntrial_classification.pools import REAL

from syntrial.documents import document
from syntrial.documents.training import ClassifierTraining
from syntrial.errors import Cancelled, UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeCheckpoints
from syntrial.v1.classification_pb2 import Probe, TrainingPhase, TrainingRecipe

EPOCHS = TrainingPhase(real=1, epochs=4, learning_rate=1e-3)


def unequal(build: Any, *counts: int, seed: int = 0) -> ImageSet:
    """A set with as many images of each class."""
    whole = build.images(max(counts) * len(counts), classes=len(counts), seed=seed)
    rows = np.concatenate([np.flatnonzero(whole.labels == k)[:n] for k, n in enumerate(counts)])
    return ImageSet(
        images_NHWC=whole.images_NHWC[rows],
        labels=whole.labels[rows],
        classes=whole.classes,
        task=whole.task,
        origins={},
    )


def passes(phase: Phase, *, count: int) -> list[np.ndarray[Any, Any]]:
    """The items of each of the first passes."""
    items, numbers = phase.order.draws(0, phase.order.start(count))
    return [items[numbers == number] for number in range(count)]


def test_each_pass_shows_as_many_of_each_class_and_others(build: Any) -> None:
    real = unequal(build, 40, 12, 3)
    (phase,) = plan_training(build.request(EPOCHS, cap_per_label=10), train=real, synthetic=None).phases
    shown = passes(phase, count=4)
    for items in shown:
        assert np.bincount(real.labels[phase.pool.rows[items]]).tolist() == [10, 10, 3]
        assert len(set(items)) == 23
    assert phase.draws == 4 * 23
    common = [set(items[real.labels[phase.pool.rows[items]] == 0]) for items in shown]
    assert len(set.union(*common)) > 20, "one draw for all passes would show 10"
    assert phase.order.distinct(phase.draws) == len({item for items in shown for item in items})


def test_each_image_is_drawn_as_often_as_any_other_of_its_class(build: Any) -> None:
    real = unequal(build, 40, 5)
    (phase,) = plan_training(build.request(EPOCHS, cap_per_label=10), train=real, synthetic=None).phases
    times = np.bincount(np.concatenate(passes(phase, count=800)), minlength=45)
    # Of 800 passes a quarter, binomial: a standard deviation of 12.2 for each of 40 images.
    assert np.abs(times[:40] - 200).max() < 5 * 12.3
    assert set(times[40:]) == {800}


def test_images_stand_in_a_pass_in_no_order_of_how_they_were_drawn(build: Any) -> None:
    real = unequal(build, 400, 20)
    (phase,) = plan_training(build.request(EPOCHS, cap_per_label=20), train=real, synthetic=None).phases
    rare = [np.flatnonzero(real.labels[phase.pool.rows[items]] == 1).mean() for items in passes(phase, count=50)]
    # The mean place of 20 of 40, drawn without order, is 19.5 with a standard deviation of 1.85.
    assert abs(np.mean(rare) - 19.5) < 5 * 1.85 / 50**0.5


def test_several_labels_have_no_more_than_what_rarer_ones_bring(build: Any) -> None:
    real = build.images(200, several=True, classes=3)
    labels = real.labels.copy()
    labels[:, 2] &= np.arange(200) % 10 == 0
    real = ImageSet(images_NHWC=real.images_NHWC, labels=labels, classes=real.classes, task=real.task, origins={})
    (phase,) = plan_training(build.request(EPOCHS, cap_per_label=20), train=real, synthetic=None).phases
    rare = int(labels[:, 2].sum())
    assert 0 < rare < 20
    sizes = []
    for items in passes(phase, count=4):
        shown = labels[phase.pool.rows[items]]
        assert shown[:, 2].sum() == rare
        assert shown[:, :2].sum(0).max() <= 20 + rare
        assert (~shown.any(1)).sum() <= 20
        sizes.append(len(items))
    assert phase.draws == sum(sizes)
    assert phase.epoch == pytest.approx(sum(sizes) / 4 / 8)


def test_a_pass_keeps_the_ratio_of_synthetic_to_real_images(build: Any) -> None:
    real, made = unequal(build, 40, 8), unequal(build, 80, 16, seed=1)
    phase = TrainingPhase(real=1, synthetic=2, epochs=2, learning_rate=1e-3)
    (planned,) = plan_training(build.request(phase, cap_per_label=10), train=real, synthetic=made).phases
    origins, labels = planned.pool.origins, np.concatenate([real.labels, made.labels])
    for items in passes(planned, count=2):
        is_real = origins[items] == REAL
        assert np.bincount(labels[planned.pool.rows[items[is_real]]]).tolist() == [10, 8]
        assert np.bincount(labels[planned.pool.rows[items[~is_real]]]).tolist() == [20, 16]


def test_arms_of_one_seed_are_shown_the_same_real_images_in_the_same_order(build: Any) -> None:
    real, made = unequal(build, 40, 8), unequal(build, 40, 8, seed=1)
    phases = (EPOCHS, TrainingPhase(real=1, synthetic=1, epochs=4, learning_rate=1e-3))
    requests = [build.request(phase, cap_per_label=10, seed=3) for phase in phases]
    alone, mixed = (plan_training(request, train=real, synthetic=made).phases[0] for request in requests)
    for first, second in zip(passes(alone, count=3), passes(mixed, count=3), strict=True):
        rows = mixed.pool.rows[second]
        assert alone.pool.rows[first].tolist() == rows[mixed.pool.origins[second] == REAL].tolist()


def test_another_seed_draws_other_images(build: Any) -> None:
    real = unequal(build, 40, 8)
    requests = [build.request(EPOCHS, cap_per_label=10, seed=seed) for seed in (0, 1)]
    drawn = [set(passes(plan_training(r, train=real, synthetic=None).phases[0], count=1)[0]) for r in requests]
    assert drawn[0] != drawn[1]


def test_a_limit_that_no_label_reaches_changes_no_byte_but_what_is_told(build: Any) -> None:
    real = build.images(20)
    plain, capped = (build.train(build.request(EPOCHS, **more), real=real) for more in ({}, {"cap_per_label": 10}))
    assert build.blobs(plain)["classifier/weights.safetensors"] == build.blobs(capped)["classifier/weights.safetensors"]
    assert "epochs" not in plain.result("training").json("training.json")["phases"][0]


def test_the_record_says_what_each_epoch_showed(build: Any) -> None:
    real = unequal(build, 30, 4)
    phase = TrainingPhase(real=1, epochs=2.5, learning_rate=1e-3)
    member = build.train(build.request(phase, cap_per_label=6), real=real).result("training")
    (told,) = document.read(ClassifierTraining, member, "training.json").phases
    whole, part = told.epochs
    assert (whole.passes, whole.images, whole.labels) == (2, 10, {"class 0": 6, "class 1": 4})
    assert (part.passes, part.images) == (1, 5)
    assert told.images_seen["real"] == 25
    # The four of class 1, and of class 0 as many as three passes of six can hold at most.
    assert told.distinct is not None
    assert 10 < told.distinct <= 22


@pytest.mark.parametrize("several", [False, True])
def test_a_training_that_is_taken_up_again_ends_in_the_same_bytes(build: Any, several: bool) -> None:
    real = build.images(40, several=several)
    request = build.request(TrainingPhase(real=1, epochs=5, learning_rate=1e-3), cap_per_label=8)
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        build.train(request, real=real, checkpoints=checkpoints, checkpoint_every=1, cancel_after=7)
    resumed = build.train(request, real=real, checkpoints=checkpoints)
    assert build.blobs(resumed) == build.blobs(build.train(request, real=real))


def test_balanced_weights_count_what_a_pass_shows(build: Any) -> None:
    labels = unequal(build, 90, 10).labels
    assert class_weights(as_a_pass(labels, most=30, seed=0), classes=2).tolist() == pytest.approx([40 / 60, 40 / 20])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"recipe": TrainingRecipe(batch_size=8, sampling=TrainingRecipe.SAMPLING_BALANCED)}, "recipe.sampling"),
        ({"probe": Probe(l2=[1.0])}, "probe"),
    ],
)
def test_what_has_no_use_for_a_limit_that_is_drawn_anew_is_refused(
    build: Any, fields: dict[str, Any], field: str
) -> None:
    phase = TrainingPhase(real=1) if "probe" in fields else EPOCHS
    with pytest.raises(UserError, match=field):
        plan_training(build.request(phase, cap_per_label=5, **fields), train=unequal(build, 9, 6), synthetic=None)
