from typing import Any

import numpy as np
import pytest
from syntrial_generation import sample
from syntrial_generation.sample import in_turn

from syntrial.errors import Cancelled, UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeCheckpoints, FakeContext
from syntrial.v1.generation_pb2 import Balance, DiffusionSampler, Wanted

FAMILIES = pytest.mark.parametrize("family", ["diffusion", "gan", "latent_diffusion", "pca"])


def sampled(context: FakeContext) -> ImageSet:
    return read_image_set(context.result("images"))


@FAMILIES
def test_an_image_depends_on_seed_class_and_index_alone(family: str, lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, **{family: lab.configs[family]})
    few = sampled(lab.sample(train, trained, ratio=0.3, **lab.samplers[family]))
    many = sampled(lab.sample(train, trained, ratio=0.5, oversample=1.4, **lab.samplers[family]))
    assert few.class_counts.tolist() == [3, 3]
    assert many.class_counts.tolist() == [7, 7]
    for label in (0, 1):
        assert np.array_equal(few.images_NHWC[few.labels == label], many.images_NHWC[many.labels == label][:3])
    assert len(np.unique(many.images_NHWC.reshape(14, -1), axis=0)) == 14
    other = sampled(lab.sample(train, trained, ratio=0.3, seed=4, **lab.samplers[family]))
    assert not np.array_equal(few.images_NHWC, other.images_NHWC)


