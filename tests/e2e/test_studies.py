"""The studies of `examples/studies`: each a sound experiment, each run at the smallest size, the quick ones whole.

The smallest ones are made of the quick ones' files: drawn images in the place of real ones, and fewer steps. So what is
run here is the studies' own arms, chains and comparisons.
"""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from syntrial.artifacts.store import open_store
from syntrial.documents.document import read
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.experiment.file import read_experiment
from syntrial.plan.planner import plan
from syntrial.plan.size import STEP_LIMIT, size_of
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.e2e.conftest import Laptop
from tests.e2e.test_search import keys_of
from tests.e2e.test_trial import successes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STUDIES = EXAMPLES / "studies"
TOY = EXAMPLES / "generators" / "toy"
OUTCOMES = {"improves", "harms", "equivalent", "inconclusive"}
FINDINGS = (
    *("Cardiomegaly", "Emphysema", "Effusion", "Hernia", "Infiltration", "Mass", "Nodule", "Atelectasis"),
    *("Pneumothorax", "Pleural_Thickening", "Pneumonia", "Fibrosis", "Edema", "Consolidation"),
)
SIDE = 16
PHANTOM: Mapping[str, Any] = {"phantom": {"trainPatients": 24, "validationPatients": 12, "testPatients": 24}}
OF_ONE, OF_CARDIOMEGALY, OF_NONE = 10, 60, 80
"""Patients with an image of each finding, of cardiomegaly alone and of none: a fifth has ten with cardiomegaly."""
CAP = 15


def spec_of(name: str) -> dict[str, Any]:
    """The `spec` of a study's file."""
    found: dict[str, Any] = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())["spec"]
    return found


def laptop_with(folder: Path, spec: Mapping[str, Any]) -> Laptop:
    """A folder with this trial and a drawn archive in NIH's layout beside it."""
    environments = {"SYNTRIAL_ENVIRONMENTS": str(folder / "environments")}
    laptop = Laptop(folder=folder, store=str(folder / "store"), environment=environments)
    head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "small"}}
    laptop.write(yaml.safe_dump({**head, "spec": dict(spec)}))
    draw_archive(folder / "nih-sample")
    return laptop


def draw_archive(folder: Path) -> None:
    """Drawn chests in the layout of NIH ChestX-ray14: a finding is a brighter square in a place of its own."""
    random = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    labels = [{finding} for finding in FINDINGS for _ in range(OF_ONE)]
    labels += [{FINDINGS[0]}] * (OF_CARDIOMEGALY - OF_ONE) + [set[str]()] * OF_NONE
    labels[1::OF_ONE] = [{finding, "Effusion"} for finding in FINDINGS] + labels[len(FINDINGS) * OF_ONE + 1 :: OF_ONE]
    with (folder / "Data_Entry_2017.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Image Index", "Finding Labels", "Patient ID"])
        for number, found in enumerate(labels):
            pixels = random.normal(100, 20, (4, 4)).repeat(4, axis=0).repeat(4, axis=1)
            for finding in found:
                row, column = divmod(FINDINGS.index(finding), 4)
                pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 80
            name = f"{number:08}_000.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "images" / name)
            rows.writerow([name, "|".join(sorted(found)) or "No Finding", number])


def kill_after(laptop: Laptop, step: str) -> None:
    """Runs the trial and kills it once this step is done."""
    process = laptop.start("run")
    assert process.stdout is not None
    done = next((line for line in process.stdout if re.match(rf"done in .*: {re.escape(step)}$", line)), None)
    process.kill()
    rest, _ = process.communicate()
    assert done is not None, rest


def killed_after(laptop: Laptop, step: str, *, then_s: float) -> None:
    """Runs the trial, kills it once this step is done, and runs it to its end: nothing is done twice."""
    kill_after(laptop, step)
    go_on_after(laptop, step, then_s=then_s)


def go_on_after(laptop: Laptop, step: str, *, then_s: float) -> None:
    """Runs a trial that was killed after this step to its end: nothing is done twice."""
    output = laptop.run("run", timeout_s=then_s)
    assert f": {step}\n" not in output
    store = open_store(laptop.store)
    counted = successes(store)
    assert all(store.manifest(key) is not None for key in counted)
    # Of a step that ended as its driver was killed nobody may have said that it did.
    assert max(counted.values()) == 1


@pytest.mark.parametrize("name", sorted(path.name for path in STUDIES.glob("*.yaml")))
def test_a_study_is_a_sound_experiment_with_one_comparison_that_decides(name: str) -> None:
    experiment = read_experiment(STUDIES / name)
    assert experiment.spec.endpoint.primary is not None
    assert size_of(experiment.spec).steps <= STEP_LIMIT


