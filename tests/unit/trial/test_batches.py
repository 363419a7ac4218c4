"""Batches that are larger than what they are drawn from are refused before anything runs, where that can be known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import Trial, draft

OURS = ("train", 60), ("val", 30), ("test", 45)
"""A third of each split is of the rarer class."""


def drafted(folder: Path, **spec: Any) -> Trial:
    """The plan of a trial on 60 training images."""
    made: dict[str, Any] = {}
    for split, count in OURS:
        made[f"{split}_images"] = np.zeros((count, 8, 8), np.uint8)
        made[f"{split}_labels"] = np.arange(count) % 3 // 2
    np.savez(folder / "data.npz", **made)
    base = {"dataset": {"npz": "data.npz"}, "synthetic": [{"name": "base", "generator": {"pca": {}}}]}
    head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    given = validate({**head, "spec": base | spec})
    return draft(given, resolve_sources(given, base=folder))


def batch(size: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"model": "small-cnn", "recipe": {"batchSize": size, **fields}}]


@pytest.mark.parametrize(
    ("spec", "most", "of"),
    [
        ({}, 60, "real"),
        ({"arms": ["augment-100", "replace-50"]}, 60, "real"),
        ({"arms": ["real-25"]}, 15, "real-25"),
        ({"arms": ["augment-100", {"name": "own", "phases": [{"real": 0.2}, {"real": 1, "synthetic": 1}]}]}, 12, "own"),
        ({"dataset": {"npz": "data.npz", "trainFraction": 0.5}}, 30, "real"),
        ({"dataset": {"npz": "data.npz", "trainCount": 17}}, 17, "real"),
        ({"dataset": {"npz": "data.npz", "capPerLabel": 4}}, 8, "real"),
    ],
)
def test_a_stated_batch_is_at_most_the_smallest_pool(tmp_path: Path, spec: dict[str, Any], most: int, of: str) -> None:
    if "real-25" in spec.get("arms", ()):
        spec = {**spec, "synthetic": []}
    says = (
        rf"spec\.classifiers\[0\]\.recipe\.batchSize: a batch is at most as large as what it is drawn from; received "
        rf"{most + 1}, where arm '{of}' has {most} training images\. Set it to {most} or less"
    )
    with pytest.raises(UserError, match=says):
        drafted(tmp_path, **spec, classifiers=batch(most + 1))
    assert drafted(tmp_path, **spec, classifiers=batch(most)).plan.training


def test_a_balanced_pool_holds_its_repetitions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 80 training images"):
        drafted(tmp_path, classifiers=batch(81, sampling="balanced"))
    assert drafted(tmp_path, classifiers=batch(80, sampling="balanced")).plan.training


def test_the_batch_of_a_family_may_be_larger_than_the_set(tmp_path: Path) -> None:
    assert drafted(tmp_path, classifiers=[{"model": "small-cnn"}], dataset={"npz": "data.npz", "trainCount": 20}).plan


def test_a_link_has_its_own_images_and_every_classifier_is_told(tmp_path: Path) -> None:
    link = {"dataset": {"npz": "data.npz", "trainCount": 10}, "recipe": {"batchSize": 11}}
    chained = {"model": "small-cnn", "name": "chain", "chain": [link]}
    with pytest.raises(UserError) as caught:
        drafted(tmp_path, classifiers=[*batch(61), chained])
    assert [violation.field for violation in caught.value.violations] == [
        "spec.classifiers[0].recipe.batchSize",
        "spec.classifiers[1].chain[0].recipe.batchSize",
    ]


def test_of_a_medmnist_set_that_is_not_at_hand_the_size_is_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="received 547, where arm 'real' has 546 training images"):
        drafted(tmp_path, dataset={"medmnist": "breastmnist"}, classifiers=batch(547))
    assert drafted(tmp_path, dataset={"medmnist": "breastmnist"}, classifiers=batch(546)).plan.training
