from typing import Any

import pytest

from syntrial.cluster.manifests import Batch, Images, Owner, step_job
from syntrial.controller.inventory import Inventory
from syntrial.controller.room import Rooms
from syntrial.controller.views import job_view, pod_view
from syntrial.controller.workqueue import Why
from syntrial.experiment.model import Cluster, Placement
from syntrial.rpc.testing import fake_key


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def build() -> tuple[Inventory, list[str], Clock]:
    woken: list[str] = []
    clock = Clock()
    return Inventory(wake=lambda uid, _why: woken.append(uid), rooms=Rooms(most=100), clock=clock), woken, clock


def job(uid: str, *names: str, namespace: str = "trials", ended: str = "") -> dict[str, Any]:
    body = step_job(
        Batch(stage="generation", keys=tuple(fake_key(name) for name in names)),
        owner=Owner(name=f"name-of-{uid}", uid=uid, namespace=namespace),
        placement=Placement(),
        cluster=Cluster(),
        images=Images(repository="r", tag="t"),
        store_secret="s",
    )
    body["metadata"]["uid"] = f"uid-of-{body['metadata']['name']}"
    if ended:
        body["status"] = {"conditions": [{"type": ended, "status": "True"}]}
    return body


def controlled_by(version: str, kind: str, uid: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "name": "x", "uid": uid, "controller": True}


def pod_of(body: dict[str, Any], *, namespace: str = "trials", owner: str = "") -> dict[str, Any]:
    owner = owner or body["metadata"]["uid"]
    metadata = {"name": "pod", "namespace": namespace, "uid": "uid-of-pod", "labels": body["metadata"]["labels"]}
    metadata["ownerReferences"] = [controlled_by("batch/v1", "Job", owner)]
    return {"metadata": metadata, "status": {"phase": "Running"}}


def at_version(body: dict[str, Any], version: int) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}


def experiment(uid: str, *, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "namespace": "trials", "name": f"name-of-{uid}", "resourceVersion": str(version)}}


def test_an_event_wakes_the_experiment_that_it_is_of_and_no_other() -> None:
    inventory, woken, _ = build()
    inventory.put_job(job("one", "a"))
    assert woken == ["one"]
    inventory.put_job(job("one", "a"))
    assert woken == ["one"], "nothing has changed"
    inventory.put_job(job("one", "a", ended="Complete"))
    assert woken == ["one", "one"]


def test_an_end_is_work_and_all_else_that_becomes_of_a_job_is_news() -> None:
    rooms = Rooms(most=2)
    told: list[tuple[str, Why]] = []
    inventory = Inventory(wake=lambda uid, why: told.append((uid, why)), rooms=rooms)
    for uid in ("one", "two"):
        inventory.put_experiment(experiment(uid))
    told.clear()
    inventory.put_job(job("one", "a"))
    inventory.put_job(job("two", "b"))
    assert told == [("one", Why.NEWS), ("two", Why.NEWS)]
    assert rooms.take("two", "trials", ["another"]) == 0
    told.clear()
    inventory.put_job(job("two", "b", ended="Complete"))
    assert told == [("two", Why.NEWS), ("two", Why.ROOM)], "it can begin nothing until it is called, and it is"
    told.clear()
    inventory.put_job(job("one", "a", ended="Complete"))
    assert told == [("one", Why.WORK)]


def test_an_older_version_of_an_experiment_changes_nothing() -> None:
    inventory, woken, _ = build()
    inventory.put_experiment(experiment("one", version=5))
    inventory.put_experiment(experiment("one", version=4))
    inventory.put_experiment(experiment("one", version=5))
    assert woken == ["one"]
    found = inventory.experiment("one")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "5"


def test_an_answer_that_comes_after_the_events_changes_nothing() -> None:
    inventory, woken, _ = build()
    inventory.put_experiment(experiment("one"))
    made, done = at_version(job("one", "a"), 7), at_version(job("one", "a", ended="Complete"), 12)
    inventory.put_job(done)
    woken.clear()
    # The answer to the call that made it, or a list that was read before it ended.
    inventory.put_job(made)
    inventory.repair(namespaces=("trials",), since=-1.0, kind="Job", items=[made])
    assert [view.ended for view in inventory.jobs_of("one")] == ["complete"]
    assert not woken