@pytest.mark.parametrize("name", ["chest-synthetic-quick.yaml", "nih-transfer-quick.yaml"])
def test_a_quick_study_can_be_planned_on_the_data_that_it_names(name: str, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "nih-sample").symlink_to(shared_data / "nih-sample")
    experiment = read_experiment(STUDIES / name)
    sources = resolve_sources(experiment, base=tmp_path, data_root=shared_data / "medmnist")
    found = plan(experiment, sources.by_name)
    assert any(step.label.startswith("pretrain ") for step in found.training)


def test_the_quick_gan_workbench_can_be_planned_on_the_data_that_it_names(shared_data: Path) -> None:
    experiment = read_experiment(STUDIES / "gan-workbench-quick.yaml")
    sources = resolve_sources(experiment, base=STUDIES, data_root=shared_data / "medmnist")
    found = plan(experiment, sources.by_name)
    labels = {step.label for step in found.training}
    assert {"train external best trial 0", "train gan best trial 1", "propose trials 2 to 3 of best"} <= labels


@pytest.mark.e2e
@pytest.mark.timeout(1000)
def test_the_study_of_synthetic_x_rays_ends_in_a_verdict_on_drawn_images(tmp_path: Path) -> None:
    spec = spec_of("chest-synthetic-quick")
    pico = {"preset": "pico", "images": 160, "channels": [16, 32], "batchSize": 16}
    spec |= {
        "dataset": {**PHANTOM, "size": SIDE},
        "synthetic": [{**spec["synthetic"][0], "generator": {"diffusion": pico}}],
        "budget": {"steps": 8},
        "replicates": 2,
        "encoder": {"steps": 20, "batchSize": 16, "featureSize": 16},
    }
    spec["classifiers"][1]["chain"][0]["budget"] = {"steps": 8}
    laptop = laptop_with(tmp_path, spec)
    laptop.run("run", timeout_s=800)

    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    against = {item["arm"]: item["control"] for item in report["comparisons"]}
    assert against["finetune edm small-cnn"] == "real-twice small-cnn"
    assert against["real-then-synthetic edm nih"] == "real-twice nih"
    (link,) = report["pretraining"]
    assert sorted(link["audit"]["classes"]) == sorted(FINDINGS)
    seen = {arm["cell"]: arm["images_seen"] for arm in report["arms"]}
    mixed = seen["augment-100 edm small-cnn"]
    assert mixed["synthetic"] == pytest.approx(mixed["real"], rel=0.1)
    assert seen["synthetic edm nih"]["real"] == 0
    assert "fine-tuning in reverse" in " ".join(found["words"] for found in report["qualifications"])


@pytest.mark.e2e
@pytest.mark.timeout(1000)
def test_the_study_of_transfer_that_is_killed_between_links_ends_in_a_verdict_between_chains(tmp_path: Path) -> None:
    spec = spec_of("nih-transfer-quick")
    spec["dataset"] |= {"split": {"validation": 0.1, "test": 0.2}, "size": SIDE}
    spec |= {"budget": {"steps": 8}, "replicates": 2, "exploratoryReplicates": 1}
    first, second = spec["classifiers"][0]["chain"]
    first |= {"dataset": dict(PHANTOM), "budget": {"steps": 4}}
    second["dataset"]["capPerLabel"] = CAP
    for stage in second["stages"]:
        stage["steps"] = 4
    laptop = laptop_with(tmp_path, spec)
    killed_after(laptop, "pretrain pneumonia-nih link 1/2", then_s=800)

    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    sides = (report["verdict"]["arm_label"], report["verdict"]["control_label"])
    assert sides == ("pneumonia-nih", "scratch")
    assert {arm["classifier"] for arm in report["arms"]} == {"scratch", "pneumonia", "nih", "pneumonia-nih"}


@pytest.mark.e2e
@pytest.mark.timeout(1000)
def test_fourteen_findings_with_focal_loss_stages_and_a_cap_are_judged_label_by_label(tmp_path: Path) -> None:
    spec = spec_of("nih-networks")
    recipe = {**spec["classifiers"][0]["recipe"], "batchSize": 16}
    stages = [{"train": ["fc"], "steps": 4}, {"train": ["layer4", "fc"], "steps": 4, "begin": "best"}]
    table = {"preset": "nih-chestxray14", "folder": "nih-sample", "splits": {"ignore": True}}
    spec |= {
        "dataset": {**spec["dataset"], "table": table, "size": SIDE, "capPerLabel": CAP},
        "classifiers": [
            {"model": "resnet10t", "recipe": recipe, "stages": stages},
            {"model": "small-cnn", "recipe": recipe},
        ],
        "budget": {"steps": 8},
        "replicates": 2,
    }
    spec["endpoint"]["primary"] = {"classifier": "resnet10t", "against": {"classifier": "small-cnn"}}
    laptop = laptop_with(tmp_path, spec)
    killed_after(laptop, "train real resnet10t 1/2", then_s=800)

    report = json.loads(laptop.report)
    assert sorted(report["classes"]) == sorted(FINDINGS)
    assert report["verdict"]["outcome"] in OUTCOMES


