from typing import Any

import pytest
import torch
from safetensors.torch import load
from syntrial_classification.freezing import set_trained, trained_parts
from syntrial_classification.models import build_model, model_spec
from syntrial_training.naming import parts_below
from torch import Tensor, nn

from syntrial.errors import Cancelled, UserError
from syntrial.rpc.testing import FakeCheckpoints
from syntrial.v1.classification_pb2 import ClassifierModel, TrainingPhase

LAST, BEST = TrainingPhase.START_LAST, TrainingPhase.START_BEST


def network(name: str = "small-cnn") -> nn.Module:
    return build_model(model_spec(ClassifierModel(name=name), classes=2, channels=1, side=8), seed=0)


def weights(context: Any) -> dict[str, Tensor]:
    return load(context.result("classifier").read("weights.safetensors"))


def stage(*parts: str, steps: int = 4, start: int = LAST, rate: float = 3e-3) -> TrainingPhase:
    return TrainingPhase(real=1, steps=steps, learning_rate=rate, train=parts, start=start)


def test_parts_are_named_as_the_network_has_them_and_the_head_by_its_role() -> None:
    assert parts_below(network()) == ("features", "head")
    assert trained_parts(network("resnet18"), ["layer4", "head"]) == ("layer4", "fc")
    assert trained_parts(network("resnet18"), ["layer4.1.conv2", "fc"]) == ("layer4.1.conv2", "fc")
    assert trained_parts(network(), []) == ()


@pytest.mark.parametrize(
    ("part", "expected"),
    [("layer5", "Did you mean layer4"), ("xyz", "Its parts: conv1, bn1, layer1"), ("maxpool", "which has none")],
)
def test_a_part_that_no_network_has_is_told_with_the_nearest(part: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        trained_parts(network("resnet18"), [part])


def test_a_part_is_listed_once_where_the_last_layer_is_called_head_anyway() -> None:
    with pytest.raises(UserError, match=r"Did you mean head or features\? Its parts: features and head\."):
        trained_parts(network(), ["heat"])


def test_norms_of_parts_that_stay_are_in_evaluation_mode_and_those_that_are_trained_are_not() -> None:
    model = network("resnet18")
    set_trained(model, ("layer4.1", "fc"))
    named = dict(model.named_modules())
    assert not named["bn1"].training
    assert not named["layer4.0.bn1"].training
    assert named["layer4.1.bn1"].training
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(name.startswith(("layer4.1.", "fc.")) for name in trained)
    set_trained(model, ())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_what_is_not_trained_keeps_its_bytes_its_norms_statistics_too(build: Any) -> None:
    real = build.images(16)
    before = build_model(model_spec(ClassifierModel(name="small-cnn"), classes=2, channels=1, side=8), seed=0)
    after = weights(build.train(build.request(stage("head")), real=real))
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_later_stage_goes_on_from_the_one_before(build: Any) -> None:
    real = build.images(16)
    # Averaged weights follow those that are trained; here they are the same.
    recipe = build.recipe(ema_half_life_steps=0)
    first = weights(build.train(build.request(stage("head"), recipe=recipe), real=real))
    both = weights(build.train(build.request(stage("head"), stage("features"), recipe=recipe), real=real))
    assert torch.equal(first["head.weight"], both["head.weight"])
    assert not torch.equal(first["features.0.weight"], both["features.0.weight"])


def test_each_stage_is_evaluated_at_its_end_and_recorded(build: Any) -> None:
    request = build.request(
        stage("head", steps=5), stage(steps=5), stage("features", steps=3), recipe=build.recipe(validations=1)
    )
    record = build.train(request, real=build.images(16)).result("training").json("training.json")
    assert record["curves"]["x"] == [5, 10, 13]
    assert [phase.get("train", []) for phase in record["phases"]] == [["head"], [], ["features"]]


def test_a_stage_may_begin_with_the_best_of_the_one_before(build: Any) -> None:
    real, validation = build.images(16, classes=4), build.images(60, classes=4, seed=5)
    recipe = build.recipe(validations=13, ema_half_life_steps=0)
    # A rate so high that the loss jumps about; then a stage so slow that it stays where it began.
    request = build.request(stage(steps=12, rate=0.3), stage("head", steps=1, start=BEST, rate=1e-12), recipe=recipe)
    context = build.train(request, real=real, validation=validation)
    losses = context.result("training").json("training.json")["curves"]["series"]["validation_loss"]
    assert min(losses[:12]) < losses[11]
    assert losses[12] == pytest.approx(min(losses[:12]), rel=1e-5)


@pytest.mark.parametrize("stop_after", [2, 4, 5, 8, 9])
def test_an_interrupted_training_in_stages_ends_in_the_same_bytes(build: Any, stop_after: int) -> None:
    real = build.images(20)
    request = build.request(stage("head"), stage("features", "head", start=BEST), stage())
    expected = build.blobs(build.train(request, real=real))
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        build.train(request, real=real, checkpoints=checkpoints, checkpoint_every=1, cancel_after=stop_after)
    assert build.blobs(build.train(request, real=real, checkpoints=checkpoints)) == expected


def test_a_first_stage_has_none_before_it(build: Any) -> None:
    with pytest.raises(UserError, match="none before it"):
        build.train(build.request(stage(start=BEST)), real=build.images(8))
