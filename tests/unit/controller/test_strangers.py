"""Jobs that are not of the controller's making, in a world in memory: they hold nothing up and are left alone."""

import json
from typing import Any

from syntrial.cluster.manifests import keys_of
from tests.unit.controller.world import NAMESPACE, World


def forged(job: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A copy of a Job, as its metadata say it is."""
    copy: dict[str, Any] = json.loads(json.dumps(job))
    for field in ("uid", "resourceVersion"):
        copy["metadata"].pop(field, None)
    copy["metadata"] |= metadata
    return copy


def first_job() -> dict[str, Any]:
    world = World()
    world.apply()
    world.look(world.start())
    return world.jobs()[0]


def test_a_job_of_another_namespace_with_an_experiments_uid_holds_up_nothing() -> None:
    template = first_job()
    for ended in ("", "Failed", "Complete"):
        world = World()
        uid = world.apply()
        owner = template["metadata"]["ownerReferences"][0] | {"uid": uid}
        labels = template["metadata"]["labels"] | {"syntrial.dev/experiment-uid": uid}
        stranger = forged(template, namespace="theirs", ownerReferences=[owner], labels=labels)
        if ended:
            stranger["status"] = {"conditions": [{"type": ended, "status": "True"}]}
        world.api.put(stranger, change="ADDED")
        controller = world.start()
        world.look(controller)
        assert [keys_of(job) for job in world.jobs()] == [keys_of(template)], "its own Job is made all the same"
        world.settle(controller)
        assert world.condition("Succeeded") == ("True", "VerdictReached")
        assert set(world.runs.values()) == {1}
        assert world.api.get("Job", "theirs", template["metadata"]["name"]) is not None


def test_a_job_that_took_the_name_of_an_experiments_is_told_of_and_not_believed() -> None:
    world = World()
    world.apply()
    first = world.start()
    world.look(first)
    job = world.jobs()[0]
    world.kill(first)
    name = job["metadata"]["name"]
    world.api.remove("Job", NAMESPACE, name)
    world.api.put(forged(job, ownerReferences=[]), change="ADDED")
    controller = world.start()
    world.look(controller)
    (entry,) = world.status()["pending"]
    assert entry["reason"] == "Refused"
    assert entry["message"] == f"a Job {name} is there that this Experiment does not control: delete it"
    world.api.remove("Job", NAMESPACE, name)
    world.now += 20.0
    world.settle(controller)
    assert world.condition("Succeeded") == ("True", "VerdictReached")
