"""A finished trial's classifier on the command line: evaluated, its scores written, its network explained."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Laptop

pytestmark = pytest.mark.e2e
CLASSIFIER = "train real small-cnn 1/2"


@pytest.fixture(scope="module")
def copied(finished: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """The finished trial with a store of its own: a look at the test split stays in it."""
    folder = tmp_path_factory.mktemp("copied") / "laptop"
    shutil.copytree(finished.folder, folder)
    return Laptop(folder=folder, store=str(folder / Path(finished.store).name))


def syntrial(laptop: Laptop, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "syntrial", *arguments, "--store", laptop.store]
    return subprocess.run(command, cwd=laptop.folder, capture_output=True, text=True, timeout=280, check=False)


def test_the_figures_on_the_test_split_are_the_reports_and_the_look_is_counted(copied: Laptop) -> None:
    done = syntrial(copied, "evaluate", CLASSIFIER, "--split", "test", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    report = json.loads(copied.report)
    arm = next(arm for arm in report["arms"] if arm["arm"] == "real")
    for name, metric in found["metrics"].items():
        assert metric["value"] == pytest.approx(arm["metrics"][name]["per_replicate"][0], abs=1e-9)
        assert metric["interval_95"][0] < metric["value"] < metric["interval_95"][1]
    assert found["look"] == len(report["looks"]) + 1


def test_a_row_of_scores_is_written_for_each_image_of_the_validation_split(copied: Laptop) -> None:
    done = syntrial(copied, "predict", CLASSIFIER, str(copied.file), "scores.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((copied.folder / "scores.csv").read_text().splitlines()))
    assert len(rows) == 24
    assert all(row["image"].startswith("validation/") for row in rows)
    assert all(float(row["score normal"]) + float(row["score opacity"]) == pytest.approx(1) for row in rows)


def test_a_network_is_explained_by_its_parts_and_an_unknown_one_refused(copied: Laptop) -> None:
    done = syntrial(copied, "explain", "model", "resnet18", "--size", "64")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:9]] == [
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "fc",
    ]
    for word in ("model", "classifier"):
        refused = syntrial(copied, "explain", word, "resnet81")
        assert refused.returncode == 2
        assert "Did you mean" in refused.stderr
    fields = syntrial(copied, "explain", "classifier", "resnet18").stdout
    assert "recipe.batchSize whole numbers at least 2\n  Images a step.\n  recipe of its family: resnet 128\n" in fields


def test_a_classifier_is_written_as_onnx_and_not_in_a_form_that_has_no_such_network(copied: Laptop) -> None:
    done = syntrial(copied, "convert", CLASSIFIER, "out")
    assert done.returncode == 0, done.stderr
    assert "compared on 24 images" in done.stdout
    assert {path.name for path in (copied.folder / "out").iterdir()} == {"model.onnx", "converted.json"}
    refused = syntrial(copied, "convert", CLASSIFIER, "other", "--to", "timm")
    assert refused.returncode == 2
    assert "received: small-cnn" in refused.stderr
    assert not (copied.folder / "other").exists()
