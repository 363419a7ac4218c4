"""The whole controller but for kopf, in a world in memory."""

from tests.unit.controller.world import World


def test_an_applied_experiment_goes_to_its_verdict() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.settle(controller)
    status = world.status()
    assert world.condition("Succeeded") == ("True", "VerdictReached"), status
    assert status["verdict"]["decision"] == "improves"
    assert status["steps"]["done"] == status["steps"]["total"] == len(world.runs)
    assert set(world.runs.values()) == {1}
    assert not world.jobs(live=False)
    assert world.store.experiment_file(uid, "plan.json") is not None
