"""Every example is an experiment that can be planned, and those that need no download are run."""

import json
from pathlib import Path

import pytest

from syntrial.experiment.file import read_experiment
from syntrial.plan.planner import plan
from syntrial.sources.resolve import resolve_sources
from tests.e2e.conftest import SMALL, Laptop

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_an_example_can_be_planned(name: str) -> None:
    experiment = read_experiment(EXAMPLES / name)
    found = plan(experiment, resolve_sources(experiment, base=EXAMPLES).by_name)
    assert found.evaluation


@pytest.mark.e2e
def test_a_trial_over_its_limit_of_device_time_is_refused_before_it_starts(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write(SMALL)
    assert "trainings of" in laptop.run("plan", "--measure", timeout_s=250)
    refused = laptop.start("run", "--at-most", "1s")
    output, _ = refused.communicate(timeout=250)
    assert refused.returncode == 2
    assert "received: an estimate of" in output
    assert not (tmp_path / "runs").exists()


@pytest.mark.e2e
def test_which_network_ends_with_a_verdict_between_classifiers(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write((EXAMPLES / "which-network.yaml").read_text())
    printed = laptop.run("run", timeout_s=1000)
    assert "train the encoder" not in printed
    folder = tmp_path / "runs" / "which-network"
    report = json.loads((folder / "report.json").read_bytes())
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    assert (report["verdict"]["arm_label"], report["verdict"]["control_label"]) == ("fast", "small-cnn")
    assert [(item["arm_label"], item["role"]) for item in report["comparisons"]] == [
        ("fast", "primary"),
        ("resnet10t", "exploratory"),
    ]
    page = (folder / "report.html").read_text()
    assert "The synthetic images" not in page
    assert "fast" in page


@pytest.mark.e2e
def test_a_trial_of_latent_diffusion_ends_with_a_verdict_and_shows_reconstructions(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write((EXAMPLES / "phantom-latent.yaml").read_text())
    laptop.run("run", timeout_s=1000)
    folder = tmp_path / "runs" / "phantom-latent"
    report = json.loads((folder / "report.json").read_bytes())
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    (made,) = report["synthetic"]
    assert made["method"] == "latent_diffusion"
    assert made["decisions"][0]["accepted"] > 0
    (found,) = made["reconstructions"]
    # Latents of 4 × 8 × 8 numbers of two bytes.
    assert found["latents"]["bytes"] == 512
    assert "Through the autoencoder" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_images_of_the_true_process_improve_and_shuffled_labels_do_not(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write((EXAMPLES / "calibration.yaml").read_text())
    laptop.run("run", timeout_s=1700)
    report = json.loads((tmp_path / "runs" / "calibration" / "report.json").read_bytes())
    assert report["verdict"]["outcome"] == "improves"
    shuffled = [item for item in report["comparisons"] if "shuffled" in item["arm"]]
    assert shuffled
    assert all(item["outcome"] != "improves" for item in shuffled)
