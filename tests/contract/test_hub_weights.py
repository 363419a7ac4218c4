"""Weights of the hub as a source like any other: on a laptop, by a Job on a cluster, and in the keys of the plan."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import yaml
from huggingface_hub import constants
from safetensors.torch import save

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import has_upload, materialise
from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.remote.submit import prepare
from syntrial.sources.resolve import PendingSources, Sources, resolve_recorded, resolve_sources
from syntrial.v1.classification_pb2 import ClassifierModel, TrainClassifierRequest
from tests.fake_hub import COMMIT, FakeHub, fake_hub

LATER = "f" * 40
REPOSITORY = "timm/test_resnet.r160_in1k"
NAME = "weights/test_resnet-hub"


def weights(seed: int) -> bytes:
    """A whole, small model of timm, as its publishers save it."""
    model = timm.create_model("test_resnet")
    return save({name: tensor + seed for name, tensor in model.state_dict().items()})


PUBLISHED = weights(0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    with fake_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        server.publish(REPOSITORY, {"model.safetensors": PUBLISHED, "config.json": b"{}"})
        yield server


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


def tree(pretraining: str = "hub", *, name: str = "x") -> dict[str, Any]:
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"phantom": {}, "size": 28},
            "synthetic": [{"name": "s", "generator": {"pca": {}}}],
            "classifiers": [{"model": "test_resnet", "pretraining": pretraining}],
        },
    }


def experiment(pretraining: str = "hub", *, name: str = "x") -> Experiment:
    return validate(tree(pretraining, name=name))


def models(experiment: Experiment, sources: Sources) -> list[ClassifierModel]:
    """The models of the trainings that are planned."""
    steps = plan(experiment, sources.by_name).training
    return [step.request.model for step in steps if isinstance(step.request, TrainClassifierRequest)]


def keys(experiment: Experiment, sources: Sources) -> list[str]:
    return [step.key for step in plan(experiment, sources.by_name).steps]


def job(store: ArtifactStore, address: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "syntrial.sources.ingest", f"--store={store.url}", "--experiment=uid"]
    command += [f"--name={NAME}", "--kind=weights", f"--address={address}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SYNTRIAL_", "HF_"))}
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


# On a laptop


def test_the_plan_names_the_weights_by_their_content(hub: FakeHub, store: ArtifactStore, tmp_path: Path) -> None:
    wanted = experiment()
    sources = resolve_sources(wanted, base=tmp_path, store=store)
    digest = sources.by_name[NAME].digest
    assert has_upload(store, digest)
    laid_out = materialise(store, digest, folder=tmp_path / "out")
    assert laid_out is not None
    assert laid_out.read_bytes() == PUBLISHED
    found = models(wanted, sources)
    assert found
    assert {model.file.digest for model in found} == {digest}
    assert {model.stem for model in found} == {ClassifierModel.STEM_STANDARD}, "images of 28 pixels or not"


def test_a_file_of_the_same_content_is_the_same_training(hub: FakeHub, store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(PUBLISHED)
    wanted = tree("w.safetensors")
    wanted["spec"]["classifiers"][0] |= {"name": "own", "stem": "standard"}
    by_path = validate(wanted)
    of_hub = experiment()
    assert keys(by_path, resolve_sources(by_path, base=tmp_path)) == keys(
        of_hub, resolve_sources(of_hub, base=tmp_path, store=store)
    )


def test_an_experiment_keeps_its_revision_and_another_gets_what_the_hub_has_by_then(
    hub: FakeHub, store: ArtifactStore, tmp_path: Path
) -> None:
    first = resolve_sources(experiment(), base=tmp_path, store=store)
    (note,) = [info.name for info in store.backend.scan("experiments/x/")]
    assert json.loads(store.backend.read(note) or b"") == {
        "address": f"hub://{REPOSITORY}",
        "digest": first.by_name[NAME].digest,
        "origin": f"hub://{REPOSITORY}@{COMMIT}/model.safetensors",
    }
    hub.publish(REPOSITORY, {"model.safetensors": weights(1)}, commit=LATER)
    asked = len(hub.asked)
    again = resolve_sources(experiment(), base=tmp_path, store=store)
    assert len(hub.asked) == asked, "the second run asks nothing"
    assert keys(experiment(), again) == keys(experiment(), first)

    another = experiment(name="z")
    later = resolve_sources(another, base=tmp_path, store=store)
    assert keys(another, later) != keys(experiment(), first)
    pinned = experiment(f"hub://{REPOSITORY}@{COMMIT}", name="z")
    assert keys(pinned, resolve_sources(pinned, base=tmp_path, store=store)) == keys(experiment(), first)


def test_weights_that_left_the_store_are_brought_again(hub: FakeHub, store: ArtifactStore, tmp_path: Path) -> None:
    first = resolve_sources(experiment(), base=tmp_path, store=store)
    for info in store.backend.scan("uploads/"):
        store.backend.delete(info.name)
    assert resolve_sources(experiment(), base=tmp_path, store=store).by_name == first.by_name
    assert has_upload(store, first.by_name[NAME].digest)


def test_images_do_not_come_from_the_hub(store: ArtifactStore, tmp_path: Path) -> None:
    wanted = tree("none")
    wanted["spec"]["dataset"] = {"folder": "hub://someone/images", "size": 28}
    for resolve in (
        lambda: resolve_sources(validate(wanted), base=tmp_path, store=store),
        lambda: resolve_recorded(validate(wanted), store=store, uid="uid"),
    ):
        with pytest.raises(UserError, match=r"spec\.dataset: hub:// is for a classifier's `pretraining`"):
            resolve()


# On a cluster


def test_a_job_brings_them_and_keys_are_those_of_the_laptop(hub: FakeHub, store: ArtifactStore, tmp_path: Path) -> None:
    pending = resolve_recorded(experiment(), store=store, uid="uid")
    assert isinstance(pending, PendingSources)
    (ref,) = pending.refs
    assert (ref.name, ref.address) == (NAME, f"hub://{REPOSITORY}")
    done = job(store, str(ref.address), {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")})
    assert done.returncode == 0, done.stderr
    assert f"hub://{REPOSITORY}@{COMMIT}/model.safetensors" in done.stderr
    on_cluster = resolve_recorded(experiment(), store=store, uid="uid")
    assert isinstance(on_cluster, Sources)
    on_laptop = resolve_sources(experiment(), base=tmp_path, store=open_store(tmp_path / "laptop"))
    assert keys(experiment(), on_cluster) == keys(experiment(), on_laptop)


def test_a_job_without_a_network_says_what_to_do_and_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = job(store, f"hub://{REPOSITORY}", environment)
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "give its path as `pretraining`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(store.backend.scan("uploads/"))
    assert not list(store.backend.scan("experiments/"))


def test_a_job_whose_hub_is_busy_may_be_tried_again(hub: FakeHub, store: ArtifactStore, tmp_path: Path) -> None:
    hub.failures = 1000
    done = job(store, f"hub://{REPOSITORY}", {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")})
    assert done.returncode == 1, "which a Job's failure policy does not take as final"
    assert "answered HTTP 503" in done.stderr


def test_submit_leaves_the_hub_to_the_cluster_and_refuses_a_model_without_weights(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(tree()))
    submission = prepare(file)
    assert submission.sources == ()
    assert submission.tree == tree()
    wanted = tree()
    wanted["spec"]["classifiers"][0]["model"] = "small-cnn"
    file.write_text(yaml.safe_dump(wanted))
    with pytest.raises(UserError, match=r"spec\.classifiers\[0\]\.pretraining: `hub` stands for the published weights"):
        prepare(file)
