"""The order of a trial's parts."""

from pathlib import Path
from typing import Any

from syntrial.artifacts.store import open_store
from syntrial.errors import SyntrialError, UserError
from syntrial.experiment.file import validate
from syntrial.plan.steps import Step
from syntrial.rpc.step import request_record
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import Trial, data_steps, draft, grow, known_looks, open_test_split, register, run, with_looks
from tests.unit.controller.world import pretend
from tests.unit.obedient import ObedientExecutor

DRAWN: dict[str, Any] = {"phantom": {"trainPatients": 24, "validationPatients": 12, "testPatients": 24}}


def trial(**fields: Any) -> Trial:
    """A generated set and an imported one, each with its controls."""
    synthetic = [{"name": "edm", "generator": {"diffusion": {}}}, {"name": "given", "images": DRAWN}]
    spec = {"dataset": DRAWN, "synthetic": synthetic, **fields}
    experiment = validate(
        {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": spec}
    )
    return draft(experiment, resolve_sources(experiment, base=Path()))


def test_wrong_data_ends_a_trial_before_anything_else_starts() -> None:
    def refuse_imports(step: Step, _: int) -> SyntrialError | None:
        wrong = UserError(field="classMap", rule="r", received="x", remedy="d")
        return wrong if step.method.endswith("ImportImages") else None

    store = open_store("memory://")
    executor = ObedientExecutor(store, behaviour=refuse_imports)
    _, outcome = run(trial(), store=store, executor=executor, on_event=lambda _event: None)
    assert executor.order == ["prepare the data set", "import given"]
    assert [str(failure.error) for failure in outcome.failures] == ["classMap: r; received x. d"]


def test_the_steps_that_read_sources_wait_for_each_other_alone() -> None:
    steps = data_steps(trial().plan)
    assert [step.label for step in steps] == ["prepare the data set", "import given"]
    assert {step.key for step in steps}.issuperset(key for step in steps for key in step.after)


def test_what_is_declared_otherwise_once_the_test_split_was_opened_is_another_look_and_on_record() -> None:
    store = open_store("memory://")
    fields = {"arms": ["augment-100", "augment-50"], "controls": "none"}
    first = trial(**fields)
    later = trial(**fields, endpoint={"smallestEffect": 0.2, "primary": {"arm": "augment-50"}})
    for _ in range(2):
        register(first, store=store)
    for step in first.plan.steps:
        store.put_request(step.key, request_record(step.method, step.request))
        pretend(store, step.key)
    first, later = grow(first, store=store), grow(later, store=store)
    for _ in range(2):
        register(with_looks(first, open_test_split(first, store=store)), store=store)
        assert [look.number for look in known_looks(first, store=store)] == [1]
    assert [found["evaluated"] for found in store.registrations("x")] == [0]
    assert later.plan.evaluations_digest == first.plan.evaluations_digest
    assert known_looks(later, store=store) == []
    looks = open_test_split(later, store=store)
    assert [look.number for look in looks] == [1, 2]
    assert set(looks[-1].changed) == {"spec.endpoint.primary", "spec.endpoint.smallestEffect"}
    register(later, store=store)
    register(later, store=store)
    before, after = store.registrations("x")
    assert (before["evaluated"], after["evaluated"]) == (0, len(later.plan.evaluation))
    assert before["endpoint"] == {
        "metric": "auroc",
        "smallestEffect": 0.01,
        "primary": {"arm": "augment-100", "synthetic": "edm", "classifier": "small-cnn"},
    }
    assert after["endpoint"]["primary"] == {"arm": "augment-50", "synthetic": "edm", "classifier": "small-cnn"}
