from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from syntrial_classification import training as training_module
from syntrial_classification.models import ModelSpec, SmallCnn, build_model
from syntrial_classification.pools import Order
from syntrial_training.weights import read_safetensors
from torch import Tensor, nn

from syntrial.artifacts.content import file_digest
from syntrial.artifacts.store import open_store
from syntrial.errors import Cancelled, UserError
from syntrial.rpc.testing import FakeCheckpoints, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, FileWeights, TrainingPhase, TrainingRecipe

BEST = TrainingRecipe.CHECKPOINT_CHOICE_BEST
TWO_PHASES = (
    TrainingPhase(synthetic=1, steps=5, learning_rate=3e-3),
    TrainingPhase(real=1, synthetic=0.5, epochs=2, learning_rate=1e-3),
)


def test_a_network_learns_32_images_by_heart(build: Any) -> None:
    real = build.images(32, classes=4)
    recipe = build.recipe(batch_size=16, augment_shift=0)
    request = build.request(TrainingPhase(real=1, steps=60, learning_rate=3e-3), recipe=recipe)
    context = build.train(request, real=real)
    assert context.result("validation").json("metrics.json")["accuracy"] == 1.0
    assert context.result("validation").array("scores.npy").dtype == np.float64


def test_what_each_phase_saw_is_recorded_exactly(build: Any) -> None:
    context = build.train(build.request(*TWO_PHASES), real=build.images(20), synthetic=build.images(50, seed=2))
    first, second = context.result("training").json("training.json")["phases"]
    assert first["images_seen"] == {"real": 0, "synthetic": 40, "duplicated": 0}
    assert first["pool"] == {"real": 0, "synthetic": 20, "duplicated": 0}
    assert second["images_seen"] == {"real": 40, "synthetic": 20, "duplicated": 0}
    assert (second["steps"], second["learning_rate"]) == (8, 1e-3)


def test_duplicated_images_are_counted_apart(build: Any) -> None:
    request = build.request(TrainingPhase(real=1, duplicated=1, epochs=1, learning_rate=1e-3))
    record = build.train(request, real=build.images(20)).result("training").json("training.json")
    assert record["phases"][0]["images_seen"] == {"real": 20, "duplicated": 20, "synthetic": 0}


def test_a_training_that_shows_other_images_than_its_phase_asks_for_stops(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Order.draws

    def only_real(self: Order, start: int, stop: int) -> Any:
        items, passes = honest(self, start, stop)
        return np.where(self.pool.origins[items] == 0, items, 0), passes

    monkeypatch.setattr(Order, "draws", only_real)
    request = build.request(TrainingPhase(real=1, synthetic=1, steps=4, learning_rate=1e-3))
    with pytest.raises(AssertionError, match="was to see"):
        build.train(request, real=build.images(20))


def test_the_same_request_gives_the_same_bytes_and_another_seed_others(build: Any) -> None:
    sets = {"real": build.images(20), "synthetic": build.images(50, seed=2)}
    first = build.blobs(build.train(build.request(*TWO_PHASES, seed=1), **sets))
    assert first == build.blobs(build.train(build.request(*TWO_PHASES, seed=1), **sets))
    other = build.blobs(build.train(build.request(*TWO_PHASES, seed=2), **sets))
    assert other["classifier/weights.safetensors"] != first["classifier/weights.safetensors"]


CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "best by loss": {"checkpoint": BEST, "optimizer": TrainingRecipe.OPTIMIZER_SGD},
    "all there is": {
        "checkpoint": BEST,
        "select_by": TrainingRecipe.SELECTION_AUROC,
        "schedule": TrainingRecipe.SCHEDULE_DECAY,
        "decay_epochs": 1,
        "warmup_epochs": 0.5,
        "learning_rate_batch": 16,
        "clip_norm": 1,
        "layer_decay": 0.7,
        "class_weights": TrainingRecipe.CLASS_WEIGHTS_BALANCED,
        "sampling": TrainingRecipe.SAMPLING_BALANCED,
        "mixup": 0.2,
        "cutmix": 1,
        "crop": 0.5,
        "rotation": 10,
        "jitter": 0.2,
        "erasing": 0.5,
        "rand_augment": 9,
        "keep_epochs": 1.5,
        "keep_stages": True,
    },
    "bfloat16": {"precision": TrainingRecipe.PRECISION_BFLOAT16},
}


