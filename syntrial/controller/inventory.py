"""What the cluster holds, as the watches tell it: Experiments, and their Jobs and pods by experiment.

Fed by the event handlers and by what the controller itself creates; put right by lists, since an object that vanishes
while a watch is broken is told of by no event. What is told may come late, from an event, from a list and from the
answer to a call at once: by its version and its UID, what is older than what is known changes nothing. Work per event
does not grow with the number of other experiments. Safe from several threads.

A Job is of the Experiment that controls it and lives in its namespace: by labels, or by another's UID alone,
one namespace would hold up the steps of another.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from syntrial.cluster.door import LAST_APPLIED
from syntrial.controller.room import Rooms
from syntrial.controller.views import JobView, PodView, job_view, pod_view
from syntrial.controller.workqueue import Wake, Why

Home = tuple[str, str]
"""Namespace and UID of an Experiment, as a Job or a pod names them."""

Name = tuple[str, str]
"""Namespace and key of a step."""

GONE_SECONDS: Final = 600.0
"""How long the UID of what is gone is remembered: what a list or an answer still says of it is on its way no longer."""

_View = TypeVar("_View", JobView, PodView)


@dataclass(frozen=True, kw_only=True, slots=True)
class Held(Generic[_View]):
    """A Job or a pod, its version, and when this process last heard of it."""

    view: _View
    version: int
    heard: float


class Inventory:
    """Objects by experiment; `wake` is told the UID of each experiment that an event may concern, and why."""

    def __init__(self, *, wake: Wake, rooms: Rooms, clock: Callable[[], float] = time.monotonic) -> None:
        """`rooms` is told of live Jobs, and whoever it then calls is woken."""
        self._wake = wake
        self._rooms = rooms
        self._clock = clock
        self._lock = threading.RLock()
        self._experiments: dict[str, Mapping[str, Any]] = {}
        self._told: dict[str, float] = {}
        """By the UID of an experiment: when this process last heard of it."""
        self._jobs: dict[Home, dict[str, Held[JobView]]] = {}
        self._pods: dict[Home, dict[str, Held[PodView]]] = {}
        self._gone: dict[str, float] = {}
        """By UID: when it was told that an object is gone."""
        self._carriers: dict[Name, set[str]] = {}
        """Experiments with a live Job for a key, by namespace and key."""
        self._waiting: dict[Name, set[str]] = {}
        """Experiments that wait for a key which another one carries."""

    # What events tell

    def put_experiment(self, body: Mapping[str, Any], *, quietly: bool = False) -> None:
        """An Experiment as it is now; `quietly` where whoever tells of it has just looked at it."""
        uid = body["metadata"]["uid"]
        with self._lock:
            known = self._experiments.get(uid)
            # What the controller's own writes gave back comes by the watch once more.
            if self._is_stale(body, known=_version(known) if known is not None else 0):
                return
            self._experiments[uid] = _lean(body)
            self._told[uid] = self._clock()
        if not quietly:
            self._wake(uid, Why.WORK)

    def drop_experiment(self, uid: str) -> None:
        """An Experiment that is gone; its Jobs go after it, each with an event of its own."""
        with self._lock:
            self._experiments.pop(uid, None)
            self._told.pop(uid, None)
            self._gone[uid] = self._clock()
        self._wake(uid, Why.WORK)

    def put_job(self, body: Mapping[str, Any]) -> None:
        """A Job as it is now."""
        view = job_view(body)
        if view is None:
            return
        with self._lock:
            home = (view.namespace, view.experiment)
            was = self._jobs.get(home, {}).get(view.name)
            if self._is_stale(body, known=was.version if was is not None else 0):
                return
            held = Held(view=view, version=_version(body), heard=self._clock())
            self._jobs.setdefault(home, {})[view.name] = held
            # Who stands in line can begin nothing more, whatever of its own has ended, until it is called.
            waits = self._rooms.is_in_line(view.experiment, view.namespace)
            called = self._index(view)
            has_ended = not view.is_live and (was is None or was.view.is_live)
            released = self._released(view) if has_ended else set()
            is_news = (was is None or was.view != view) and self._is_home(home)
        if is_news:
            self._wake(view.experiment, Why.WORK if has_ended and not waits else Why.NEWS)
        self._wake_all(released, called)

    def mark_deleting(self, view: JobView) -> None:
        """A Job whose deletion the API server has accepted: it goes when what it owns has gone."""
        home = (view.namespace, view.experiment)
        with self._lock:
            held = self._jobs.get(home, {}).get(view.name)
            if held is not None:
                self._jobs[home][view.name] = replace(held, view=replace(held.view, is_deleting=True))

    def drop_job(self, view: JobView | None) -> None:
        """A Job that is gone; unless another of its name took its place. None: one of no concern here."""
        if view is None:
            return
        home = (view.namespace, view.experiment)
        with self._lock:
            held = self._jobs.get(home, {}).get(view.name)
            if view.uid:
                self._gone[view.uid] = self._clock()
            if held is None or (view.uid and held.view.uid and held.view.uid != view.uid):
                return
            released, called = self._remove(home, view.name)
            if self._is_home(home):
                released.add(view.experiment)
        self._wake_all(released, called)

    def put_pod(self, body: Mapping[str, Any]) -> None:
        """A pod as it is now."""
        view = pod_view(body)
        if not view.experiment or not view.job:
            return
        home = (view.namespace, view.experiment)
        with self._lock:
            was = self._pods.get(home, {}).get(view.name)
            if self._is_stale(body, known=was.version if was is not None else 0):
                return
            held = Held(view=view, version=_version(body), heard=self._clock())
            self._pods.setdefault(home, {})[view.name] = held
            is_news = (was is None or was.view != view) and self._is_home(home)
        if is_news:
            # What is to be done waits for the pod's Job to end.
            self._wake(view.experiment, Why.NEWS)

    def drop_pod(self, view: PodView) -> None:
        """A pod that is gone."""
        home = (view.namespace, view.experiment)
        with self._lock:
            pods = self._pods.get(home, {})
            if view.uid:
                self._gone[view.uid] = self._clock()
            if pods.pop(view.name, None) is None:
                return
            if not pods:
                del self._pods[home]
            is_news = self._is_home(home)
        if is_news:
            self._wake(view.experiment, Why.NEWS)

    # What lists tell

    def repair(
        self, *, namespaces: Iterable[str] | None, since: float, kind: str, items: Iterable[Mapping[str, Any]]
    ) -> None:
        """Takes up a list of all "Experiment", "Job" or "Pod" objects of the namespaces (None: of all).

        What is not in it is gone, unless it was heard of after `since`, when the list was asked for.
        """
        within = None if namespaces is None else set(namespaces)
        seen: set[str] = set()
        put = {"Experiment": self.put_experiment, "Job": self.put_job, "Pod": self.put_pod}[kind]
        for item in items:
            metadata = item["metadata"]
            seen.add(metadata["uid"] if kind == "Experiment" else f"{metadata['namespace']}/{metadata['name']}")
            put(item)
        with self._lock:
            if kind == "Experiment":
                gone = [
                    uid
                    for uid, body in self._experiments.items()
                    if self._told[uid] < since
                    and uid not in seen
                    and (within is None or body["metadata"]["namespace"] in within)
                ]
                drop: list[Callable[[], None]] = [lambda uid=uid: self.drop_experiment(uid) for uid in gone]  # type: ignore[misc]
            elif kind == "Job":
                jobs = _lost(self._jobs, since=since, seen=seen, within=within)
                drop = [lambda view=view: self.drop_job(view) for view in jobs]  # type: ignore[misc]
            else:
                pods = _lost(self._pods, since=since, seen=seen, within=within)
                drop = [lambda view=view: self.drop_pod(view) for view in pods]  # type: ignore[misc]
            forget = [uid for uid, when in self._gone.items() if when < self._clock() - GONE_SECONDS]
            for uid in forget:
                del self._gone[uid]
        for call in drop:
            call()

    # What looks ask

    def experiment(self, uid: str) -> Mapping[str, Any] | None:
        """The Experiment object, or None where there is none."""
        with self._lock:
            return self._experiments.get(uid)

    def experiments(self) -> list[str]:
        """The UIDs of all Experiments."""
        with self._lock:
            return list(self._experiments)

    def namespace_of(self, uid: str) -> str:
        """The namespace of an Experiment; "" where there is none."""
        with self._lock:
            body = self._experiments.get(uid)
            return str(body["metadata"]["namespace"]) if body is not None else ""

    def bodies(self) -> dict[str, Mapping[str, Any]]:
        """All Experiments by UID; an object that is told of anew is another one."""
        with self._lock:
            return dict(self._experiments)

    def devices_held(self) -> Counter[str]:
        """Accelerators and other devices of running pods, by namespace."""
        held: Counter[str] = Counter()
        with self._lock:
            for (namespace, _), pods in self._pods.items():
                held[namespace] += sum(pod.view.devices for pod in pods.values() if pod.view.phase == "Running")
        return held

    def device_pods(self) -> dict[str, list[PodView]]:
        """Pods that ask for devices, whether they run or not, by namespace."""
        found: dict[str, list[PodView]] = {}
        with self._lock:
            for (namespace, _), pods in self._pods.items():
                if held := [pod.view for pod in pods.values() if pod.view.devices]:
                    found.setdefault(namespace, []).extend(held)
        return found

    def jobs_of(self, uid: str) -> tuple[JobView, ...]:
        """The experiment's Jobs with their pods, by name."""
        with self._lock:
            home = self._home_of(uid)
            pods: dict[str, list[PodView]] = {}
            for pod in self._pods.get(home, {}).values():
                pods.setdefault(pod.view.job, []).append(pod.view)
            held = [item.view for item in self._jobs.get(home, {}).values()]
        return tuple(
            replace(view, pods=tuple(pods[view.uid])) if view.uid in pods else view
            for view in sorted(held, key=lambda view: view.name)
        )

    def elsewhere(self, uid: str, namespace: str, keys: Iterable[str]) -> dict[str, str]:
        """Those of `keys` that a live Job of another experiment of the namespace carries, with its name.

        This experiment is woken when such a Job ends or goes.
        """
        found: dict[str, str] = {}
        with self._lock:
            for key in keys:
                name = (namespace, key)
                others = self._others(name, uid)
                if others:
                    found[key] = self._name_of(min(others))
                    self._waiting.setdefault(name, set()).add(uid)
                elif name in self._waiting:
                    self._waiting[name].discard(uid)
        return found

    def reserve(self, uid: str, namespace: str, keys: Iterable[str]) -> bool:
        """Takes `keys` for a Job that is about to be made; False where another experiment carries one of them."""
        names = [(namespace, key) for key in keys]
        with self._lock:
            if any(self._others(name, uid) for name in names):
                return False
            for name in names:
                self._carriers.setdefault(name, set()).add(uid)
        return True

    def release(self, uid: str, namespace: str, keys: Iterable[str]) -> None:
        """Gives back keys whose Job could not be made."""
        with self._lock:
            jobs = self._jobs.get((namespace, uid), {})
            live = {key for held in jobs.values() if held.view.is_live for key in held.view.keys}
            for key in keys:
                if key not in live:
                    self._uncarry(uid, (namespace, key))

    # Inside

    def _is_stale(self, body: Mapping[str, Any], *, known: int) -> bool:
        """Whether what is told is no newer than the version `known`, or of an object that has gone since."""
        return body["metadata"].get("uid") in self._gone or 0 < _version(body) <= known

    def _name_of(self, uid: str) -> str:
        body = self._experiments.get(uid)
        return str(body["metadata"]["name"]) if body is not None else uid

    def _home_of(self, uid: str) -> Home:
        body = self._experiments.get(uid)
        return (str(body["metadata"]["namespace"]) if body is not None else "", uid)

    def _is_home(self, home: Home) -> bool:
        """Whether an Experiment may live there: not where it is known to live elsewhere."""
        body = self._experiments.get(home[1])
        return body is None or body["metadata"]["namespace"] == home[0]

    def _others(self, name: Name, uid: str) -> set[str]:
        """Experiments that carry a step and are not `uid`; one whose object is gone carries it until its Job is too."""
        return {other for other in self._carriers.get(name, ()) if other != uid and self._is_home((name[0], other))}

    def _wake_all(self, released: Iterable[str], called: Iterable[str]) -> None:
        for uid in released:
            self._wake(uid, Why.WORK)
        for uid in called:
            self._wake(uid, Why.ROOM)

    def _index(self, view: JobView) -> list[str]:
        """Notes a Job's keys and its place where it lives; who is called to its place where it does not."""
        if not view.is_live:
            return self._rooms.drop(view.namespace, view.name)
        self._rooms.put(view.namespace, view.name)
        for key in view.keys:
            self._carriers.setdefault((view.namespace, key), set()).add(view.experiment)
        return []

    def _remove(self, home: Home, name: str) -> tuple[set[str], list[str]]:
        """Forgets a Job; who waited for its steps, and who is called to its place."""
        held = self._jobs.get(home, {}).pop(name, None)
        if held is None:
            return set(), []
        if not self._jobs[home]:
            del self._jobs[home]
        return self._released(held.view), self._rooms.drop(held.view.namespace, name)

    def _released(self, view: JobView) -> set[str]:
        """After a Job ended or went: the experiments that waited for its steps."""
        live = {
            key
            for held in self._jobs.get((view.namespace, view.experiment), {}).values()
            if held.view.is_live and held.view.name != view.name
            for key in held.view.keys
        }
        woken: set[str] = set()
        for key in view.keys:
            if key not in live:
                name = (view.namespace, key)
                self._uncarry(view.experiment, name)
                woken |= self._waiting.pop(name, set())
        return woken

    def _uncarry(self, uid: str, name: Name) -> None:
        carriers = self._carriers.get(name)
        if carriers is not None:
            carriers.discard(uid)
            if not carriers:
                del self._carriers[name]


def _lost(
    held: Mapping[Home, Mapping[str, Held[_View]]], *, since: float, seen: Set[str], within: Set[str] | None
) -> list[_View]:
    """What a list did not hold that was asked for at `since`, though it was known then."""
    return [
        item.view
        for of_one in held.values()
        for item in of_one.values()
        if item.heard < since
        and f"{item.view.namespace}/{item.view.name}" not in seen
        and (within is None or item.view.namespace in within)
    ]


def _lean(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object without what others keep in it, which is most of it: who wrote which field, and what was applied."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    return {**body, "metadata": metadata}


def _version(body: Mapping[str, Any]) -> int:
    """The version that the API server gave; 0 where there is none that can be compared, and anything is news then."""
    try:
        return int(body["metadata"]["resourceVersion"])
    except (KeyError, ValueError):
        return 0
