"""MedMNIST v2's published protocol, reduced for two cores: within stated bounds of the published figures.

The bounds, and what stands behind them, are those of docs/studies/medmnist-protocol.md.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Laptop

PUBLISHED = {
    "breastmnist": {"auroc": 0.901, "accuracy": 0.863},
    "pneumoniamnist": {"auroc": 0.944, "accuracy": 0.854},
}
FILE = Path(__file__).resolve().parents[2] / "examples" / "medmnist-protocol-quick.yaml"


def mean_of_resnet18(folder: Path, name: str, *, epochs: int, shared_data: Path) -> dict[str, float]:
    """Test AUROC and accuracy of ResNet-18, means over three seeds, of the reduced protocol on a set."""
    tree: dict[str, Any] = yaml.safe_load(FILE.read_text())
    spec = tree["spec"]
    tree["metadata"]["name"] = "small"
    spec["dataset"]["medmnist"] = name
    spec["budget"]["epochs"] = epochs
    for classifier in spec["classifiers"]:
        classifier["recipe"]["validations"] = epochs
    root = {"SYNTRIAL_DATA_ROOT": str(shared_data / "medmnist")}
    laptop = Laptop(folder=folder, store=str(folder / "store"), environment=root)
    laptop.write(yaml.safe_dump(tree))
    laptop.run("run", timeout_s=10_000)
    arms = json.loads(laptop.report)["arms"]
    found = next(arm for arm in arms if arm["cell"] == "real resnet18")
    return {metric: found["metrics"][metric]["mean"] for metric in ("auroc", "accuracy")}


@pytest.mark.slow
@pytest.mark.timeout(11_000)
@pytest.mark.parametrize(("name", "epochs"), [("breastmnist", 25), ("pneumoniamnist", 3)])
def test_resnet18_comes_within_its_stated_bounds(name: str, epochs: int, shared_data: Path, tmp_path: Path) -> None:
    found = mean_of_resnet18(tmp_path, name, epochs=epochs, shared_data=shared_data)
    assert found["auroc"] == pytest.approx(PUBLISHED[name]["auroc"], abs=0.05)
    assert found["accuracy"] == pytest.approx(PUBLISHED[name]["accuracy"], abs=0.08)
