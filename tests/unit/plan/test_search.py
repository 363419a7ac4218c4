"""A plan with a search grows by its decisions, and by them alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.artifacts.references import member_refs
from syntrial.documents.search import Decision
from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.search import DECIDING, NONE, SEARCHING, Decisions
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.analysis_pb2 import Look
from tests.unit.plan.deciding import decided, trial_figures

OVER = {"learningRate": {"range": [1e-4, 1e-2], "log": True}}


def experiment(
    *, generator: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **tune: Any
) -> Experiment:
    fields = {"over": OVER, "trials": 5, "parallel": 2} | tune
    made = {"name": "made", "generator": generator or {"gan": {"preset": "pico"}}, "tune": fields}
    tree = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "searched"},
        "spec": {"dataset": {"phantom": {}}, "synthetic": [made], "replicates": 2, **(spec or {})},
    }
    return validate(tree)


def planned(item: Experiment, decisions: Decisions = NONE, *, looks: Sequence[Look] = ()) -> Plan:
    return plan(item, resolve_sources(item, base=Path()).by_name, decisions=decisions, looks=looks)


def whole(item: Experiment, *, failed: dict[str, str] | None = None) -> tuple[Plan, Decisions]:
    """The plan once all is decided; `failed` are labels of steps that fail, with why."""
    decisions = NONE
    while True:
        found = planned(item, decisions)
        by_key = {step.key: step for step in found.steps}
        spoiled = {step.key: (failed or {})[step.label] for step in found.steps if step.label in (failed or {})}
        if not found.undecided and not spoiled:
            return found, decisions
        made = {key: decided(by_key[key].method, by_key[key].request) for key in found.undecided}
        decisions = Decisions(made={**decisions.made, **made}, failed={**decisions.failed, **spoiled})


def labels(found: Plan) -> list[str]:
    return [step.label for step in found.steps]


def test_a_plan_waits_for_the_first_trials_with_the_generator_as_it_is_written_under_way() -> None:
    found = planned(experiment())
    assert "train gan made trial 0" in labels(found)
    assert "propose trial 1 of made" in labels(found)
    assert [step.label for step in found.steps if step.key in found.undecided] == ["propose trial 1 of made"]
    assert not [step for step in found.evaluation if "made" in step.label]


def test_what_is_compared_is_known_before_anything_is_decided() -> None:
    before, after = planned(experiment()), whole(experiment())[0]
    assert before.comparisons == after.comparisons
    assert [cell.name for cell in before.cells] == [cell.name for cell in after.cells]


def test_a_plan_only_grows_and_ends_with_the_best_trial_s_generator() -> None:
    item, decisions, before = experiment(prune={"after": [0.25, 0.5]}), NONE, set()
    while True:
        found = planned(item, decisions)
        keys = {step.key for step in found.steps}
        assert before <= keys
        if not found.undecided:
            break
        by_key = {step.key: step for step in found.steps}
        is_chosen = all(by_key[key].method.endswith("/FilterImages") for key in found.undecided)
        assert ("made" in found.drawn) == is_chosen
        before = keys
        made = {key: decided(by_key[key].method, by_key[key].request) for key in found.undecided}
        decisions = Decisions(made={**decisions.made, **made})
    (choice,) = (step for step in found.steps if step.label == "choose the best trial of made")
    best = decisions.made[choice.key].best
    sampling = next(step for step in found.steps if step.label == "sample made")
    trained = next(step for step in found.steps if step.key == sampling.request.generator.key)
    assert trained.label == f"train gan made trial {best} part 3/3"
    assert found.drawn["made"] == sampling.key
    assert trained.request.part.begun.key in keys


def test_a_pruned_trial_has_no_further_part() -> None:
    found, _ = whole(experiment(prune={"after": [0.5]}, trials=6))
    parts = [label for label in labels(found) if label.startswith("train gan made trial")]
    assert "train gan made trial 0 part 2/2" in parts
    assert "train gan made trial 1 part 1/2" in parts
    assert "train gan made trial 1 part 2/2" not in parts


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_order_of_decisions_gives_the_same_plan(data: st.DataObject) -> None:
    sets = [
        {"name": name, "generator": {"gan": {"preset": "pico"}}, "tune": {"over": OVER, "trials": 4, "prune": {}}}
        for name in ("one", "two")
    ]
    sets[1]["tune"] |= {"seed": 1, "parallel": 3}  # type: ignore[operator]
    item = experiment(spec={"synthetic": sets})
    wanted = [step.key for step in whole(item)[0].steps]
    decisions = NONE
    while (found := planned(item, decisions)).undecided:
        key = data.draw(st.sampled_from(found.undecided))
        step = next(step for step in found.steps if step.key == key)
        decisions = Decisions(made={**decisions.made, key: decided(step.method, step.request)})
    assert [step.key for step in found.steps] == wanted


def test_nothing_that_decides_is_given_the_test_split() -> None:
    found, _ = whole(experiment(prune={}))
    for step in found.training:
        if step.of_trial or step.method in DECIDING:
            assert "test" not in {ref.member for ref in member_refs(step.request)}, step.label


def test_no_report_is_planned_while_anything_is_undecided() -> None:
    with pytest.raises(AssertionError, match="before all was decided"):
        planned(experiment(), looks=[Look(number=1)])
    item = experiment()
    found, decisions = whole(item)
    (report,) = planned(item, decisions, looks=[Look(number=1)]).report
    (summary,) = (one for one in report.request.synthetic if one.name == "made")
    assert summary.search.member == "decision"
    assert summary.search.key in {step.key for step in found.training}


def test_a_trial_that_failed_is_left_out_and_told_on() -> None:
    failed = {"train gan made trial 2": "train: UserError: the loss is no number", "judge made trial 4": "OutOfMemory"}
    found, _ = whole(experiment(), failed=failed)
    assert not {"train gan made trial 2", "sample made trial 2", "judge made trial 4"} & set(labels(found))
    (choice,) = (step for step in found.steps if step.label == "choose the best trial of made")
    told = {trial.number: trial.failed for trial in choice.request.trials if trial.failed}
    assert told == {2: "train: UserError: the loss is no number", 4: "OutOfMemory"}


def test_what_does_not_fit_together_is_a_failed_trial_and_what_its_user_wrote_is_refused() -> None:
    generator = {"latentDiffusion": {"preset": "pico", "labelDropout": 0.1, "sampler": {"guidance": 2}}}
    over = {"labelDropout": {"choice": [0, 0.1]}}
    item = experiment(generator=generator, over=over, trials=2, parallel=1)
    first = planned(item)
    by_key = {step.key: step for step in first.steps}
    (key,) = first.undecided
    assert by_key[key].method.endswith("ProposeTrials")
    found = planned(item, Decisions(made={key: Decision(version=1, kind="propose", proposed=({"labelDropout": 0},))}))
    (choice,) = (step for step in found.steps if step.key in found.undecided)
    assert "labelDropout" in choice.request.trials[1].failed
    with pytest.raises(UserError, match="labelDropout"):
        planned(experiment(generator={"latentDiffusion": {"labelDropout": 0, "sampler": {"guidance": 2}}}, over=over))


def test_a_preset_that_there_is_not_is_refused_by_what_names_it() -> None:
    with pytest.raises(UserError, match=r"tune\.over\.preset: must be one of pico"):
        planned(experiment(over={"preset": {"choice": ["pico", "giant"]}}))


def test_generators_beside_the_first_are_trials_without_anything_being_drawn() -> None:
    found, _ = whole(experiment(over={}, among=[{"pca": {}}, {"gan": {"preset": "nano"}}]))
    assert not [step for step in found.steps if step.method.endswith("ProposeTrials")]
    assert [label for label in labels(found) if "trial" in label and label.startswith("train")] == [
        "train gan made trial 0",
        "train pca made trial 1",
        "train gan made trial 2",
    ]
    (choice,) = (step for step in found.steps if step.label == "choose the best trial of made")
    assert [trial.title for trial in choice.request.trials] == ["as it is written", "pca", "gan (preset nano)"]


def test_equal_trials_of_two_sets_are_one() -> None:
    made = {"generator": {"gan": {"preset": "pico"}}, "tune": {"over": OVER, "trials": 3}}
    sets = [made | {"name": "one"}, made | {"name": "two", "arms": ["augment-50"]}]
    found, _ = whole(experiment(spec={"synthetic": sets, "arms": ["augment-50"]}))
    assert len([step for step in found.steps if step.of_trial and step.method.endswith("TrainGenerator")]) == 3


@pytest.mark.parametrize(
    "tune",
    [
        {},
        {"prune": {"after": [0.25, 0.5]}},
        {"parallel": 3, "among": [{"gan": {"preset": "nano"}}]},
        {"objective": "frechet", "trials": 7},
        {"over": {}, "among": [{"pca": {}}]},
        {"over": {}, "snapshots": 3},
        {"snapshots": 4, "objective": "frechet"},
        {"snapshots": 4, "prune": {"after": [0.3, 0.5]}},
    ],
)
def test_the_count_of_steps_is_never_too_small_and_is_told_as_what_may_come(tune: dict[str, Any]) -> None:
    # With steps of its own the judge of real images is none of the trial's classifiers.
    for spec in ({}, {"controls": "none"}):
        item = experiment(spec=spec, **{"steps": 50} | tune)
        size = size_of(item.spec)
        most = size.steps + size.further
        first, (last, _) = planned(item), whole(item)
        assert most >= len(last.steps) + 1
        assert first.more == most - len(first.steps) - 1
        if "prune" not in tune and spec:
            assert size.steps == len(last.steps) + 1


def test_trial_0_knows_what_its_preset_has() -> None:
    over = {"gamma": {"choice": [0.1, 1]}, "sampler.truncation": {"range": [0.5, 1]}, "batchSize": {"range": [8, 64]}}
    found = planned(experiment(over=over, parallel=1))
    (step,) = (step for step in found.steps if step.key in found.undecided)
    assert dict(step.request.trials[0].parameters) == {"gamma": 1.0, "sampler.truncation": 1.0, "batchSize": 32.0}
    whole_numbers = {item.field: item.range.whole for item in step.request.dimensions if item.HasField("range")}
    assert whole_numbers == {"sampler.truncation": False, "batchSize": True}


def test_further_replicates_are_trained_with_what_was_chosen() -> None:
    item = experiment()
    tree = item.model_dump(mode="json", by_alias=True, exclude_unset=True)
    tree["spec"]["synthetic"][0]["replicates"] = 2
    found, _ = whole(validate(tree))
    (further,) = (step for step in found.steps if step.label == "train gan made 2/2")
    sampled = next(step for step in found.steps if step.label == "sample made 1/2")
    chosen = next(step for step in found.steps if step.key == sampled.request.generator.key)
    assert chosen.of_trial
    assert further.request.gan == chosen.request.gan
    assert further.request.seed == chosen.request.seed + 1


def snapshots_of(found: Plan, trial: int) -> list[Any]:
    """The requests of a trial's parts, in order."""
    label = f"train gan made trial {trial} part "
    return [step.request for step in found.steps if step.label.startswith(label)]