def test_what_is_gone_is_not_brought_back_by_what_was_said_before() -> None:
    inventory, _, clock = build()
    body = at_version(job("one", "a"), 7)
    pod = at_version(pod_of(body), 8)
    inventory.put_experiment(experiment("one", version=5))
    inventory.put_job(body)
    inventory.put_pod(pod)
    assert [len(view.pods) for view in inventory.jobs_of("one")] == [1]
    clock.now = 100.0
    inventory.drop_experiment("one")
    inventory.drop_job(job_view(body))
    inventory.drop_pod(pod_view(pod))
    lists = {"Experiment": experiment("one", version=6), "Job": body, "Pod": pod}
    for kind, item in lists.items():
        inventory.repair(namespaces=("trials",), since=99.0, kind=kind, items=[item])
    assert inventory.experiment("one") is None
    assert not inventory.jobs_of("one")
    # The memory of what is gone does not grow for ever.
    clock.now = 1000.0
    inventory.repair(namespaces=("trials",), since=999.0, kind="Pod", items=[])
    assert not inventory._gone


def test_who_waits_for_a_step_is_woken_when_its_job_ends_or_goes() -> None:
    for end in ("Complete", "deleted"):
        inventory, woken, _ = build()
        inventory.put_experiment(experiment("one"))
        inventory.put_job(job("one", "a", "b"))
        found = inventory.elsewhere("two", "trials", [fake_key("a"), fake_key("c")])
        assert found == {fake_key("a"): "name-of-one"}
        assert not inventory.elsewhere("two", "another-namespace", [fake_key("a")])
        woken.clear()
        if end == "deleted":
            inventory.drop_job(job_view(job("one", "a", "b")))
        else:
            inventory.put_job(job("one", "a", "b", ended=end))
        assert set(woken) == {"one", "two"}
        assert not inventory.elsewhere("two", "trials", [fake_key("a")])


def test_of_two_experiments_that_want_a_step_one_gets_it() -> None:
    inventory, _, _ = build()
    keys = [fake_key("a"), fake_key("b")]
    assert inventory.reserve("one", "trials", keys)
    assert not inventory.reserve("two", "trials", keys[:1])
    assert inventory.reserve("one", "trials", keys)
    inventory.release("one", "trials", keys)
    assert inventory.reserve("two", "trials", keys)


def test_a_list_drops_what_is_gone_but_nothing_that_came_meanwhile() -> None:
    inventory, woken, clock = build()
    old, new = job("one", "old"), job("one", "new")
    inventory.put_experiment(experiment("one"))
    inventory.put_job(old)
    clock.now = 10.0
    inventory.put_job(new)
    woken.clear()
    inventory.repair(namespaces=("trials",), since=5.0, kind="Job", items=[])
    assert [view.name for view in inventory.jobs_of("one")] == [new["metadata"]["name"]]
    assert woken == ["one"]
    inventory.repair(namespaces=("elsewhere",), since=20.0, kind="Job", items=[])
    assert len(inventory.jobs_of("one")) == 1


def test_a_list_of_experiments_tells_of_new_and_of_deleted_ones() -> None:
    inventory, woken, _ = build()
    inventory.put_experiment(experiment("one"))
    woken.clear()
    inventory.repair(namespaces=None, since=1.0, kind="Experiment", items=[experiment("two")])
    assert inventory.experiments() == ["two"]
    assert set(woken) == {"one", "two"}


def test_an_experiment_that_came_after_a_list_was_asked_for_stays() -> None:
    inventory, _, clock = build()
    inventory.put_experiment(experiment("old"))
    clock.now = 10.0
    inventory.put_experiment(experiment("new"))
    inventory.repair(namespaces=("trials",), since=5.0, kind="Experiment", items=[])
    assert inventory.experiments() == ["new"]


def test_a_deletion_that_comes_late_spares_the_job_that_took_the_name() -> None:
    inventory, _, _ = build()
    inventory.put_experiment(experiment("one"))
    body = job("one", "a")
    inventory.put_job(body)
    earlier = job("one", "a")
    earlier["metadata"]["uid"] = "an-earlier-one"
    inventory.drop_job(job_view(earlier))
    assert len(inventory.jobs_of("one")) == 1


