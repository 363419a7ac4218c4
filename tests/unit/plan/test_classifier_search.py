"""A plan with a search for a classifier's fields: trials on real images by seeds of their own, and one choice for all
arms.
"""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from syntrial.artifacts.references import member_refs
from syntrial.documents.search import Decision
from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.plan.search import DECIDING, Decisions
from syntrial.plan.size import size_of
from syntrial.v1.analysis_pb2 import Look
from tests.unit.plan.test_search import labels, planned, whole

RATE = {"learningRate": {"range": [1e-4, 1e-2], "log": True}}
LINK = {"dataset": {"phantom": {"trainPatients": 50}}}


def experiment(
    *, spec: dict[str, Any] | None = None, classifier: dict[str, Any] | None = None, **tune: Any
) -> Experiment:
    """A classifier that is searched, beside one that is not."""
    fields = {"over": RATE, "trials": 5} | tune
    found = {"model": "small-cnn", "name": "tuned", "tune": fields} | (classifier or {})
    tree = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "searched"},
        "spec": {
            "dataset": {"phantom": {}},
            "classifiers": [{"model": "small-cnn"}, found],
            "endpoint": {"primary": {"classifier": "tuned", "against": {"classifier": "small-cnn"}}},
            "replicates": 2,
            **(spec or {}),
        },
    }
    return validate(tree)


def trainings(found: Any, *, trial: bool) -> list[Any]:
    return [
        step.request for step in found.training if step.method.endswith("TrainClassifier") and step.of_trial == trial
    ]


def test_a_plan_waits_with_the_classifier_as_it_is_written_under_way_and_nothing_of_it_evaluated() -> None:
    found = planned(experiment())
    assert "train classifier tuned trial 0 1/2" in labels(found)
    assert [step.label for step in found.steps if step.key in found.undecided] == [
        "propose trial 1 of classifier tuned"
    ]
    assert {step.about for step in found.evaluation} == {"real small-cnn 1/2", "real small-cnn 2/2"}
    after = whole(experiment())[0]
    assert found.comparisons == after.comparisons
    assert [cell.name for cell in found.cells] == [cell.name for cell in after.cells]


def test_all_arms_train_what_was_chosen_and_the_other_classifier_stays_as_it_is() -> None:
    sets = [{"name": "made", "generator": {"gan": {"preset": "pico"}}}]
    endpoint = {"primary": {"classifier": "tuned", "against": {"classifier": "small-cnn"}}}
    found, decisions = whole(
        experiment(spec={"synthetic": sets, "endpoint": endpoint, "arms": ["augment-100", "finetune"]})
    )
    (choice,) = (step for step in found.steps if step.label == "choose the best trial of classifier tuned")
    best = decisions.made[choice.key].best
    assert best is not None
    rate = choice.request.trials[best].parameters["learningRate"]
    named = {step.about: step.request for step in found.training if step.method.endswith("TrainClassifier")}
    arms = [one for about, one in named.items() if " tuned " in about and "trial" not in about]
    assert len(arms) == 2 * len({"real", "real-twice", "augment-100", "finetune"})
    assert {phase.learning_rate for one in arms for phase in one.phases} == {rate}
    others = [one for about, one in named.items() if "small-cnn" in about]
    assert rate not in {phase.learning_rate for one in others for phase in one.phases}


@pytest.mark.parametrize("seed", [0, 7, 2**52, 2**53 - 1])
def test_trials_have_seeds_that_no_arm_has_and_that_a_document_holds(seed: int) -> None:
    found, _ = whole(experiment(spec={"seed": seed}, replicates=3))
    trials, arms = ({one.seed for one in trainings(found, trial=trial)} for trial in (True, False))
    assert len(trials) == 3
    assert trials.isdisjoint(arms)
    assert max(trials | arms) < 2**53


def test_trials_see_real_images_and_validation_and_nothing_that_decides_sees_the_test_split() -> None:
    found, _ = whole(experiment(prune={}))
    for step in found.training:
        if step.of_trial or step.method in DECIDING:
            assert "test" not in {ref.member for ref in member_refs(step.request)}, step.label
    for one in trainings(found, trial=True):
        assert [(phase.real, phase.synthetic) for phase in one.phases] == [(1, 0)]