def test_snapshots_alone_are_one_trial_in_parts_of_which_the_chosen_one_is_sampled_and_none_trained_again() -> None:
    found, decisions = whole(experiment(generator={"gan": {"preset": "pico", "images": 1000}}, over={}, snapshots=4))
    assert [label for label in labels(found) if label.startswith("train gan")] == [
        f"train gan made trial 0 part {part}/4" for part in (1, 2, 3, 4)
    ]
    parts = snapshots_of(found, 0)
    assert [request.part.until_images for request in parts] == [250, 500, 750, 0]
    assert not [step for step in found.steps if step.method.endswith(("ProposeTrials", "PruneTrials"))]
    (choice,) = (step for step in found.steps if step.label == "choose the best trial of made")
    (told,) = choice.request.trials
    assert (len(told.judged), told.snapshots, told.replicates) == (4, True, 0)
    assert decisions.made[choice.key].trials[0].part == 1
    sampling = next(step for step in found.steps if step.label == "sample made")
    assert next(step.label for step in found.steps if step.key == sampling.request.generator.key).endswith("part 2/4")
    item = experiment(generator={"gan": {"preset": "pico", "images": 1000}}, over={}, snapshots=4)
    (report,) = planned(item, decisions, looks=[Look(number=1)]).report
    (summary,) = (one for one in report.request.synthetic if one.name == "made")
    assert [one.images_shown for one in summary.snapshots] == [250, 500, 750, 1000]
    drawn = {step.key: step.request.generator.key for step in found.steps if step.method.endswith("SampleImages")}
    parts_by_key = {step.key: step.label for step in found.steps}
    shown = [parts_by_key[drawn[one.images.key]] for one in summary.snapshots]
    assert shown == [f"train gan made trial 0 part {part}/4" for part in (1, 2, 3, 4)]