def bad_owners(uid: str) -> dict[str, list[dict[str, Any]]]:
    ours = controlled_by("syntrial.dev/v1alpha1", "Experiment", uid)
    return {
        "none": [],
        "not its controller": [ours | {"controller": False}],
        "of another kind": [ours | {"kind": "Deployment"}],
        "of another group": [ours | {"apiVersion": "example.org/v1alpha1"}],
        "another experiment": [ours | {"uid": "two"}],
    }


@pytest.mark.parametrize("owners", bad_owners("one").values(), ids=bad_owners("one"))
def test_a_job_is_not_believed_by_its_labels(owners: list[dict[str, Any]]) -> None:
    inventory, woken, _ = build()
    inventory.put_experiment(experiment("one"))
    woken.clear()
    forged = job("one", "a")
    forged["metadata"]["ownerReferences"] = owners
    inventory.put_job(forged)
    assert "one" not in woken
    assert not inventory.jobs_of("one")


def test_a_job_of_another_namespace_with_an_experiments_uid_is_not_believed() -> None:
    inventory, woken, _ = build()
    inventory.put_experiment(experiment("one"))
    real = job("one", "a")
    inventory.put_job(real)
    woken.clear()
    # As its own, under the same name and with the same step, and ended besides.
    forged = job("one", "a", "b", namespace="theirs", ended="Failed")
    forged["metadata"] |= {"uid": "forged", "name": real["metadata"]["name"]}
    for told in (forged, job("one", "a", "b", namespace="theirs")):
        inventory.put_job(told)
    inventory.put_pod(pod_of(real, namespace="theirs"))
    (view,) = inventory.jobs_of("one")
    assert (view.uid, view.ended, view.pods) == (real["metadata"]["uid"], "", ())
    assert not inventory.elsewhere("two", "theirs", [fake_key("b")])
    assert not inventory.elsewhere("two", "trials", [fake_key("b")])
    inventory.drop_job(job_view(forged))
    inventory.repair(namespaces=("theirs",), since=9.0, kind="Job", items=[])
    assert [view.uid for view in inventory.jobs_of("one")] == [real["metadata"]["uid"]]
    assert not woken


def test_a_pod_is_of_the_job_that_controls_it() -> None:
    inventory, _, _ = build()
    inventory.put_experiment(experiment("one"))
    real = job("one", "a")
    inventory.put_job(real)
    inventory.put_pod(pod_of(real, owner="another-job"))
    assert [view.pods for view in inventory.jobs_of("one")] == [()]
    inventory.put_pod(pod_of(real))
    assert [view.has_running_pod for view in inventory.jobs_of("one")] == [True]


def test_of_an_experiment_what_others_keep_in_it_is_not_held() -> None:
    inventory = Inventory(wake=lambda *_: None, rooms=Rooms(most=100))
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1000, "syntrial.dev/plan-anew": "key"}
    metadata = {
        "uid": "u",
        "namespace": "n",
        "name": "e",
        "resourceVersion": "5",
        "annotations": annotations,
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    }
    body = {"kind": "Experiment", "metadata": metadata, "spec": {"a": 1}, "status": {"b": 2}}
    inventory.put_experiment(body)
    held = inventory.experiment("u")
    assert held is not None
    assert held["metadata"] == {
        "uid": "u",
        "namespace": "n",
        "name": "e",
        "resourceVersion": "5",
        "annotations": {"syntrial.dev/plan-anew": "key"},
    }
    assert (held["spec"], held["status"]) == ({"a": 1}, {"b": 2})
    assert "managedFields" in body["metadata"], "what was told is its teller's"


def test_who_waits_for_room_in_a_namespace_is_woken_when_any_job_there_ends_or_goes() -> None:
    for end in ("Complete", "deleted"):
        woken: list[str] = []
        rooms = Rooms(most=1)
        inventory = Inventory(wake=lambda uid, _why, woken=woken: woken.append(uid), rooms=rooms)  # type: ignore[misc]
        for uid in ("one", "two"):
            inventory.put_experiment(experiment(uid))
        inventory.put_job(job("one", "a"))
        assert rooms.take("two", "trials", ["another"]) == 0
        woken.clear()
        if end == "deleted":
            inventory.drop_job(job_view(job("one", "a")))
        else:
            inventory.put_job(job("one", "a", ended=end))
        assert set(woken) == {"one", "two"}
