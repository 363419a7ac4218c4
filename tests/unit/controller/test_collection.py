import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from syntrial.artifacts import gc
from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster import client as kubernetes
from syntrial.controller import stores
from syntrial.controller.__main__ import app
from syntrial.controller.collection import NamespaceCollection, collect_namespace, uids_on_record
from syntrial.errors import DataLoss, StoreUnavailable, UserError
from syntrial.rpc.step import request_record
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import Trial, draft, register
from tests.unit.controller.test_reconcile import EXPERIMENT
from tests.unit.controller.world import pretend

DAY = 86400.0


def age(store: ArtifactStore, *, days: float) -> None:
    """Makes all objects of a store in memory so much older."""
    backend = store.backend
    assert isinstance(backend, MemoryBackend)
    backend._objects = {name: (data, when - days * DAY) for name, (data, when) in backend._objects.items()}
    for path in backend._folder.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - days * DAY))


def filed(store: ArtifactStore, uid: str, *, retention: str = "collect", seed: int = 0) -> Trial:
    """An experiment that is on record, with its data set prepared."""
    spec = EXPERIMENT.spec.model_copy(update={"retention": retention, "seed": seed})
    phantom = spec.dataset.phantom
    assert phantom is not None
    dataset = spec.dataset.model_copy(update={"phantom": phantom.model_copy(update={"seed": seed})})
    experiment = EXPERIMENT.model_copy(update={"spec": spec.model_copy(update={"dataset": dataset})})
    trial = draft(experiment, resolve_sources(experiment, base=Path()), uid=uid)
    register(trial, store=store)
    first = trial.plan.training[0]
    store.put_request(first.key, request_record(first.method, first.request))
    assert pretend(store, first.key)
    return trial


def collected(store: ArtifactStore, living: Iterable[str] = (), **options: Any) -> NamespaceCollection:
    given = {"owner": "here", "older_than": -1.0, "dry_run": False, "force": True, **options}
    return collect_namespace(store, living=lambda: set(living), **given)


def test_what_only_deleted_experiments_reach_goes_and_what_is_to_be_retained_stays() -> None:
    store = ArtifactStore(MemoryBackend())
    living = filed(store, "living", seed=1)
    deleted = filed(store, "deleted", seed=2)
    retained = filed(store, "retained", seed=3, retention="retain")
    first = collected(store, {"living"})
    assert (first.forgotten, first.waiting, first.removed) == ((), ("deleted",), ()), "it was missed only now"
    dry = collected(store, {"living"}, dry_run=True)
    assert (dry.forgotten, dry.removed) == (("deleted",), (deleted.plan.dataset,))
    assert store.is_done(deleted.plan.dataset)
    found = collected(store, {"living"})
    assert found.forgotten == ("deleted",)
    assert found.removed == (deleted.plan.dataset,)
    assert set(found.kept) == {living.plan.dataset, retained.plan.dataset}
    assert store.registrations("deleted")
    assert collected(store, {"living"}).waiting == ()


def test_a_deleted_experiments_results_stay_for_as_long_as_was_asked_whatever_their_age() -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living", seed=1)
    deleted = filed(store, "deleted", seed=2)
    age(store, days=8)
    for days in (0, 6):
        age(store, days=days)
        assert collected(store, {"living"}, older_than=7 * DAY).waiting == ("deleted",)
    assert store.is_done(deleted.plan.dataset)
    age(store, days=2)
    assert collected(store, {"living"}, older_than=7 * DAY).removed == (deleted.plan.dataset,)


def test_an_experiment_that_is_back_counts_as_never_gone() -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living", seed=1)
    filed(store, "odd", seed=2)
    collected(store, {"living"})
    collected(store, {"living", "odd"})
    assert collected(store, {"living"}).waiting == ("odd",)


def test_another_clusters_store_is_left_alone_until_it_is_adopted() -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living")
    collected(store, {"living"}, owner="first")
    before = store.backend.scan("")
    for living in ((), {"another"}):
        with pytest.raises(UserError, match="namespace first, and this is namespace second"):
            collected(store, living, owner="second")
    assert store.backend.scan("") == before
    assert collected(store, {"another"}, owner="second", adopt=True).waiting == ("living",)
    with pytest.raises(UserError, match="namespace second"):
        collected(store, {"living"}, owner="first")


def test_a_store_without_an_owner_is_claimed_only_by_who_has_an_experiment_in_it() -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living")
    with pytest.raises(UserError, match="no owner yet"):
        collected(store, {"another"}, owner="second")
    assert collected(store, {"living"}, owner="first").kept
    collected(ArtifactStore(MemoryBackend()), owner="empty")


