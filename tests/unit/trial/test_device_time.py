"""Device time before a trial starts: from short runs to the whole, and a limit on it."""

from typing import Any

import pytest

from syntrial.errors import UserError
from syntrial.plan.planner import plan
from syntrial.plan.steps import Step
from syntrial.sources.named import sources_of
from syntrial.trial.device_time import Estimate, check_at_most, device_time, seconds_of, time_words
from syntrial.v1.classification_pb2 import TrainClassifierRequest
from syntrial.v1.filtering_pb2 import TrainEncoderRequest
from syntrial.v1.generation_pb2 import TrainGeneratorRequest
from tests.unit.experiment.test_endpoint import CNN, RESNET, SETS, experiment

IMAGES = 100


def steps_of(**spec: Any) -> tuple[Step, ...]:
    item = experiment(**spec)
    sources = {ref.name: ref.with_digest(f"sha256:{'0' * 64}") for ref in sources_of(item)}
    return plan(item, sources).steps


class Machine:
    """Takes 3 s once, half a second a step and 0.1 s a validation; a ResNet's steps take two seconds."""

    def __init__(self) -> None:
        self.ran: list[Step] = []

    def __call__(self, step: Step) -> float:
        self.ran.append(step)
        request = step.request
        if isinstance(request, TrainClassifierRequest):
            each = 2.0 if request.model.name == "resnet18" else 0.5
            return 3.0 + each * sum(phase.steps for phase in request.phases) + 0.1 * request.recipe.validations
        if isinstance(request, TrainGeneratorRequest):
            return 3.0 + 0.5 * request.diffusion.images / request.diffusion.batch_size
        assert isinstance(request, TrainEncoderRequest)
        return 3.0 + 0.5 * request.steps


def test_the_whole_comes_out_of_short_runs_of_each_kind() -> None:
    steps = steps_of(classifiers=[CNN, RESNET], replicates=3, budget={"steps": 200})
    machine = Machine()
    found = device_time(steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=machine, seed=7)
    validations = steps[1].request.recipe.validations  # type: ignore[attr-defined]
    assert found.seconds == pytest.approx(3 * (3 + 100 + 0.1 * validations) + 3 * (3 + 400 + 0.1 * validations))
    assert (found.trainings, found.kinds) == (6, 2)
    assert found.unmeasured == {"PrepareDataset": 1, "EvaluateClassifier": 6}
    assert sum(phase.steps for step in machine.ran for phase in step.request.phases) < 100  # type: ignore[attr-defined]


def test_passes_are_turned_into_steps_and_arms_share_their_classifiers_measurement() -> None:
    arms = [{"name": "double", "phases": [{"real": 1, "synthetic": 1, "epochs": 64}]}]
    spec = {"synthetic": SETS[:1], "arms": arms, "controls": "none", "replicates": 2, "budget": {"steps": 50}}
    steps = steps_of(**spec, classifiers=[CNN | {"recipe": {"batchSize": 10}}])
    found = device_time(
        steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=Machine(), seed=7
    )
    assert found.kinds == 3
    doubles = [step for step in steps if step.label.startswith("train double")]
    once = device_time(
        doubles[:1], dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=Machine(), seed=7
    )
    validations = doubles[0].request.recipe.validations  # type: ignore[attr-defined]
    assert once.seconds == pytest.approx(3 + 0.5 * 64 * 2 * IMAGES / 10 + 0.1 * validations)


def test_a_measurement_asks_for_what_no_trial_asks_for_and_no_other_measurement() -> None:
    steps = steps_of(classifiers=[CNN, RESNET])
    first, second = Machine(), Machine()
    device_time(steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=first, seed=7)
    device_time(steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=second, seed=70)
    keys = [step.key for step in (*steps, *first.ran, *second.ran)]
    assert len(set(keys)) == len(keys)


def test_what_begins_with_a_chain_is_measured_without_it() -> None:
    chain = RESNET | {"name": "chain", "chain": [{"dataset": {"phantom": {"seed": 3}}}]}
    steps = steps_of(classifiers=[chain, RESNET])
    machine = Machine()
    found = device_time(steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=machine, seed=7)
    assert found.unmeasured["pretraining"] == 1
    assert found.kinds == 1
    assert {step.after for step in machine.ran} == {(steps[0].key,)}


def test_a_part_of_a_training_of_a_search_takes_its_share() -> None:
    over = {"learningRate": {"choice": [0.1]}}
    tuned = CNN | {"tune": {"over": over, "replicates": 3, "prune": {"after": [0.25]}}}
    steps = steps_of(classifiers=[RESNET, tuned], budget={"steps": 200}, replicates=1)
    found = device_time(
        steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=Machine(), seed=7
    )
    # Of trial 0 its first part, three times; and the other classifier.
    assert (found.trainings, found.kinds) == (4, 2)
    assert found.seconds == pytest.approx(3 * (3 + 25 + 0.1 * 3) + (3 + 400 + 0.1 * 12))


def test_the_words_say_what_is_not_in_it() -> None:
    steps = steps_of(classifiers=[CNN, RESNET])
    found = device_time(
        steps, dataset=steps[0].key, training_images=IMAGES, labels={"a": IMAGES}, run=Machine(), seed=7
    )
    assert "10 trainings of 2 kinds" in found.words
    assert "Not in it: 10 × EvaluateClassifier, 1 × PrepareDataset." in found.words


def test_an_estimate_over_the_limit_is_refused_with_both() -> None:
    found = Estimate(by_stage={"classification": 7200.0}, trainings=4, kinds=1)
    check_at_most(found, seconds_of("2h"))
    with pytest.raises(UserError, match=r"at most 30 min .*received an estimate of 2\.0 h"):
        check_at_most(found, seconds_of("30m"))


@pytest.mark.parametrize("text", ["", "2", "2 hours", "0s", "-1h", "1d"])
def test_a_length_of_time_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UserError, match="90s, 30m or 2h"):
        seconds_of(text)


def test_times_are_told_in_the_unit_that_fits() -> None:
    assert [time_words(seconds) for seconds in (40, 720, 12600)] == ["40 s", "12 min", "3.5 h"]
