"""What an experiment may ask of its cluster, in a world in memory."""

from typing import Any

import pytest

from syntrial.cluster.manifests import source_of_job
from tests.unit.controller.world import NAMESPACE, SPEC, World

CLAIMED: dict[str, Any] = {**SPEC, "dataset": {"npz": "claim://scans/data.npz"}}


def message(world: World) -> str:
    return str(next(item["message"] for item in world.status()["conditions"] if item["type"] == "Valid"))


def claim(**labels: str) -> dict[str, Any]:
    metadata = {"namespace": NAMESPACE, "name": "scans", "labels": labels}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata}


def test_what_the_operator_does_not_allow_is_no_trial_of_this_cluster() -> None:
    world = World()
    world.apply(spec={**SPEC, "cluster": {"stages": {"generation": {"runtimeClassName": "privileged"}}}})
    world.look(world.start())
    assert world.condition("Valid") == ("False", "Invalid")
    assert message(world).startswith(
        "spec.cluster.stages.generation.runtimeClassName: this cluster allows nvidia; received privileged. "
    )
    assert not world.jobs()


def test_a_verdict_stands_where_less_is_allowed_since() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.settle(controller)
    world.kill(controller)
    body = world.api.get("Experiment", NAMESPACE, "small")
    assert body is not None
    # As if it had been admitted and finished when more was allowed.
    world.api.put({**body, "spec": {**SPEC, "cluster": {"priorityClassName": "urgent"}}})
    world.look(world.start())
    assert world.condition("Succeeded") == ("True", "VerdictReached")
    assert world.condition("Valid")[0] == "True"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (None, "received scans, which is not there. Make it in namespace trials, with that label."),
        (
            claim(),
            "received scans, which has no such label. Its owner lets experiments read all of it by: kubectl",
        ),
        (claim(**{"syntrial.dev/readable": "no"}), "received scans, which has no such label."),
    ],
)
def test_a_claim_is_read_once_its_owner_has_opted_in(there: dict[str, Any] | None, said: str) -> None:
    world = World()
    if there is not None:
        world.api.put(there)
    uid = world.apply(spec=CLAIMED)
    controller = world.start()
    world.look(controller)
    assert world.condition("Valid") == ("False", "Invalid")
    assert message(world).startswith(
        'spec.dataset: a claim is read where it has the label syntrial.dev/readable: "true"'
    )
    assert said in message(world)
    assert not world.jobs()
    world.api.put(claim(**{"syntrial.dev/readable": "true"}))
    world.now += 40.0
    world.look(controller)
    assert [source_of_job(job) for job in world.jobs()] == [("dataset", "claim://scans/data.npz")]
    assert world.condition("Valid")[0] != "False", uid