@pytest.mark.parametrize(("stop_after", "changes"), [(5, "default"), (4, "best by loss"), (9, "all there is")])
def test_the_parts_of_a_training_end_in_the_bytes_of_the_whole(build: Any, stop_after: int, changes: str) -> None:
    sets = {"real": build.images(20), "synthetic": build.images(50, seed=2), "store": open_store("memory://")}
    request = build.request(*TWO_PHASES, recipe=build.recipe(**CHANGES[changes]))
    expected = build.blobs(build.train(request, **sets))
    request.part.until = stop_after / 13
    first = build.train(request, **sets, key=fake_key("part"))
    assert len(first.reports) == stop_after
    state = {name: first.result("state").read(name) for name in first.result("state").names()}
    request.part.until = 0
    request.part.begun.CopyFrom(MemberRef(key=fake_key("begun"), member="state"))
    last = build.train(request, **sets, key=fake_key("last"), inputs={(fake_key("begun"), "state"): state})
    assert len(last.reports) == 13 - stop_after
    assert build.blobs(last) == expected


def test_a_part_is_a_share_and_begins_with_what_a_part_left(build: Any) -> None:
    request = build.request(*TWO_PHASES)
    request.part.until = 1
    with pytest.raises(UserError, match=r"part\.until"):
        build.train(request, real=build.images(20))
    request.part.until = 0.5
    request.part.begun.CopyFrom(MemberRef(key="0" * 64, member="classifier"))
    with pytest.raises(UserError, match=r"part\.begun"):
        build.train(request, real=build.images(20))


@pytest.mark.parametrize("stop_after", [1, 4, 5, 9, 12])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_an_interrupted_training_ends_in_the_same_bytes(build: Any, stop_after: int, changes: Any) -> None:
    sets = {"real": build.images(20), "synthetic": build.images(50, seed=2)}
    request = build.request(*TWO_PHASES, recipe=build.recipe(**changes))
    expected = build.blobs(build.train(request, **sets))
    checkpoints, store = FakeCheckpoints(), open_store("memory://")
    attempt = {**sets, "checkpoints": checkpoints, "store": store}
    with pytest.raises(Cancelled):
        build.train(request, **attempt, checkpoint_every=1, cancel_after=stop_after)
    assert checkpoints.saves == stop_after
    resumed = build.train(request, **attempt)
    assert len(resumed.reports) == 13 - stop_after
    assert build.blobs(resumed) == expected


def test_weights_are_kept_every_so_many_epochs_of_each_phase(build: Any) -> None:
    sets = {"real": build.images(20), "synthetic": build.images(50, seed=2)}
    context = build.train(build.request(*TWO_PHASES, recipe=build.recipe(keep_epochs=1, validations=1)), **sets)
    # 5 steps of 8 images over 20; then 60 images over a pool of 30.
    assert context.result("checkpoints").names() == [
        f"phase-{phase}-epoch-{epoch}.safetensors" for phase, epoch in ((0, 1), (0, 2), (1, 1), (1, 2))
    ]
    last = context.result("checkpoints").read("phase-1-epoch-2.safetensors")
    assert last == context.result("classifier").read("weights.safetensors")
    assert "checkpoints" not in build.train(build.request(*TWO_PHASES), **sets).output.members()


def test_weights_at_the_end_of_each_stage_are_kept_as_the_next_one_begins(build: Any) -> None:
    head = TrainingPhase(real=1, steps=6, learning_rate=0.3, train=["head"])
    best = TrainingPhase(real=1, steps=3, learning_rate=1e-3, start=TrainingPhase.START_BEST)
    phases = (head, best, TrainingPhase(real=1, steps=2, learning_rate=1e-3))
    recipe = build.recipe(keep_stages=True, validations=11, ema_half_life_steps=0)
    context = build.train(build.request(*phases, recipe=recipe), real=build.images(16))
    kept = context.result("checkpoints")
    assert kept.names() == ["phase-0-end.safetensors", "phase-1-end.safetensors"]
    # A training of the first stage alone, which keeps its best, ends in what the second one began with.
    alone = build.recipe(validations=6, ema_half_life_steps=0, checkpoint=BEST)
    first = build.train(build.request(head, recipe=alone), real=build.images(16))
    assert kept.read("phase-0-end.safetensors") == first.result("classifier").read("weights.safetensors")
    both = build.train(
        build.request(*phases[:2], recipe=build.recipe(validations=9, ema_half_life_steps=0)), real=build.images(16)
    )
    assert kept.read("phase-1-end.safetensors") == both.result("classifier").read("weights.safetensors")


