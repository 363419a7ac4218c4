"""Counting how long pods hold devices, and what is done once a namespace's budget for a month is used up."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.controller.gpu_hours import HOUR, Budget, Usage, budget_from, counted, month_of, read, written
from syntrial.controller.gpu_ledger import GpuLedger
from syntrial.controller.inventory import Inventory
from syntrial.controller.room import Rooms
from syntrial.controller.views import PodView, pod_view
from syntrial.errors import ClusterRefused, ClusterUnavailable, UserError
from tests.unit.controller.world import NAMESPACE, SPEC, Api, World

PLACE = "platform/syntrial-gpu-hours"
GPUS: dict[str, Any] = {
    **SPEC,
    "cluster": {"stages": {"generation": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}}},
}
"""Whose generators train on two GPUs."""


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def pod(uid: str, began: float | None, *, ended_at: float | None = None, phase: str = "", devices: int = 1) -> PodView:
    body = {
        "metadata": {"name": uid, "namespace": NAMESPACE, "uid": uid},
        "spec": {"containers": [{"name": "stage", "resources": {"limits": {"nvidia.com/gpu": devices}}}]},
        "status": {
            "phase": phase or ("Running" if ended_at is None else "Succeeded"),
            "startTime": began and datetime.fromtimestamp(began, UTC).isoformat(),
            "containerStatuses": [
                {"state": {"terminated": {"finishedAt": datetime.fromtimestamp(ended_at, UTC).isoformat()}}}
            ]
            if ended_at is not None
            else [],
        },
    }
    return pod_view(body)


NOON = at("2026-11-15T12:00")


def test_a_pod_counts_from_its_begin_to_its_end_once_for_each_device() -> None:
    pods = [
        pod("ran", NOON - 2 * HOUR, ended_at=NOON - HOUR, devices=3),
        pod("runs", NOON - HOUR / 2),
        pod("waits", None, phase="Pending"),
        pod("without", NOON - HOUR, devices=0),
    ]
    assert counted(None, pods, now=NOON).hours == pytest.approx(3.5)


def test_what_ends_without_a_time_counts_as_far_as_it_was_seen_to_run() -> None:
    usage = counted(None, [pod("p", NOON - HOUR)], now=NOON)
    assert counted(usage, [pod("p", NOON - HOUR, phase="Failed")], now=NOON + HOUR).hours == pytest.approx(1.0)


def test_a_pod_that_is_gone_stays_counted_and_none_counts_twice() -> None:
    usage = counted(None, [pod("p", NOON - HOUR)], now=NOON)
    usage = counted(usage, [pod("p", NOON - HOUR, ended_at=NOON)], now=NOON + HOUR)
    for hours in range(3):
        usage = counted(usage, [], now=NOON + hours * HOUR)
    assert usage.hours == pytest.approx(1.0)
    assert not usage.pods


def test_a_month_begins_with_nothing_but_what_still_runs() -> None:
    begin = at("2026-12-01T00:00")
    usage = counted(
        None, [pod("gone", begin - 9 * HOUR, ended_at=begin - HOUR), pod("runs", begin - HOUR)], now=begin - 1
    )
    assert (usage.month, round(usage.hours)) == ("2026-11", 9)
    usage = counted(usage, [pod("runs", begin - HOUR)], now=begin + 2 * HOUR)
    assert (usage.month, usage.hours) == ("2026-12", pytest.approx(2.0))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 4000), st.integers(1, 4)), max_size=8),
    st.lists(st.integers(0, 10_000), min_size=1, max_size=12),
)
def test_whenever_it_is_counted_the_sum_is_that_of_all_pods(
    pods: list[tuple[int, int, int]], moments: list[int]
) -> None:
    """A pod stays for an hour after its end; controllers count at any moments, at the latest within that hour."""
    usage = None
    moments = sorted({*moments, *range(0, 14_000, 3000)})
    for moment in moments:
        there = [
            pod(
                str(uid),
                NOON + begin,
                ended_at=NOON + begin + long if begin + long <= moment else None,
                devices=devices,
            )
            for uid, (begin, long, devices) in enumerate(pods)
            if begin <= moment <= begin + long + 3600
        ]
        usage = counted(usage, there, now=NOON + moment)
        usage = read(written(usage))
    assert usage is not None
    assert usage.hours * HOUR == pytest.approx(sum(long * devices for _, long, devices in pods), abs=1.0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"month": 1}', '{"month": "x", "goneSeconds": "y", "podSeconds": {}}']
)
def test_what_was_not_written_as_a_usage_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)


def test_a_namespaces_own_budget_takes_the_place_of_the_common_one() -> None:
    budget = budget_from('{"perNamespace": 10, "namespaces": {"large": 500.5, "free": null}}')
    assert [budget.of(name) for name in ("large", "free", "other")] == [500.5, None, 10.0]
    assert budget.is_given
    assert not Budget().is_given
    assert not budget_from('{"perNamespace": null, "namespaces": {"a": null}}').is_given


@pytest.mark.parametrize("text", ["", "[]", '{"perNamespace": -1}', '{"perMonth": 3}', '{"namespaces": {"a": "many"}}'])
def test_a_budget_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--gpu-hours"):
        budget_from(text)


# The ledger


class Site:
    """An API server with the ConfigMap, and one controller's ledger."""

    def __init__(self, *, budget: float = 5.0) -> None:
        self.api = Api()
        self.api.put({"kind": "ConfigMap", "metadata": {"namespace": "platform", "name": "syntrial-gpu-hours"}})
        self.now = NOON
        self.budget = Budget(per_namespace=budget)
        self.restart()

    def restart(self) -> None:
        """Another controller, which knows nothing."""
        self.inventory = Inventory(wake=lambda *_: None, rooms=Rooms(most=9))
        self.ledger = GpuLedger(
            self.api,
            self.inventory,
            budget=self.budget,
            place=PLACE,
            namespaces=(NAMESPACE,),
            wall=lambda: self.now,
        )

    def run(self, uid: str, *, namespace: str = NAMESPACE, ended: bool = False) -> None:
        """A pod that began three hours ago."""
        began = datetime.fromtimestamp(NOON - 3 * HOUR, UTC).isoformat()
        end = [{"state": {"terminated": {"finishedAt": datetime.fromtimestamp(NOON, UTC).isoformat()}}}]
        self.inventory.put_pod(
            {
                "metadata": {
                    **{"name": uid, "namespace": namespace, "uid": uid},
                    "labels": {"syntrial.dev/experiment-uid": "one"},
                    "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "uid": "job", "controller": True}],
                },
                "spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}]},
                "status": {
                    "phase": "Succeeded" if ended else "Running",
                    "startTime": began,
                    "containerStatuses": end if ended else [],
                },
            }
        )

    @property
    def kept(self) -> dict[str, Usage]:
        body = self.api.get("ConfigMap", "platform", "syntrial-gpu-hours")
        assert body is not None
        return {name: read(text) for name, text in body.get("data", {}).items()}


