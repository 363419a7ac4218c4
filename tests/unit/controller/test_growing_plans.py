"""Trials whose plans grow as their steps decide, or begin with what another experiment made, on a whole controller."""

from collections.abc import Mapping
from typing import Any

import pytest

from syntrial.cluster.manifests import keys_of
from syntrial.plan.search import SEARCHING
from syntrial.trial.record import read_step_labels
from tests.unit.controller.world import FILTERED_SPEC, SPEC, TUNED_CLASSIFIER_SPEC, TUNED_SPEC, World


@pytest.mark.parametrize("spec", [TUNED_SPEC, TUNED_CLASSIFIER_SPEC], ids=["generator", "classifier"])
def test_a_search_grows_its_plan_and_opens_the_test_split_when_all_is_decided(spec: dict[str, Any]) -> None:
    world = World(spec)
    uid = world.apply()
    controller = world.start()
    opened: list[set[str]] = []
    append = world.store.backend.create

    def listen(name: str, data: bytes, /) -> bool:
        if name.startswith("ledger/"):
            opened.append(set(world.runs))
        return append(name, data)

    world.backend.create = listen  # type: ignore[attr-defined]
    world.look(controller)
    (valid,) = (item for item in world.status()["conditions"] if item["type"] == "Valid")
    assert "more as a search decides" in valid["message"]
    world.settle(controller)
    assert world.condition("Succeeded") == ("True", "VerdictReached"), world.status()
    assert set(world.runs.values()) == {1}
    registered = [entry["evaluations"] for entry in world.store.registrations(uid)]
    assert registered[0] == "undecided"
    assert len(registered) == 2
    decisions = {key for key in world.runs if (world.store.request(key) or {})["method"] in SEARCHING}
    assert len(decisions) == 2 + 2 + 1
    (before,) = opened
    assert decisions <= before
    # A new controller finds the same plan: it asks the decisions of the store.
    world.kill(controller)
    again = world.start()
    world.look(again)
    assert world.condition("Succeeded") == ("True", "VerdictReached")
    assert set(world.runs.values()) == {1}


def test_where_filters_leave_too_few_more_is_drawn_and_nothing_is_trained_on_too_few() -> None:
    world = World(FILTERED_SPEC)
    uid = world.apply()
    controller = world.start()
    world.look(controller)
    (valid,) = (item for item in world.status()["conditions"] if item["type"] == "Valid")
    assert "more where filters leave too few images" in valid["message"]
    world.settle(controller)
    assert world.condition("Succeeded") == ("True", "VerdictReached"), world.status()
    assert set(world.runs.values()) == {1}
    labels = read_step_labels(world.store, uid=uid)
    assert world.runs.keys() == labels.keys()
    words = set(labels.values())
    assert {"sample edm", "sample round 2 of edm", "filter round 3 of edm", "filter edm-random"} <= words
    assert "sample round 4 of edm" not in words
    # What each plan would evaluate is on record before any of it is.
    registered = world.store.registrations(uid)
    assert len({entry["evaluations"] for entry in registered}) == len(registered) == 3
    assert {entry["evaluated"] for entry in registered} == {0}


def test_a_trial_of_a_search_that_fails_for_good_is_left_out_and_one_where_all_fail_says_so() -> None:
    world = World(TUNED_SPEC)
    uid = world.apply()
    controller = world.start()
    failed: set[str] = set()
    for _ in range(40):
        world.look(controller)
        for job in world.jobs():
            steps = {key: (world.store.request(key) or {}) for key in keys_of(job)}
            bad = [key for key, asked in steps.items() if _is_searched(asked) and not failed]
            for key in bad:
                failed.add(key)
                pod = world.start_pod(job)
                world.fail_step(job, key, reason="UserError")
                world.end_pod(job, pod, code=1)
            if not bad:
                world.complete(job)
        world.now += 400.0
        controller.queue.add(uid)
        if world.condition("Succeeded")[0] == "True":
            break
    assert len(failed) == 1
    assert world.condition("Succeeded") == ("True", "VerdictReached"), world.status()
    choices = [key for key in world.runs if (world.store.request(key) or {})["method"].endswith("/ChooseTrial")]
    trials = (world.store.request(choices[0]) or {})["request"]["trials"]
    assert [trial["failed"] for trial in trials if "failed" in trial] == ["train: UserError: UserError it was"]


def _is_searched(asked: Mapping[str, Any]) -> bool:
    """Whether a request is the first part of the training of a trial that was drawn."""
    config = asked["request"].get("diffusion", {})
    return asked["method"].endswith("/TrainGenerator") and config.get("learningRate") in (0.0002, 0.0003)


def begun_with(key: str) -> dict[str, Any]:
    generator = {"diffusion": {"preset": "pico", "initial": {"key": key}}}
    return {**SPEC, "synthetic": [SPEC["synthetic"][0] | {"generator": generator}]}


def trained_by(world: World) -> str:
    methods = {key: world.store.sound_manifest(key) for key in world.runs}
    return next(key for key, manifest in methods.items() if manifest and manifest.method.endswith("/TrainGenerator"))


def test_a_training_begins_with_the_generator_of_another_experiment() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.settle(controller)
    key = trained_by(world)
    world.apply("further", spec=begun_with(key))
    world.settle(controller, name="further")
    assert world.condition("Succeeded", "further")[0] == "True", world.status("further")
    assert world.runs[key] == 1


def test_a_generator_to_begin_with_that_is_not_there_or_is_gone_is_told_and_not_waited_for() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.settle(controller)
    key = trained_by(world)
    world.apply("missing", spec=begun_with("9f3c" * 16))
    world.apply("further", spec=begun_with(key))
    world.look(controller)
    assert world.condition("Valid", "missing") == ("False", "Invalid")
    assert "which is no finished step" in world.status("missing")["conditions"][0]["message"]
    assert world.condition("Valid", "further")[0] == "True"
    world.store.backend.delete(f"artifacts/{key}/manifest.json")
    world.kill(controller)
    world.look(world.start())
    assert world.condition("Valid", "further") == ("False", "Invalid")