def test_no_report_is_planned_while_the_classifier_is_undecided_and_then_it_has_the_choice() -> None:
    with pytest.raises(AssertionError, match="before all was decided"):
        planned(experiment(), looks=[Look(number=1)])
    found, decisions = whole(experiment(replicates=3))
    (report,) = planned(experiment(replicates=3), decisions, looks=[Look(number=1)]).report
    (summary,) = report.request.classifiers
    assert (summary.classifier, summary.replicates, summary.search.member) == ("tuned", 3, "decision")
    assert summary.search.key in {step.key for step in found.training}


def test_a_part_begins_where_the_one_before_it_ended_by_the_same_seed() -> None:
    found, _ = whole(experiment(prune={"after": [0.25, 0.5]}))
    by_key = {step.key: step for step in found.training}
    later = [step for step in found.training if step.of_trial and step.request.part.HasField("begun")]
    assert later
    for step in later:
        before = by_key[step.request.part.begun.key].request
        assert (before.seed, before.recipe) == (step.request.seed, step.request.recipe)
        assert 0 < before.part.until < (step.request.part.until or 1)
    assert "train classifier tuned trial 1 part 2/3 1/2" not in labels(found)
    # What the arms train has no parts.
    assert not any(one.HasField("part") for one in trainings(found, trial=False))


def test_each_part_is_told_with_its_replicates_and_a_trial_that_failed_is_left_out() -> None:
    failed = {"train classifier tuned trial 2 2/2": "train: UserError: the loss is no number"}
    found, _ = whole(experiment(), failed=failed)
    (choice,) = (step for step in found.steps if step.label.startswith("choose"))
    assert {trial.replicates for trial in choice.request.trials} == {2}
    assert [len(trial.judged) for trial in choice.request.trials] == [2, 2, 0, 2, 2]
    assert choice.request.trials[2].failed == "train: UserError: the loss is no number"
    assert not choice.request.HasField("reference")


def test_trial_0_knows_what_the_recipe_of_its_family_has() -> None:
    over = {
        "model": {"choice": ["small-cnn", "resnet18"]},
        "learningRate": {"range": [1e-4, 1e-2]},
        "recipe.batchSize": {"range": [8, 64]},
        "recipe.weightDecay": {"range": [0, 1]},
        "stages.0.epochs": {"range": [1, 3]},
    }
    classifier = {"stages": [{"train": ["head"], "epochs": 2.0}, {}]}
    found = planned(experiment(over=over, parallel=1, classifier=classifier))
    (step,) = (step for step in found.steps if step.key in found.undecided)
    assert dict(step.request.trials[0].parameters) == {
        "model": "small-cnn",
        "learningRate": 3e-3,
        "recipe.batchSize": 64,
        "recipe.weightDecay": 0.05,
        "stages.0.epochs": 2,
    }
    whole_numbers = {item.field: item.range.whole for item in step.request.dimensions if item.HasField("range")}
    assert whole_numbers == {
        "learningRate": False,
        "recipe.batchSize": True,
        "recipe.weightDecay": False,
        "stages.0.epochs": False,
    }


def test_trials_whose_chain_is_trained_otherwise_begin_with_networks_of_their_own() -> None:
    over = {"chain.0.learningRate": {"choice": [0.001, 0.002]}}
    item = experiment(over=over, trials=2, parallel=1, classifier={"chain": [LINK]})
    proposed = planned(item).undecided[0]
    made = Decision(version=1, kind="propose", proposed=({"chain.0.learningRate": 0.002},))
    found = planned(item, Decisions(made={proposed: made}))
    links = {step.label: step for step in found.training if step.label.startswith("pretrain")}
    assert set(links) == {f"pretrain classifier tuned trial {number} link 1/1" for number in (0, 1)}
    by_label = {step.label: step.request for step in found.training}
    for number in (0, 1):
        training = by_label[f"train classifier tuned trial {number} 1/2"]
        assert training.model.trained.key == links[f"pretrain classifier tuned trial {number} link 1/1"].key
    # Its data is the same.
    assert len({step.request.train.key for step in links.values()}) == 1


def test_trials_of_what_comes_after_a_chain_share_it() -> None:
    found, _ = whole(experiment(classifier={"chain": [LINK]}))
    assert [label for label in labels(found) if label.startswith("pretrain")] == ["pretrain tuned link 1/1"]
    assert {one.model.trained.key for one in trainings(found, trial=True)} == {
        step.key for step in found.training if step.label == "pretrain tuned link 1/1"
    }