def test_the_count_outlives_its_controller_and_the_pods() -> None:
    site = Site()
    site.run("p")
    site.ledger.count()
    assert site.ledger.used_up(NAMESPACE) == ""
    site.restart()
    site.run("q")
    site.ledger.count()
    assert site.kept[NAMESPACE].hours == pytest.approx(6.0)
    words = site.ledger.used_up(NAMESPACE)
    assert "6.0 of its 5 GPU-hours of 2026-11" in words
    assert site.ledger.hours() == {NAMESPACE: (pytest.approx(6.0), 5.0)}
    site.now = at("2026-12-01T00:00:01")
    assert site.ledger.used_up(NAMESPACE) == "", "the month is another, though nobody has counted since"


def test_nothing_is_written_where_nothing_changes() -> None:
    site = Site()
    site.run("p", ended=True)
    site.ledger.count()
    writes = len(site.api.events)
    site.now += HOUR
    site.ledger.count()
    assert len(site.api.events) == writes


def test_of_two_controllers_that_count_at_once_none_loses_what_the_other_knew() -> None:
    site = Site()
    site.run("p", ended=True)
    first = site.ledger
    first.count()
    site.restart()
    # The pod has gone before the second one came.
    site.run("q", ended=True)
    site.ledger.count()
    first.count()
    first.count()
    site.ledger.count()
    site.ledger.count()
    assert site.kept[NAMESPACE].hours == pytest.approx(6.0)


def test_an_answer_that_got_lost_counts_nothing_twice() -> None:
    site = Site()
    site.run("p", ended=True)
    apply = site.api.apply

    def lost(*given: Any, **named: Any) -> Any:
        apply(*given, **named)
        raise ClusterUnavailable("the answer got lost")

    site.api.apply = lost  # type: ignore[method-assign]
    site.ledger.count()
    site.api.apply = apply  # type: ignore[method-assign]
    for _ in range(3):
        site.ledger.count()
    assert site.kept[NAMESPACE].hours == pytest.approx(3.0)


def test_of_a_namespace_that_is_not_served_what_was_kept_stays() -> None:
    site = Site()
    kept = {"elsewhere": written(Usage(month=month_of(NOON), gone=7200.0))}
    site.api.put(
        {"kind": "ConfigMap", "metadata": {"namespace": "platform", "name": "syntrial-gpu-hours"}, "data": kept}
    )
    site.run("p")
    site.run("q", namespace="elsewhere")
    site.ledger.count()
    assert site.kept["elsewhere"].hours == pytest.approx(2.0)


