"""A classifier that begins with published weights: from a hub into the store, into training and into the report."""

import json
from pathlib import Path

import pytest
import timm
from safetensors.torch import save

from tests.e2e.conftest import Laptop
from tests.fake_hub import fake_hub

pytestmark = pytest.mark.e2e

EXPERIMENT = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {phantom: {trainPatients: 24, validationPatients: 12, testPatients: 24}, size: 28}
  synthetic: [{name: base, generator: {pca: {}}, copies: 0.0}]
  arms: [augment-50]
  classifiers: [{model: test_resnet, pretraining: hub}]
  replicates: 2
  controls: none
  budget: {steps: 4}
  encoder: {steps: 20, batchSize: 16, featureSize: 16}
"""


def test_a_trial_with_published_weights_runs_and_then_needs_no_hub(tmp_path: Path) -> None:
    published = save(timm.create_model("test_resnet").state_dict())
    with fake_hub() as hub:
        hub.publish("timm/test_resnet.r160_in1k", {"model.safetensors": published})
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"), environment=environment)
        laptop.write(EXPERIMENT)
        laptop.run("run")
        assert hub.downloads == 1
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    assert "test_resnet-hub" in laptop.report.decode()
    laptop.run("run")


def test_without_a_network_the_plan_says_what_to_do(tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"), environment=environment)
    laptop.write(EXPERIMENT)
    process = laptop.start("plan")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    words = " ".join(output.split())
    assert "spec.classifiers[0].pretraining" in words
    assert "HF_HUB_OFFLINE is set" in words
    assert "pretraining: none" in words
    assert "Traceback" not in output