@pytest.mark.e2e
@pytest.mark.timeout(1000)
def test_the_study_of_histology_ends_in_a_verdict_with_its_pool_and_its_projections(tmp_path: Path) -> None:
    spec = spec_of("histology-latent-quick")
    tissue = {
        "variant": "tissue",
        "trainPatients": 72,
        "validationPatients": 18,
        "testPatients": 36,
        "imagesPerPatient": 1,
    }
    spec |= {
        "dataset": {"phantom": tissue, "trainFraction": 0.5, "size": SIDE},
        "budget": {"steps": 8},
        "replicates": 2,
        "exploratoryReplicates": 1,
        "encoder": {"steps": 20, "batchSize": 16, "featureSize": 16},
    }
    for item in spec["synthetic"]:
        own = item["generator"]["latentDiffusion"]
        own |= {"images": 320, "channels": [16, 32], "attentionHeadWidth": 16, "unlabelled": [{"phantom": tissue}]}
        own |= {
            "autoencoder": {"factor": 2, "channels": [8, 8], "images": 320},
            "guide": {"images": 160, "channels": 16},
        }
        own["sampler"] |= {"steps": 4}
        if "fineTune" in own:
            own["fineTune"] = {"images": 64}
    laptop = laptop_with(tmp_path, spec)
    killed_after(laptop, "prepare random pool 1", then_s=800)

    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    sets = {found["name"]: found for found in report["synthetic"]}
    own = [sets[name] for name in ("random", "selected", "tuned", "tuned-selected")]
    for found in own:
        (pool,) = found["unlabelled"]
        assert pool["audit"]["splits"]["unlabelled"]["count"] == tissue["trainPatients"]
        assert set(found["projection"]["kind"]) >= {0, 1}
    assert report["dataset"]["splits"]["train"]["count"] == tissue["trainPatients"] // 2
    # The control of the filters has the same candidates.
    assert "tuned-selected-random" in sets
    assert "projection" in {figure["id"] for figure in report["figures"]}