@pytest.mark.parametrize("trouble", ["gone", "garbage", "refused", "unavailable"])
def test_while_the_count_is_not_known_no_job_with_a_gpu_begins_and_it_is_said_why(trouble: str) -> None:
    site = Site()

    def refuse(*_given: Any, **_named: Any) -> Any:
        if trouble == "refused":
            raise ClusterRefused("may not", status=403, reason="Forbidden", field="", remedy="")
        raise ClusterUnavailable("no answer")

    if trouble == "gone":
        site.api.remove("ConfigMap", "platform", "syntrial-gpu-hours")
    elif trouble == "garbage":
        place = {"namespace": "platform", "name": "syntrial-gpu-hours"}
        site.api.put({"kind": "ConfigMap", "metadata": place, "data": {"x": "no JSON"}})
    else:
        site.api.get = refuse  # type: ignore[method-assign]
    assert "not been counted yet" in site.ledger.used_up(NAMESPACE)
    site.ledger.count()
    words = {"gone": "there is no ConfigMap", "garbage": "mend its data", "refused": "may not", "unavailable": "answer"}
    assert words[trouble] in site.ledger.used_up(NAMESPACE)


def test_a_budget_without_a_place_to_count_is_refused() -> None:
    inventory = Inventory(wake=lambda *_: None, rooms=Rooms(most=9))
    with pytest.raises(UserError, match="--gpu-ledger"):
        GpuLedger(Api(), inventory, budget=Budget(per_namespace=1.0), place="", namespaces=())


# In the world


def on_gpus(*, hours: float) -> World:
    world = World(GPUS, gpu_hours=Budget(per_namespace=hours), gpu_ledger=PLACE)
    world.api.put({"kind": "ConfigMap", "metadata": {"namespace": "platform", "name": "syntrial-gpu-hours"}})
    world.apply()
    return world


def component(job: dict[str, Any]) -> str:
    return str(job["metadata"]["labels"]["app.kubernetes.io/component"])


def test_once_the_budget_is_used_up_what_runs_goes_on_and_what_needs_a_gpu_waits_for_the_next_month() -> None:
    world = on_gpus(hours=1.5)
    controller = world.start()
    controller.ledger.count()
    world.look(controller)
    while component(job := world.jobs()[0]) != "generation":
        world.complete(job)
        world.look(controller)
    running = world.start_pod(job)
    world.look(controller)
    world.now += HOUR
    world.deliver(controller)
    controller.ledger.count()
    controller.queue.add(world.uid())
    world.look(controller)
    assert world.api.get("Job", NAMESPACE, job["metadata"]["name"]) is not None, "what runs is left to run"
    assert world.condition("Progressing") == ("True", "Running")
    world.work(job)
    world.end_pod(job, running, code=0)
    for _ in range(30):
        world.look(controller)
        for other in world.jobs():
            assert component(other) != "generation"
            world.complete(other)
        world.now += 1.0
    assert world.condition("Progressing") == ("False", "GpuBudget")
    assert world.condition("Succeeded")[0] == "Unknown"
    (item,) = [item for item in world.status()["pending"] if item["reason"] == "GpuBudget"]
    assert item["count"] > 0
    assert "2.0 of its 1.5 GPU-hours of 2026-01" in item["message"]
    # Another controller knows it too.
    world.kill(controller)
    controller = world.start()
    controller.ledger.count()
    world.look(controller)
    assert not world.jobs()
    world.now += 31 * 24 * HOUR
    controller.ledger.count()
    controller.resync()
    world.look(controller)
    assert {component(job) for job in world.jobs()} == {"generation"}
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_a_budget_of_nothing_leaves_what_needs_no_gpu_to_run() -> None:
    world = on_gpus(hours=0.0)
    controller = world.start()
    controller.ledger.count()
    world.settle(controller, rounds=10)
    assert world.condition("Progressing") == ("False", "GpuBudget")
    assert world.status()["steps"]["done"] > 0


def test_a_trial_that_needs_no_gpu_never_says_that_it_waits_for_one() -> None:
    world = World(SPEC, gpu_hours=Budget(per_namespace=0.0), gpu_ledger=PLACE)
    world.api.put({"kind": "ConfigMap", "metadata": {"namespace": "platform", "name": "syntrial-gpu-hours"}})
    world.apply()
    controller = world.start()
    controller.ledger.count()
    for _ in range(40):
        world.look(controller)
        for job in world.jobs():
            world.complete(job)
        world.now += 1.0
    assert world.condition("Succeeded")[0] == "True"
    said = [body["status"] for _, kind, body in world.api.events if kind == "Experiment" and body.get("status")]
    assert said
    assert "GpuBudget" not in str(said)


def test_without_a_budget_no_configmap_is_asked_for() -> None:
    world = World(GPUS)
    world.apply()
    controller = world.start()
    controller.ledger.count()
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_the_ledger_is_a_small_object() -> None:
    pods = {f"{number:08x}-0000-0000-0000-000000000000": 123456.7 for number in range(512)}
    usage = Usage(month="2026-11", gone=1e7, pods=pods)
    assert len(json.dumps({"trials": written(usage)})) < 32 * 1024
