"""Two thousand experiments of twenty tenants on one controller, of whom one has a slow store and one a hostile one.

The controller is the whole one; time is simulated. Its threads are places in which looks end after what their calls to
stores and to the API server take. Measured is how long a look waits between being due and being begun.
"""

import heapq
import itertools
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest
import structlog

from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.cluster.manifests import Images, keys_of
from syntrial.controller.controller import Controller
from syntrial.controller.settings import Settings
from syntrial.controller.views import job_view
from syntrial.errors import StoreUnavailable
from tests.unit.controller.world import SPEC, Api, pretend

TENANTS: Final = [f"t{number:02d}" for number in range(20)]
SLOW, HOSTILE = TENANTS[3], TENANTS[7]
EACH: Final = 100
API_SECONDS, STORE_SECONDS, SLOW_SECONDS, CPU_SECONDS = 0.01, 0.002, 1.0, 0.005
"""Of a call to the API server, to a store, to the slow store; of a look beside its calls."""
POD_SECONDS: Final = 60.0
MINUTES: Final = 4


class Site:
    """A tenant's store as the controller reaches it; each call takes its time."""

    def __init__(self, soak: "Soak", *, seconds: float, is_hostile: bool) -> None:
        self.inside = MemoryBackend()
        self.calls = 0
        self._soak = soak
        self._seconds = seconds
        self._is_hostile = is_hostile
        self._garbage = itertools.cycle(
            [b"x" * (RECORD_BYTES + 1), b"[" + b"[]," * 900_000 + b"[]]", b"nonsense", b"", b"{}", b"[" * 90_000]
        )

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inside, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            self.calls += 1
            self._soak.spend(self._seconds)
            if self._is_hostile and name == "read":
                if self.calls % 7 == 0:
                    self._soak.spend(20.0)
                    raise StoreUnavailable("the server sends a byte now and then")
                if self.calls % 3 == 0:
                    data = next(self._garbage)
                    if named.get("limit") is not None and len(data) > named["limit"]:
                        self.inside.write("garbage", data)
                        return self.inside.read("garbage", **named)
                    return data
            return found(*given, **named)

        return call


class TimedApi(Api):
    """An API server each of whose calls takes its time."""

    def __init__(self, spend: Callable[[float], None]) -> None:
        super().__init__()
        self.on_call = lambda: spend(API_SECONDS)


class Soak:
    """The cluster, its tenants, and the places in which the controller's looks run."""

    def __init__(
        self,
        *,
        slow: bool = False,
        hostile: bool = False,
        tenants: Sequence[str] = TENANTS,
        each: int = EACH,
        pod_seconds: float = POD_SECONDS,
        threads: int = 16,
        **settings: Any,
    ) -> None:
        """Of each tenant there are `each` experiments, whose pods take some `pod_seconds`."""
        self.now = 0.0
        self.tenants = tenants
        self.each = each
        self.pod_seconds = pod_seconds
        self.api = TimedApi(self.spend)
        self.sites = {
            name: Site(
                self,
                seconds=SLOW_SECONDS if slow and name == SLOW else STORE_SECONDS,
                is_hostile=hostile and name == HOSTILE,
            )
            for name in tenants
        }
        for name in tenants:
            self.api.put({"kind": "Secret", "metadata": {"namespace": name, "name": "syntrial-store"}})
        given = Settings(namespaces=(), images=Images(repository="r", tag="t"), threads=threads, acts=1, **settings)
        self.stores = {name: ArtifactStore(site) for name, site in self.sites.items()}  # type: ignore[arg-type]
        self.controller = Controller(
            self.api, given, open_store=lambda _secret, namespace: self.stores[namespace], clock=lambda: self.now
        )
        self.places = threads
        self.waits: dict[str, list[float]] = {name: [] for name in tenants}
        self.worked: Counter[str] = Counter()
        self.longest = 0.0
        self._due: dict[str, float] = {}
        self._told = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._random = random.Random(0)
        put = self.controller.queue._turns.put

        def listen(name: str, group: str) -> None:
            self._due[name] = self.now
            put(name, group)

        self.controller.queue._turns.put = listen  # type: ignore[method-assign]

    def spend(self, seconds: float) -> None:
        """Time that passes in the look that is under way."""
        self.now += seconds

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), do))

    def run(self, *, seconds: float, within: float = 60.0, is_over: Callable[[], bool] = lambda: False) -> None:
        """Applies all experiments `within` some seconds, and lets time go by."""
        for number, tenant in enumerate(itertools.chain.from_iterable([self.tenants] * self.each)):
            body = {
                "apiVersion": "syntrial.dev/v1alpha1",
                "kind": "Experiment",
                "metadata": {"namespace": tenant, "name": f"e{number}", "generation": 1},
                "spec": {**SPEC, "seed": number},
            }
            self.at(self._random.uniform(0.0, within), lambda body=body: self.api.put(body, change="ADDED"))  # type: ignore[misc]
        free, queue = self.places, self.controller.queue

        def promote() -> None:
            with queue._lock:
                queue._promote()

        for tenths in range(1, int(seconds * 10)):
            # Time also passes where nothing happens: looks that were put off come due.
            self.at(tenths / 10, promote)
        while self._events and self._events[0][0] < seconds and not is_over():
            self.now, _, do = heapq.heappop(self._events)
            if do is _ENDED:
                free += 1
            else:
                do()
            self._deliver()
            while free and (uid := self.controller.queue.take(wait=False)) is not None:
                free -= 1
                self._look(uid)

    def _look(self, uid: str) -> None:
        began, tenant = self.now, self.controller.inventory.namespace_of(uid)
        self.waits[tenant].append(began - self._due.pop(uid))
        after = self.controller.attend(uid)
        self.now += CPU_SECONDS
        took, self.now = self.now - began, began
        self.longest = max(self.longest, took)

        def end() -> None:
            self.controller.queue.finish(uid)
            if after is not None:
                self.controller.queue.add(uid, after=max(after, 0.2))

        self.at(began + took, end)
        self.at(began + took, _ENDED)

    def _deliver(self) -> None:
        """Tells the controller of changes, and makes the pods of new Jobs."""
        inventory = self.controller.inventory
        while self._told < len(self.api.events):
            change, kind, body = self.api.events[self._told]
            self._told += 1
            if kind == "Experiment":
                inventory.put_experiment(body)
            elif kind == "Job" and change == "DELETED":
                inventory.drop_job(job_view(body))
            elif kind == "Job":
                inventory.put_job(body)
                if change == "ADDED":
                    inventory.put_pod(self._pod(body))
                    self.at(self.now + self._random.uniform(0.5, 1.5) * self.pod_seconds, lambda b=body: self._end(b))  # type: ignore[misc]

    def _pod(self, job: dict[str, Any]) -> dict[str, Any]:
        metadata = job["metadata"]
        labels = {**metadata["labels"], "job-name": metadata["name"]}
        owner = {"uid": metadata["uid"], "kind": "Job", "name": metadata["name"], "controller": True}
        about = {"namespace": metadata["namespace"], "name": metadata["name"], "uid": f"pod-of-{metadata['uid']}"}
        return {
            "kind": "Pod",
            "metadata": {**about, "labels": labels, "ownerReferences": [owner], "resourceVersion": "1"},
            "status": {"phase": "Running"},
        }

    def _end(self, job: dict[str, Any]) -> None:
        tenant = job["metadata"]["namespace"]
        store = ArtifactStore(self.sites[tenant].inside)
        for key in keys_of(job):
            pretend(store, key)
            self.worked[tenant] += 1
        present = self.api.get("Job", tenant, job["metadata"]["name"])
        if present is not None:
            done = {"type": "Complete", "status": "True", "reason": "", "lastTransitionTime": "2026-01-01T00:00:10Z"}
            self.api.put({**present, "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": [done]}})

    def has_succeeded(self) -> int:
        """How many experiments have their verdict."""
        bodies = (body for (kind, _, _), body in self.api.objects.items() if kind == "Experiment")
        return sum("verdict" in (body.get("status") or {}) for body in bodies)

    def p99(self) -> float:
        """Of the waits of all tenants but the two."""
        waits = sorted(wait for name in TENANTS if name not in (SLOW, HOSTILE) for wait in self.waits[name])
        return waits[int(len(waits) * 0.99)]


