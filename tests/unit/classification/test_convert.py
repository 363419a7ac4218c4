"""A classifier in a form that other programs load, equal to the original on real images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from syntrial_classification import convert
from syntrial_classification.convert import convert_classifier

from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, ConvertClassifierRequest

CLASSIFIER, IMAGES = fake_key("classifier"), fake_key("images")
TIMM, ONNX = ConvertClassifierRequest.FORM_TIMM, ConvertClassifierRequest.FORM_ONNX


def converted(trained: FakeContext, images: Any, *, form: Any) -> FakeContext:
    reader = trained.result("classifier")
    classifier = {
        "weights.safetensors": reader.read("weights.safetensors"),
        "classifier.json": reader.json("classifier.json"),
    }
    context = FakeContext({(CLASSIFIER, "classifier"): classifier, (IMAGES, "validation"): images})
    request = ConvertClassifierRequest(
        classifier=MemberRef(key=CLASSIFIER, member="classifier"),
        images=MemberRef(key=IMAGES, member="validation"),
        form=form,
    )
    convert_classifier(request, context)
    return context


def standard(name: str) -> ClassifierModel:
    return ClassifierModel(name=name, stem=ClassifierModel.STEM_STANDARD)


@pytest.mark.parametrize(
    ("model", "several"),
    [
        ("small-cnn", False),
        ("small-cnn", True),
        (standard("test_resnet"), False),
        (ClassifierModel(name="test_resnet"), False),
    ],
)
def test_an_onnx_model_turns_pixels_into_the_trainings_scores(build: Any, model: Any, several: bool) -> None:
    images = build.images(20, side=32, several=several)
    trained = build.train(build.request(model=model), real=images)
    made = converted(trained, images, form=ONNX).result("converted")
    data = made.read("model.onnx")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    pixels = images.images_NHWC.transpose(0, 3, 1, 2).astype(np.float32)
    # One image at a time as well as all.
    for part in (pixels, pixels[:1]):
        (found,) = session.run(None, {"images": part})
        expected = trained.result("validation").array("scores.npy")[: len(part)]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    told = {item.key: item.value for item in onnx.load_from_string(data).metadata_props}
    assert json.loads(told["classes"]) == list(images.classes)
    assert made.json("converted.json")["compared"]["images"] == 20


@pytest.mark.parametrize(
    ("name", "side", "channels"), [("test_resnet", 32, 1), ("resnet18", 32, 3), ("deit_tiny_patch16_224", 32, 3)]
)
def test_timm_loads_what_is_written_by_its_folder_alone(
    build: Any, tmp_path: Path, name: str, side: int, channels: int
) -> None:
    images = build.images(12, side=side, channels=channels)
    trained = build.train(build.request(model=standard(name)), real=images)
    made = converted(trained, images, form=TIMM).result("converted")
    for file in ("model.safetensors", "config.json"):
        (tmp_path / file).write_bytes(made.read(file))
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    config = model.pretrained_cfg
    pixels = torch.from_numpy(images.images_NHWC.transpose(0, 3, 1, 2).astype(np.float32)) / 255
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        found = model((pixels - mean) / std).softmax(dim=1)
    np.testing.assert_allclose(found, trained.result("validation").array("scores.npy"), atol=1e-4)
    assert config["input_size"] == (channels, side, side)


def test_timm_has_neither_the_small_network_nor_the_stem_for_small_images(build: Any) -> None:
    images = build.images(12, side=32)
    for model, words in (("small-cnn", "small-cnn"), ("test_resnet", "test_resnet with the stem for small images")):
        trained = build.train(build.request(model=model), real=images)
        with pytest.raises(UserError, match=f"received {words}"):
            converted(trained, images, form=TIMM)


def test_a_form_whose_scores_differ_is_not_written(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = build.images(12)
    trained = build.train(build.request(), real=images)
    monkeypatch.setattr(
        convert, "_as_onnx", lambda _whole, _head, _folder: lambda pixels: np.full((len(pixels), 2), 0.5, np.float32)
    )
    with pytest.raises(UserError, match=r"scores are the original's, within 0\.0001; received a difference of 0\."):
        converted(trained, images, form=ONNX)


def test_images_of_another_network_are_refused(build: Any) -> None:
    trained = build.train(build.request(), real=build.images(12))
    with pytest.raises(UserError, match="size and colours"):
        converted(trained, build.images(8, side=10), form=ONNX)


def test_a_missing_library_is_named(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(convert, "import_module", absent)
    images = build.images(12)
    trained = build.train(build.request(), real=images)
    with pytest.raises(UserError, match=r"received no onnx\. Install syntrial-classification\[onnx\]"):
        converted(trained, images, form=ONNX)