@pytest.mark.parametrize(
    ("tune", "classifier"),
    [
        ({}, {}),
        ({"prune": {"after": [0.25, 0.5]}}, {}),
        ({"parallel": 3, "replicates": 4, "trials": 7}, {}),
        ({}, {"chain": [LINK]}),
        ({}, {"chain": [LINK | {"replicates": "each"}]}),
        ({"over": RATE | {"chain.0.learningRate": {"choice": [0.1]}}}, {"chain": [LINK | {"replicates": "each"}]}),
        ({"over": {"recipe.selectBy": {"choice": ["auroc"]}}}, {"chain": [LINK], "probe": {}}),
        ({"over": {"recipe.normalisation": {"choice": ["imagenet"]}}}, {"chain": [LINK], "probe": {}}),
    ],
)
def test_the_count_of_steps_is_never_too_small(tune: dict[str, Any], classifier: dict[str, Any]) -> None:
    item = experiment(**tune, classifier=classifier)
    if "probe" in classifier:
        # What is proposed in tests is a learning rate, which a probe has not.
        assert size_of(item.spec).steps > len(planned(item).steps)
        return
    most = size_of(item.spec).steps
    first, (last, _) = planned(item), whole(item)
    assert most >= len(last.steps) + 1
    assert first.more == most - len(first.steps) - 1
    if "prune" not in tune and "over" not in tune:
        assert most == len(last.steps) + 1


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"learningrate": {"choice": [1]}}, "over.learningrate: is a field of the classifier"),
        ({"learningRate": {"range": [1, 200]}}, "Input should be less than 100; received 200"),
        ({"recipe.batchSize": {"range": [1.5, 8]}}, "over.recipe.batchSize: is a field of the classifier"),
        ({"stages.1.epochs": {"choice": [1]}}, "of its 1 entries, counted from 0, none is 1"),
        ({"stages.0.train.0.x": {"choice": [1]}}, "nothing stands below 0"),
        ({"pretraining": {"choice": ["hub"]}}, "is one value of a classifier; received 'pretraining'. Compare two"),
        ({"chain.0.dataset.phantom.seed": {"choice": [1]}}, "is one value of a classifier"),
        ({"probe.l2": {"choice": [[1.0]]}}, "is one value of a classifier"),
        ({"name": {"choice": ["other"]}}, "is one value of a classifier; received 'name'. Leave it out"),
        ({"tune.trials": {"choice": [3]}}, "is one value of a classifier"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_the_field_that_says_it(over: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        experiment(over=over, classifier={"stages": [{"train": ["head"]}]})
    assert words in str(caught.value)
    assert str(caught.value).startswith("spec.classifiers[1].tune.over")


def test_a_model_is_searched_where_no_weights_are_bought() -> None:
    with pytest.raises(UserError, match="begins with random weights"):
        experiment(over={"model": {"choice": ["resnet34"]}}, classifier={"model": "resnet18", "pretraining": "hub"})


def test_what_a_limit_of_each_epoch_forbids_is_not_tried_either() -> None:
    dataset = {"phantom": {}, "capPerLabel": 5, "capDrawn": "each-epoch"}
    with pytest.raises(
        UserError, match=r"classifiers\[1\]\.tune\.over\.recipe\.sampling: `sampling: balanced` repeats"
    ):
        experiment(over={"recipe.sampling": {"choice": ["natural", "balanced"]}}, spec={"dataset": dataset})


def test_a_field_as_it_is_by_default_is_null_where_that_is_tried() -> None:
    over = {"recipe.randAugment": {"choice": [None, 9]}, "recipe.mixup": {"range": [0.1, 0.9]}}
    found = planned(experiment(over=over, parallel=1))
    (step,) = (step for step in found.steps if step.key in found.undecided)
    told = MessageToDict(step.request)
    assert told["dimensions"][0]["choice"]["values"] == [None, 9]
    assert told["trials"][0]["parameters"] == {"recipe.mixup": 0}


def test_values_that_are_lists_are_told_as_they_are_written() -> None:
    stages = [[], [{"train": ["head"], "epochs": 3.0}, {"learningRate": 0.01}]]
    found = planned(experiment(over={"stages": {"choice": stages}}, trials=2, parallel=1))
    (step,) = (step for step in found.steps if step.key in found.undecided)
    told = MessageToDict(step.request)
    assert told["dimensions"][0]["choice"]["values"] == stages
    assert told["trials"][0]["parameters"] == {"stages": []}


def test_stages_in_epochs_that_may_be_chosen_count_before_the_choice() -> None:
    assert not experiment().spec.has_stages_in_epochs
    assert experiment(over={"stages": {"choice": [[], [{"epochs": 3}]]}}).spec.has_stages_in_epochs