def _ENDED() -> None:  # noqa: N802 - what stands for the end of a look
    """Gives a place back."""


@pytest.fixture
def _no_log() -> Iterator[None]:
    """Without a line for each look that fails."""
    known = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**known)


def test_a_full_namespace_stays_full_and_is_not_looked_at_all_the_time_for_it() -> None:
    soak = Soak(tenants=["t00"], each=20, pod_seconds=2.0, jobs_per_namespace=8)
    soak.run(seconds=600.0, within=0.5, is_over=lambda: soak.has_succeeded() == 20)
    assert soak.has_succeeded() == 20
    jobs, looks = soak.api.created.total(), sum(map(len, soak.waits.values()))
    # With each place taken again as soon as it is free; a fifth is for the chains of steps at both ends.
    assert soak.now <= 1.2 * jobs * soak.pod_seconds / 8
    assert looks <= 7 * jobs


@pytest.mark.slow
@pytest.mark.usefixtures("_no_log")
@pytest.mark.timeout(1800)
def test_a_slow_and_a_hostile_tenant_delay_the_others_looks_at_most_twofold() -> None:
    found = {}
    for bad in (False, True):
        soak = Soak(slow=bad, hostile=bad)
        soak.run(seconds=MINUTES * 60)
        found[bad] = soak
        looks = sum(map(len, soak.waits.values()))
        sys.stdout.write(f"bad: {bad}; looks: {looks}, p99: {soak.p99():.3f} s, longest look: {soak.longest:.1f} s\n")
    others = [name for name in TENANTS if name not in (SLOW, HOSTILE)]
    alone, beside = found[False], found[True]
    # A wait of a tenth of a second is none: pods start in one.
    assert beside.p99() <= max(2 * alone.p99(), 0.1)
    # Half of the places may be the two's, so all are looked at a little less; a tenth of the steps is no great delay.
    assert sum(beside.worked[name] for name in others) >= 0.9 * sum(alone.worked[name] for name in others)
    assert beside.longest < 5 * 60.0
    conditions = Counter(
        item["reason"]
        for (kind, namespace, _), body in beside.api.objects.items()
        if kind == "Experiment" and namespace == HOSTILE
        for item in (body.get("status") or {}).get("conditions", ())
        if item["type"] == "Progressing"
    )
    assert conditions, "what is wrong is said on the objects"
    assert beside.worked[SLOW], "who is slow comes on, slowly"
