"""The parts of a network are those that a stage may name."""

import pytest
from syntrial_classification.describe import describe_model
from syntrial_classification.freezing import trained_parts
from syntrial_classification.models import build_model, model_spec
from syntrial_training.naming import parts_below

from syntrial.documents.document import read
from syntrial.documents.parts import ModelParts
from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext
from syntrial.v1.classification_pb2 import ClassifierModel, DescribeModelRequest


def described(name: str) -> ModelParts:
    context = FakeContext({})
    describe_model(DescribeModelRequest(model=ClassifierModel(name=name), classes=2, channels=3, side=64), context)
    return read(ModelParts, context.result("model"), "model.json")


@pytest.mark.parametrize("name", ["small-cnn", "resnet18", "deit_tiny_distilled_patch16_224"])
def test_every_part_that_is_listed_can_be_trained_by_its_name(name: str) -> None:
    found = described(name)
    model = build_model(model_spec(ClassifierModel(name=name), classes=2, channels=3, side=64), seed=0)
    assert trained_parts(model, [part.name for part in found.parts]) == tuple(part.name for part in found.parts)
    assert tuple(part.name for part in found.parts if "." not in part.name) == parts_below(model)
    assert trained_parts(model, ["head"]) == found.head or "head" in parts_below(model)
    assert sum(part.weights for part in found.parts if "." not in part.name) <= found.weights


def test_a_resnet_has_the_parts_that_papers_name() -> None:
    found = described("resnet18")
    assert [part.name for part in found.parts if "." not in part.name] == [
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "fc",
    ]
    assert found.head == ("fc",)


def test_a_network_that_nobody_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="resnet18"):
        described("resnet81")