def test_a_training_whose_kept_weights_were_collected_begins_anew(build: Any) -> None:
    sets = {"real": build.images(20), "synthetic": build.images(50, seed=2)}
    request = build.request(*TWO_PHASES, recipe=build.recipe(keep_epochs=1))
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        build.train(request, **sets, checkpoints=checkpoints, checkpoint_every=1, cancel_after=9)
    resumed = build.train(request, **sets, checkpoints=checkpoints)
    assert len(resumed.reports) == 13
    assert build.blobs(resumed) == build.blobs(build.train(request, **sets))


@pytest.mark.parametrize(("room", "says"), [(4, "`batchSize` to 4, which fits"), (0, "Not 2 images fit")])
def test_a_batch_that_the_device_has_no_memory_for_is_told_with_the_one_that_fits(
    build: Any, monkeypatch: pytest.MonkeyPatch, room: int, says: str
) -> None:
    honest = SmallCnn.forward

    def forward(self: SmallCnn, images: Tensor) -> Tensor:
        if self.training and len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(self, images)

    monkeypatch.setattr(SmallCnn, "forward", forward)
    with pytest.raises(UserError, match=f"recipe.batch_size: .* received 16 images of 8×8 pixels.*{says}"):
        build.train(build.request(recipe=build.recipe(batch_size=16)), real=build.images(32))


def test_products_of_bfloat16_are_near_those_of_float32_and_predictions_are_of_float32(build: Any) -> None:
    real = build.images(32, classes=4)
    scores = {}
    for precision in (0, TrainingRecipe.PRECISION_FLOAT32, TrainingRecipe.PRECISION_BFLOAT16):
        recipe = build.recipe(batch_size=16, precision=precision)
        request = build.request(TrainingPhase(real=1, steps=20, learning_rate=1e-3), recipe=recipe)
        context = build.train(request, real=real)
        weights = read_safetensors(context.result("classifier").path("weights.safetensors"))
        assert all(value.dtype != torch.bfloat16 for value in weights.values())
        scores[precision] = context.result("validation").array("scores.npy")
    assert np.array_equal(scores[0], scores[1])
    largest = np.abs(scores[1] - scores[2]).max()
    # A product's 8 bits, once a layer and step.
    assert 0 < largest < 20 * 2**-8


