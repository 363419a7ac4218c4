from pathlib import Path

import pytest
from typer.testing import CliRunner

from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster import client as kubernetes
from syntrial.controller import stores
from syntrial.controller.__main__ import app
from syntrial.controller.collection import collect_namespace
from syntrial.errors import StoreUnavailable, SyntrialError, UserError
from syntrial.rpc.step import request_record
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import Trial, draft, register
from tests.unit.controller.test_reconcile import EXPERIMENT
from tests.unit.controller.world import pretend


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


def test_what_only_deleted_experiments_reach_goes_and_what_is_to_be_retained_stays() -> None:
    store = ArtifactStore(MemoryBackend())
    living = filed(store, "living", seed=1)
    deleted = filed(store, "deleted", seed=2)
    retained = filed(store, "retained", seed=3, retention="retain")
    dry = collect_namespace(store, living=lambda: {"living"}, older_than=-1.0, dry_run=True)
    assert dry.forgotten == ("deleted",)
    assert store.is_done(deleted.plan.dataset)
    found = collect_namespace(store, living=lambda: {"living"}, older_than=-1.0, dry_run=False)
    assert found.forgotten == ("deleted",)
    assert found.removed == (deleted.plan.dataset,)
    assert set(found.kept) == {living.plan.dataset, retained.plan.dataset}
    assert store.experiment_file("deleted", "preregistration.json") is not None


def test_an_artifact_that_a_living_experiment_shares_stays() -> None:
    store = ArtifactStore(MemoryBackend())
    shared = filed(store, "living").plan.dataset
    register(draft(EXPERIMENT, resolve_sources(EXPERIMENT, base=Path()), uid="deleted"), store=store)
    found = collect_namespace(store, living=lambda: {"living"}, older_than=-1.0, dry_run=False)
    assert found.kept == (shared,)


def test_an_experiment_that_begins_while_the_store_is_listed_is_not_taken_for_deleted() -> None:
    store = ArtifactStore(MemoryBackend())

    def living() -> set[str]:
        filed(store, "new", seed=4)
        return {"new"}

    found = collect_namespace(store, living=living, older_than=-1.0, dry_run=False)
    assert not found.forgotten
    assert store.experiment_file("new", "plan.json") is not None


def test_an_experiment_whose_specification_cannot_be_read_is_kept() -> None:
    store = ArtifactStore(MemoryBackend())
    filed(store, "odd")
    store.put_experiment_file("odd", "experiment.yaml", b"[not: a")
    assert not collect_namespace(store, living=set, older_than=-1.0, dry_run=False).forgotten


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("no answer"), 1),
        (UserError(field="store", rule="the bucket must exist", received="none", remedy="Create it."), 2),
    ],
)
def test_a_store_that_does_not_answer_keeps_no_other_from_being_collected(
    monkeypatch: pytest.MonkeyPatch, error: SyntrialError, code: int
) -> None:
    class Cluster:
        namespace = "here"

        def read_secret(self, *_: str) -> dict[str, str]:
            return {}

        def list(self, *_: str) -> list[dict[str, object]]:
            return []

    def open_from_secret(_secret: object, namespace: str, **_: object) -> ArtifactStore:
        if namespace == "away":
            raise error
        return ArtifactStore(MemoryBackend())

    monkeypatch.setattr(kubernetes, "connect", lambda **_: Cluster())
    monkeypatch.setattr(stores, "open_from_secret", open_from_secret)
    done = CliRunner().invoke(app, ["gc", "--namespaces=away,here"])
    assert done.exit_code == code
    assert f"away: not collected: {error}" in done.output
    assert "here: removed 0 objects" in done.output
