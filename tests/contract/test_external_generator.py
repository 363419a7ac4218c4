"""A generator of somebody else's (`further/third_party.py`), from the experiment's field to its images."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import UserError
from syntrial.executors.drive import drive
from syntrial.executors.local import LocalExecutor
from syntrial.executors.processes import require_programs
from syntrial.experiment.file import parse_experiment, to_yaml, validate
from syntrial.experiment.model import Experiment
from syntrial.experiment.on_cluster import check_on_cluster
from syntrial.imagesets.imageset import read_image_set
from syntrial.plan.planner import plan
from syntrial.plan.steps import Plan, Program, Step
from syntrial.rpc.step import recorded_request, request_record
from syntrial.sources.named import science_of, sources_of
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.analysis_pb2 import Look
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.contract.refusals import IMAGE, experiment

COMMAND = (sys.executable, str(Path(__file__).parent / "further" / "third_party.py"))
TOY = Path(__file__).parents[2] / "examples" / "generators" / "toy"
PHANTOM = {"phantom": {"trainPatients": 8, "validationPatients": 4, "testPatients": 4}, "size": 16}


def trial(*, copies: float = 0.001, **fields: Any) -> Experiment:
    own = {
        "name": "own",
        "copies": copies,
        "generator": {"external": fields if "code" in fields else {"version": "1", **fields}},
    }
    return validate(experiment("x", {"dataset": PHANTOM, "synthetic": [own]}))


def planned(**fields: Any) -> Plan:
    given = trial(**fields)
    return plan(given, {ref.name: ref.request for ref in sources_of(given)})


def coded(folder: Path) -> Plan:
    given = trial(code=str(folder))
    return plan(given, resolve_sources(given, base=folder).by_name)


def step(of: Plan, verb: str) -> Step:
    return next(step for step in of.training if step.method.endswith(f"/{verb}") and "own" in step.about)


def generation(of: Plan) -> list[Step]:
    return [of.training[0], step(of, "TrainGenerator"), step(of, "SampleImages")]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


@pytest.fixture
def executor(store: ArtifactStore) -> Iterator[LocalExecutor]:
    with LocalExecutor(store.url, cores=2, stop_grace=2.0) as made:
        yield made


def test_a_laptop_trains_and_samples_with_the_program_that_the_experiment_names(
    store: ArtifactStore, executor: LocalExecutor
) -> None:
    of = planned(command=COMMAND, options={"noise_level": 5})
    outcome = drive(generation(of), store=store, executor=executor)
    assert outcome.is_complete, outcome.failures
    trained, sampled = (step(of, verb).key for verb in ("TrainGenerator", "SampleImages"))
    assert store.open(MemberRef(key=trained, member="generator")).json("levels.json")["version"] == "1"
    images = read_image_set(store.open(MemberRef(key=sampled, member="images")))
    train = read_image_set(store.open(MemberRef(key=of.dataset, member="train")))
    assert images.classes == train.classes
    assert len(images) >= len(train)
    assert images.images_NHWC.std() > 0

    refused = planned(command=COMMAND, options={"noise_level": -1})
    (failure,) = drive(generation(refused)[:2], store=store, executor=executor, attempts=1).failures
    assert failure.message.startswith("spec.synthetic[].generator.external.options.noise_level: must be at least 0")
    # The stage's own server and the program's are two; the program's served both plans.
    assert executor.servers_started == 2


@pytest.mark.parametrize(
    ("fields", "received"),
    [
        ({"command": ("no-such-generator",)}, "received no-such-generator"),
        ({"image": IMAGE}, f"received the image {IMAGE} alone"),
    ],
)
def test_a_program_that_is_not_here_is_told_before_anything_runs(
    executor: LocalExecutor, fields: dict[str, Any], received: str
) -> None:
    of = planned(**fields)
    with pytest.raises(UserError) as caught:
        require_programs(of.steps)
    assert str(caught.value).startswith("spec.synthetic[].generator.external.command: ")
    assert received in str(caught.value)
    executor.start(step(of, "TrainGenerator"))
    *_, event = executor.wait(timeout=10)
    assert (event.reason, event.retryable) == ("UserError", False)  # type: ignore[union-attr]


def test_what_a_program_is_enters_its_keys_and_where_it_lies_does_not() -> None:
    base = {"command": ("generator",), "image": IMAGE, "options": {"steps": 3}}
    key = step(planned(**base), "TrainGenerator").key
    others = [
        {"version": "2"},
        {"command": ("generator", "--fast")},
        {"image": IMAGE.replace("a" * 64, "b" * 64)},
        {"options": {"steps": 4}},
    ]
    keys = {step(planned(**{**base, **other}), "TrainGenerator").key for other in others}
    assert len(keys | {key}) == len(others) + 1
    mirrored = base | {"image": IMAGE.replace("ghcr.io", "registry.example"), "options": {"steps": 3.0}}
    assert step(planned(**mirrored), "TrainGenerator").key == key
    # Sampling asks the same program as training.
    assert step(planned(**base), "SampleImages").request.external.version == "1"  # type: ignore[attr-defined]


def test_code_is_known_by_its_content_and_runs_in_the_stages_own_server(tmp_path: Path) -> None:
    keys = []
    for folder in ("here", "there"):
        shutil.copytree(TOY, tmp_path / folder)
        keys.append(step(coded(tmp_path / folder), "TrainGenerator").key)
    assert keys[0] == keys[1]
    (tmp_path / "there" / "generator.py").write_text("def train(): ...")
    of = coded(tmp_path / "there")
    assert step(of, "TrainGenerator").key != keys[0]
    training, sampling = step(of, "TrainGenerator"), step(of, "SampleImages")
    assert training.request.external.code.digest == sampling.request.external.code.digest  # type: ignore[attr-defined]
    assert training.program == Program(is_code=True)
    require_programs(of.steps)
    with pytest.raises(UserError, match="a cluster runs an image; received code alone"):
        check_on_cluster(trial(code=str(TOY)))
    given = trial(code=str(TOY))
    sources = resolve_sources(given, base=tmp_path).by_name
    assert str(TOY) not in to_yaml(science_of(given, sources))
    assert sources["code/own"].digest in to_yaml(science_of(given, sources))


def test_a_job_reads_the_request_back_and_the_experiment_is_written_as_it_was_read() -> None:
    given = {"image": IMAGE, "options": {"rates": [0.5, 1], "inner": {"name": "x", "ema": None, "flip": True}}}
    training = step(planned(**given), "TrainGenerator")
    method, request = recorded_request(request_record(training.method, training.request), key=training.key)
    assert (method, request) == (training.method, training.request)
    assert training.program == Program(image=IMAGE)
    assert parse_experiment(to_yaml(trial(**given))) == trial(**given)


def test_a_cluster_wants_an_image() -> None:
    with pytest.raises(UserError, match="a cluster runs an image; received a command alone"):
        check_on_cluster(trial(command=("generator",)))
    check_on_cluster(trial(command=("generator",), image=IMAGE))


def test_numbers_that_json_cannot_carry_are_refused() -> None:
    with pytest.raises(UserError, match="options are what JSON can say"):
        trial(command=("generator",), options={"steps": 2**60})


def test_a_report_says_that_the_lineage_is_unproven() -> None:
    of = trial(command=("generator",))
    looked = plan(of, {ref.name: ref.request for ref in sources_of(of)}, looks=[Look(number=1)])
    summaries = {item.name: item for item in looked.report[0].request.synthetic}  # type: ignore[attr-defined]
    assert (summaries["own"].method, summaries["own"].proven_lineage) == ("external", False)
    assert summaries["pca-baseline"].proven_lineage
