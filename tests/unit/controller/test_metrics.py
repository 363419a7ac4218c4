"""What Prometheus is told, and that the dashboard and the alerts ask for nothing else."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry

from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import ArtifactStore
from syntrial.controller import telemetry
from syntrial.controller.collection import LAST, WATCH_SECONDS, CollectionWatch
from syntrial.controller.gpu_hours import Budget
from syntrial.controller.gpu_ledger import GpuLedger
from syntrial.controller.inventory import Inventory
from syntrial.controller.metered import metered_api, metered_backend
from syntrial.controller.room import Rooms
from syntrial.controller.state_metrics import MOST_SECONDS, DeviceMeter, StateMetrics, Waits
from syntrial.controller.workqueue import WorkQueue
from syntrial.errors import ClusterRefused, ClusterUnavailable
from tests.unit.controller.world import SPEC, Api, World

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = REPOSITORY / "charts" / "syntrial" / "files"
EVERYWHERE = {"le", "namespace", "pod", "instance", "job"}
"""Labels that Prometheus itself puts on samples."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def of(inventory: Inventory) -> StateMetrics:
    queue = WorkQueue(places=1, group_of=lambda _: "")
    ledger = GpuLedger(Api(), inventory, budget=Budget(), place="", namespaces=())
    return StateMetrics(queue=queue, inventory=inventory, waits=Waits(), meter=DeviceMeter(inventory), ledger=ledger)


