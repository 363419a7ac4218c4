"""How many Jobs an experiment and a namespace have at a time."""

from typing import Any
from unittest.mock import Mock, call, patch

from syntrial.controller.acting import UNCALLED_SECONDS
from tests.unit.controller.world import SPEC, World

WIDE: dict[str, Any] = {**SPEC, "replicates": 6, "budget": {"steps": 5000}}
"""Of which many steps are ready at once, each in a Job of its own."""


def of_patients(count: int) -> dict[str, Any]:
    """A specification that shares no step with one of another number of patients."""
    return {**SPEC, "dataset": {"phantom": {**SPEC["dataset"]["phantom"], "trainPatients": count}, "size": 16}}


def pending(world: World, name: str = "small") -> dict[str, int]:
    return {item["reason"]: item["count"] for item in world.status(name)["pending"]}


def test_an_experiment_has_so_many_jobs_at_a_time_and_says_what_waits() -> None:
    world = World(WIDE)
    world.apply()
    controller = world.start(jobs_per_experiment=2)
    most, seen = 0, []
    for _ in range(60):
        world.look(controller)
        most = max(most, len(world.jobs()))
        seen += [item for item in world.status()["pending"] if item["reason"] == "JobLimit"]
        for job in world.jobs()[:1]:
            world.complete(job)
        if world.condition("Succeeded")[0] == "True":
            break
        world.now += 1
    assert most == 2
    assert max(item["count"] for item in seen) > 1
    assert "2 Jobs at a time" in seen[0]["message"]
    assert world.condition("Succeeded")[0] == "True"


def test_a_namespace_has_so_many_jobs_at_a_time_whichever_experiments_they_are_of() -> None:
    world = World()
    names = [f"e{number}" for number in range(5)]
    for number, name in enumerate(names):
        world.apply(name, spec={**WIDE, "seed": 100 * number, "synthetic": [{**SPEC["synthetic"][0], "seed": number}]})
    controller = world.start(jobs_per_namespace=3)
    most, waited = 0, set()
    for _ in range(400):
        world.look(controller)
        most = max(most, len(world.jobs()))
        waited |= {name for name in names if "JobLimit" in pending(world, name)}
        for job in world.jobs()[:2]:
            world.complete(job)
        if all(world.condition("Succeeded", name)[0] == "True" for name in names):
            break
        world.now += 1.0
    assert most == 3
    assert waited
    assert all(world.condition("Succeeded", name)[0] == "True" for name in names)
    assert set(world.runs.values()) == {1}


def test_who_waits_for_room_is_looked_at_when_a_job_of_another_ends_and_no_sooner() -> None:
    world = World()
    world.apply("first")
    controller = world.start(jobs_per_namespace=1)
    world.look(controller)
    world.apply("second", spec=of_patients(9))
    world.look(controller)
    world.now += 1.0
    world.look(controller)
    assert pending(world, "second") == {"JobLimit": 1}
    second = world.uid("second")
    looks = Mock(wraps=controller.look)
    with patch.object(controller, "look", looks):
        world.now += UNCALLED_SECONDS / 2
        world.look(controller)
    assert call(second) not in looks.mock_calls, "nobody calls it"
    (job,) = world.jobs()
    # It has no further step that is ready by then.
    world.apply("first", spec={**SPEC, "suspend": True})
    world.look(controller)
    world.complete(job)
    world.look(controller)
    (job,) = world.jobs()
    assert job["metadata"]["labels"]["syntrial.dev/experiment-uid"] == second
    world.now += 1.0
    world.look(controller)
    assert not pending(world, "second")


def test_an_experiment_that_goes_while_it_waits_for_room_keeps_no_place() -> None:
    world = World()
    world.apply("first")
    controller = world.start(jobs_per_namespace=1)
    world.look(controller)
    for number, name in enumerate(("second", "third")):
        world.apply(name, spec=of_patients(9 + number))
        world.look(controller)
    (job,) = world.jobs()
    world.api.remove("Experiment", "trials", "second")
    world.api.remove("Experiment", "trials", "first")
    assert not world.jobs()
    world.look(controller)
    (job,) = world.jobs()
    assert job["metadata"]["labels"]["syntrial.dev/experiment-uid"] == world.uid("third")
