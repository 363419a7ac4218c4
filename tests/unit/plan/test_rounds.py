"""A plan goes on drawing where filters leave too few images, up to a limit."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.artifacts.references import member_refs
from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.search import NONE, Decisions
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan, Step
from syntrial.sources.named import sources_of
from syntrial.trial.status import more_words
from syntrial.v1.analysis_pb2 import Look
from tests.unit.plan.deciding import decided

FILTERS = [{"confidence": {"minimum": 0.8}}]


def experiment(*, spec: dict[str, Any] | None = None, **fields: Any) -> Experiment:
    made = {"name": "made", "generator": {"pca": {}}, "filters": FILTERS} | fields
    tree = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "drawn"},
        "spec": {"dataset": {"phantom": {}}, "synthetic": [made], "replicates": 2, **(spec or {})},
    }
    return validate(tree)


def planned(item: Experiment, decisions: Decisions = NONE, **looks: Any) -> Plan:
    sources = {ref.name: ref.with_digest(f"sha256:{'0' * 64}") for ref in sources_of(item)}
    return plan(item, sources, decisions=decisions, **looks)


def whole(item: Experiment, *, enough: float) -> tuple[list[Plan], Decisions]:
    """The plans until all is decided, where `enough` candidates for each image needed give the quota."""
    decisions, plans = NONE, [planned(item)]
    while plans[-1].undecided:
        made = {
            step.key: decided(step.method, step.request, enough=enough)
            for step in plans[-1].steps
            if step.key in plans[-1].undecided
        }
        decisions = Decisions(made={**decisions.made, **made})
        plans.append(planned(item, decisions))
    return plans, decisions


def step(found: Plan, label: str) -> Step:
    (one,) = (step for step in found.steps if step.label == label)
    return one


def test_a_set_whose_quota_is_reached_at_once_keeps_its_plan() -> None:
    plans, _ = whole(experiment(), enough=0)
    assert [len(found.undecided) for found in plans] == [1, 0]
    assert [step.key for step in plans[0].steps] == [step.key for step in plans[1].steps]
    assert plans[0].evaluations_digest == plans[1].evaluations_digest
    assert plans[0].is_whole
    assert " more where filters leave too few images" in more_words(plans[0])
    assert more_words(plans[1]) == ""


def test_a_further_round_copies_what_was_drawn_and_all_that_follows_reads_the_last() -> None:
    plans, decisions = whole(experiment(), enough=6)
    found = plans[-1]
    first, second, third = (
        step(found, label) for label in ("sample made", "sample round 2 of made", "sample round 3 of made")
    )
    assert not first.request.HasField("drawn")
    assert [one.request.drawn.key for one in (second, third)] == [first.key, second.key]
    assert second.request.oversample == 2 * first.request.oversample
    for one in (second, third):
        alike = type(one.request)()
        alike.CopyFrom(one.request)
        alike.ClearField("drawn")
        alike.oversample = first.request.oversample
        alike.header.CopyFrom(first.request.header)
        assert alike == first.request
    last = step(found, "filter round 3 of made")
    early = {step(found, label).key for label in ("filter made", "filter round 2 of made")}
    assert not [one.label for one in found.steps if early & {ref.key for ref in member_refs(one.request)}]
    assert step(found, "assess made").request.images.key == last.key
    assert found.drawn["made"] == third.key
    (report,) = planned(experiment(), decisions, looks=[Look(number=1)]).report
    (summary,) = (one for one in report.request.synthetic if one.name == "made")
    assert (list(summary.rounds), [ref.key for ref in summary.decisions]) == ([3], [last.key])


def test_a_control_takes_as_many_of_the_last_candidates_and_waits_for_them() -> None:
    plans, _ = whole(experiment(), enough=4.5)
    control = step(plans[0], "filter made-random")
    assert step(plans[0], "filter made").key in control.after
    last = step(plans[-1], "filter made-random")
    assert last.request.images.key == step(plans[-1], "sample round 3 of made").key
    assert set(last.after) == {ref.key for ref in member_refs(last.request)}
    assert last.request.oversample_limit == 0


def test_at_the_limit_nothing_is_left_to_decide() -> None:
    found = planned(experiment(oversample=3, oversampleLimit=3))
    assert not found.undecided
    assert step(found, "filter made").request.oversample_limit == 3
    plans, _ = whole(experiment(oversampleLimit=5), enough=100)
    assert len(plans) == 3
    assert step(plans[-1], "filter round 3 of made").request.oversample >= 5


@pytest.mark.parametrize("fields", [{"filters": [], "copies": 0}, {"generator": None, "images": {"npz": "made.npz"}}])
def test_where_nothing_can_be_drawn_or_rejected_there_is_no_decision(fields: dict[str, Any]) -> None:
    assert not planned(experiment(**fields)).undecided


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_order_of_decisions_gives_the_same_plan(data: st.DataObject) -> None:
    spec = {"encoder": {"model": "resnet18.a1_in1k", "pretraining": "hub"}, "projection": "umap"}
    item = experiment(spec=spec, replicates=2)
    wanted = [step.key for step in whole(item, enough=5)[0][-1].steps]
    decisions = NONE
    while (found := planned(item, decisions)).undecided:
        key = data.draw(st.sampled_from(found.undecided))
        one = next(step for step in found.steps if step.key == key)
        assert len(found.steps) + found.more <= size_of(item.spec).steps + size_of(item.spec).further - 1
        decisions = Decisions(made={**decisions.made, key: decided(one.method, one.request, enough=5)})
    assert [step.key for step in found.steps] == wanted


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"oversample": 4, "oversampleLimit": 3}, r"oversampleLimit: is at least `oversample`"),
        (
            {"generator": None, "images": {"npz": "x.npz"}, "oversampleLimit": 3},
            r"oversampleLimit: belongs to a generator",
        ),
        ({"oversampleLimit": 101}, "oversampleLimit"),
    ],
)
def test_a_limit_without_use_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        experiment(**fields)