def test_dropout_resumes_exactly_too(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SmallCnn.__init__

    def with_dropout(self: SmallCnn, **fields: Any) -> None:
        made(self, **fields)
        self.features.append(nn.Dropout(0.5))

    monkeypatch.setattr(SmallCnn, "__init__", with_dropout)
    request = build.request(TrainingPhase(real=1, steps=3, learning_rate=1e-3))
    real = build.images(8)
    expected = build.blobs(build.train(request, real=real))
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        build.train(request, real=real, checkpoints=checkpoints, checkpoint_every=1, cancel_after=2)
    assert build.blobs(build.train(request, real=real, checkpoints=checkpoints)) == expected


def test_arms_with_one_seed_start_alike_and_see_real_images_in_one_order(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    starts: list[bytes] = []
    honest = training_module.Training._batch
    made = training_module.Training.__init__

    def watch(self: Any, phase: Any, index: int, local: int) -> Any:
        items, _ = phase.order.draws(phase.bounds[local], phase.bounds[local + 1])
        seen[-1] += [int(row) for row in phase.pool.rows[items] if self.plan.origins[row] == 0]
        return honest(self, phase, index, local)

    def start(self: Any, model: Any, **fields: Any) -> None:
        made(self, model, **fields)
        seen.append([])
        starts.append(self.model.head.weight.detach().numpy().tobytes())

    monkeypatch.setattr(training_module.Training, "_batch", watch)
    monkeypatch.setattr(training_module.Training, "__init__", start)
    real, synthetic = build.images(20), build.images(50, seed=2)
    for share in (0.0, 1.0):
        phase = TrainingPhase(real=1, synthetic=share, epochs=1, learning_rate=1e-3)
        build.train(build.request(phase, seed=4), real=real, synthetic=synthetic)
    assert seen[0] == seen[1]
    assert sorted(seen[0]) == list(range(20))
    assert starts[0] == starts[1]


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(build: Any) -> None:
    recipe = build.recipe(checkpoint=BEST, validations=6, ema_half_life_steps=0)
    # So high a rate that the loss jumps about, and the lowest is not the last.
    request = build.request(TrainingPhase(real=1, steps=12, learning_rate=0.3), recipe=recipe)
    context = build.train(request, real=build.images(16), validation=build.images(40, seed=5))
    record = context.result("training").json("training.json")
    losses = record["curves"]["series"]["validation_loss"]
    best = losses.index(min(losses))
    assert record["checkpoint"] == {"choice": "best", "step": record["curves"]["x"][best]}
    assert context.result("validation").json("metrics.json")["log_loss"] == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("stop_after", [None, 8, 12])
def test_the_best_checkpoint_is_of_the_last_phase_however_well_the_first_did(
    build: Any, stop_after: int | None
) -> None:
    recipe = build.recipe(checkpoint=BEST, validations=8, ema_half_life_steps=0)
    # Synthetic images with the classes the wrong way round undo what real ones taught.
    phases = (
        TrainingPhase(real=1, steps=10, learning_rate=3e-3),
        TrainingPhase(synthetic=1, steps=6, learning_rate=1e-2),
    )
    synthetic = build.images(50, seed=2)
    sets = {
        "real": build.images(32),
        "synthetic": replace(synthetic, labels=1 - synthetic.labels),
        "validation": build.images(40, seed=5),
        "checkpoints": FakeCheckpoints(),
    }
    request = build.request(*phases, recipe=recipe)
    if stop_after is not None:
        with pytest.raises(Cancelled):
            build.train(request, **sets, checkpoint_every=1, cancel_after=stop_after)
    context = build.train(request, **sets)
    record = context.result("training").json("training.json")
    losses = dict(zip(record["curves"]["x"], record["curves"]["series"]["validation_loss"], strict=True))
    last_phase = {step: loss for step, loss in losses.items() if step > 10}
    assert min(losses.values()) < min(last_phase.values())
    best = min(last_phase, key=lambda step: last_phase[step])
    assert record["checkpoint"] == {"choice": "best", "step": best}
    assert context.result("validation").json("metrics.json")["log_loss"] == pytest.approx(last_phase[best], rel=1e-4)


def test_a_set_smaller_than_its_familys_batch_and_a_class_that_validation_lacks_are_no_trouble(build: Any) -> None:
    validation = build.images(12, classes=3, seed=3)
    validation = validation.take(np.flatnonzero(validation.labels != 2))
    request = build.request(TrainingPhase(real=1, steps=2, learning_rate=1e-3), recipe=build.recipe(batch_size=64))
    context = build.train(request, real=build.images(3, classes=3), validation=validation)
    assert context.result("validation").json("metrics.json")["classes_without_auroc"] == ["class 2"]
    assert context.result("training").json("training.json")["phases"][0]["images_seen"]["real"] == 128


def test_several_labels_are_trained_with_sigmoids(build: Any) -> None:
    real = build.images(40, classes=3, several=True)
    recipe = build.recipe(batch_size=16, loss=TrainingRecipe.LOSS_FOCAL)
    request = build.request(TrainingPhase(real=1, steps=60, learning_rate=5e-3), recipe=recipe)
    context = build.train(request, real=real)
    scores = context.result("validation").array("scores.npy")
    assert not np.allclose(scores.sum(axis=1), 1)
    assert context.result("validation").json("metrics.json")["auroc"] > 0.95


def test_training_from_a_file_starts_from_its_weights(build: Any, tmp_path: Any) -> None:
    spec = ModelSpec(name="small-cnn", small_stem=True, classes=5, channels=1, side=8)
    path = tmp_path / "w.safetensors"
    save_file(build_model(spec, seed=99).state_dict(), path)
    digest = file_digest(path)
    model = ClassifierModel(name="small-cnn", file=FileWeights(digest=digest))
    context = build.train(build.request(model=model), real=build.images(16), sources={digest: path})
    pretraining = context.result("classifier").json("classifier.json")["pretraining"]
    assert pretraining == {"kind": "file", "digest": digest, "heads_replaced": ["head"]}
    with pytest.raises(UserError, match="on this machine"):
        build.train(build.request(model=model), real=build.images(16))


PRETRAINED = fake_key("pretrained")


def begun_with(build: Any, first: Any, *, images: Any, **fields: Any) -> Any:
    """A training that begins with the classifier of another, and changes next to nothing of it."""
    member = first.result("classifier")
    model = ClassifierModel(name="small-cnn", trained=MemberRef(key=PRETRAINED, member="classifier"))
    inputs = {
        (PRETRAINED, "classifier"): {
            "classifier.json": member.json("classifier.json"),
            "weights.safetensors": member.read("weights.safetensors"),
        }
    }
    still = TrainingPhase(real=1, steps=1, learning_rate=1e-30)
    return build.train(build.request(still, model=model, **fields), real=images, inputs=inputs)


def test_a_training_begins_with_the_classifier_of_another_as_that_predicted(build: Any) -> None:
    images = build.images(40, classes=3)
    first = build.train(build.request(seed=1), real=images)
    second = begun_with(build, first, images=images, seed=2)
    before, after = (
        read_safetensors(found.result("classifier").path("weights.safetensors")) for found in (first, second)
    )
    # Norms' statistics move in a step; nothing else does.
    trained = [name for name in before if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(before[name], after[name]) for name in trained)
    scores = [found.result("validation").array("scores.npy") for found in (first, second)]
    np.testing.assert_allclose(*scores, atol=0.02)
    record = second.result("classifier").json("classifier.json")["pretraining"]
    assert record == {"kind": "trained", "key": PRETRAINED, "heads_replaced": []}


@pytest.mark.parametrize("several", [False, True])
def test_a_head_of_other_classes_or_another_task_is_new_though_as_large(build: Any, several: bool) -> None:
    first = build.train(build.request(seed=1), real=build.images(40, classes=3, several=True))
    images = build.images(40, classes=3, several=several)
    if several:
        images = replace(images, classes=("a", "b", "c"))
    second = begun_with(build, first, images=images, seed=2)
    record = second.result("classifier").json("classifier.json")
    assert record["pretraining"]["heads_replaced"] == ["head"]
    assert record["task"] == images.task


def test_grey_images_begin_with_a_network_of_colour_ones(build: Any) -> None:
    first = build.train(build.request(seed=1), real=build.images(40, channels=3))
    second = begun_with(build, first, images=build.images(40), seed=2)
    assert second.result("classifier").json("classifier.json")["pretraining"]["heads_replaced"] == []


def test_the_weights_that_a_training_leaves_are_a_file_to_begin_with(build: Any) -> None:
    images = build.images(16)
    first = build.train(build.request(seed=1), real=images)
    path = first.result("classifier").path("weights.safetensors")
    digest = file_digest(path)
    model = ClassifierModel(name="small-cnn", file=FileWeights(digest=digest))
    second = build.train(build.request(model=model), real=images, sources={digest: path})
    assert second.result("classifier").json("classifier.json")["pretraining"]["heads_replaced"] == []


def test_a_network_does_not_begin_with_the_weights_of_another(build: Any) -> None:
    images = build.images(16, side=32)
    first = build.train(build.request(model="test_resnet"), real=images)
    with pytest.raises(UserError, match="same network; received those of test_resnet for small-cnn"):
        begun_with(build, first, images=images)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"batch_size": 1}, "batch_size"), ({"warmup": 1.0}, "warmup"), ({"label_smoothing": 1}, "label_smoothing")],
)
def test_a_recipe_out_of_range_is_the_users_error(build: Any, changes: Any, field: str) -> None:
    with pytest.raises(UserError, match=f"recipe.{field}"):
        build.train(build.request(recipe=build.recipe(**changes)), real=build.images(8))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schedule": TrainingRecipe.SCHEDULE_DECAY}, "decay_epochs"),
        ({"loss": TrainingRecipe.LOSS_ASYMMETRIC}, "loss"),
        ({"loss": TrainingRecipe.LOSS_FOCAL, "focal_alpha": 0.25}, "focal_alpha"),
        ({"jitter": 1}, "jitter"),
        ({"crop": 1.5}, "crop"),
    ],
)
def test_a_recipe_that_does_not_go_with_three_classes_is_the_users_error(build: Any, changes: Any, field: str) -> None:
    with pytest.raises(UserError, match=f"recipe.{field}"):
        build.train(build.request(recipe=build.recipe(**changes)), real=build.images(9, classes=3))


