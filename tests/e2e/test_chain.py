"""A chain of pretraining on the trial's own archive, killed in its middle: a verdict, each link once, and no leak."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syntrial.artifacts.store import open_store
from tests.e2e.conftest import Laptop
from tests.e2e.test_trial import successes

pytestmark = pytest.mark.e2e

ARCHIVE = """
folder: nih, path: Image Index, patient: Patient ID,
labels: {column: Finding Labels, separator: "|", none: No Finding}
""".replace("\n", " ")
TRIAL = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {table: {ARCHIVE}, size: 16, task: {binary: {positive: Effusion}}}
  synthetic: [{name: base, generator: {pca: {}}}]
  arms: [augment-50]
  controls: none
  classifiers:
    - model: small-cnn
      name: chain
      chain:
        - {dataset: {phantom: {trainPatients: 24, validationPatients: 12, testPatients: 12}}, budget: {steps: 10}}
        - dataset: {table: {ARCHIVE}, split: {seed: 7}}
          recipe: {loss: focal}
          budget: {steps: 10}
    - {model: small-cnn, name: scratch}
  replicates: 2
  exploratoryReplicates: 1
  budget: {steps: 10}
  encoder: {steps: 20, batchSize: 16, featureSize: 16}
"""
LABELS = ("No Finding", "Effusion", "Mass", "Effusion|Mass")


def draw_archive(folder: Path) -> None:
    """120 drawn chests of 60 patients in the layout of NIH ChestX-ray14, with two findings."""
    random = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    with (folder / "Data_Entry_2017.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Image Index", "Finding Labels", "Patient ID"])
        for number in range(120):
            labels = LABELS[number // 2 % 4]
            pixels = random.normal(100, 30, (24, 24))
            pixels[:12] += 60 * ("Effusion" in labels)
            pixels[12:] += 60 * ("Mass" in labels)
            name = f"{number:08}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "images" / name)
            rows.writerow([name, labels, number // 2])


def test_a_chain_of_two_links_that_is_killed_between_them_ends_in_a_verdict(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write(TRIAL.replace("ARCHIVE", ARCHIVE))
    draw_archive(tmp_path / "nih")

    process = laptop.start("run")
    assert process.stdout is not None
    done = next((line for line in process.stdout if re.match(r"done in .*: pretrain chain link 1/2$", line)), None)
    process.kill()
    process.communicate()
    assert done is not None
    output = laptop.run("run")
    assert "pretrain chain link 1/2" not in output
    assert "pretrain chain link 2/2" in output
    assert max(successes(open_store(laptop.store)).values()) == 1

    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    first, second = report["pretraining"]
    assert first["audit"]["leaks"] == []
    # Another seed splits the same patients otherwise: those of the trial's validation and test are left out.
    shared = [leak for leak in second["audit"]["leaks"] if leak["kind"] == "shared-patient"]
    assert {tuple(leak["between"]) for leak in shared} >= {
        ("train", "the trial's validation"),
        ("train", "the trial's test"),
    }
    assert all(leak["dropped"] == leak["images"] for leak in shared)
    words = [found["words"] for found in report["qualifications"] if found["kind"] == "pretraining"]
    assert all("searched for this trial's validation and test images" in text for text in words)
    assert len(words) == 2
