"""Bad input that only a training finds, once data are prepared and servers of torch have started."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_bad_input import Make, check_it_is_told, experiment, npz

pytestmark = pytest.mark.e2e


def unknown_model(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(classifiers=[{"model": "resnet19"}])


def diverging_generator(folder: Path) -> dict[str, Any]:
    npz(folder)
    config = {"preset": "pico", "images": 256, "batchSize": 8, "learningRate": 1000.0}
    return experiment(synthetic=[{"name": "gan", "generator": {"gan": config}}])


def diverging_classifier(folder: Path) -> dict[str, Any]:
    npz(folder)
    recipe = {"optimizer": "sgd", "weightDecay": 100.0, "warmup": 0.0}
    classifier = {"model": "small-cnn", "learningRate": 99.0, "recipe": recipe}
    return experiment(classifiers=[classifier], budget={"steps": 60})


CASES: dict[str, tuple[Make, list[str]]] = {
    "an unknown model": (unknown_model, ["resnet19", "resnet18"]),
    "a generator that diverges": (
        diverging_generator,
        ["spec.synthetic[].generator.gan.learningRate", "at step", "of 32, with a learning rate of", "Lower"],
    ),
    "a classifier that diverges": (
        diverging_classifier,
        ["spec.classifiers[].learningRate", "at step", "of 60, with a learning rate of", "Lower"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_with_field_rule_and_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    check_it_is_told(*CASES[name], tmp_path, monkeypatch, capfd)
