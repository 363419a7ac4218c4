"""Recorded results of every stage, and how they are made anew: `python -m tests.contract.recorded`.

A line of `recorded_results.jsonl` says, for one stage: its version, the digest of its source and of what it shares with
other stages, and figures of what it makes of a small experiment on drawn images. A change of that source needs a new
line; figures of one version agree with the lines before within a tolerance, so a change that moves them needs a new
version.
"""

import hashlib
import importlib
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load as load_safetensors

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.experiment.file import validate
from syntrial.plan.steps import Step
from syntrial.rpc.testing import run_step
from syntrial.sources.resolve import resolve_sources
from syntrial.stages import STAGES, stage_of
from syntrial.v1.analysis_pb2 import Look
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.unit.plan.deciding import plan_whole

RECORD: Final = Path(__file__).with_name("recorded_results.jsonl")
SHARED: Final = ("syntrial.documents", "syntrial.imagesets", "syntrial_training")
"""Packages outside the stages whose code shows in what stages make."""
SMALL: Final[dict[str, Any]] = {
    "apiVersion": "syntrial.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": "recorded"},
    "spec": {
        "dataset": {"phantom": {"trainPatients": 24, "validationPatients": 12, "testPatients": 24}, "size": 16},
        "synthetic": [
            {
                "name": "edm",
                "generator": {"diffusion": {"preset": "pico", "images": 640, "channels": [16, 32], "batchSize": 16}},
                "filters": [{"centroid": {"keep": 0.8}}],
                "oversample": 2.0,
                "copies": 0.0,
            },
            {
                "name": "gan",
                "generator": {"gan": {"images": 320, "channels": [16, 16], "batchSize": 16}},
                "copies": 0.0,
            },
            {
                "name": "more",
                "images": {"phantom": {"trainPatients": 60, "validationPatients": 4, "testPatients": 4, "seed": 7}},
                "copies": 0.0,
            },
        ],
        "arms": ["augment-50", "finetune"],
        "replicates": 2,
        "exploratoryReplicates": 1,
        "budget": {"steps": 20},
        "encoder": {"steps": 40, "batchSize": 16, "featureSize": 16},
        "controls": "primary",
    },
}


def source_digest(stage: str) -> str:
    """SHA-256 over the Python files that a stage's results are made by."""
    digest = hashlib.sha256()
    for name, path in source_files(stage).items():
        digest.update(name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def source_files(stage: str) -> dict[str, Path]:
    """The Python files of a stage's package, and of what stages share where the package imports it, by module path."""
    own = _files(STAGES[stage].module)
    text = "\n".join(path.read_text() for path in own.values())
    shared = [_files(name) for name in SHARED if re.search(rf"^from {name}\b", text, flags=re.MULTILINE)]
    return {name: path for files in (own, *shared) for name, path in files.items()}


def _files(package: str) -> dict[str, Path]:
    specification = importlib.util.find_spec(package)
    assert specification is not None
    assert specification.submodule_search_locations is not None
    folder = Path(specification.submodule_search_locations[0])
    return {f"{package}/{path.relative_to(folder)}": path for path in sorted(folder.rglob("*.py"))}


@cache
def run() -> tuple[ArtifactStore, tuple[Step, ...]]:
    """Runs the small experiment in this process; its artifacts, and the steps that made them."""
    experiment = validate(SMALL)
    sources = resolve_sources(experiment, base=Path()).by_name
    whole = plan_whole(experiment, sources, looks=[Look(number=1, evaluations="recorded")])
    store = open_store("memory://")
    for step in whole.steps:
        stage = stage_of(step.method)
        name = step.method.rpartition("/")[2]
        module = "syntrial.analysis" if stage.name == "analysis" else stage.module
        verb = importlib.import_module(f"{module}.service").METHODS[name]
        run_step(verb, step.request, store)
    return store, tuple(whole.steps)


def measure() -> dict[str, dict[str, float]]:
    """The figures of each stage on the small experiment."""
    store, steps = run()
    figures: dict[str, dict[str, float]] = {name: {} for name in STAGES}
    for step in steps:
        figures[stage_of(step.method).name] |= _figures(store, step.key, step.method.rpartition("/")[2])
    return {stage: dict(sorted(found.items())) for stage, found in figures.items()}


def _figures(store: Any, key: str, name: str) -> dict[str, float]:
    """Means and spreads of the arrays and weights of an artifact, by method, member and blob; the last step's stand."""
    found: dict[str, float] = {}
    for member in store.manifest(key).members:
        reader = store.open(MemberRef(key=key, member=member))
        for blob in reader.names():
            label = f"{name}.{member}.{blob}"
            if blob.endswith(".npy"):
                array = np.asarray(reader.array(blob), np.float64)
                found |= (
                    {f"{label}.mean": float(array.mean()), f"{label}.std": float(array.std())} if array.size else {}
                )
            elif blob.endswith(".safetensors"):
                arrays = load_safetensors(reader.read(blob)).values()
                found[f"{label}.norm"] = float(np.sqrt(sum(np.square(a.astype(np.float64)).sum() for a in arrays)))
            elif blob == "report.json":
                comparisons = reader.json(blob)["comparisons"]
                found |= {f"{label}.{number}": float(item["estimate"]) for number, item in enumerate(comparisons)}
    return found


def read_record() -> dict[str, list[dict[str, Any]]]:
    """The recorded lines of each stage, oldest first."""
    lines = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    return {stage: [line for line in lines if line["stage"] == stage] for stage in STAGES}


def main() -> None:
    """Appends a line for each stage whose version or source has none."""
    known, figures = read_record(), measure()
    with RECORD.open("a") as record:
        for stage, found in figures.items():
            line = {"stage": stage, "version": STAGES[stage].version, "source": source_digest(stage), "figures": found}
            if not known[stage] or any(known[stage][-1][name] != line[name] for name in ("source", "version")):
                record.write(json.dumps(line, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