def test_parts_end_where_trials_are_compared_and_at_snapshots_and_are_compared_where_pruning_says() -> None:
    generator = {"gan": {"preset": "pico", "images": 1000}}
    found, _ = whole(experiment(generator=generator, snapshots=4, prune={"after": [0.3, 0.5]}, trials=2))
    assert [request.part.until_images for request in snapshots_of(found, 0)] == [250, 300, 500, 750, 0]
    # One that is not trained on has the moments until then.
    assert [request.part.until_images for request in snapshots_of(found, 1)] == [250, 300]
    compared = [step.request.part for step in found.steps if step.method.endswith("PruneTrials")]
    assert compared == [1, 2]


def test_a_search_without_snapshots_tells_nothing_of_them() -> None:
    item = experiment(prune={})
    found, decisions = whole(item)
    told = [trial for step in found.steps if step.method in SEARCHING for trial in step.request.trials]
    assert told
    assert all(not trial.snapshots for trial in told)
    (report,) = planned(item, decisions, looks=[Look(number=1)]).report
    assert all(not one.snapshots for one in report.request.synthetic)


@pytest.mark.parametrize(("part", "until"), [(1, 500), (3, None)])
def test_further_replicates_are_trained_up_to_the_moment_that_was_chosen(part: int, until: int | None) -> None:
    item = experiment(generator={"gan": {"preset": "pico", "images": 1000}}, over={}, snapshots=4)
    tree = item.model_dump(mode="json", by_alias=True, exclude_unset=True)
    tree["spec"]["synthetic"][0]["replicates"] = 2
    item = validate(tree)
    (key,) = planned(item).undecided
    choice = Decision(version=1, kind="choose", best=0, trials=(trial_figures(0, part=part),))
    found = planned(item, Decisions(made={key: choice}))
    (further,) = (step for step in found.steps if step.label == "train gan made 2/2")
    assert (further.request.part.until_images if further.request.HasField("part") else None) == until
    assert not further.request.part.HasField("begun")
    assert further.request.seed == 1
    sampled = next(step for step in found.steps if step.label == "sample made 2/2")
    assert sampled.request.generator.key == further.key
