"""The scripts in examples/clients, each against a really served stage, on a trial of tiny drawn images."""

import csv
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from syntrial.artifacts.store import open_store
from syntrial.errors import SourceError
from syntrial.experiment.file import parse_experiment
from syntrial.rpc.server import StageServer
from syntrial.rpc.step import StepRunner, Verb
from syntrial.sources.resolve import resolve_sources
from syntrial.stages import STAGES, stage_of
from syntrial.trial.run import draft, register

pytestmark = pytest.mark.e2e
CLIENTS = Path(__file__).resolve().parents[2] / "examples" / "clients"
TINY = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: tiny}
spec:
  dataset: {phantom: {trainPatients: 12, validationPatients: 6, testPatients: 6}, size: 16}
  synthetic: [{name: base, generator: {pca: {}}, filters: [{centroid: {keep: 0.5}}], copies: 0.0}]
  replicates: 1
  controls: none
  budget: {steps: 2}
  encoder: {steps: 4, batchSize: 8, featureSize: 8}
"""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A store with a trial, and the addresses of the stages that serve it."""

    folder: Path
    addresses: Mapping[str, str]

    def run(self, script: str, *arguments: str, stage: str) -> subprocess.CompletedProcess[str]:
        options = ("--address", self.addresses[stage], "--store", str(self.folder / "store"))
        command = [sys.executable, str(CLIENTS / script), *arguments, *options]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)


def verbs_of(stage: str) -> Mapping[str, Verb]:
    """The methods of a stage in this process; imported late, since torch comes with them."""
    found: Mapping[str, Verb] = importlib.import_module(f"syntrial_{stage}.service").METHODS
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("clients")
    store = open_store(folder / "store")
    experiment = parse_experiment(TINY)
    trial = draft(experiment, resolve_sources(experiment, base=folder))
    register(trial, store=store)
    runners = {
        name: StepRunner(store=store, verbs=lambda verbs=verbs: verbs, stage_version=STAGES[name].version, threads=1)
        for name, verbs in ((name, verbs_of(name)) for name in STAGES if name != "analysis")
    }
    for step in trial.plan.training:
        runners[stage_of(step.method).name].run(step.method, step.request)
    servers = {name: StageServer(STAGES[name], store=store, runner=runner) for name, runner in runners.items()}
    yield Served(
        folder=folder, addresses={name: f"127.0.0.1:{server.listen('127.0.0.1:0')}" for name, server in servers.items()}
    )
    for server in servers.values():
        server.stop(grace=5.0)


def script(name: str) -> ModuleType:
    """A script as a module, as a notebook takes its functions."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), CLIENTS / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_images_are_generated_filtered_and_classified(served: Served) -> None:
    made = served.run("generate.py", "sample base", "more", "--ratio", "1", "--seed", "7", stage="generation")
    assert made.returncode == 0, made.stderr
    listed = rows(served.folder / "more" / "images.csv")
    assert made.stdout.split() == [str(len(listed)), "images", "in", "more"]
    assert {row["class"] for row in listed} == {"normal", "opacity"}

    kept = served.run("filter.py", "filter base", "more", "kept", stage="filtering")
    assert kept.returncode == 0, kept.stderr
    passed = rows(served.folder / "kept" / "images.csv")
    assert 0 < len(passed) < len(listed)
    assert f"{len(passed)} of {len(listed)} images in kept" in kept.stdout
    given = sorted((served.folder / "more").glob("*/*.png"))
    for row in passed:
        original = given[int(row["origin file"])]
        assert original.parent.name == row["class"]
        assert (served.folder / "kept" / row["file"]).read_bytes() == original.read_bytes()

    files = [str(path) for path in sorted((served.folder / "kept").glob("*/*.png"))[:3]]
    told = served.run("classify.py", "train real small-cnn 1/1", *files, stage="classification")
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == files
    assert all("normal 0." in line and "opacity 0." in line for line in lines)


def test_another_seed_gives_other_images_and_the_same_one_the_same(served: Served) -> None:
    generate = script("generate.py").generate
    store, address = open_store(served.folder / "store"), served.addresses["generation"]
    one, again, other = (
        generate(store, "sample base", address=address, ratio=0.3, seed=seed).images_NHWC for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_step_that_nobody_knows_is_told_with_the_nearest_ones(served: Served) -> None:
    done = served.run("generate.py", "sample bse", "absent", stage="generation")
    assert done.returncode == 1
    assert "sample base" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_other_classes_is_told(served: Served) -> None:
    (served.folder / "strange" / "cats").mkdir(parents=True)
    (served.folder / "strange" / "cats" / "a.png").write_bytes(b"x")
    filter_folder = script("filter.py").filter_folder
    with pytest.raises(SourceError, match="cats"):
        filter_folder(
            open_store(served.folder / "store"),
            "filter base",
            served.folder / "strange",
            address=served.addresses["filtering"],
        )


@pytest.mark.parametrize("name", sorted(path.name for path in CLIENTS.glob("*.py")))
def test_a_script_stays_short(name: str) -> None:
    assert len((CLIENTS / name).read_text().splitlines()) < 80
