"""Metrics of the state that the controller holds, counted when Prometheus asks and from memory alone.

Nothing is kept up to date between two scrapes but since when steps wait, and how long devices were held.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from syntrial.controller.gpu_ledger import GpuLedger
from syntrial.controller.inventory import Inventory
from syntrial.controller.workqueue import WorkQueue

MOST_SECONDS: Final = 900.0
"""Between two readings of which devices are held: a longer silence says nothing of the time in between."""

_STATES: Final = ("done", "running", "failed")


class Waits:
    """Since when steps of each experiment wait, by reason. Safe from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[str, dict[str, tuple[float, int]]] = {}

    def note(self, uid: str, pending: Iterable[Mapping[str, Any]]) -> None:
        """Takes note of a status's `pending`."""
        now = self._clock()
        with self._lock:
            known = self._since.pop(uid, {})
            found = {
                str(item["reason"]): (known.get(str(item["reason"]), (now, 0))[0], int(item["count"]))
                for item in pending
            }
            if found:
                self._since[uid] = found

    def forget(self, uid: str) -> None:
        """Nothing of it waits any more."""
        with self._lock:
            self._since.pop(uid, None)

    def by_reason(self) -> dict[str, tuple[int, float]]:
        """Steps that wait, and how many seconds the longest of them have."""
        now = self._clock()
        found: dict[str, tuple[int, float]] = {}
        with self._lock:
            for reasons in self._since.values():
                for reason, (since, count) in reasons.items():
                    steps, longest = found.get(reason, (0, 0.0))
                    found[reason] = (steps + count, max(longest, now - since))
        return found


class DeviceMeter:
    """For how long the pods of each namespace held accelerators, as often as it is told to look."""

    def __init__(self, inventory: Inventory, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._inventory = inventory
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = clock()
        self._seconds: Counter[str] = Counter()

    def read(self) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """Devices that are held now, and device-seconds since this process began, by namespace."""
        held = self._inventory.devices_held()
        with self._lock:
            now = self._clock()
            passed = min(now - self._read_at, MOST_SECONDS)
            self._read_at = now
            for namespace, count in held.items():
                self._seconds[namespace] += count * passed  # type: ignore[assignment]
            return held, dict(self._seconds)


class _Tally:
    """Sums over all experiments, of which only those are counted anew that changed since the last time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Mapping[str, Any]] = {}
        self._conditions: Counter[tuple[str, str, str]] = Counter()
        self._steps: Counter[tuple[str, str]] = Counter()

    def take(
        self, bodies: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[tuple[str, str, str], int], dict[tuple[str, str], int]]:
        """Experiments by condition, status and reason; steps by stage and state."""
        with self._lock:
            for uid in [uid for uid in self._known if uid not in bodies]:
                self._add(self._known.pop(uid), -1)
            for uid, body in bodies.items():
                before = self._known.get(uid)
                if before is not body:
                    if before is not None:
                        self._add(before, -1)
                    self._add(body, 1)
                    self._known[uid] = body
            return dict(+self._conditions), dict(self._steps)

    def _add(self, body: Mapping[str, Any], sign: int) -> None:
        status = body.get("status") or {}
        for item in status.get("conditions") or ():
            self._conditions[item.get("type", ""), item.get("status", ""), item.get("reason", "")] += sign
        for stage in status.get("stages") or ():
            counts = {state: int(stage.get(state, 0)) for state in _STATES}
            counts["waiting"] = max(0, int(stage.get("total", 0)) - sum(counts.values()))
            for state, count in counts.items():
                self._steps[stage.get("name", ""), state] += sign * count


class StateMetrics(Collector):
    """What Prometheus is told of the controller's state."""

    def __init__(
        self, *, queue: WorkQueue, inventory: Inventory, waits: Waits, meter: DeviceMeter, ledger: GpuLedger
    ) -> None:
        self._queue = queue
        self._inventory = inventory
        self._waits = waits
        self._meter = meter
        self._ledger = ledger
        self._tally = _Tally()

    def describe(self) -> Iterator[Metric]:
        """The families without their samples."""
        yield from _families().values()

    def collect(self) -> Iterator[Metric]:
        """The families as they are now."""
        found = _families()
        found["queue_depth"].add_metric([], len(self._queue))
        found["oldest_queued"].add_metric([], self._queue.oldest_wait())
        conditions, steps = self._tally.take(self._inventory.bodies())
        for condition, count in sorted(conditions.items()):
            found["experiments"].add_metric(condition, count)
        for step, count in sorted(steps.items()):
            found["steps"].add_metric(step, count)
        for reason, (count, seconds) in sorted(self._waits.by_reason().items()):
            found["pending_steps"].add_metric([reason], count)
            found["pending_seconds"].add_metric([reason], seconds)
        held, used = self._meter.read()
        for namespace, count in sorted(held.items()):
            found["accelerators"].add_metric([namespace], count)
        for namespace, total in sorted(used.items()):
            found["accelerator_seconds"].add_metric([namespace], total)
        for namespace, (hours, budget) in sorted(self._ledger.hours().items()):
            found["gpu_hours"].add_metric([namespace], hours)
            found["gpu_hours_budget"].add_metric([namespace], budget)
        yield from found.values()


def _families() -> dict[str, Any]:
    gauge = GaugeMetricFamily
    return {
        "queue_depth": gauge("syntrial_queue_depth", "Experiments that wait for a look."),
        "oldest_queued": gauge("syntrial_oldest_queued_seconds", "How long the first of them has waited."),
        "experiments": gauge(
            "syntrial_experiments", "Experiments by what their status says.", labels=["condition", "status", "reason"]
        ),
        "steps": gauge(
            "syntrial_steps", "Steps of all experiments: done, running, failed or waiting.", labels=["stage", "state"]
        ),
        "pending_steps": gauge("syntrial_pending_steps", "Steps that wait, by reason.", labels=["reason"]),
        "pending_seconds": gauge(
            "syntrial_pending_seconds", "How long the steps of some experiment wait for a reason.", labels=["reason"]
        ),
        "accelerators": gauge("syntrial_accelerators", "Devices that running pods hold.", labels=["namespace"]),
        "accelerator_seconds": CounterMetricFamily(
            "syntrial_accelerator_seconds", "For how long they held them.", labels=["namespace"]
        ),
        "gpu_hours": gauge(
            "syntrial_gpu_hours", "GPU-hours of this month, of namespaces with a budget.", labels=["namespace"]
        ),
        "gpu_hours_budget": gauge("syntrial_gpu_hours_budget", "What they may use in a month.", labels=["namespace"]),
    }
