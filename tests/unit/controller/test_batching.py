from dataclasses import replace

from syntrial.controller.batching import BATCH_STEPS, BATCH_WORK, SHORT_WORK, batches, expected_work
from syntrial.plan.steps import Program
from tests.unit.controller.test_reconcile import TRAIN, step

SAMPLE = "syntrial.v1.GenerationService/SampleImages"
GENERATE = "syntrial.v1.GenerationService/TrainGenerator"


def labels(*steps: object, alone: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = batches(steps, alone=alone, work=expected_work(steps))  # type: ignore[arg-type]
    return [tuple(item.label for item in members) for _, members in found]


def test_a_job_holds_steps_of_one_stage_alone() -> None:
    assert labels(step("a"), step("g", method=GENERATE), step("b")) == [("a", "b"), ("g",)]


def test_a_job_holds_steps_of_one_image_alone() -> None:
    ours = step("a", method=GENERATE)
    theirs = [replace(step(name, method=GENERATE), program=Program(image="theirs@sha256:1")) for name in ("b", "c")]
    assert labels(ours, *theirs, step("d", method=GENERATE)) == [("a", "d"), ("b", "c")]


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
