"""How many Jobs an experiment and a namespace have at a time."""

from typing import Any

from syntrial.controller.jobs import REFUSED_SECONDS
from tests.unit.controller.world import SPEC, World

WIDE: dict[str, Any] = {**SPEC, "replicates": 6, "budget": {"steps": 5000}}
"""Of which many steps are ready at once, each in a Job of its own."""


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
        world.now += REFUSED_SECONDS
    assert most == 3
    assert waited
    assert all(world.condition("Succeeded", name)[0] == "True" for name in names)
    assert set(world.runs.values()) == {1}
