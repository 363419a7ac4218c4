"""The watches, on an API server that tells what a test has it tell."""

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from syntrial.cluster.client import Change
from syntrial.controller import watching
from syntrial.controller.inventory import Inventory
from syntrial.controller.room import Rooms
from syntrial.controller.watching import Watches
from syntrial.errors import ClusterRefused, ClusterUnavailable
from tests.unit.controller.test_inventory import at_version, build, experiment, job, pod_of

Told = tuple[Change, dict[str, Any]]


def refused(status: int) -> ClusterRefused:
    return ClusterRefused("because", status=status, reason="", field="", remedy="")


class Api:
    """Lists what is there, and answers watches of Experiments in order; other kinds have no news."""

    def __init__(self, *answers: list[Told] | Exception, there: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self.there = there or {}
        self.lists: list[tuple[str, str | None, str]] = []
        self.since: list[str] = []
        self.is_told = threading.Event()
        self._answers = list(answers)
        self._lock = threading.Lock()

    def list_with_version(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        assert not fields
        self.lists.append((kind, namespace, labels))
        return self.there.get(kind, []), f"list-{self.lists.count((kind, namespace, labels))}"

    def watch(self, kind: str, namespace: str | None = None, *, labels: str = "", since: str) -> Iterator[Told]:
        assert (kind, namespace, labels) in self.lists
        if kind != "Experiment":
            return iter(())
        with self._lock:
            self.since.append(since)
            if not self._answers:
                self.is_told.set()
                return iter(())
            answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return iter(answer)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    monkeypatch.setattr(watching, "PAUSES", (0.001,))
    ended = threading.Event()
    yield ended
    ended.set()


def followed(api: Api, stopping: threading.Event, *, namespaces: tuple[str, ...] = ("trials",)) -> Any:
    """The inventory after all that the API server had to tell."""
    inventory, _, clock = build()
    Watches(api, inventory, namespaces=namespaces, stopping=stopping, clock=clock).start()
    assert api.is_told.wait(10)
    return inventory


def test_what_is_there_is_known_before_the_start_returns_and_by_its_labels(stopping: threading.Event) -> None:
    made = job("one", "step")
    api = Api(there={"Experiment": [experiment("one")], "Job": [made], "Pod": [pod_of(made)]})
    inventory, woken, clock = build()
    Watches(api, inventory, namespaces=(), stopping=stopping, clock=clock).start()
    assert inventory.experiments() == ["one"]
    (view,) = inventory.jobs_of("one")
    assert [pod.name for pod in view.pods] == ["pod"]
    assert "one" in woken
    managed = "app.kubernetes.io/managed-by=syntrial-controller"
    assert sorted(api.lists) == [("Experiment", None, ""), ("Job", None, managed), ("Pod", None, managed)]


def test_changes_are_told_from_the_last_version_on_however_often_the_watch_ends(stopping: threading.Event) -> None:
    api = Api(
        [("ADDED", experiment("one", version=7)), ("ADDED", experiment("two", version=8))],
        [("DELETED", experiment("one", version=9))],
        [("BOOKMARK", {"metadata": {"resourceVersion": "40"}})],
    )
    assert followed(api, stopping).experiments() == ["two"]
    assert api.since[:4] == ["list-1", "8", "9", "40"]


def test_an_api_server_that_is_away_is_asked_again_from_the_same_version(stopping: threading.Event) -> None:
    api = Api(
        [("ADDED", experiment("one", version=7))],
        ClusterUnavailable("away"),
        refused(403),
        [("ADDED", experiment("two", version=8))],
    )
    assert sorted(followed(api, stopping).experiments()) == ["one", "two"]
    assert api.since[:5] == ["list-1", "7", "7", "7", "8"]


def test_all_is_listed_where_the_changes_since_a_version_are_forgotten(stopping: threading.Event) -> None:
    """So what vanished meanwhile, of which no watch tells, is gone."""

    class Forgetful(Api):
        def list_with_version(self, *given: Any, **named: Any) -> tuple[list[dict[str, Any]], str]:
            found = super().list_with_version(*given, **named)
            if given[0] == "Experiment":
                self.there = {"Experiment": [experiment("one", version=7)]}
            return found

    api = Forgetful([("ADDED", experiment("one", version=7))], refused(410), there={"Experiment": [experiment("gone")]})
    ticks = itertools.count()

    def clock() -> float:
        return float(next(ticks))

    inventory = Inventory(wake=lambda _uid, _why: None, rooms=Rooms(most=1), clock=clock)
    Watches(api, inventory, namespaces=("trials",), stopping=stopping, clock=clock).start()
    assert api.is_told.wait(10)
    assert inventory.experiments() == ["one"]
    assert api.since[:3] == ["list-1", "7", "list-2"]


def test_an_object_that_cannot_be_read_ends_no_watch(stopping: threading.Event) -> None:
    api = Api([("ADDED", {"metadata": {}})], [("ADDED", experiment("one", version=7))])
    assert followed(api, stopping).experiments() == ["one"]
    assert api.since[:3] == ["list-1", "list-2", "7"]


def test_jobs_and_pods_are_told_and_dropped(stopping: threading.Event) -> None:
    made = at_version(job("one", "step"), 3)
    inventory, _, clock = build()
    watches = Watches(Api(), inventory, namespaces=("trials",), stopping=stopping, clock=clock)
    watches._tell("Job", "ADDED", made)
    watches._tell("Pod", "MODIFIED", pod_of(made))
    assert len(inventory.jobs_of("one")) == 0, "of no Experiment that is known"
    watches._tell("Experiment", "ADDED", experiment("one"))
    (view,) = inventory.jobs_of("one")
    assert len(view.pods) == 1
    watches._tell("Pod", "DELETED", pod_of(made))
    assert inventory.jobs_of("one")[0].pods == ()
    watches._tell("Job", "DELETED", made)
    assert inventory.jobs_of("one") == ()


def test_nothing_begins_without_permission(stopping: threading.Event) -> None:
    class Forbidding(Api):
        def list_with_version(self, *_: Any, **__: Any) -> Any:
            raise refused(403)

    inventory, _, _ = build()
    with pytest.raises(ClusterRefused):
        Watches(Forbidding(), inventory, namespaces=("trials",), stopping=stopping).start()
