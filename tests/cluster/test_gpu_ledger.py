"""The count of GPU-hours in a real ConfigMap: two controllers, and one that was away."""

import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from syntrial.controller.gpu_hours import HOUR, Budget, read
from syntrial.controller.gpu_ledger import GpuLedger
from syntrial.controller.inventory import Inventory
from syntrial.controller.room import Rooms

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes

pytestmark = pytest.mark.cluster


def test_the_count_is_kept_in_the_cluster_and_written_by_one_at_a_time(cluster: "Kubernetes", namespace: str) -> None:
    place = {"namespace": namespace, "name": "syntrial-gpu-hours"}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": place})
    began = time.time() - 3 * HOUR
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    hours = (time.time() - max(began, month)) / HOUR
    # Each reading of the clock is a second later: what has not grown since is not written again.
    clock = itertools.count(time.time())

    def ledger(*pods: str) -> GpuLedger:
        inventory = Inventory(wake=lambda *_: None, rooms=Rooms(most=9))
        for uid in pods:
            owner = {"apiVersion": "batch/v1", "kind": "Job", "uid": "job", "controller": True}
            metadata = {"name": uid, "namespace": namespace, "uid": uid, "ownerReferences": [owner]}
            inventory.put_pod(
                {
                    "metadata": {**metadata, "labels": {"syntrial.dev/experiment-uid": "one"}},
                    "spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]},
                    "status": {"phase": "Running", "startTime": datetime.fromtimestamp(began, UTC).isoformat()},
                }
            )
        budget = Budget(per_namespace=1e6)
        return GpuLedger(
            cluster,
            inventory,
            budget=budget,
            place="/".join(place.values()),
            namespaces=(namespace,),
            wall=lambda: next(clock),
        )

    def kept() -> float:
        found = cluster.get("ConfigMap", namespace, place["name"])
        assert found is not None
        return read(found["data"][namespace]).hours

    first = ledger("a")
    first.count()
    assert kept() == pytest.approx(2 * hours, abs=0.1)
    second = ledger("b")
    second.count()
    assert kept() == pytest.approx(4 * hours, abs=0.1)
    # What the first one read is old by now: it reads anew, and knows of both pods.
    first.count()
    assert kept() == pytest.approx(4 * hours, abs=0.1)
    first.count()
    assert first.hours()[namespace][0] >= 4 * hours - 0.1
    assert first.used_up(namespace) == ""
