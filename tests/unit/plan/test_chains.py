"""Chains of pretraining: the steps that they become, who shares them, and what is said of them."""

import hashlib
from typing import Any

import pytest

from syntrial.artifacts.references import member_refs
from syntrial.errors import UserError
from syntrial.experiment.file import parse_experiment, to_yaml, validate
from syntrial.experiment.model import Experiment
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan, Step
from syntrial.sources.named import science_of, sources_of
from syntrial.v1.classification_pb2 import ClassifierModel, TrainingRecipe
from tests.unit.plan.deciding import plan_whole

NIH: dict[str, Any] = {"table": {"preset": "nih-chestxray14", "folder": "nih"}}
OTHER: dict[str, Any] = {"npz": "other.npz"}
CHAIN: dict[str, Any] = {
    "model": "small-cnn",
    "name": "chain",
    "chain": [{"dataset": OTHER}, {"dataset": NIH, "recipe": {"loss": "focal"}, "budget": {"steps": 7}}],
}


def experiment(*classifiers: dict[str, Any], **fields: Any) -> Experiment:
    tree = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    spec = {
        "dataset": {"npz": "own.npz"},
        "synthetic": [{"name": "base", "generator": {"pca": {}}}],
        "classifiers": list(classifiers) or [CHAIN],
        "replicates": 3,
        "exploratoryReplicates": 2,
        "controls": "none",
        **fields,
    }
    return validate({**tree, "spec": spec})


def planned(item: Experiment) -> Plan:
    # Equal addresses hold equal content.
    digests = {ref.name: hashlib.sha256(f"{ref.address}".encode()).hexdigest() for ref in sources_of(item)}
    sources = {ref.name: ref.with_digest(f"sha256:{digests[ref.name]}") for ref in sources_of(item)}
    return plan_whole(item, sources)


def labelled(found: Plan, start: str) -> list[Step]:
    return [step for step in found.steps if step.label.startswith(start)]


def begins_with(step: Step) -> str:
    model = ClassifierModel.FromString(step.request.model.SerializeToString())  # type: ignore[attr-defined]
    return model.trained.key


def test_a_chain_becomes_a_preparation_and_a_training_for_each_link_that_follow_each_other() -> None:
    found = planned(experiment())
    first, second = labelled(found, "pretrain ")
    assert [first.label, second.label] == ["pretrain chain link 1/2", "pretrain chain link 2/2"]
    assert begins_with(first) == ""
    assert begins_with(second) == first.key
    assert second.request.recipe.loss == TrainingRecipe.LOSS_FOCAL  # type: ignore[attr-defined]
    assert [phase.steps for phase in second.request.phases] == [7]  # type: ignore[attr-defined]
    arms = [step for step in found.training if step.label.startswith("train") and "chain" in step.label]
    assert len(arms) == 6
    assert {begins_with(step) for step in arms} == {second.key}
    assert size_of(experiment().spec).steps == len(found.steps)


def test_every_link_is_prepared_beside_the_trials_validation_and_test_images() -> None:
    found = planned(experiment())
    data = labelled(found, "prepare chain link")
    assert len(data) == 2
    for step in data:
        assert {(ref.key, ref.member) for ref in member_refs(step.request)} == {
            (found.dataset, "validation"),
            (found.dataset, "test"),
        }


def test_a_link_of_the_trials_own_source_has_its_patients() -> None:
    own = planned(experiment({**CHAIN, "chain": [{"dataset": {"npz": "own.npz"}}, {"dataset": OTHER}]}))
    assert [step.request.held_out.same_source for step in labelled(own, "prepare chain link")] == [True, False]  # type: ignore[attr-defined]


def test_each_replicate_has_a_network_of_its_own_where_that_is_asked() -> None:
    each = [{"dataset": OTHER, "replicates": "each"}, {"dataset": NIH, "replicates": "each"}]
    item = experiment({**CHAIN, "chain": each})
    found = planned(item)
    assert len(labelled(found, "pretrain chain link 1/2 seed")) == 3
    assert len(labelled(found, "prepare chain link")) == 2
    second = {step.request.seed: step.key for step in labelled(found, "pretrain chain link 2/2")}  # type: ignore[attr-defined]
    arms = [step for step in found.training if step.label.startswith("train") and "chain" in step.label]
    assert {(step.request.seed, begins_with(step)) for step in arms} == set(second.items())  # type: ignore[attr-defined]
    assert size_of(item.spec).steps == len(found.steps)


@pytest.mark.parametrize("kinds", [("each", "shared"), ("shared", "each")])
def test_what_is_counted_is_what_is_planned_where_links_are_shared_by_some(kinds: tuple[str, str]) -> None:
    links = [{"dataset": data, "replicates": kind} for data, kind in zip((OTHER, NIH), kinds, strict=True)]
    item = experiment({**CHAIN, "chain": links})
    assert size_of(item.spec).steps == len(planned(item).steps)


