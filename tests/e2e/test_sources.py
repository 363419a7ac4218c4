"""Each kind of source runs to a verdict: tables, several labels, a binary task, archives, deep pixels, DICOM."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import Laptop

pytestmark = pytest.mark.e2e

TRIAL = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {{name: small}}
spec:
  dataset:
{dataset}
  synthetic: [{{name: base, generator: {{pca: {{}}}}, copies: 0.0}}]
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


def laptop(folder: Path, dataset: str) -> Laptop:
    found = Laptop(folder=folder, store=str(folder / "store"))
    found.write(TRIAL.format(dataset=dataset.strip("\n")))
    return found


def outcome(of: Laptop) -> str:
    return str(json.loads(of.report)["verdict"]["outcome"])


OUTCOMES = {"improves", "harms", "equivalent", "inconclusive"}


def draw(folder: Path, save, *, count: int = 60) -> list[str]:
    """Grey images from 0 to 1 of two classes that differ in brightness; `save` writes one of them, and names it."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
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
