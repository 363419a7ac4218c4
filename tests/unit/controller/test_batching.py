from dataclasses import replace

from syntrial.controller.batching import BATCH_STEPS, BATCH_WORK, SHORT_WORK, batches, downloads, expected_work
from syntrial.experiment.model import ALONE, Sharing
from syntrial.plan.steps import Program
from syntrial.v1.data_preparation_pb2 import (
    FolderSource,
    MedMnistSource,
    PhantomSource,
    PrepareDatasetRequest,
    Source,
)
from syntrial.v1.generation_pb2 import GanConfig, PcaConfig, TrainGeneratorRequest
from tests.unit.controller.test_reconcile import TRAIN, step

SAMPLE = "syntrial.v1.GenerationService/SampleImages"
GENERATE = "syntrial.v1.GenerationService/TrainGenerator"


def labels(*steps: object, alone: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = batches(steps, alone=alone, work=expected_work(steps), sharing=ALONE)  # type: ignore[arg-type]
    return [tuple(item.label for item in members) for _, members in found]


def test_a_job_holds_steps_of_one_stage_alone() -> None:
    assert labels(step("a"), step("g", method=GENERATE), step("b")) == [("a", "b"), ("g",)]


def test_a_job_holds_steps_of_one_image_alone() -> None:
    ours = step("a", method=GENERATE)
    theirs = [replace(step(name, method=GENERATE), program=Program(image="theirs@sha256:1")) for name in ("b", "c")]
    assert labels(ours, *theirs, step("d", method=GENERATE)) == [("a", "d"), ("b", "c")]


def test_steps_that_devices_share_are_in_no_job_with_others() -> None:
    train = TrainGeneratorRequest(gan=GanConfig())
    shared = [replace(step(name, method=GENERATE), request=train) for name in ("a", "b")]
    steps = [shared[0], replace(step("c", method=GENERATE), request=TrainGeneratorRequest(pca=PcaConfig())), shared[1]]

    def found(devices: int, *, per_pod: int | None = None) -> list[tuple[str, ...]]:
        sharing = Sharing(devices=devices, devices_per_pod=per_pod)
        made = batches(steps, alone=(), work=expected_work(steps), sharing=sharing)
        return [tuple(item.label for item in members) for _, members in made]

    assert found(1) == [("a", "c", "b")]
    assert found(2) == [("a", "b"), ("c",)]
    # In several pods each has a Job of its own.
    assert found(2, per_pod=1) == [("a",), ("c",), ("b",)]


def test_only_steps_that_download_share_a_job_that_may() -> None:
    prepare = "syntrial.v1.DataPreparationService/PrepareDataset"
    fetched, drawn, uploaded = (
        replace(step(name, method=prepare), request=PrepareDatasetRequest(source=source))
        for name, source in (
            ("m", Source(medmnist=MedMnistSource(name="breastmnist", size=28))),
            ("p", Source(phantom=PhantomSource(size=28))),
            ("f", Source(folder=FolderSource())),
        )
    )
    assert [downloads(item) for item in (fetched, drawn, uploaded, step("t"))] == [True, False, False, False]
    assert labels(fetched, drawn, uploaded) == [("m",), ("p", "f")]


def test_a_job_holds_so_many_steps_and_so_much_work_at_most() -> None:
    many = [step(str(number)) for number in range(BATCH_STEPS + 1)]
    assert [len(batch) for batch in labels(*many)] == [BATCH_STEPS, 1]
    heavy = [step(str(number), work=SHORT_WORK) for number in range(5)]
    assert [len(batch) for batch in labels(*heavy)] == [int(BATCH_WORK / SHORT_WORK), 1]


def test_long_steps_and_those_that_were_tried_before_are_alone() -> None:
    first, second, long = step("a"), step("b"), step("c", work=SHORT_WORK + 1)
    assert labels(first, second, long, alone=(second.key,)) == [("a",), ("b",), ("c",)]


def test_sampling_is_taken_to_last_as_its_generators_training() -> None:
    trained = step("g", method=GENERATE, work=1e6)
    sampled = step("s", "g", method=SAMPLE)
    assert expected_work([trained, sampled, step("t", method=TRAIN, work=3.0)])[sampled.key] == 1e6
    assert labels(trained, sampled) == [("g",), ("s",)]