def test_two_classifiers_share_a_link_that_they_have_in_common() -> None:
    short = {**CHAIN, "name": "short", "chain": CHAIN["chain"][:1]}
    alone, both = planned(experiment()), planned(experiment(CHAIN, short))
    assert {step.key for step in labelled(alone, "pretrain")} == {step.key for step in labelled(both, "pretrain")}
    last = both.report[-1].request
    assert [link.classifier for link in last.pretraining] == ["chain", "chain", "short"]  # type: ignore[attr-defined]


def test_a_trial_without_a_chain_has_the_keys_that_it_had() -> None:
    plain = {"model": "small-cnn", "name": "plain"}
    alone, beside = planned(experiment(plain)), planned(experiment(plain, CHAIN))
    assert {step.key for step in alone.training} <= {step.key for step in beside.training}
    model = ClassifierModel(name="small-cnn", stem=ClassifierModel.STEM_AUTO)
    assert labelled(alone, "train real")[0].request.model == model  # type: ignore[attr-defined]


def test_a_probe_is_fitted_to_features_of_the_chains_last_network() -> None:
    item = experiment({**CHAIN, "probe": {}})
    found = planned(item)
    (last,) = labelled(found, "pretrain chain link 2/2")
    features = labelled(found, "extract")
    assert {begins_with(step) for step in features} == {last.key}
    assert size_of(item.spec).steps == len(found.steps)


def test_what_a_chain_is_worth_is_a_trial_without_synthetic_images() -> None:
    scratch = {"model": "small-cnn", "name": "scratch"}
    primary = {"arm": "real", "classifier": "chain", "against": {"arm": "real", "classifier": "scratch"}}
    each = [{**link, "replicates": "each"} for link in CHAIN["chain"]]
    for chain in (CHAIN["chain"], each):
        item = experiment({**CHAIN, "chain": chain}, scratch, synthetic=[], endpoint={"primary": primary})
        found = planned(item)
        assert [(one.arm, one.control) for one in found.comparisons] == [("real chain", "real scratch")]
        assert size_of(item.spec).steps == len(found.steps)


def test_bought_weights_at_the_beginning_of_a_chain_are_said_and_a_chain_from_nothing_is_not() -> None:
    def said(**changes: Any) -> list[str]:
        report = planned(experiment({**CHAIN, **changes})).report[-1].request
        return [words for words in report.qualifications if "cannot be shown" in words]  # type: ignore[attr-defined]

    assert said() == []
    assert said(model="resnet18", pretraining="hub")[0].startswith("chain starts from weights whose training data")


def test_links_are_sources_with_names_of_their_own_and_go_by_content_into_the_report() -> None:
    item = experiment()
    refs = sources_of(item)
    assert [(ref.name, ref.field) for ref in refs[1:]] == [
        ("chain/chain/1", "spec.classifiers[0].chain[0].dataset"),
        ("chain/chain/2", "spec.classifiers[0].chain[1].dataset"),
    ]
    assert refs[2].place == ("spec", "classifiers", 0, "chain", 1, "dataset", "table", "folder")
    sources = {ref.name: ref.with_digest(f"sha256:{number:064x}") for number, ref in enumerate(refs)}
    by_content = [ref.address for ref in sources_of(science_of(item, sources))]
    assert by_content == [f"sha256:{number:064x}" for number in range(3)]


def test_an_experiment_with_a_chain_reads_back_as_it_was() -> None:
    assert parse_experiment(to_yaml(experiment())) == experiment()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": None}, r"spec\.classifiers\[0\]: a classifier with a `chain` of pretraining needs a `name`"),
        ({"chain": [{"dataset": OTHER}] * 4}, r"spec\.classifiers\[0\]\.chain: .* at most 3 items"),
        (
            {"chain": [{"dataset": {**OTHER, "size": 64}}]},
            r"chain\[0\]\.dataset\.size: a data set of a chain takes the form of the trial's images; received 64",
        ),
        ({"chain": [{"dataset": {}}]}, r"chain\[0\]\.dataset: needs exactly one of medmnist"),
        ({"chain": [{"dataset": OTHER, "recipe": {"schedule": "decay"}}]}, r"chain\[0\]\.recipe\.decayEpochs"),
        ({"chain": [{"dataset": OTHER, "stages": [{"begin": "best"}]}]}, r"chain\[0\]\.stages\[0\]\.begin"),
        (
            {"chain": [{"dataset": OTHER, "stages": [{"train": []}]}]},
            r"chain\[0\]\.stages\[0\]\.train: a stage trains at least one part .* received none\. Name one",
        ),
        ({"chain": [{"dataset": OTHER, "model": "x"}]}, r"chain\[0\]\.model: there is no such field"),
    ],
)
def test_a_chain_that_is_none_is_refused_with_its_field(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        experiment({**CHAIN, **changes})