@pytest.mark.parametrize(("several", "empty"), [(True, False), (False, True)])
def test_balanced_sampling_is_refused_for_several_labels_and_for_an_empty_class(
    build: Any, several: bool, empty: bool
) -> None:
    real = build.images(12, classes=3, several=several)
    if empty:
        real = real.take(np.flatnonzero(real.labels != 2))
    recipe = build.recipe(sampling=TrainingRecipe.SAMPLING_BALANCED)
    with pytest.raises(UserError, match="class 2" if empty else "classWeights"):
        build.train(build.request(recipe=recipe), real=real)


def test_balanced_sampling_shows_each_class_as_often(build: Any) -> None:
    real = build.images(40).take(np.arange(0, 40, 2))
    real = replace(real, labels=np.array([0] * 16 + [1] * 4, np.int64))
    recipe = build.recipe(sampling=TrainingRecipe.SAMPLING_BALANCED)
    request = build.request(TrainingPhase(real=1, epochs=4, learning_rate=1e-3), recipe=recipe)
    record = build.train(request, real=real).result("training").json("training.json")
    # Four passes over 20 images are 80 draws, of a pool of 32 in which 12 repeat the rarer class.
    assert record["phases"][0]["pool"] == {"real": 20, "synthetic": 0, "duplicated": 12}
    assert sum(record["phases"][0]["images_seen"].values()) == 80