def told(metrics: StateMetrics) -> dict[tuple[str, ...], float]:
    """Samples by name and values of labels."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# Of the state


def test_the_state_is_told_from_memory_alone() -> None:
    world = World()
    world.apply("good")
    world.apply("bad", spec={**SPEC, "replicates": 0})
    controller = world.start()
    world.look(controller)
    world.api.on_call = lambda: pytest.fail("a scrape asks nobody")
    world.backend.is_away = True
    found = told(controller.metrics)
    assert found["syntrial_experiments", "Valid", "False", "Invalid"] == 1
    assert found["syntrial_experiments", "Valid", "True", "Planned"] == 1
    assert found["syntrial_steps", "data_prep", "waiting"] + found["syntrial_steps", "data_prep", "running"] == 1
    assert found["syntrial_steps", "classification", "waiting"] > 0
    assert found["syntrial_queue_depth",] == 0
    assert not world.backend.has_refused


def test_an_attempt_that_fails_is_counted_once_by_stage_and_reason_and_not_again_after_a_restart() -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    before = sample("syntrial_attempts_failed_total", stage="data_prep", reason="OutOfMemory")
    (job,) = world.jobs()
    world.end_pod(job, world.start_pod(job), code=137, reason="OOMKilled")
    for _ in range(4):
        world.look(controller)
        world.now += 1.0
        controller.queue.add(world.uid())
    assert sample("syntrial_attempts_failed_total", stage="data_prep", reason="OutOfMemory") == before + 1
    world.kill(controller)
    world.look(world.start())
    assert sample("syntrial_attempts_failed_total", stage="data_prep", reason="OutOfMemory") == before + 1


def test_a_reason_that_pods_made_up_makes_no_series_of_its_own() -> None:
    before = sample("syntrial_attempts_failed_total", stage="generation", reason="Other")
    for reason in ("no word", "", "x" * 500, 'Quote"d'):
        telemetry.count_failure("generation", reason)
    assert sample("syntrial_attempts_failed_total", stage="generation", reason="Other") == before + 4
    for number in range(200):
        telemetry.count_failure("generation", f"MadeUp{'x' * (number % 30)}{chr(65 + number % 26)}")
    (family,) = telemetry.ATTEMPTS_FAILED.collect()
    reasons = {item.labels["reason"] for item in family.samples}
    assert len(reasons) <= telemetry.REASONS + 1


def test_since_when_steps_wait_is_told_by_reason() -> None:
    clock = Clock()
    waits = Waits(clock=clock)
    waits.note("one", [{"reason": "Unschedulable", "count": 2}])
    clock.now += 60.0
    waits.note("one", [{"reason": "Unschedulable", "count": 3}, {"reason": "ImagePull", "count": 1}])
    waits.note("two", [{"reason": "Unschedulable", "count": 1}])
    clock.now += 5.0
    assert waits.by_reason() == {"Unschedulable": (4, 65.0), "ImagePull": (1, 5.0)}
    waits.note("one", [])
    waits.forget("two")
    assert waits.by_reason() == {}


def test_the_first_of_the_queue_says_how_long_it_waits() -> None:
    clock = Clock()
    queue = WorkQueue(clock=clock, places=8, group_of=lambda _: "")
    assert queue.oldest_wait() == 0.0
    queue.add("first")
    clock.now += 4.0
    queue.add("second")
    queue.add("first")
    clock.now += 3.0
    assert queue.oldest_wait() == 7.0
    assert queue.take(wait=False) == "first"
    assert queue.oldest_wait() == 3.0
    queue.add("later", after=10.0)
    assert queue.take(wait=False) == "second"
    assert queue.oldest_wait() == 0.0


def pod(name: str, *, namespace: str = "lab", phase: str = "Running", **limits: Any) -> dict[str, Any]:
    return {
        "metadata": {
            **{"name": name, "namespace": namespace, "uid": name},
            "labels": {"syntrial.dev/experiment-uid": "one"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "uid": "job", "controller": True}],
        },
        "spec": {"containers": [{"name": "stage", "resources": {"limits": limits}}]},
        "status": {"phase": phase},
    }


def test_devices_are_metered_while_pods_run() -> None:
    clock = Clock()
    inventory = Inventory(wake=lambda *_: None, rooms=Rooms(most=100), clock=clock)
    meter = DeviceMeter(inventory, clock=clock)
    gpus = {"nvidia.com/gpu": "2", "memory": "4Gi"}
    inventory.put_pod(pod("runs", **gpus))
    inventory.put_pod(pod("waits", phase="Pending", **gpus))
    inventory.put_pod(pod("elsewhere", namespace="other", **{"amd.com/gpu": 1}))
    clock.now += 10.0
    assert meter.read() == ({"lab": 2, "other": 1}, {"lab": 20.0, "other": 10.0})
    inventory.put_pod(pod("runs", phase="Succeeded", **gpus))
    clock.now += 5.0
    assert meter.read() == ({"lab": 0, "other": 1}, {"lab": 20.0, "other": 15.0})
    # What was held in a long silence is not known.
    clock.now += 10 * MOST_SECONDS
    assert meter.read()[1]["other"] == 15.0 + MOST_SECONDS


# Of requests


def test_requests_to_a_store_are_timed_and_their_bytes_counted() -> None:
    backend = metered_backend(MemoryBackend())
    count = sample("syntrial_store_seconds_count", operation="read")
    size = sample("syntrial_store_bytes_sum", operation="read")
    store = ArtifactStore(backend)
    store.backend.write("requests/x", b"12345")
    assert store.backend.read("requests/x") == b"12345"
    assert store.backend.read("requests/y") is None
    assert sample("syntrial_store_seconds_count", operation="read") == count + 2
    assert sample("syntrial_store_bytes_sum", operation="read") == size + 5
    assert sample("syntrial_store_bytes_sum", operation="write") >= 5
    assert store.url == "memory://"


def test_errors_of_the_api_are_counted_by_verb_and_status() -> None:
    api = Api()
    door = metered_api(api)
    api.refuse = ClusterRefused("no", status=403, reason="Forbidden", field="", remedy="")
    before = sample("syntrial_api_errors_total", verb="create", code="403")
    with pytest.raises(ClusterRefused):
        door.create({"kind": "Job", "metadata": {"namespace": "lab", "name": "x"}})
    assert sample("syntrial_api_errors_total", verb="create", code="403") == before + 1

    class Away:
        def get(self, *_: str) -> None:
            raise ClusterUnavailable("no answer")

    away: Any = Away()
    with pytest.raises(ClusterUnavailable):
        metered_api(away).get("Job", "lab", "x")
    assert sample("syntrial_api_errors_total", verb="get", code="unavailable") == 1


def test_the_last_collection_is_told_as_the_store_has_it() -> None:
    clock = Clock()
    store = ArtifactStore(MemoryBackend())
    watch = CollectionWatch(clock=clock)
    watch.look("collected", store)
    assert REGISTRY.get_sample_value("syntrial_gc_last_success_timestamp_seconds", {"namespace": "collected"}) is None
    store.backend.write(LAST, json.dumps({"at": 1e9, "removedBytes": 5, "heldBytes": 70}).encode())
    watch.look("collected", store)
    assert REGISTRY.get_sample_value("syntrial_gc_held_bytes", {"namespace": "collected"}) is None, "not due yet"
    clock.now += WATCH_SECONDS
    watch.look("collected", store)
    assert sample("syntrial_gc_last_success_timestamp_seconds", namespace="collected") == 1e9
    assert sample("syntrial_gc_removed_bytes", namespace="collected") == 5
    for damaged in (b"no JSON", b"[]", b'{"at": "x"}', b"x" * 10_000):
        store.backend.write(LAST, damaged)
        clock.now += WATCH_SECONDS
        watch.look("collected", store)
    assert sample("syntrial_gc_held_bytes", namespace="collected") == 70


# Of the dashboard and the alerts


def known() -> dict[str, set[str]]:
    """Labels by the name of each series that the controller has."""
    state = of(Inventory(wake=lambda *_: None, rooms=Rooms(most=100)))
    families = [*state.describe(), *(item for item in vars(telemetry).values() if hasattr(item, "_labelnames"))]
    found: dict[str, set[str]] = {}
    for family in families:
        described: Any = family if hasattr(family, "samples") else next(iter(family.collect()))
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(described.type, [""])
        for end in ends:
            found[described.name + end] = set(family._labelnames)
    return found


SERIES = known()


def expressions() -> Iterator[tuple[str, str, str]]:
    """Where, expression and words with placeholders of each query."""
    for rule in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"][0]["rules"]:
        words = re.sub(r"\{\{ *\$value[^}]*\}\}", "", rule["annotations"]["summary"])
        yield rule["alert"], rule["expr"], words.replace("$labels.", "")
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


@pytest.mark.parametrize(("where", "expression", "words"), [*expressions()])
def test_each_query_asks_for_what_there_is(where: str, expression: str, words: str) -> None:
    names = re.findall(r"syntrial_\w+", expression)
    assert names, where
    for name in names:
        assert name in SERIES, f"{where} asks for {name}"
    labels = set.union(*(SERIES[name] for name in names))
    for name, matchers in re.findall(r"(syntrial_\w+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+) *(?:=~|!~|!=|=)", matchers):
            assert label in SERIES[name], f"{where} chooses {name} by {label}"
    kept = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")]
    for label in kept:
        assert label in labels | {"le"}, f"{where} groups by {label}"
    for label in re.findall(r"\{\{ *(\w+) *\}\}", words):
        assert label in (kept or labels), f"{where} speaks of {label}"
    assert expression.count("(") == expression.count(")")
    if "_bucket" in expression:
        assert "le" in kept, f"{where} needs le for a quantile"


def test_every_series_is_explained_in_the_documentation() -> None:
    page = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    explained = set(re.findall(r"`(syntrial_\w+)`", page))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in SERIES}
    assert explained == families


def test_labels_are_words_of_the_code_or_namespaces() -> None:
    bounded = {
        *("namespace", "stage", "reason", "state", "condition", "status", "operation", "verb", "code"),
    }
    assert set.union(*SERIES.values()) <= bounded


def test_sums_over_experiments_follow_what_changes() -> None:
    inventory = Inventory(wake=lambda *_: None, rooms=Rooms(most=100))
    status: Mapping[str, Any] = {
        "conditions": [{"type": kind, "status": "True", "reason": "x"} for kind in "abcd"],
        "stages": [{"name": name, "total": 9, "done": 3, "running": 1, "failed": 0} for name in "abcde"],
    }
    for number in range(2000):
        metadata = {"uid": f"u{number}", "namespace": "n", "name": f"e{number}"}
        inventory.put_experiment({"metadata": metadata, "status": status}, quietly=True)
    metrics = of(inventory)
    assert told(metrics)["syntrial_steps", "a", "waiting"] == 10_000
    # What changes, comes and goes is counted; what does not change is not counted again.
    inventory.put_experiment({"metadata": metadata, "status": {}}, quietly=True)
    inventory.drop_experiment("u0")
    found = told(metrics)
    assert found["syntrial_steps", "a", "waiting"] == 9990
    assert found["syntrial_experiments", "b", "True", "x"] == 1998
    for number in range(2000):
        inventory.drop_experiment(f"u{number}")
    assert ("syntrial_experiments", "b", "True", "x") not in told(metrics)
