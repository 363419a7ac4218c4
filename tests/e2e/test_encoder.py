"""A trial whose filters and figures are in the features of a network that was trained elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from syntrial_classification.inception import Inception

from tests.e2e.conftest import Laptop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
TRIAL = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {phantom: {trainPatients: 24, validationPatients: 12, testPatients: 24}, size: 16}
  synthetic:
    - name: pca
      generator: {pca: {}}
      filters: [{centroid: {keep: 0.8}}, {confidence: {minimum: 0.2}}]
      oversample: 1.0
      copies: 0.0
  arms: [augment-50]
  replicates: 2
  exploratoryReplicates: 1
  budget: {steps: 20}
  projection: umap
  encoder: {model: test_vit, pretraining: vit.safetensors, size: 48}
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "vit.safetensors")
    made = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    made.write(TRIAL)
    return made


def test_filters_and_figures_are_by_the_network_to_the_verdict_and_the_report_names_it(laptop: Laptop) -> None:
    # Of as many candidates as images one filter alone takes a fifth away: nothing is lost where no more may be drawn.
    laptop.write(TRIAL.replace("oversample: 1.0", "oversample: 1.0\n      oversampleLimit: 1.0"))
    process = laptop.start("run")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 2, output
    assert "which is the most that `oversampleLimit` allows" in " ".join(output.split())
    assert "Traceback" not in output
    # By torch's own initial weights nothing of an image is left after ninety layers; by these (He et al. 2015) it is.
    drawn = {name: tensor * 6**0.5 if tensor.ndim == 4 else tensor for name, tensor in Inception().state_dict().items()}
    save_file(drawn, laptop.folder / "inception.safetensors")
    laptop.write(f"{TRIAL}  inception: inception.safetensors\n")
    output = laptop.run("run")
    assert "sample round 2 of pca" in output
    assert "sample pca" not in output
    report: dict[str, Any] = json.loads(laptop.report)
    assert report["verdict"]["outcome"]
    page = (laptop.folder / "runs" / "small" / "report.html").read_text(encoding="utf-8")
    (made,) = (found for found in report["synthetic"] if found["name"] == "pca")
    (quality,) = made["quality"]
    network = quality["features"]["network"]
    assert (network["model"], network["side"]) == ("test_vit", 48)
    assert network["weights"] in report["experiment"]
    # The distances' figure, the projection's, and the table of sets.
    named = f"Features are those of test_vit (weights {network['weights'][:19]}…, images at 48 px)"
    assert page.count(named) == 3
    assert quality["frechet"]["ratio_to_floor"] > 0
    fid, kid = (quality["inception"][name] for name in ("fid", "kid"))
    assert fid["sample_size"] == kid["sample_size"] == quality["frechet"]["sample_size"]
    assert fid["ratio_to_floor"] > 0
    assert kid["floor_range"][0] < kid["floor_range"][1]
    assert quality["inception"]["network"]["weights"] in report["experiment"]
    assert page.count("FID and KID are in the 2,048 features of inception-v3 of 2015-12-05") == 1
    assert [item["kind"] for item in made["decisions"][0]["filters"]] == ["centroid", "confidence"]
    (rounds,) = made["rounds"]
    assert rounds > 1
    assert f"in {rounds} rounds" in page
    (control,) = (found for found in report["synthetic"] if found["name"] == "pca-random")
    assert control["decisions"][0]["candidates"] == made["decisions"][0]["candidates"]
    assert control["decisions"][0]["accepted"] == made["decisions"][0]["accepted"]


def test_a_side_that_the_network_cannot_take_is_told_by_the_encoders_field(laptop: Laptop) -> None:
    laptop.write(TRIAL.replace("size: 48}", "size: 47}"))
    process = laptop.start("run")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 2, output
    assert "spec.encoder.model" in output
    assert "47×47 pixels" in output.replace("\n", " ")
    assert "Traceback" not in output
