"""A stage that reads what was uploaded makes, to the last bit, what it makes of the files themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.service import METHODS

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import put_upload
from syntrial.experiment.file import validate
from syntrial.plan.planner import plan
from syntrial.rpc.step import StepRunner
from syntrial.sources.resolve import Sources, resolve_recorded, resolve_sources
from syntrial.stages import STAGES


def experiment(**dataset: Any) -> Any:
    return validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {
                "dataset": {"size": 8, "split": {"test": 0.4, "validation": 0.2}, **dataset},
                "synthetic": [{"name": "s", "generator": {"pca": {}}}],
            },
        }
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    chance = np.random.default_rng(0)
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for index in range(20):
            Image.fromarray(chance.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / label / f"{index}.png")
    return root


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = chance.integers(0, 256, (20, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(20) % 2)[:, None]
    np.savez(tmp_path / "set.npz", **arrays)  # type: ignore[arg-type]
    return tmp_path / "set.npz"


def prepared(store: ArtifactStore, wanted: Any, sources: Sources) -> Mapping[str, Any]:
    """The digests of the members of the data set, and its key."""
    step = plan(wanted, sources.by_name).training[0]
    request = type(step.request)()
    request.CopyFrom(step.request)
    for digest, path in sources.locations.items():
        request.header.execution.source_locations.add(digest=digest, path=str(path))  # type: ignore[attr-defined]
    stage = STAGES["data_prep"]
    runner = StepRunner(store=store, verbs=lambda: METHODS, stage_version=stage.version, threads=1)
    runner.run(step.method, request)
    manifest = store.manifest(step.key)
    assert manifest is not None
    return {"key": step.key} | {name: member.digest for name, member in manifest.members.items()}


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_an_uploaded_source_gives_the_same_data_set(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue("images" if kind == "folder" else "npz")
    here = experiment(**{kind: str(path)})
    local = resolve_sources(here, base=tmp_path)
    expected = prepared(open_store(tmp_path / "laptop"), here, local)

    store = open_store(tmp_path / "cluster")
    digest = local.by_name["dataset"].digest
    put_upload(store, path, digest=digest)
    there = experiment(**{kind: digest})
    recorded = resolve_recorded(there, store=store, uid="uid")
    assert isinstance(recorded, Sources)
    assert recorded.locations == {}
    assert prepared(store, there, recorded) == expected