@pytest.mark.e2e
@pytest.mark.timeout(1000)
def test_the_gan_workbench_opens_the_test_split_when_its_search_has_chosen(tmp_path: Path) -> None:
    spec = spec_of("gan-workbench-quick")
    (own,) = spec["synthetic"]
    # The generator with the least to install, in an environment of its own as the study's.
    own["generator"] = {"external": {"code": str(TOY), "options": {"components": 4}}}
    own["tune"] = {
        "over": {"options.components": {"choice": [2, 8]}},
        "among": [{"gan": {"preset": "pico", "images": 160, "channels": [16, 16], "batchSize": 16}}],
        "trials": 3,
        "steps": 20,
    }
    own["copies"] = 0.0
    spec |= {
        "dataset": {**PHANTOM, "size": SIDE},
        "budget": {"steps": 8},
        "replicates": 2,
        "exploratoryReplicates": 1,
        "encoder": {"steps": 20, "batchSize": 16, "featureSize": 16},
    }
    laptop = laptop_with(tmp_path, spec)
    store = open_store(laptop.store)
    choosing = "choose the best trial of best"
    kill_after(laptop, choosing)
    # What is compared is on record, and the choice; no look at the test split is.
    (chosen,) = keys_of(store, "ChooseTrial")
    decision = read(Decision, store.open(MemberRef(key=chosen, member=MEMBER)), NAME)
    assert [entry["evaluations"] for entry in store.registrations("small")] == ["undecided"]
    assert not list(store.backend.scan("ledger/"))
    go_on_after(laptop, choosing, then_s=800)

    first, second = store.registrations("small")
    assert second["evaluations"] != first["evaluations"]
    assert [entry["evaluated"] for entry in (first, second)] == [0, 0]
    assert len(list(store.backend.scan("ledger/"))) == 1
    figures = [trial.figures[-1] for trial in decision.trials]
    assert decision.best == figures.index(max(figures))
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    found = next(item for item in report["synthetic"] if item["name"] == "best")["search"]
    assert found["best"] == decision.best
    assert [trial["figures"] for trial in found["trials"]] == [[figure] for figure in figures]
    assert [bool(trial["parameters"]) for trial in found["trials"]] == [True, False, True]
    assert "search" in {figure["id"] for figure in report["figures"]}
    page = (tmp_path / "runs" / "small" / "report.html").read_text()
    assert "best: 3 trials" in page
    assert "components" in page

    # What was chosen draws by the set's name, and a set that there is not is told with those that there are.
    more = [sys.executable, "-m", "syntrial", "generate", "small/best", "more", "-n", "3", "--store", laptop.store]
    more += ["--code", str(TOY)] if decision.best != 1 else []
    drawn = subprocess.run(
        more, cwd=tmp_path, env={**os.environ, **laptop.environment}, text=True, capture_output=True, check=False
    )
    assert drawn.returncode == 0, drawn.stderr
    assert len(list((tmp_path / "more" / "images").rglob("*.png"))) == 6
    more[4] = "small/bets"
    refused = subprocess.run(more, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert refused.returncode == 2
    assert "Nearest: small/best" in refused.stderr


def whole(folder: Path, name: str, shared_data: Path) -> Laptop:
    """A folder with a quick study and the data that it names; only its name is another."""
    laptop = Laptop(
        folder=folder,
        store=str(folder / "store"),
        environment={"SYNTRIAL_DATA_ROOT": str(shared_data / "medmnist")},
    )
    laptop.write((STUDIES / f"{name}.yaml").read_text().replace(f"name: {name}", "name: small"))
    (folder / "nih-sample").symlink_to(shared_data / "nih-sample")
    return laptop


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_quick_study_of_synthetic_x_rays_ends_in_a_verdict(shared_data: Path, tmp_path: Path) -> None:
    laptop = whole(tmp_path, "chest-synthetic-quick", shared_data)
    laptop.run("run", timeout_s=7000)
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    assert report["test"] == {"images": 624, "patients": 624}
    shuffled = next(item for item in report["comparisons"] if item["shuffled_labels"])
    assert shuffled["outcome"] != "improves"


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_quick_study_of_transfer_that_is_killed_ends_in_a_verdict_between_chains(
    shared_data: Path, tmp_path: Path
) -> None:
    laptop = whole(tmp_path, "nih-transfer-quick", shared_data)
    killed_after(laptop, "pretrain nih link 1/1", then_s=7000)
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    assert (report["verdict"]["arm_label"], report["verdict"]["control_label"]) == ("pneumonia-nih", "scratch")
    fourteen = [link["audit"] for link in report["pretraining"] if sorted(link["audit"]["classes"]) == sorted(FINDINGS)]
    assert fourteen


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_fourteen_real_findings_in_stages_with_a_cap_that_are_killed_end_in_a_verdict(
    shared_data: Path, tmp_path: Path
) -> None:
    laptop = whole(tmp_path, "nih-findings-quick", shared_data)
    killed_after(laptop, "train real small-cnn 2/2", then_s=7000)
    report = json.loads(laptop.report)
    assert sorted(report["classes"]) == sorted(FINDINGS)
    assert report["verdict"]["outcome"] in OUTCOMES
    staged = next(arm for arm in report["arms"] if arm["classifier"] == "resnet10t")
    assert staged["images_seen"]["real"] == 32 * (20 + 40 + 60)
    counts = report["dataset"]["splits"]["train"]["classes"]
    # Without the cap 85 images show an effusion; all 8 of hernia stay.
    assert spec_of("nih-findings-quick")["dataset"]["capPerLabel"] <= counts["Effusion"] < 85
    assert counts["Hernia"] == 8
    store = open_store(laptop.store)
    kept = json.loads(store.experiment_file("small", "plan.json") or b"")["labels"]
    key = next(key for key, label in kept.items() if label == "train real resnet10t 1/2")
    phases = store.open(MemberRef(key=key, member="training")).json("training.json")["phases"]
    assert [phase.get("train", []) for phase in phases] == [["fc"], ["layer4", "fc"], []]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_quick_study_of_histology_ends_in_a_verdict_and_its_guidance_makes_more_of_the_class_asked_for(
    shared_data: Path, tmp_path: Path
) -> None:
    laptop = whole(tmp_path, "histology-latent-quick", shared_data)
    laptop.run("run", timeout_s=7000)
    report = json.loads(laptop.report)
    assert report["verdict"]["outcome"] in OUTCOMES
    assert "projection" in {figure["id"] for figure in report["figures"]}
    command = [sys.executable, str(STUDIES / "guidance.py"), "small.yaml", "--store", laptop.store]
    judged = subprocess.run(
        [*command, "--scales", "2", "--pictures", "guidance.png"],
        cwd=tmp_path,
        env={**os.environ, **laptop.environment},
        text=True,
        capture_output=True,
        check=False,
    )
    # It ends with 1 where guidance does not gain more than chance would.
    assert judged.returncode == 0, judged.stdout + judged.stderr
