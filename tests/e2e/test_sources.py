"""Each kind of source runs to a verdict: tables, several labels, binary and ordinal tasks, archives, DICOM, 16 bits."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from tests.e2e.conftest import Laptop

pytestmark = pytest.mark.e2e

TRIAL = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {{name: small}}
spec:
  dataset:
{dataset}
  synthetic: [{synthetic}]
  arms: [augment-50]
  replicates: 2
  exploratoryReplicates: 1
  budget: {{steps: 5}}
  encoder: {{steps: 10, batchSize: 16, featureSize: 8}}
  controls: none
"""

NIH = """
    table:
      preset: nih-chestxray14
      keep: [Patient Gender, View Position]
    colorMode: grey
    size: 16
"""
LABELS = "[Atelectasis, Cardiomegaly, Effusion, Infiltration, Nodule]"


GENERATED = "{name: base, generator: {pca: {}}, copies: 0.0}"


def laptop(folder: Path, dataset: str, *, synthetic: str = GENERATED) -> Laptop:
    found = Laptop(folder=folder, store=str(folder / "store"))
    found.write(TRIAL.format(dataset=dataset.strip("\n"), synthetic=synthetic))
    return found


def outcome(of: Laptop) -> str:
    return str(json.loads(of.report)["verdict"]["outcome"])


OUTCOMES = {"improves", "harms", "equivalent", "inconclusive"}


def draw(folder: Path, save, *, count: int = 60, seed: int = 0) -> list[str]:
    """Grey images from 0 to 1 of two classes that differ in brightness; `save` writes one of them, and names it."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    names = []
    for number in range(count):
        values = np.clip(random.normal(0.35 + 0.2 * (number % 2), 0.15, (16, 16)), 0, 1)
        names.append(save(folder / f"{number:03d}", values))
    return names


def as_png(path: Path, values: np.ndarray) -> str:
    Image.fromarray((values * 255).astype(np.uint8)).save(f"{path}.png")
    return f"{path.name}.png"


def as_deep_png(path: Path, values: np.ndarray) -> str:
    Image.fromarray((values * 65535).astype(np.uint16)).save(f"{path}.png")
    return f"{path.name}.png"


def as_dicom(path: Path, values: np.ndarray) -> str:
    """One of pydicom's own files with these pixels, of 12 bits and signed, and with a patient for each two images."""
    template = get_testdata_file("MR_small.dcm", download=False)
    assert template is not None, "this file comes with pydicom"
    found = pydicom.dcmread(str(template))
    found.Rows, found.Columns = values.shape
    found.PixelData = (values * 4095 - 1024).astype(np.int16).tobytes()
    found.WindowCenter, found.WindowWidth = 1024, 4096
    found.PatientID = f"{int(path.name) // 2:04d}"
    found.save_as(f"{path}.dcm")
    return f"{path.name}.dcm"


def sort_into_classes(folder: Path, names: list[str]) -> None:
    """Moves drawn images into a folder for each class."""
    for number, name in enumerate(names):
        target = folder / ("normal", "opacity")[number % 2] / name
        target.parent.mkdir(exist_ok=True)
        (folder / name).rename(target)


def write_table(file: Path, names: list[str]) -> None:
    rows = [f"{name},{('normal', 'opacity')[number % 2]},p{number // 2}" for number, name in enumerate(names)]
    file.write_text("\n".join(["image,label,patient", *rows]))


@pytest.fixture
def nih(shared_data: Path, tmp_path: Path) -> Path:
    """A folder with the sample as it is laid out, of which the images are linked to."""
    for path in (shared_data / "nih-sample").iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_the_sample_of_nih_runs_with_several_labels(nih: Path) -> None:
    found = laptop(nih, f"{NIH}    task: {{multiLabel: {LABELS}}}\n")
    found.run("run")
    assert outcome(found) in OUTCOMES


