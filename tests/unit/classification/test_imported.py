"""Weights that were trained elsewhere, as a classifier; and what is wrong with those that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from syntrial_classification.evaluate import load_classifier
from syntrial_classification.imported import import_classifier
from syntrial_classification.models import ModelSpec, build_model

from syntrial.artifacts.content import file_digest
from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext
from syntrial.v1.classification_pb2 import ClassifierModel, FileWeights, ImportClassifierRequest


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**{"name": "resnet18", "small_stem": False, "classes": 3, "channels": 1, "side": 32, **fields})


def imported(file: Path, **fields: Any) -> FakeContext:
    digest = file_digest(file)
    given: dict[str, Any] = {
        "model": ClassifierModel(name="resnet18", stem=ClassifierModel.STEM_STANDARD, file=FileWeights(digest=digest)),
        "classes": ["a", "b", "c"],
        "channels": 1,
        "side": 32,
        "mean": [128.0],
        "std": [50.0],
    }
    context = FakeContext({}, sources={digest: file})
    import_classifier(ImportClassifierRequest(**{**given, **fields}), context)
    return context


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(**fields: Any) -> Path:
        file = tmp_path / "weights.safetensors"
        save_file(build_model(spec(**fields), seed=5).state_dict(), file)
        return file

    return save


def test_an_imported_classifier_scores_as_the_network_that_its_weights_are_of(saved: Any) -> None:
    reader = imported(saved()).result("classifier")
    model, head = load_classifier(reader, device=torch.device("cpu"))
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), build_model(spec(), seed=5).eval()(images))
    assert head["classes"] == ["a", "b", "c"]
    assert head["normalisation"] == {"mean": [128.0], "std": [50.0]}
    assert head["pretraining"]["kind"] == "imported"


def test_weights_are_kept_to_the_bit(saved: Any) -> None:
    file = saved()
    kept = load(imported(file).result("classifier").read("weights.safetensors"))
    given = load(file.read_bytes())
    assert kept.keys() == given.keys()
    assert all(np.array_equal(kept[name], given[name]) for name in kept)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": 5}, r"scores the classes of classifier.json: 3; received 5 classes \(fc.weight\)"),
        ({"channels": 3}, r"first convolution takes the channels .* \(64, 1, 7, 7\); received \(64, 3, 7, 7\)"),
        ({"small_stem": True}, r"first convolution .* received \(64, 1, 3, 3\)"),
        (
            {"name": "resnet26"},
            r"in every tensor: 122; received 54 unknown: .* 24 of another shape",
        ),
    ],
)
def test_weights_that_are_not_the_networks_are_refused_with_what_they_are(
    saved: Any, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        imported(saved(**fields))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"classes": ["a", "a", "b"]}, "classes"),
        ({"classes": []}, "classes"),
        ({"channels": 2}, "channels"),
        ({"side": 4}, "side"),
        ({"mean": []}, "mean"),
        ({"std": [0.0]}, "std"),
    ],
)
def test_a_request_that_describes_no_classifier_is_refused(saved: Any, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as caught:
        imported(saved(), **fields)
    assert field in {found.field for found in caught.value.violations}
