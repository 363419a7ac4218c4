"""The whole controller in a world in memory, where steps fail: what is tried again, how often, and with what."""

import itertools
from typing import Any

import pytest

from syntrial.cluster.manifests import keys_of
from syntrial.controller.controller import Controller
from syntrial.controller.observe import LOST_SECONDS
from tests.unit.controller.world import SPEC, World


def test_a_users_error_is_not_tried_again_until_retry_is_asked_for() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    key = keys_of(job)[0]
    pod = world.start_pod(job)
    world.fail_step(job, key, reason="UserError")
    world.end_pod(job, pod, code=2)
    for _ in range(3):
        world.look(controller)
        world.now += 400
        controller.queue.add(uid)
    assert not world.jobs(live=False)
    assert world.condition("Succeeded") == ("False", "StepsFailed")
    assert world.condition("Audited") == ("False", "UserError")
    (failure,) = world.status()["failures"]
    assert (failure["key"], failure["reason"], failure["message"]) == (key, "UserError", "UserError it was")
    world.store.add_attempt(key, {"outcome": "retry", "reason": "", "message": "", "log": ""}, experiment=uid)
    world.now += 10.1
    world.look(controller)
    assert len(world.jobs()) == 1
    assert world.condition("Succeeded")[0] == "Unknown"
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


@pytest.mark.parametrize("place", ["dataset", "images"])
def test_a_source_that_asks_for_the_stores_key_is_refused(place: str) -> None:
    source = {"folder": "s3://trials/another-tenant", "secret": "syntrial-store"}
    given = {"synthetic": [{"name": "theirs", "images": source}]} if place == "images" else {"dataset": source}
    world = World()
    world.apply(spec=SPEC | given)
    world.look(world.start())
    assert not world.jobs()
    assert world.condition("Valid")[0] == "False"
    (said,) = [found["message"] for found in world.status()["conditions"] if found["type"] == "Valid"]
    where = "spec.synthetic[0].images" if place == "images" else "spec.dataset"
    assert said.startswith(f"{where}.secret: a source is read with credentials of its own")


def test_a_step_that_fails_is_tried_three_times_with_growing_pauses() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.look(controller)
    begun = []
    for _ in range(400):
        for job in world.jobs():
            begun.append(world.now)
            pod = world.start_pod(job)
            world.fail_step(job, keys_of(job)[0], reason="Internal")
            world.end_pod(job, pod, code=1)
        world.look(controller)
        world.now += 1
    # The test's clock goes in steps of a second.
    assert [later - earlier for earlier, later in itertools.pairwise(begun)] == [6, 21]
    assert world.condition("Succeeded") == ("False", "StepsFailed")
    assert len(world.store.attempts(world.status()["failures"][0]["key"], experiment=uid)) == 3


def test_a_store_that_was_away_from_the_pods_never_uses_up_the_attempts() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    for _ in range(5):
        (job,) = world.jobs()
        pod = world.start_pod(job)
        world.fail_step(job, keys_of(job)[0], reason="StoreUnavailable")
        world.end_pod(job, pod, code=1)
        world.look(controller)
        world.now += 301
        world.look(controller)
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def crash(world: World, job: dict[str, Any], *, code: int = 137, reason: str = "Error", after: int = 0) -> None:
    """The pod dies during the step after the first `after` ones, without a word."""
    pod = world.start_pod(job)
    world.work(job, until=after)
    world.api.logs[pod["metadata"]["name"]] = "the last words"
    world.end_pod(job, pod, code=code, reason=reason)


def to_a_batch(world: World, controller: Controller) -> dict[str, Any]:
    """Goes on until a Job holds several steps."""
    for _ in range(20):
        world.look(controller)
        for job in world.jobs():
            if len(keys_of(job)) > 2:
                return job
        for job in world.jobs():
            world.complete(job)
    raise AssertionError("no batch")


def test_after_a_crash_each_unfinished_step_of_a_batch_has_a_job_of_its_own() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    job = to_a_batch(world, controller)
    first, culprit, *others = keys_of(job)
    crash(world, job, code=137, reason="OOMKilled", after=1)
    world.look(controller)
    (attempt,) = world.store.attempts(culprit, experiment=uid)
    assert (attempt.entry["outcome"], attempt.entry["reason"]) == ("failed", "OutOfMemory")
    assert attempt.entry["log"] == "the last words"
    assert {item["reason"] for item in world.status()["pending"]} >= {"OutOfMemory"}
    carried = [keys_of(item) for item in world.jobs()]
    assert all((key,) in carried for key in others)
    assert not any(culprit in keys or first in keys for keys in carried)
    world.now += 6
    world.look(controller)
    assert (culprit,) in [keys_of(item) for item in world.jobs()]
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"
    assert set(world.runs.values()) == {1}


def test_out_of_memory_is_tried_again_with_the_larger_limit() -> None:
    world = World()
    world.apply(spec={**SPEC, "cluster": {"outOfMemoryLimit": "8Gi"}})
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    crash(world, job, reason="OOMKilled")
    world.look(controller)
    world.now += 6
    world.look(controller)
    (second,) = world.jobs()
    (container,) = second["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "8Gi"


def test_a_pod_that_went_without_a_trace_never_counts_against_the_step() -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    world.look(controller)
    for _ in range(4):
        (job,) = world.jobs()
        world.end_pod(job, None, code=1)
        world.look(controller)
        world.now += 301
        world.look(controller)
    attempts = world.store.attempts(keys_of(job)[0], experiment=uid)
    assert {(attempt.entry["outcome"], attempt.entry["reason"]) for attempt in attempts} == {("cancelled", "PodLost")}
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_a_step_on_a_lost_node_begins_elsewhere_and_says_so_before() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    pod = world.start_pod(job)
    world.look(controller)
    # What the node lifecycle and the taint manager of Kubernetes do to the pod of a node that does not answer.
    conditions = [
        {"type": "Ready", "status": "False"},
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"},
    ]
    metadata = {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:01:00Z"}
    world.api.put({**pod, "metadata": metadata, "status": {**pod["status"], "conditions": conditions}})
    world.look(controller)
    assert [item["reason"] for item in world.status()["pending"]] == ["NodeLost"]
    world.now += LOST_SECONDS - 1
    world.look(controller)
    assert [found["metadata"]["name"] for found in world.jobs()] == [job["metadata"]["name"]]
    # Nothing happens on the cluster: the controller looks by itself.
    for _ in range(10):
        world.now += 3
        world.look(controller)
    (other,) = world.jobs()
    assert other["metadata"]["name"] != job["metadata"]["name"]
    assert keys_of(other) == keys_of(job)
    (attempt,) = world.store.attempts(keys_of(job)[0], experiment=world.uid())
    assert (attempt.outcome, attempt.reason) == ("cancelled", "NodeLost")
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_a_pod_that_ends_within_its_grace_is_not_lost() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    (job,) = world.jobs()
    pod = world.start_pod(job)
    world.api.put({**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:01:00Z"}})
    world.look(controller)
    world.now += LOST_SECONDS - 5
    world.api.remove("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
    world.start_pod(job)
    world.look(controller)
    world.now += 60
    world.look(controller)
    assert [found["metadata"]["name"] for found in world.jobs()] == [job["metadata"]["name"]]
    assert not world.store.attempts(keys_of(job)[0], experiment=world.uid())
