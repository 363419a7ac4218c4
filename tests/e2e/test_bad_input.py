"""Bad input that only a training finds, once data are prepared and servers of torch have started."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.integration.test_bad_input import Make, arrays, check_it_is_told, experiment, npz

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


def part_that_no_network_has(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(classifiers=[{"model": "resnet10t", "stages": [{"train": ["layer5", "fc"]}]}])


def weights_of_another_network(folder: Path) -> dict[str, Any]:
    npz(folder)
    save_file({"stem.weight": np.zeros((4, 1, 3, 3), np.float32)}, folder / "weights.safetensors")
    return experiment(classifiers=[{"model": "resnet10t", "name": "ours", "pretraining": "weights.safetensors"}])


def batch_that_fits_until_leaks_are_dropped(folder: Path) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 255, (24, 16, 16), dtype=np.uint8)
    test = arrays()["test_images"]
    images[:6] = test[:6]
    npz(folder, train_images=images)
    return experiment(classifiers=[{"model": "small-cnn", "recipe": {"batchSize": 20}}])


def batch_larger_than_the_data_of_a_link(folder: Path) -> dict[str, Any]:
    npz(folder)
    images = np.random.default_rng(1).integers(0, 255, (3, 24, 16, 16), dtype=np.uint8)
    images[0, :6] = arrays()["test_images"][:6]
    named = dict(zip(("train_images", "val_images", "test_images"), images, strict=True))
    np.savez(folder / "other.npz", **arrays(**named))
    link = {"dataset": {"npz": "other.npz"}, "recipe": {"batchSize": 20}, "budget": {"steps": 2}}
    return experiment(classifiers=[{"model": "small-cnn", "name": "chain", "chain": [link]}])


CASES: dict[str, tuple[Make, list[str]]] = {
    "an unknown model": (unknown_model, ["resnet19", "resnet18"]),
    "a frozen part that no network has": (
        part_that_no_network_has,
        ["spec.classifiers[].stages[].train", "names parts of the network", "layer5", "Did you mean", "layer4"],
    ),
    "weights of another network": (
        weights_of_another_network,
        [
            "spec.classifiers[].pretraining",
            "must fit the model in every tensor",
            "1 unknown: stem.weight",
            "same model",
        ],
    ),
    "a batch that is larger than what leaks leave": (
        batch_that_fits_until_leaks_are_dropped,
        ["spec.classifiers[].recipe.batchSize", "at most as large", "has 18 training images", "18 or less"],
    ),
    "a batch that is larger than what leaks leave of a link": (
        batch_larger_than_the_data_of_a_link,
        ["spec.classifiers[].chain[].recipe.batchSize", "at most as large", "has 18 training images", "18 or less"],
    ),
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
