import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from syntrial_classification.evaluate import evaluate_classifier
from syntrial_classification.service import METHODS

from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1 import classification_pb2
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


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"side": 10}, "size and colours: 8×8 pixels, grey; received 10×10 pixels, grey"),
        ({"channels": 3}, "received 8×8 pixels, rgb. Set the data set's `size` to 8 and its `colorMode` to grey"),
        ({"classes": 3}, "classes: class 0, class 1; received class 0, class 1, class 2"),
        ({"several": True}, "task, multi-class; received multi-label"),
    ],
)
def test_images_of_another_shape_with_other_classes_or_another_task_are_refused(
    build: Any, other: dict[str, Any], words: str
) -> None:
    trained = build.train(build.request(), real=build.images(20))
    with pytest.raises(UserError, match=re.escape(words)):
        evaluate(trained, build.images(8, **other))


def test_all_that_is_wrong_is_said_at_once(build: Any) -> None:
    trained = build.train(build.request(), real=build.images(20))
    with pytest.raises(UserError) as caught:
        evaluate(trained, build.images(8, side=10, classes=3))
    assert [found.field for found in caught.value.violations] == ["images.classes", "images.format"]


def test_labels_are_those_of_the_classifiers_classes_in_whatever_order_a_set_has_them(build: Any) -> None:
    trained = build.train(build.request(), real=build.images(20, classes=3))
    images = build.images(9, classes=3)
    turned = replace(images, labels=2 - images.labels, classes=images.classes[::-1])
    found, expected = evaluate(trained, turned).result("predictions"), evaluate(trained, images).result("predictions")
    for name in ("scores.npy", "labels.npy", "metrics.json"):
        assert found.read(name) == expected.read(name)


def test_a_set_may_lack_a_class_but_no_label(build: Any) -> None:
    trained = build.train(build.request(), real=build.images(20, classes=3))
    images = build.images(8, classes=2)
    found = evaluate(trained, images).result("predictions")
    assert found.array("scores.npy").shape == (8, 3)
    assert np.array_equal(found.array("labels.npy"), images.labels)
    several = build.train(build.request(), real=build.images(20, classes=3, several=True))
    with pytest.raises(UserError, match="the classifier's classes"):
        evaluate(several, build.images(8, classes=2, several=True))


def test_the_service_has_a_verb_for_each_method() -> None:
    service = classification_pb2.DESCRIPTOR.services_by_name["ClassificationService"]
    assert set(METHODS) == {method.name for method in service.methods}