@pytest.mark.parametrize(
    ("by", "series", "best_of"),
    [
        (TrainingRecipe.SELECTION_AUROC, "validation_auroc", max),
        (TrainingRecipe.SELECTION_ACCURACY, "validation_accuracy", max),
        (TrainingRecipe.SELECTION_LOSS, "validation_loss", min),
    ],
)
def test_the_best_checkpoint_is_the_best_by_what_the_recipe_says(
    build: Any, by: int, series: str, best_of: Any
) -> None:
    recipe = build.recipe(checkpoint=BEST, select_by=by, validations=8, ema_half_life_steps=0)
    request = build.request(TrainingPhase(real=1, steps=16, learning_rate=0.3), recipe=recipe)
    context = build.train(request, real=build.images(16, classes=4), validation=build.images(60, classes=4, seed=5))
    record = context.result("training").json("training.json")
    values = record["curves"]["series"][series]
    assert record["checkpoint"]["step"] == record["curves"]["x"][values.index(best_of(values))]


def test_published_constants_may_scale_the_pixels(build: Any) -> None:
    recipe = build.recipe(normalisation=TrainingRecipe.NORMALISATION_IMAGENET)
    context = build.train(build.request(recipe=recipe), real=build.images(16, channels=3))
    found = context.result("classifier").json("classifier.json")["normalisation"]
    assert found["mean"] == pytest.approx([255 * 0.485, 255 * 0.456, 255 * 0.406])


@pytest.mark.parametrize("several", [False, True])
def test_a_training_that_diverges_is_the_users_error_with_the_step_and_the_learning_rate(
    build: Any, several: bool
) -> None:
    recipe = build.recipe(optimizer=TrainingRecipe.OPTIMIZER_SGD, weight_decay=100.0, warmup=0.0, validations=1)
    request = build.request(TrainingPhase(real=1, steps=60, learning_rate=99.0), recipe=recipe)
    with pytest.raises(UserError, match=r"learning_rate: .* at step \d+ of 60, with a learning rate of \d"):
        build.train(request, real=build.images(20, several=several))
