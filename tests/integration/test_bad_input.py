"""Bad input at the command line: field or file, rule, what came, what to do; exit code 2; nothing half-written."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from syntrial import cli

Make = Callable[[Path], dict[str, Any]]


def experiment(**spec: Any) -> dict[str, Any]:
    """A small experiment on a data set of the test's own, with parts of its specification replaced."""
    base: dict[str, Any] = {
        "dataset": {"npz": "data.npz", "size": 16},
        "synthetic": [{"name": "base", "generator": {"pca": {}}}],
        "budget": {"steps": 2},
        "encoder": {"steps": 2},
        "replicates": 2,
        "controls": "none",
    }
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "bad"},
        "spec": base | spec,
    }


def arrays(count: int = 24, **replaced: Any) -> dict[str, Any]:
    """A data set of noise in MedMNIST's layout, with arrays replaced; None leaves one out."""
    random = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        made[f"{split}_images"] = random.integers(0, 255, (count, 16, 16), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(count) % 2)[:, None].astype(np.int64)
    return {name: value for name, value in (made | replaced).items() if value is not None}


def npz(folder: Path, **replaced: Any) -> None:
    np.savez(folder / "data.npz", **arrays(**replaced))


def good(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment()


def missing_file(folder: Path) -> dict[str, Any]:
    return experiment()


def truncated_file(folder: Path) -> dict[str, Any]:
    npz(folder)
    data = (folder / "data.npz").read_bytes()
    (folder / "data.npz").write_bytes(data[: len(data) // 2])
    return experiment()


def pickled_array(folder: Path) -> dict[str, Any]:
    npz(folder, train_labels=np.array([{"a": 1}] * 24, dtype=object))
    return experiment()


def labels_out_of_range(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(dataset={"npz": "data.npz", "size": 16, "classes": ["only"]})


def labels_too_few(folder: Path) -> dict[str, Any]:
    npz(folder, train_labels=np.zeros(23, np.int64))
    return experiment()


def empty_split(folder: Path) -> dict[str, Any]:
    npz(folder, val_images=np.zeros((0, 16, 16), np.uint8), val_labels=np.zeros((0, 1), np.int64))
    return experiment()


def class_without_images(folder: Path) -> dict[str, Any]:
    npz(folder, train_labels=np.zeros((24, 1), np.int64))
    return experiment()


def images_missing(folder: Path) -> dict[str, Any]:
    npz(folder, train_images=None)
    return experiment()


def not_images(folder: Path) -> dict[str, Any]:
    npz(folder, test_images=np.zeros((24, 16), np.uint8))
    return experiment()


def unknown_data_set(_: Path) -> dict[str, Any]:
    return experiment(dataset={"medmnist": "pneumonamnist"})


def wrong_checksum(folder: Path) -> dict[str, Any]:
    np.savez(folder / "breastmnist.npz", **arrays())
    return experiment(dataset={"medmnist": "breastmnist"})


def folder_without_classes(folder: Path) -> dict[str, Any]:
    (folder / "images").mkdir()
    Image.new("L", (16, 16)).save(folder / "images" / "a.png")
    return experiment(dataset={"folder": "images", "size": 16})


def empty_folder(folder: Path) -> dict[str, Any]:
    (folder / "images").mkdir()
    return experiment(dataset={"folder": "images", "size": 16})


def unreadable_images(folder: Path) -> dict[str, Any]:
    for name in ("ill", "well"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(8):
            (folder / "images" / name / f"{number}.png").write_bytes(b"no picture")
    return experiment(dataset={"folder": "images", "size": 16})


def pickled_weights(folder: Path) -> dict[str, Any]:
    npz(folder)
    (folder / "weights.pt").write_bytes(pickle.dumps({"a": 1}))
    return experiment(classifiers=[{"model": "small-cnn", "name": "ours", "pretraining": "weights.pt"}])


def truncated_weights(folder: Path) -> dict[str, Any]:
    npz(folder)
    (folder / "weights.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    return experiment(classifiers=[{"model": "small-cnn", "name": "ours", "pretraining": "weights.safetensors"}])


def link_without_labels(folder: Path) -> dict[str, Any]:
    npz(folder)
    for split in ("train", "val", "test"):
        (folder / "unlabelled" / split / "images").mkdir(parents=True)
        for number in range(4):
            Image.new("L", (16, 16), number).save(folder / "unlabelled" / split / "images" / f"{number}.png")
    chain = [{"dataset": {"folder": "unlabelled"}}]
    return experiment(classifiers=[{"model": "small-cnn", "name": "chain", "chain": chain}])


def batch_larger_than_the_data(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(classifiers=[{"model": "small-cnn", "recipe": {"batchSize": 25}}])


def stage_that_trains_nothing(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(classifiers=[{"model": "small-cnn", "stages": [{"train": []}]}])


def comparison_of_no_cell(folder: Path) -> dict[str, Any]:
    npz(folder)
    against = {"arm": "real", "classifier": "resnet18"}
    return experiment(endpoint={"primary": {"arm": "augment-100", "classifier": "small-cnn", "against": against}})


def unknown_preset(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(synthetic=[{"name": "edm", "generator": {"diffusion": {"preset": "nanno"}}}])


def start_from_no_generator(folder: Path) -> dict[str, Any]:
    npz(folder)
    return experiment(synthetic=[{"name": "gan", "generator": {"gan": {"initial": {"key": "9f3c" * 16}}}}])


def start_from_another_family(folder: Path) -> dict[str, Any]:
    npz(folder)
    (folder / "exported").mkdir()
    subject = {"classes": ["0", "1"], "task": "multi-class", "shape": [16, 16, 1]}
    description = {"family": "diffusion", "subject": subject, "settings": {}}
    (folder / "exported" / "generator.json").write_text(json.dumps(description))
    (folder / "exported" / "weights.safetensors").write_bytes(b"")
    return experiment(synthetic=[{"name": "gan", "generator": {"gan": {"initial": {"folder": "exported"}}}}])


def imported_class_unknown(folder: Path) -> dict[str, Any]:
    npz(folder)
    (folder / "synthetic" / "other").mkdir(parents=True)
    Image.new("L", (16, 16)).save(folder / "synthetic" / "other" / "a.png")
    return experiment(synthetic=[{"name": "given", "images": {"folder": "synthetic"}}])


def too_few_patients_in_leaky_data(folder: Path) -> dict[str, Any]:
    images = np.zeros((24, 16, 16), np.uint8)
    npz(folder, train_images=images, val_images=images, test_images=images)
    return experiment()


CASES: dict[str, tuple[Make, list[str]]] = {
    "a missing file": (missing_file, ["spec.dataset", "exists", "data.npz", "Check the path"]),
    "a truncated file": (truncated_file, ["spec.dataset", "whole zip archive", "cut short", "again"]),
    "an array of objects": (pickled_array, ["train_labels", "pickle", "do:"]),
    "labels out of range": (labels_out_of_range, ["labels", "do:"]),
    "fewer labels than images": (labels_too_few, ["train", "23", "do:"]),
    "an empty split": (empty_split, ["val", "do:"]),
    "a class without images": (class_without_images, ["class", "do:"]),
    "a split without images": (images_missing, ["training split", "do:"]),
    "arrays that are no images": (not_images, ["test_images", "do:"]),
    "an unknown data set": (unknown_data_set, ["pneumonamnist", "pneumoniamnist"]),
    "a wrong checksum": (wrong_checksum, ["breastmnist.npz", "md5:", "do:"]),
    "a folder without classes": (folder_without_classes, ["images", "class", "do:"]),
    "an empty folder": (empty_folder, ["images", "empty", "Check the path"]),
    "unreadable images": (unreadable_images, ["images", "do:"]),
    "a link of a chain whose images have no labels": (
        link_without_labels,
        ["spec.classifiers[0].chain[0].dataset", "class"],
    ),
    "a pickle where weights belong": (pickled_weights, ["weights.pt", "pickle", "safetensors"]),
    "truncated weights": (truncated_weights, ["weights.safetensors", "whole safetensors file", "again"]),
    "a batch that is larger than the data": (
        batch_larger_than_the_data,
        ["spec.classifiers[0].recipe.batchSize", "at most as large", "has 24 training images", "24 or less"],
    ),
    "a stage that trains nothing": (
        stage_that_trains_nothing,
        ["spec.classifiers[0].stages[0].train", "at least one part", "none", "Name one"],
    ),
    "a comparison with a cell that there is not": (
        comparison_of_no_cell,
        ["spec.endpoint.primary.against", "resnet18", "small-cnn", "do:"],
    ),
    "an unknown preset": (unknown_preset, ["nanno", "nano"]),
    "a generator to begin with that the store has not": (
        start_from_no_generator,
        ["spec.synthetic[0].generator.gan.initial.key", "which is no finished step", "--include generators"],
    ),
    "a generator to begin with of another family": (
        start_from_another_family,
        ["spec.synthetic[0].generator.gan.initial.folder", "family (gan)", "diffusion"],
    ),
    "an imported class that the data set has not": (imported_class_unknown, ["other", "do:"]),
    "nothing left once leaks are dropped": (too_few_patients_in_leaky_data, ["do:"]),
}


def syntrial(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the command line in this process and returns its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["syntrial", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_with_field_rule_and_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    check_it_is_told(*CASES[name], tmp_path, monkeypatch, capfd)


def check_it_is_told(
    make: Make,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Runs the experiment that `make` writes, which has to end with 2, `expected` in its message and no report."""
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(make(tmp_path)))
    code = syntrial(
        tmp_path, "run", "bad.yaml", "--data-root", os.fspath(tmp_path), "--store", "store", monkeypatch=monkeypatch
    )
    output = capfd.readouterr().err
    assert code == 2, output
    assert "Traceback" not in output
    for part in expected:
        assert part in output.replace("\n", " "), output
    assert not (tmp_path / "runs").exists()


def test_what_can_be_seen_at_once_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for make in (
        *(folder_without_classes, imported_class_unknown, class_without_images, unreadable_images),
        *(batch_larger_than_the_data, stage_that_trains_nothing, comparison_of_no_cell),
        *(start_from_no_generator, start_from_another_family),
    ):
        folder = tmp_path / make.__name__
        folder.mkdir()
        (folder / "bad.yaml").write_text(yaml.safe_dump(make(folder)))
        assert syntrial(folder, "plan", "bad.yaml", "--store", "store", monkeypatch=monkeypatch) == 2
        assert "error: spec." in capfd.readouterr().err
        assert not list(folder.glob("store/*/*"))


def test_a_failure_is_remembered_until_it_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # What only preparation finds: a step fails, and not the planning.
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(too_few_patients_in_leaky_data(tmp_path)))
    arguments = ("bad.yaml", "--store", "store")
    assert syntrial(tmp_path, "run", *arguments, monkeypatch=monkeypatch) == 2
    capfd.readouterr()
    assert syntrial(tmp_path, "run", *arguments, monkeypatch=monkeypatch) == 2
    assert "failed before" in capfd.readouterr().err
    assert syntrial(tmp_path, "retry", *arguments, monkeypatch=monkeypatch) == 2
    assert "failed before" not in capfd.readouterr().err


def test_an_unwritable_store_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(good(tmp_path)))
    (tmp_path / "file").write_text("not a folder")
    code = syntrial(tmp_path, "run", "bad.yaml", "--store", "file/store", monkeypatch=monkeypatch)
    output = capfd.readouterr().err
    assert code in {1, 2}, output
    assert "store" in output
    assert "Traceback" not in output


def test_an_address_of_no_store_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(good(tmp_path)))
    assert syntrial(tmp_path, "plan", "bad.yaml", "--store", "ftp://x", monkeypatch=monkeypatch) == 2
    assert "s3://bucket/prefix" in capfd.readouterr().err


def test_the_report_of_a_trial_that_has_not_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(good(tmp_path)))
    assert syntrial(tmp_path, "report", "bad.yaml", "--store", "store", monkeypatch=monkeypatch) == 1
    assert "bad has no report yet: `syntrial status bad.yaml --store store`" in capfd.readouterr().err


def test_the_data_set_of_these_tests_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each case above fails for its own reason."""
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(good(tmp_path)))
    assert np.load(io.BytesIO((tmp_path / "data.npz").read_bytes()))["train_images"].shape == (24, 16, 16)
    assert syntrial(tmp_path, "plan", "bad.yaml", "--store", "store", monkeypatch=monkeypatch) == 0
