"""The decision as a table: what is known, and what follows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.controller.reconcile import (
    KEPT_SECONDS,
    Action,
    DeleteJob,
    OpenTestSplit,
    RecordAttempt,
    Register,
    StartIngest,
    StartJob,
    reconcile,
)
from syntrial.controller.snapshot import AttemptView, Evidence, Presence, Refusal, Snapshot, TrialState
from syntrial.controller.standing import JOB_DIED, pause
from syntrial.controller.views import JobView, PodView
from syntrial.executors.drive import priorities
from syntrial.experiment.file import validate
from syntrial.plan.steps import Plan, Program, Step
from syntrial.rpc.testing import fake_key
from syntrial.sources.named import SourceRef
from syntrial.trial.attempts import is_given_up
from syntrial.v1.data_preparation_pb2 import PrepareDatasetRequest
from tests.unit.controller.world import SPEC

TRAIN = "syntrial.v1.ClassificationService/TrainClassifier"
PREPARE = "syntrial.v1.DataPreparationService/PrepareDataset"
EXPERIMENT = validate(
    {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "small"}, "spec": SPEC}
)


def step(name: str, *after: str, method: str = TRAIN, work: float = 0.0) -> Step:
    keys = tuple(fake_key(item) for item in after)
    return Step(key=fake_key(name), method=method, request=PrepareDatasetRequest(), label=name, after=keys, work=work)


DATASET = step("dataset", method=PREPARE)
PLAN = Plan(
    training=(DATASET, step("a", "dataset"), step("b", "dataset"), step("long", "dataset", work=1e9)),
    evaluation=(step("evaluate", "a"),),
    report=(),
    dataset=DATASET.key,
)
WHOLE = Plan(
    training=PLAN.training,
    evaluation=PLAN.evaluation,
    report=(step("report", "evaluate", method="syntrial.v1.AnalysisService/WriteReport"),),
    dataset=DATASET.key,
)


def trial(plan: Plan | None = PLAN, **changes: Any) -> TrialState:
    spec = EXPERIMENT.spec.model_copy(update=changes.pop("spec", {}))
    return TrialState(
        uid="u",
        name="small",
        namespace="trials",
        generation=3,
        experiment=EXPERIMENT.model_copy(update={"spec": spec}),
        plan=plan,
        priorities=priorities(plan.steps) if plan else {},
        **changes,
    )


def snapshot(
    *,
    done: Sequence[str] = (),
    unknown: Sequence[str] = (),
    attempts: dict[str, tuple[AttemptView, ...]] | None = None,
    **changes: Any,
) -> Snapshot:
    presence = {item.key: Presence.ABSENT for item in WHOLE.steps}
    presence |= {fake_key(name): Presence.PRESENT for name in done}
    presence |= {fake_key(name): Presence.UNKNOWN for name in unknown}
    known = {item.key: () for item in WHOLE.steps} | {fake_key(k): v for k, v in (attempts or {}).items()}
    fields: dict[str, Any] = {"now": 100.0, "failed_at": {}, "jobs": (), "elsewhere": {}, "is_registered": True}
    return Snapshot(presence=presence, attempts=known, **(fields | changes))


def job(
    *names: str,
    ended: Literal["", "complete", "failed"] = "",
    attempt: int = 1,
    pods: tuple[PodView, ...] = (),
    source: tuple[str, str] | None = None,
    is_deleting: bool = False,
) -> JobView:
    return JobView(
        name=f"job-{'-'.join(names)}-{attempt}",
        uid="j",
        namespace="trials",
        experiment="u",
        stage="classification",
        keys=tuple(fake_key(name) for name in names),
        source=source,
        attempt=attempt,
        template="t",
        is_suspended=False,
        is_deleting=is_deleting,
        ended=ended,
        reason="",
        message="",
        seconds=5.0,
        pods=pods,
    )


def running_pod() -> PodView:
    return PodView(
        name="p", uid="p", namespace="trials", experiment="u", job="j", phase="Running", is_stopping=False,
        unschedulable="", waiting="", message="", exit_code=None, ended="",
    )  # fmt: skip


def started(actions: Sequence[Action]) -> list[tuple[str, ...]]:
    return [tuple(item.label for item in action.steps) for action in actions if isinstance(action, StartJob)]


def failed(number: int, reason: str = "Internal", *, retryable: bool = True) -> AttemptView:
    return AttemptView(number=number, outcome="failed", reason=reason, message="no", retryable=retryable)


OOM = Evidence(outcome="failed", reason="OutOfMemory", message="too much")


def test_what_needs_nothing_starts_first() -> None:
    assert started(reconcile(trial(), snapshot()).actions) == [("dataset",)]


def test_short_steps_of_a_stage_share_a_job_and_a_long_one_has_its_own() -> None:
    decision = reconcile(trial(), snapshot(done=["dataset"]))
    assert sorted(started(decision.actions), key=len) == [("long",), ("a", "b")]


def test_a_job_of_steps_with_a_program_of_their_own_runs_its_image() -> None:
    theirs = replace(DATASET, program=Program(image="theirs@sha256:1"))
    decision = reconcile(trial(replace(PLAN, training=(theirs, *PLAN.training[1:]))), snapshot())
    (start,) = [action for action in decision.actions if isinstance(action, StartJob)]
    assert start.batch.image == "theirs@sha256:1"


def test_a_step_that_was_tried_before_has_a_job_of_its_own_at_the_next_attempt() -> None:
    decision = reconcile(
        trial(), snapshot(done=["dataset", "long"], attempts={"a": (failed(1),)}, failed_at={fake_key("a"): 50.0})
    )
    starts = {action.steps[0].label: action.batch for action in decision.actions if isinstance(action, StartJob)}
    assert started(decision.actions) in ([("a",), ("b",)], [("b",), ("a",)])
    assert (starts["a"].attempt, starts["b"].attempt) == (2, 1)


def test_what_a_live_job_carries_is_not_started_again() -> None:
    decision = reconcile(trial(), snapshot(done=["dataset"], jobs=(job("a", "b"), job("long"))))
    assert not decision.actions


def test_the_plan_is_put_on_record_before_anything_starts() -> None:
    first, *_ = reconcile(trial(), snapshot(is_registered=False)).actions
    assert isinstance(first, Register)


def test_evaluation_waits_for_the_look_and_the_look_for_all_training() -> None:
    training = ["dataset", "a", "b", "long"]
    assert not any(isinstance(a, OpenTestSplit) for a in reconcile(trial(), snapshot(done=training[:-1])).actions)
    assert reconcile(trial(), snapshot(done=training)).actions == (OpenTestSplit(),)
    assert started(reconcile(trial(WHOLE), snapshot(done=training)).actions) == [("evaluate",)]
    assert started(reconcile(trial(WHOLE), snapshot(done=training[:-1])).actions) == [("long",)]
    assert started(reconcile(trial(WHOLE), snapshot(done=[*training, "evaluate"])).actions) == [("report",)]


def test_nothing_starts_on_what_is_not_known() -> None:
    decision = reconcile(trial(), snapshot(unknown=["dataset"]))
    assert not decision.actions
    assert decision.look_again_after is not None
    nothing_read = Snapshot(now=0.0, presence={}, attempts={}, failed_at={}, jobs=(), elsewhere={}, is_registered=True)
    assert not reconcile(trial(), nothing_read).actions


def test_a_job_that_ended_stays_until_all_its_steps_are_accounted_for() -> None:
    ended = job("a", "b", ended="failed")
    base = {"done": ["dataset", "long"], "jobs": (ended,)}
    assert not reconcile(trial(), snapshot(**base, unknown=["a"])).actions
    assert not reconcile(trial(), snapshot(**base)).actions, "what became of its pod is not known yet"
    decision = reconcile(trial(), snapshot(**base, evidence={ended.name: OOM}))
    records = [action for action in decision.actions if isinstance(action, RecordAttempt)]
    assert [(record.key, record.number, record.evidence.reason) for record in records] == [
        (fake_key("a"), 1, "OutOfMemory"),
        (fake_key("b"), 1, JOB_DIED),
    ]
    died = AttemptView(number=1, outcome="cancelled", reason=JOB_DIED)
    recorded = {"a": (failed(1, "OutOfMemory"),), "b": (died,)}
    decision = reconcile(trial(), snapshot(**base, evidence={ended.name: OOM}, attempts=recorded))
    assert not any(isinstance(action, DeleteJob) for action in decision.actions), "people may look into it"
    long_ago = {ended.name: 100.0 - KEPT_SECONDS}
    decision = reconcile(trial(), snapshot(**base, evidence={ended.name: OOM}, attempts=recorded, ended_at=long_ago))
    assert DeleteJob(name=ended.name, is_live=False) in decision.actions


def test_jobs_that_ended_make_room_where_a_quota_counts_them() -> None:
    ended = job("a", ended="complete")
    known = snapshot(done=["dataset", "a"], jobs=(ended,), ended_at={ended.name: 90.0})
    assert not any(isinstance(action, DeleteJob) for action in reconcile(trial(), known).actions)
    assert reconcile(trial(), known).look_again_after == pytest.approx(KEPT_SECONDS - 10.0)
    crowded = reconcile(trial(), replace(known, has_met_quota=True))
    assert DeleteJob(name=ended.name, is_live=False) in crowded.actions


def test_the_step_that_a_pod_died_at_is_the_first_that_is_neither_done_nor_recorded() -> None:
    ended = job("a", "b", ended="failed")
    decision = reconcile(trial(), snapshot(done=["dataset", "long", "a"], jobs=(ended,), evidence={ended.name: OOM}))
    (record,) = [action for action in decision.actions if isinstance(action, RecordAttempt)]
    assert record.key == fake_key("b")


def test_a_crash_after_an_eviction_within_one_job_is_recorded_beside_it() -> None:
    ended = job("a", ended="failed")
    evicted = (AttemptView(number=1, outcome="cancelled", reason="Cancelled"),)
    base = {"done": ["dataset", "long", "b"], "jobs": (ended,), "attempts": {"a": evicted}}
    (record,) = reconcile(trial(), snapshot(**base, evidence={ended.name: OOM})).actions
    assert isinstance(record, RecordAttempt)
    assert record.number == 2


def test_jobs_stop_where_the_trial_pauses_or_no_longer_holds_their_steps() -> None:
    live = (job("a", "b"), job("gone"), job("long", is_deleting=True))
    decision = reconcile(trial(), snapshot(done=["dataset"], jobs=live))
    assert decision.actions == (DeleteJob(name=live[1].name, is_live=True),)
    paused = reconcile(trial(spec={"suspend": True}), snapshot(done=["dataset"], jobs=live))
    assert paused.actions == tuple(DeleteJob(name=item.name, is_live=True) for item in live[:2])


def test_while_the_store_is_away_only_the_user_stops_a_job() -> None:
    long_ago = {"ended_at": {job("b").name: 100.0 - KEPT_SECONDS}}
    live, ended, gone = job("a"), job("b", ended="complete"), job("gone")
    ingest = job(source=("dataset", "s3://b/x"), ended="failed", attempt=2)
    known = snapshot(done=["dataset", "b"], jobs=(live, ended, gone, ingest), **long_ago)
    deleted = {action.name for action in reconcile(trial(), known).actions if isinstance(action, DeleteJob)}
    assert deleted == {ended.name, gone.name, ingest.name}
    away = replace(known, store_error="away", outdated=frozenset({live.name}))
    for plan in (PLAN, None):
        decision = reconcile(trial(plan), away)
        assert not decision.actions
        assert decision.look_again_after is not None
        stopped = reconcile(trial(plan, spec={"suspend": True}), away).actions
        assert stopped == (DeleteJob(name=live.name, is_live=True), DeleteJob(name=gone.name, is_live=True))


def test_a_job_that_would_be_made_otherwise_today_is_stopped_only_while_it_waits() -> None:
    waits, runs = job("a"), job("long", pods=(running_pod(),))
    decision = reconcile(
        trial(), snapshot(done=["dataset", "b"], jobs=(waits, runs), outdated=frozenset({waits.name, runs.name}))
    )
    assert decision.actions == (DeleteJob(name=waits.name, is_live=True),)


def test_no_job_is_sent_while_the_api_server_takes_none() -> None:
    refusal = Refusal(reason="QuotaExceeded", message="full", until=104.0)
    decision = reconcile(trial(), snapshot(refusal=refusal))
    assert not decision.actions
    assert decision.look_again_after == pytest.approx(4.0)
    assert [item["reason"] for item in decision.status["pending"]] == ["QuotaExceeded"]
    assert started(reconcile(trial(), snapshot(refusal=refusal, now=104.0)).actions)


def test_sources_are_brought_in_by_jobs_before_there_is_a_plan() -> None:
    ingest = SourceRef(name="dataset", field="spec.dataset", kind="npz", address="s3://bucket/data.npz")
    wanted = trial(None, ingests=(ingest,))
    assert reconcile(wanted, snapshot()).actions == (StartIngest(ref=ingest, attempt=1),)
    source = (ingest.name, ingest.address)
    assert not reconcile(wanted, snapshot(jobs=(job(source=source),))).actions
    ended = job(source=source, ended="failed")
    seen = {"jobs": (ended,), "evidence": {ended.name: OOM}, "failed_at": {ended.name: 98.0}}
    decision = reconcile(wanted, snapshot(**seen))
    assert not decision.actions
    assert decision.look_again_after == pytest.approx(3.0)
    later = reconcile(wanted, snapshot(**seen | {"now": 104.0}))
    assert later.actions == (StartIngest(ref=ingest, attempt=2),)
    refused = Evidence(outcome="failed", reason="UserError", message="no such object", retryable=False)
    given_up = reconcile(wanted, snapshot(**seen | {"now": 104.0, "evidence": {ended.name: refused}}))
    assert not given_up.actions
    assert given_up.status["failures"][0]["message"] == "no such object"


def test_a_failed_ingest_is_cleared_away_once_its_source_is_there() -> None:
    ended = job(source=("dataset", "s3://b/x"), ended="failed")
    decision = reconcile(trial(), snapshot(jobs=(ended,)))
    assert DeleteJob(name=ended.name, is_live=False) in decision.actions


def test_attempts_are_counted_from_the_last_retry_on() -> None:
    three = (failed(1), failed(2), failed(3))
    retry = AttemptView(number=4, outcome="retry")
    assert is_given_up(three)
    assert not is_given_up((*three, retry))
    assert is_given_up((*three, retry, failed(5, "UserError")))
    assert is_given_up((failed(1, retryable=False),))
    assert not is_given_up(tuple(failed(n, "StoreUnavailable") for n in range(1, 9)))
    assert pause((*three, retry)) == 0.0


def test_pauses_grow_and_stay_within_five_minutes() -> None:
    attempts = tuple(failed(number, "StoreUnavailable") for number in range(1, 2001))
    pauses = [pause(attempts[:count]) for count in (*range(1, 12), 100, 1000, 2000)]
    assert pauses[:4] == [5.0, 20.0, 80.0, 300.0]
    assert max(pauses) == 300.0


PRESENCES = st.sampled_from(list(Presence))
ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from(["failed", "cancelled", "succeeded", "retry"]),
        st.sampled_from(["", "UserError", "OutOfMemory", "StoreUnavailable", "JobDied", "PodLost"]),
    ),
    max_size=4,
)
NAMES = [item.label for item in WHOLE.steps]
JOBS = st.lists(
    st.builds(
        job,
        st.sampled_from([*NAMES, "gone"]),
        ended=st.sampled_from(["", "complete", "failed"]),
        attempt=st.integers(1, 3),
        pods=st.sampled_from([(), (running_pod(),)]),
    ),
    max_size=4,
    unique_by=lambda item: item.name,
)


@settings(max_examples=300, deadline=None)
@given(
    presence=st.fixed_dictionaries(dict.fromkeys(NAMES, PRESENCES)),
    attempts=st.dictionaries(st.sampled_from(NAMES), ATTEMPTS),
    jobs=JOBS,
    is_whole=st.booleans(),
    is_away=st.booleans(),
    is_suspended=st.booleans(),
)
def test_whatever_is_known_nothing_is_done_on_what_is_not(  # noqa: PLR0917 - as Hypothesis gives them
    presence: dict[str, Presence],
    attempts: dict[str, list[tuple[str, str]]],
    jobs: list[JobView],
    is_whole: bool,
    is_away: bool,
    is_suspended: bool,
) -> None:
    known = {
        fake_key(name): tuple(AttemptView(number=n, outcome=o, reason=r) for n, (o, r) in enumerate(entries, start=1))
        for name, entries in attempts.items()
    }
    world = Snapshot(
        now=100.0,
        presence={fake_key(name): value for name, value in presence.items()},
        attempts=known,
        failed_at={},
        jobs=tuple(jobs),
        elsewhere={},
        evidence={item.name: OOM for item in jobs if item.ended == "failed"},
        store_error="away" if is_away else "",
    )
    wanted = trial(WHOLE if is_whole else PLAN, spec={"suspend": is_suspended})
    decision = reconcile(wanted, world)
    assert decision == reconcile(wanted, world), "the same arguments give the same decision"
    carried = {key for item in jobs if item.is_live for key in item.keys}
    by_name = {item.name: item for item in jobs}
    begun: list[str] = []
    if is_away:
        stopped = [DeleteJob(name=item.name, is_live=True) for item in jobs if is_suspended and item.is_live]
        assert list(decision.actions) == stopped, "only the user stops anything while the store is away"
    for action in decision.actions:
        match action:
            case StartJob():
                assert not is_suspended
                for item in action.steps:
                    assert world.presence[item.key] is Presence.ABSENT
                    assert all(world.presence[key] is Presence.PRESENT for key in item.after)
                    assert item.key in world.attempts
                    assert item.key not in carried
                    assert not is_given_up(world.attempts[item.key])
                    begun.append(item.key)
            case DeleteJob(name=name) if by_name[name].ended:
                for key in by_name[name].keys:
                    assert world.presence.get(key) is not Presence.UNKNOWN or key not in world.presence
            case DeleteJob(name=name):
                assert is_suspended or not {item.key for item in wanted.plan.steps}.intersection(by_name[name].keys)  # type: ignore[union-attr]
            case RecordAttempt():
                assert world.presence[action.key] is Presence.ABSENT
                assert action.number > max((item.number for item in known[action.key]), default=0)
            case OpenTestSplit():
                assert all(world.presence[item.key] is Presence.PRESENT for item in PLAN.training)
    assert len(begun) == len(set(begun)), "no step is started twice at once"
