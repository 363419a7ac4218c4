import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from syntrial.artifacts.store import open_store
from syntrial.artifacts.uploads import find_upload
from syntrial.errors import SourceError, UserError
from syntrial.experiment.file import read_experiment
from syntrial.remote.submit import digest_of, prepare, send
from syntrial.sources.resolve import resolve_sources
from tests.unit.plan.deciding import plan_whole


def write(folder: Path, **spec: Any) -> Path:
    base: dict[str, Any] = {
        "dataset": {"npz": "data.npz", "size": 16},
        "synthetic": [{"name": "base", "generator": {"pca": {}}}],
    }
    tree = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "small", "labels": {"team": "a"}},
        "spec": base | spec,
    }
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, a folder of images and weights of the user's own."""
    random = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = random.integers(0, 255, (8, 16, 16), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(8)[:, None] % 2
    np.savez(tmp_path / "data.npz", **arrays)
    for name in ("0", "1"):
        (tmp_path / "made" / name).mkdir(parents=True)
        Image.new("L", (16, 16), 7).save(tmp_path / "made" / name / "a.png")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "Own_1.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    return tmp_path


def test_local_addresses_become_digests_and_the_rest_of_the_file_stays(folder: Path) -> None:
    made = {"name": "given", "images": {"folder": "made"}}
    submission = prepare(write(folder, synthetic=[made]))
    spec = submission.tree["spec"]
    assert submission.tree["metadata"]["labels"] == {"team": "a"}
    assert spec["dataset"] == {"npz": digest_of(folder / "data.npz"), "size": 16}
    assert spec["synthetic"][0]["images"] == {"folder": digest_of(folder / "made")}
    assert [source.field for source in submission.sources] == ["spec.dataset", "spec.synthetic[0].images"]


def test_keys_on_the_cluster_are_those_on_the_laptop(folder: Path) -> None:
    classifier = {"model": "small-cnn", "name": "ours", "pretraining": "Own_1.safetensors"}
    file = write(folder, synthetic=[{"name": "given", "images": {"folder": "made"}}], classifiers=[classifier])
    here = read_experiment(file)
    sources = resolve_sources(here, base=folder).by_name
    there = prepare(file).experiment
    keys = [[step.key for step in plan_whole(one, sources).steps] for one in (here, there)]
    assert keys[0] == keys[1], "the report's too"
    assert {source.digest for source in prepare(file).sources} == {source.digest for source in sources.values()}


def test_weights_become_their_digest(folder: Path) -> None:
    classifier = {"model": "small-cnn", "name": "ours", "pretraining": "Own_1.safetensors"}
    submission = prepare(write(folder, classifiers=[classifier]))
    digest = digest_of(folder / "Own_1.safetensors")
    assert submission.tree["spec"]["classifiers"] == [classifier | {"pretraining": digest}]


def test_the_data_of_a_chain_becomes_its_digest_wherever_it_lies_here(folder: Path) -> None:
    chain = [{"dataset": {"npz": "data.npz"}}, {"dataset": {"table": {"folder": "s3://bucket/nih", "file": "a.csv"}}}]
    classifier = {"model": "small-cnn", "name": "chain", "chain": chain}
    file = write(folder, classifiers=[classifier])
    submission = prepare(file)
    digest = digest_of(folder / "data.npz")
    assert submission.tree["spec"]["classifiers"][0]["chain"] == [{"dataset": {"npz": digest}}, chain[1]]
    assert [source.field for source in submission.sources] == [
        "spec.dataset",
        "spec.classifiers[0].chain[0].dataset",
    ]


@pytest.mark.parametrize("address", ["s3://bucket/data.npz", "claim://data/set.npz", "sha256:" + "0" * 64])
def test_addresses_that_a_cluster_understands_are_left_as_they_are(folder: Path, address: str) -> None:
    submission = prepare(write(folder, dataset={"npz": address, "size": 16}))
    assert submission.tree["spec"]["dataset"]["npz"] == address
    assert submission.sources == ()


def test_drawn_images_need_nothing(folder: Path) -> None:
    assert prepare(write(folder, dataset={"phantom": {}, "size": 28})).sources == ()


def test_a_missing_file_is_told_by_its_field_before_anything_is_sent(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"spec\.dataset.*exists"):
        prepare(write(folder, dataset={"npz": "absent.npz", "size": 16}))


def test_an_experiment_against_a_rule_is_told_as_on_the_laptop(folder: Path) -> None:
    with pytest.raises(UserError, match=r"spec\.replicates"):
        prepare(write(folder, replicates=0))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"synthetic": [{"name": "edm", "generator": {"diffusion": {"preset": "nanno"}}}]}, "nanno"),
        (
            {"synthetic": [{"name": "own", "generator": {"external": {"command": ["generator"], "version": "1"}}}]},
            "a cluster runs an image",
        ),
        ({"dataset": {"medmnist": "pneumonamnist"}}, "Did you mean pneumoniamnist"),
    ],
)
def test_what_cannot_be_planned_is_told_before_anything_is_sent(folder: Path, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        prepare(write(folder, **spec))


def test_medmnist_is_local_where_the_data_root_holds_it(shared_data: Path, folder: Path) -> None:
    file = write(folder, dataset={"medmnist": "breastmnist", "size": 28})
    (found,) = prepare(file, data_root=shared_data / "medmnist").sources
    assert found.path == shared_data / "medmnist" / "breastmnist.npz"
    assert found.digest.startswith("md5:")
    assert prepare(file).sources == ()
    assert prepare(file, data_root=folder).sources == ()


def test_a_data_root_that_is_no_folder_is_told(folder: Path) -> None:
    with pytest.raises(SourceError, match="--data-root"):
        prepare(write(folder, dataset={"medmnist": "breastmnist"}), data_root=folder / "absent")


def test_what_the_store_has_is_not_sent_again(folder: Path) -> None:
    store = open_store("memory://")
    (source,) = prepare(write(folder)).sources
    told: list[tuple[int, int]] = []
    size = (folder / "data.npz").stat().st_size
    assert send(source, store=store, on_progress=lambda done, total: told.append((done, total))) == size
    assert told[-1] == (size, size)
    assert send(source, store=store) == 0
    assert find_upload(store, source.digest) is not None


def test_a_trial_of_too_many_steps_is_told_before_any_data_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTRIAL_STEP_LIMIT", "10")
    with pytest.raises(UserError, match="a trial has at most 10 steps"):
        prepare(write(folder, dataset={"npz": "nowhere.npz"}))
