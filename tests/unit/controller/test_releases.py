"""A finished trial under a later release, and one whose object was restored: what was registered and found stands."""

import json
from dataclasses import replace

import pytest

from syntrial.controller.controller import Controller
from syntrial.controller.reconcile import KEPT_SECONDS
from syntrial.stages import STAGES
from tests.unit.controller.world import NAMESPACE, SPEC, World


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> tuple[World, Controller]:
    """A trial with its verdict, and a controller of the next release, in which generation has another version."""
    world = World()
    world.apply()
    first = world.start()
    world.settle(first)
    world.now += KEPT_SECONDS
    world.look(first)
    world.kill(first)
    generation = STAGES["generation"]
    monkeypatch.setitem(STAGES, "generation", replace(generation, version=generation.version + 1))
    return world, world.start()


def test_a_release_runs_no_finished_trial_again_until_it_is_asked_to(finished: tuple[World, Controller]) -> None:
    world, second = finished
    before, made = world.status(), world.api.created.total()
    filed = world.store.experiment_file(world.uid(), "plan.json")
    for _ in range(3):
        world.look(second)
        second.queue.add(world.uid())
    assert world.api.created.total() == made
    assert world.condition("Valid") == ("True", "PlannedBefore")
    status = world.status()
    assert {name: status[name] for name in ("verdict", "report", "progress", "stages")} == {
        name: before[name] for name in ("verdict", "report", "progress", "stages")
    }
    assert world.store.experiment_file(world.uid(), "plan.json") == filed
    world.apply(spec={**SPEC, "retention": "retain"})
    world.look(second)
    assert world.api.created.total() == made
    assert b"retain" in (world.store.experiment_file(world.uid(), "experiment.yaml") or b"")
    assert world.store.experiment_file(world.uid(), "plan.json") == filed
    body = world.api.get("Experiment", NAMESPACE, "small")
    assert body is not None
    annotations = {"syntrial.dev/plan-anew": status["report"]["key"]}
    world.api.put({**body, "metadata": {**body["metadata"], "annotations": annotations}})
    world.settle(second)
    world.look(second)
    assert world.condition("Succeeded") == ("True", "VerdictReached")
    assert world.condition("Valid") == ("True", "Planned")
    assert world.api.created.total() > made
    assert world.store.experiment_file(world.uid(), "plan.json") != filed


def test_a_changed_specification_is_planned_by_the_version_that_runs(finished: tuple[World, Controller]) -> None:
    world, second = finished
    made = world.api.created.total()
    world.apply(spec={**SPEC, "replicates": 3})
    world.settle(second)
    assert world.condition("Valid") == ("True", "Planned")
    assert world.api.created.total() > made


def test_a_trial_that_stands_no_longer_is_planned_by_the_version_that_runs(finished: tuple[World, Controller]) -> None:
    world, second = finished
    world.look(second)
    assert world.condition("Valid") == ("True", "PlannedBefore")
    plan = json.loads(world.store.experiment_file(world.uid(), "plan.json") or b"{}")
    (generator,) = [key for key, label in plan["labels"].items() if label.startswith("train diffusion")]
    world.store.backend.delete(f"artifacts/{generator}/manifest.json")
    world.now += 4000
    second.resync()
    world.settle(second)
    assert world.condition("Valid") == ("True", "Planned")
    assert world.condition("Succeeded") == ("True", "VerdictReached")


def restored(world: World, *, continues: str) -> str:
    """Deletes the Experiment and makes it again, as a restored backup does; its UID."""
    world.api.remove("Experiment", NAMESPACE, "small")
    uid = world.apply()
    body = world.api.get("Experiment", NAMESPACE, "small")
    assert body is not None
    annotations = {"syntrial.dev/continues": continues}
    world.api.put({**body, "metadata": {**body["metadata"], "annotations": annotations}})
    return uid


def test_a_restored_experiment_goes_on_with_what_it_registered_and_runs_nothing_again(
    finished: tuple[World, Controller],
) -> None:
    world, second = finished
    before, made, status = world.uid(), world.api.created.total(), world.status()
    uid = restored(world, continues=before)
    assert uid != before
    world.settle(second)
    assert world.condition("Valid") == ("True", "PlannedBefore")
    assert world.status()["report"] == status["report"]
    assert world.api.created.total() == made
    assert world.store.registrations(uid) == world.store.registrations(before)


def test_a_restored_experiment_waits_for_the_record_that_it_names(finished: tuple[World, Controller]) -> None:
    world, second = finished
    record = {
        info.name: world.store.backend.read(info.name) or b""
        for info in world.store.backend.scan(f"experiments/{world.uid()}/")
    }
    before, made = world.uid(), world.api.created.total()
    for name in record:
        world.store.backend.delete(name)
    restored(world, continues=before)
    world.look(second)
    assert world.condition("Valid")[0] == "False"
    assert before in str(world.status()["conditions"])
    assert world.api.created.total() == made
    for name, data in record.items():
        world.store.backend.write(name, data)
    world.now += 4000
    second.resync()
    world.settle(second)
    assert world.condition("Succeeded") == ("True", "VerdictReached")
    assert world.api.created.total() == made