def test_nothing_goes_where_no_experiment_exists_or_too_much_would_go_unless_forced() -> None:
    store = ArtifactStore(MemoryBackend())
    trial = filed(store, "deleted")
    collected(store, {"deleted"})
    with pytest.raises(UserError, match="none, and 1 on record"):
        collected(store, force=False)
    filed(store, "living", seed=1)
    with pytest.raises(UserError, match="at most 20% of the bytes"):
        collected(store, {"living"}, force=False)
    assert store.is_done(trial.plan.dataset)
    assert store.experiment_file("deleted", "plan.json") is not None, "it is still a root"
    assert collected(store, {"living"}).removed == (trial.plan.dataset,)


def test_a_listing_that_lacks_a_living_experiment_stops_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living")
    scan = store.backend.scan
    monkeypatch.setattr(
        store.backend,
        "scan",
        lambda prefix: [info for info in scan(prefix) if prefix.count("/") > 1 or "plan" not in info.name],
    )
    with pytest.raises(StoreUnavailable, match="with gaps"):
        collected(store, {"living"})


def test_an_artifact_that_a_living_experiment_shares_stays() -> None:
    store = ArtifactStore(MemoryBackend())
    shared = filed(store, "living").plan.dataset
    register(draft(EXPERIMENT, resolve_sources(EXPERIMENT, base=Path()), uid="deleted"), store=store)
    collected(store, {"living"})
    found = collected(store, {"living"})
    assert (found.forgotten, found.kept) == (("deleted",), (shared,))


def test_an_experiment_that_begins_while_the_store_is_listed_is_not_taken_for_deleted() -> None:
    store = ArtifactStore(MemoryBackend())

    def living() -> set[str]:
        filed(store, "new", seed=4)
        return {"new"}

    found = collect_namespace(store, living=living, owner="here", older_than=-1.0, dry_run=False)
    assert not found.waiting
    assert store.experiment_file("new", "plan.json") is not None


def test_an_experiment_whose_specification_cannot_be_read_is_kept() -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living", seed=1)
    filed(store, "odd")
    store.put_experiment_file("odd", "experiment.yaml", b"[not: a")
    assert not collected(store, {"living"}).waiting


def test_a_plan_that_is_far_too_long_is_not_read_and_ends_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "living")
    collected(store, {"living"})
    monkeypatch.setattr(gc, "RECORD_BYTES", 100)
    with pytest.raises(DataLoss, match=r"plan.json of experiment living .* cannot be read .* nothing is removed"):
        collected(store, {"living"})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("no answer"), 1),
        (UserError(field="store", rule="the bucket must exist", received="none", remedy="Create it."), 2),
        (RecursionError("what nobody thought of"), 1),
    ],
)
def test_a_store_that_does_not_answer_keeps_no_other_from_being_collected(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    class Cluster:
        namespace = "here"

        def read_secret(self, *_: str) -> dict[str, str]:
            return {}

        def list(self, *_: str) -> list[dict[str, object]]:
            return []

        def get(self, _kind: str, _namespace: None, name: str) -> dict[str, object]:
            return {"metadata": {"uid": name}}

    def open_from_secret(_secret: object, namespace: str, **_: object) -> ArtifactStore:
        if namespace == "away":
            raise error
        return ArtifactStore(MemoryBackend())

    monkeypatch.setattr(kubernetes, "connect", lambda **_: Cluster())
    monkeypatch.setattr(stores, "open_from_secret", open_from_secret)
    with structlog.testing.capture_logs() as lines:
        done = CliRunner().invoke(app, ["gc", "--namespaces=away,here"])
    assert done.exit_code == code
    assert not done.output, "one format: what is said is in the log"
    away, here, all_in_all = lines
    assert away["event"].startswith("not collected")
    assert away["namespace"] == "away"
    assert away.get("error") == str(error) or away.get("exc_info")
    assert (here["event"], here["namespace"], here["objects"]) == ("collected", "here", 0)
    assert (all_in_all["event"], all_in_all["count"]) == ("namespaces not collected", 1)


def test_a_restored_experiment_keeps_the_record_that_it_goes_on_from() -> None:
    objects = [
        {"metadata": {"uid": "new", "annotations": {"syntrial.dev/continues": "old"}}},
        {"metadata": {"uid": "plain", "annotations": None}},
        {"metadata": {"uid": "other", "annotations": {"team": "a"}}},
    ]
    assert uids_on_record(objects) == {"new", "old", "plain", "other"}
