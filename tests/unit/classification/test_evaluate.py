from typing import Any

import numpy as np
import pytest
from syntrial_classification.evaluate import evaluate_classifier
from syntrial_classification.service import METHODS

from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import EvaluateClassifierRequest

CLASSIFIER, IMAGES = fake_key("classifier"), fake_key("images")
REQUEST = EvaluateClassifierRequest(
    classifier=MemberRef(key=CLASSIFIER, member="classifier"), images=MemberRef(key=IMAGES, member="test")
)


def evaluate(trained: FakeContext, images: Any) -> FakeContext:
    reader = trained.result("classifier")
    classifier = {
        "weights.safetensors": reader.read("weights.safetensors"),
        "classifier.json": reader.json("classifier.json"),
    }
    context = FakeContext({(CLASSIFIER, "classifier"): classifier, (IMAGES, "test"): images})
    evaluate_classifier(REQUEST, context)
    return context


@pytest.mark.parametrize("several", [False, True])
def test_predictions_of_the_validation_split_are_those_of_the_training(build: Any, several: bool) -> None:
    real, validation = build.images(20, several=several), build.images(30, several=several, seed=4)
    trained = build.train(build.request(), real=real, validation=validation)
    found = evaluate(trained, validation)
    for name in ("scores.npy", "labels.npy", "patients.npy"):
        assert np.array_equal(found.result("predictions").array(name), trained.result("validation").array(name))
    assert found.result("predictions").json("metrics.json") == trained.result("validation").json("metrics.json")


def test_images_of_another_shape_or_with_other_classes_are_refused(build: Any) -> None:
    trained = build.train(build.request(), real=build.images(20))
    for other in (build.images(8, side=10), build.images(8, classes=3)):
        with pytest.raises(UserError, match="classes, task and shape"):
            evaluate(trained, other)


def test_the_service_has_a_verb_for_each_method() -> None:
    assert set(METHODS) == {"TrainClassifier", "EvaluateClassifier"}
