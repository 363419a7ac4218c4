"""The walk through a plan, with an executor that ends each step at once as it is told to."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.artifacts.store import open_store
from syntrial.errors import ArtifactMissing, DataLoss, StoreUnavailable, SyntrialError, UserError
from syntrial.executors import drive as drive_module
from syntrial.executors.drive import drive, priorities
from syntrial.executors.executor import Event, StepWaits
from syntrial.plan.steps import Step
from syntrial.rpc.testing import fake_key
from syntrial.v1.data_preparation_pb2 import PrepareDatasetRequest
from tests.unit.obedient import ObedientExecutor


def named(name: str, *after: str, work: float = 0.0) -> Step:
    keys = tuple(fake_key(item) for item in after)
    return Step(key=fake_key(name), method="m", request=PrepareDatasetRequest(), label=name, after=keys, work=work)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive_module, "_FIRST_PAUSE", 0.0)


def wrong() -> UserError:
    return UserError(field="f", rule="r", received="x", remedy="d")


def test_the_longest_chain_of_work_goes_first() -> None:
    steps = [named("a", work=1), named("b", work=5), named("c", "a", work=1), named("d", "a", work=9)]
    found = priorities(steps)
    assert found == {fake_key("a"): 12.0, fake_key("b"): 6.0, fake_key("c"): 2.0, fake_key("d"): 10.0}
    executor = ObedientExecutor(open_store("memory://"))
    drive(steps, store=executor.store, executor=executor)
    assert executor.order == ["a", "b", "d", "c"]


def test_a_second_walk_runs_nothing() -> None:
    steps = [named("a"), named("b", "a")]
    executor = ObedientExecutor(open_store("memory://"))
    assert drive(steps, store=executor.store, executor=executor).is_complete
    again = drive(steps, store=executor.store, executor=executor)
    assert (again.finished, len(again.skipped)) == ((), 2)
    assert executor.order == ["a", "b"]


def test_inputs_outside_of_the_part_must_be_done() -> None:
    executor = ObedientExecutor(open_store("memory://"))
    outcome = drive([named("b", "a")], store=executor.store, executor=executor)
    assert not outcome.is_complete
    assert isinstance(outcome.failures[0].error, ArtifactMissing)
    drive([named("a")], store=executor.store, executor=executor)
    assert drive([named("b", "a")], store=executor.store, executor=executor).is_complete


def test_a_users_error_is_not_tried_again_and_another_is_up_to_the_limit() -> None:
    def behave(step: Step, attempt: int) -> SyntrialError | None:
        return {"user": wrong(), "store": StoreUnavailable("no")}.get(step.label)

    executor = ObedientExecutor(open_store("memory://"), behaviour=behave)
    events: list[Event] = []
    steps = [named("user"), named("store")]
    outcome = drive(steps, store=executor.store, executor=executor, on_event=events.append, attempts=3)
    assert Counter(executor.order) == {"user": 1, "store": 3}
    assert [f.reason for f in outcome.failures] == ["UserError", "StoreUnavailable"]
    assert [event.attempt for event in events if isinstance(event, StepWaits)] == [2, 3]


def test_a_lost_input_is_made_again_and_what_stands_again_is_not() -> None:
    store = open_store("memory://")
    lost = fake_key("a")

    def behave(step: Step, attempt: int) -> SyntrialError | None:
        if step.label == "c" and attempt == 1:
            store.backend.delete(f"artifacts/{lost}/manifest.json")
            return DataLoss("damaged", key=lost)
        return None

    executor = ObedientExecutor(store, behaviour=behave)
    steps = [named("a"), named("b", "a"), named("c", "a", "b")]
    outcome = drive(steps, store=store, executor=executor)
    assert outcome.is_complete
    assert executor.order == ["a", "b", "c", "a", "c"]


def test_an_input_that_is_lost_again_and_again_ends_the_walk() -> None:
    store = open_store("memory://")

    def behave(step: Step, attempt: int) -> SyntrialError | None:
        if step.label == "b":
            store.backend.delete(f"artifacts/{fake_key('a')}/manifest.json")
            return DataLoss("damaged", key=fake_key("a"))
        return None

    executor = ObedientExecutor(store, behaviour=behave)
    outcome = drive([named("a"), named("b", "a")], store=store, executor=executor)
    assert not outcome.is_complete
    assert Counter(executor.order) == {"a": 3, "b": 3}


def test_ctrl_c_cancels_what_runs_and_goes_on_to_the_caller() -> None:
    executor = ObedientExecutor(open_store("memory://"))
    executor.interrupt_after = 0
    with pytest.raises(KeyboardInterrupt):
        drive([named("a"), named("b"), named("c", "a")], store=executor.store, executor=executor)
    assert sorted(executor.cancelled) == sorted([fake_key("a"), fake_key("b")])


@st.composite
def graphs(draw: st.DrawFn) -> list[Step]:
    size = draw(st.integers(1, 12))
    steps = []
    for index in range(size):
        inputs = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        steps.append(named(str(index), *(str(item) for item in sorted(inputs)), work=draw(st.floats(0, 10))))
    return steps


@given(steps=graphs(), doomed=st.sets(st.integers(0, 11)), flaky=st.sets(st.integers(0, 11)))
@settings(max_examples=60, deadline=None)
def test_whatever_fails_all_else_is_done_and_everything_is_accounted_for(
    steps: list[Step], doomed: set[int], flaky: set[int]
) -> None:
    def behave(step: Step, attempt: int) -> SyntrialError | None:
        if int(step.label) in doomed:
            return wrong()
        return StoreUnavailable("no") if int(step.label) in flaky and attempt < 3 else None

    executor = ObedientExecutor(open_store("memory://"), behaviour=behave)
    outcome = drive(steps, store=executor.store, executor=executor)
    failed = {event.key for event in outcome.failures}
    groups = [set(outcome.finished), set(outcome.skipped), failed, set(outcome.blocked)]
    assert sum(len(group) for group in groups) == len(steps)
    assert set().union(*groups) == {step.key for step in steps}
    lost: set[str] = set()
    for step in steps:
        if int(step.label) in doomed or lost.intersection(step.after):
            lost.add(step.key)
    assert set(outcome.finished) == {step.key for step in steps} - lost