def test_the_sample_of_nih_runs_as_cardiomegaly_against_no_finding(nih: Path) -> None:
    found = laptop(nih, f"{NIH}    task: {{binary: {{positive: Cardiomegaly, negative: none}}}}\n")
    found.run("run")
    assert outcome(found) in OUTCOMES


@pytest.mark.parametrize("save", [as_png, as_deep_png], ids=["8 bits", "16 bits"])
def test_a_table_beside_the_experiment_runs(save, tmp_path: Path) -> None:
    names = draw(tmp_path / "images", save)
    write_table(tmp_path / "labels.csv", names)
    found = laptop(tmp_path, "    table: {file: labels.csv, images: images/}\n    size: 16\n")
    found.run("run")
    assert outcome(found) in OUTCOMES


def test_an_archive_with_a_table_in_it_runs(tmp_path: Path) -> None:
    names = draw(tmp_path / "set" / "images", as_png)
    write_table(tmp_path / "set" / "labels.csv", names)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    shutil.rmtree(tmp_path / "set")
    found = laptop(tmp_path, "    table: {folder: set.zip}\n    size: 16\n")
    found.run("run")
    assert outcome(found) in OUTCOMES


def test_dicom_in_folders_runs_by_the_patients_of_its_tags(tmp_path: Path) -> None:
    sort_into_classes(tmp_path / "mr", draw(tmp_path / "mr", as_dicom))
    found = laptop(tmp_path, "    folder: mr\n    size: 16\n")
    said = found.run("run")
    assert outcome(found) in OUTCOMES
    report = json.loads(found.report)
    assert report["test"]["images"] == 2 * report["test"]["patients"]
    assert "does not say which images are of one patient" not in said


def test_a_table_of_dicom_runs(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", draw(tmp_path / "images", as_dicom))
    window = "intensity: {window: [-1024, 3071]}"
    found = laptop(tmp_path, f"    table: {{file: labels.csv, images: images/}}\n    size: 16\n    {window}\n")
    found.run("run")
    assert outcome(found) in OUTCOMES


def test_deep_pixels_in_folders_run_beside_synthetic_ones_in_an_archive(tmp_path: Path) -> None:
    for seed, name in enumerate(("real", "made")):
        sort_into_classes(tmp_path / name, draw(tmp_path / name, as_deep_png, seed=seed))
    shutil.make_archive(str(tmp_path / "made"), "gztar", tmp_path / "made")
    shutil.rmtree(tmp_path / "made")
    dataset = "    folder: real\n    size: 16\n    intensity: {percentiles: [1, 99]}\n"
    found = laptop(tmp_path, dataset, synthetic="{name: given, images: {folder: made.tar.gz}}")
    found.run("run")
    assert outcome(found) in OUTCOMES


def test_a_generator_s_archive_with_its_list_of_labels_runs(tmp_path: Path) -> None:
    names = draw(tmp_path / "set" / "00000", as_png)
    labels = [[f"00000/{name}", number % 2] for number, name in enumerate(names)]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    shutil.rmtree(tmp_path / "set")
    found = laptop(tmp_path, "    folder: set.zip\n    classMap: {'0': normal, '1': opacity}\n    size: 16\n")
    found.run("run")
    assert outcome(found) in OUTCOMES
    assert json.loads(found.report)["classes"] == ["normal", "opacity"]


def test_grades_of_a_table_run_in_their_order(tmp_path: Path) -> None:
    names = draw(tmp_path / "images", as_png, count=90)
    rows = [f"{name},{('severe', 'none', 'mild')[number % 3]}" for number, name in enumerate(names)]
    (tmp_path / "grades.tsv").write_text("\n".join(["image,grade", *rows]).replace(",", "\t"))
    table = "table: {file: grades.tsv, images: images/, labels: {column: grade}}"
    found = laptop(tmp_path, f"    {table}\n    task: {{ordinal: [none, mild, severe]}}\n    size: 16\n")
    found.run("run")
    assert outcome(found) in OUTCOMES
    assert json.loads(found.report)["classes"] == ["none", "mild", "severe"]