@FAMILIES
@pytest.mark.parametrize("stops", [False, True], ids=["whole", "resumed"])
def test_what_was_drawn_before_is_copied_and_the_rest_is_as_if_all_were_drawn_at_once(
    family: str, stops: bool, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = lab.split()
    trained = lab.train(train, **{family: lab.configs[family]})
    asked = {"oversample": 1.7, "micro_batch": 2, **lab.samplers[family]}
    at_once = lab.sample(train, trained, **asked).result("images")
    before = lab.sample(train, trained, **asked | {"oversample": 1.0, "ratio": 0.9})
    checkpoints = FakeCheckpoints()
    drawn: list[int] = []
    if stops:
        extra = {"checkpoint_every": 1, "cancel_after": 1}
        with pytest.raises(Cancelled):
            lab.sample(train, trained, before=before, checkpoints=checkpoints, extra=extra, **asked)
    monkeypatch.setattr(sample, "in_turn", lambda draw, batches, **rest: _counted(draw, batches, drawn, **rest))
    copied = lab.sample(train, trained, before=before, checkpoints=checkpoints, **asked).result("images")
    assert copied.digest == at_once.digest
    # Of each class 9 of 17 are there, which are four micro-batches and a half.
    assert len(drawn) < 10 if stops else len(drawn) == 10


def _counted(draw: Any, batches: Any, drawn: list[int], **rest: Any) -> Any:
    drawn += [batch.indices.start for batch in batches]
    return in_turn(draw, batches, **rest)


def test_images_that_are_none_of_the_first_are_not_copied(lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, pca=lab.configs["pca"])
    with pytest.raises(UserError, match=r"drawn.oversample: is smaller than the request's; received 14 images of 6"):
        lab.sample(train, trained, before=lab.sample(train, trained, ratio=0.7), ratio=0.3)


def test_images_know_their_generator_class_and_number(lab: Any) -> None:
    train = lab.split()
    images = sampled(lab.sample(train, lab.train(train, pca=lab.configs["pca"]), ratio=0.2))
    assert list(images.origins["class"]) == [0, 0, 1, 1]
    assert list(images.origins["index"]) == [0, 1, 0, 1]
    assert len(set(images.origins["generator"])) == 1


def test_balance_shares_out_the_classes(lab: Any) -> None:
    train = lab.split().take(np.array([0, 2, 4, 6, 8, 10, 1, 3]))
    trained = lab.train(train, pca=lab.configs["pca"])
    counts = {
        balance: sampled(lab.sample(train, trained, balance=balance)).class_counts.tolist()
        for balance in (Balance.BALANCE_MATCH, Balance.BALANCE_UNIFORM, Balance.BALANCE_FILL)
    }
    assert list(counts.values()) == [[6, 2], [4, 4], [2, 6]]


@FAMILIES
def test_sampling_resumes_where_it_was_interrupted(family: str, lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, **{family: lab.configs[family]})
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        lab.sample(
            train,
            trained,
            checkpoints=checkpoints,
            extra={"cancel_after": 2, "checkpoint_every": 1},
            **lab.samplers[family],
        )
    resumed = lab.sample(train, trained, checkpoints=checkpoints, **lab.samplers[family])
    assert len(resumed.reports) == 1
    undisturbed = lab.sample(train, trained, **lab.samplers[family])
    assert resumed.result("images").digest == undisturbed.result("images").digest


@FAMILIES
def test_images_of_several_labels_take_the_label_vectors_of_training_images(family: str, lab: Any) -> None:
    train = lab.split(task="multi-label", colors=3)
    images = sampled(lab.sample(train, lab.train(train, **{family: lab.configs[family]}), **lab.samplers[family]))
    assert images.images_NHWC.shape == (20, 8, 8, 3)
    assert {tuple(row) for row in images.labels.tolist()} == {(0, 1), (1, 1)}


@pytest.mark.parametrize("sampler", [{"churn": 5.0}, {"steps": 1}, {"rho": 3.0}])
def test_every_kind_of_diffusion_sampling_gives_images(sampler: dict[str, Any], lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, diffusion=lab.configs["diffusion"])
    plain = {"steps": 3, "sigma_min": 0.01, "sigma_max": 40, "rho": 7, "solver": DiffusionSampler.SOLVER_HEUN}
    images = sampled(lab.sample(train, trained, ratio=0.2, diffusion=DiffusionSampler(**plain | sampler)))
    usual = sampled(lab.sample(train, trained, ratio=0.2, diffusion=DiffusionSampler(**plain)))
    assert not np.array_equal(images.images_NHWC, usual.images_NHWC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": 0.0}, "ratio: must be above 0"),
        ({"ratio": 0.01}, "ratio: at least one image"),
        ({"oversample": 0.5}, "oversample: must be at least 1"),
        ({"micro_batch": 0}, "micro_batch: must be above 0"),
        ({"diffusion": DiffusionSampler(steps=3)}, "sampler: a pca generator takes no sampler"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_by_its_field(changes: dict[str, Any], message: str, lab: Any) -> None:
    train = lab.split()
    with pytest.raises(UserError, match=message):
        lab.sample(train, lab.train(train, pca=lab.configs["pca"]), **changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "diffusion.steps: must be above 0"),
        ({"sigma_min": 50.0}, "diffusion.sigma_min: must be above 0 and below sigma_max"),
        ({"churn": 1.0}, "diffusion.churn: the solver dpm-solver-pp-2m is deterministic"),
    ],
)
def test_a_diffusion_sampler_that_cannot_work_is_refused(fields: dict[str, Any], message: str, lab: Any) -> None:
    train = lab.split()
    sampler = lab.samplers["diffusion"]["diffusion"]
    for name, value in fields.items():
        setattr(sampler, name, value)
    with pytest.raises(UserError, match=message):
        lab.sample(train, lab.train(train, diffusion=lab.configs["diffusion"]), diffusion=sampler)


def test_a_training_split_of_another_shape_is_refused(lab: Any) -> None:
    trained = lab.train(lab.split(), pca=lab.configs["pca"])
    with pytest.raises(UserError, match="classes and the image shape that the generator was trained on"):
        lab.sample(lab.split(side=4), trained)


@FAMILIES
def test_images_asked_for_by_number_are_those_that_a_trial_draws(family: str, lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, **{family: lab.configs[family]})
    drawn = sampled(lab.sample(train, trained, ratio=0.3, **lab.samplers[family]))
    alone: dict[str, Any] = {"train": None, "ratio": 0.0, "oversample": 0.0, "balance": 0}
    ill = sampled(
        lab.sample(train, trained, wanted=[Wanted(classes=["ill"], count=5)], **alone, **lab.samplers[family])
    )
    assert ill.class_counts.tolist() == [0, 5]
    assert np.array_equal(ill.images_NHWC[:3], drawn.images_NHWC[drawn.labels == 1])


def test_of_several_labels_each_image_bears_those_that_were_asked_for(lab: Any) -> None:
    train = lab.split(task="multi-label")
    trained = lab.train(train, pca=lab.configs["pca"])
    alone: dict[str, Any] = {"train": None, "ratio": 0.0, "oversample": 0.0, "balance": 0}
    both, none = Wanted(classes=["ill", "normal"], count=2), Wanted(count=3)
    images = sampled(lab.sample(train, trained, wanted=[both, none], **alone))
    assert images.labels.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0], [0, 0]]
    other = sampled(lab.sample(train, trained, wanted=[none], **alone))
    assert np.array_equal(other.images_NHWC, images.images_NHWC[2:])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"wanted": [Wanted(classes=["well"], count=2)]}, "wanted[0].classes"),
        ({"wanted": [Wanted(classes=["ill"])]}, "wanted[0].count"),
        ({"wanted": [Wanted(classes=["ill", "normal"], count=2)]}, "wanted[0].classes"),
        ({"wanted": [Wanted(classes=["ill"], count=2), Wanted(classes=["ill"], count=2)]}, "wanted[1].classes"),
        ({"wanted": [Wanted(classes=["ill"], count=2)], "ratio": 1.0}, "wanted"),
    ],
)
def test_what_cannot_be_drawn_by_number_is_refused(changes: dict[str, Any], field: str, lab: Any) -> None:
    train = lab.split()
    trained = lab.train(train, pca=lab.configs["pca"])
    alone: dict[str, Any] = {"train": None, "ratio": 0.0, "oversample": 0.0, "balance": 0}
    with pytest.raises(UserError) as refused:
        lab.sample(train, trained, **alone | changes)
    assert refused.value.violations[0].field == field
