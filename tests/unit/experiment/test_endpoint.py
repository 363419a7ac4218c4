"""Which comparison decides: any cell against any other, what is left out, and what is refused."""

from typing import Any

import pytest

from syntrial.errors import UserError
from syntrial.experiment.file import to_yaml, validate
from syntrial.experiment.model import Experiment
from syntrial.trial.run import endpoint_of
from syntrial.trial.status import endpoint_words

CNN: dict[str, Any] = {"model": "small-cnn"}
RESNET: dict[str, Any] = {"model": "resnet18"}
VIT: dict[str, Any] = {"model": "vit_tiny_patch16_224", "name": "vit"}
SETS: list[dict[str, Any]] = [
    {"name": "edm", "generator": {"diffusion": {}}},
    {"name": "gan", "generator": {"gan": {}}, "arms": ["augment-50"]},
]


def experiment(primary: dict[str, Any] | None = None, **spec: Any) -> Experiment:
    endpoint = {"endpoint": {"primary": primary}} if primary is not None else {}
    tree = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    return validate({**tree, "spec": {"dataset": {"phantom": {}}, **endpoint, **spec}})


def sides(item: Experiment) -> tuple[tuple[str, str, str], tuple[str, str, str] | None]:
    reference = item.spec.reference
    return item.spec.primary.parts, reference.parts if reference else None


def test_of_two_classifiers_the_second_is_compared_with_the_first() -> None:
    item = experiment(classifiers=[CNN, RESNET])
    assert sides(item) == (("real", "", "resnet18"), ("real", "", "small-cnn"))
    assert endpoint_words(item) == "auroc, real, resnet18 against real, small-cnn"


def test_of_one_classifier_a_share_of_the_images_is_compared_with_all() -> None:
    assert sides(experiment(arms=["real-50"])) == (("real-50", "", "small-cnn"), ("real", "", "small-cnn"))


def test_what_is_left_out_of_the_other_side_is_as_in_the_primary() -> None:
    primary = {"arm": "augment-50", "synthetic": "edm", "classifier": "resnet18"}
    spec = {"synthetic": SETS, "arms": ["augment-50"], "classifiers": [CNN, RESNET]}
    for against, expected in (
        ({"classifier": "small-cnn"}, ("augment-50", "edm", "small-cnn")),
        ({"synthetic": "gan"}, ("augment-50", "gan", "resnet18")),
        ({"arm": "real"}, ("real", "", "resnet18")),
        ({"arm": "real", "classifier": "small-cnn"}, ("real", "", "small-cnn")),
    ):
        assert sides(experiment(primary | {"against": against}, **spec))[1] == expected


def test_without_a_word_on_the_other_side_it_is_the_control_of_the_arm() -> None:
    item = experiment(synthetic=SETS, arms=["augment-50"])
    assert sides(item) == (("augment-50", "edm", "small-cnn"), None)
    assert endpoint_of(item)["primary"] == {"arm": "augment-50", "synthetic": "edm", "classifier": "small-cnn"}


def test_what_is_registered_names_both_sides() -> None:
    item = experiment({"classifier": "small-cnn", "against": {"classifier": "vit"}}, classifiers=[CNN, RESNET, VIT])
    assert endpoint_of(item)["primary"]["against"] == {"arm": "real", "synthetic": "", "classifier": "vit"}


def test_a_trial_without_synthetic_sets_written_as_yaml_reads_back_equal() -> None:
    item = experiment(classifiers=[CNN, RESNET])
    text = to_yaml(item)
    assert "arms" not in text
    assert "synthetic" not in text


@pytest.mark.parametrize(
    ("primary", "spec", "words"),
    [
        (None, {}, "needs something to compare"),
        (None, {"classifiers": [CNN, RESNET, VIT]}, "3 cells: real, small-cnn; real, resnet18; real, vit"),
        (None, {"classifiers": [CNN, RESNET], "arms": ["real-50"]}, "4 cells"),
        (None, {"classifiers": [CNN, RESNET], "arms": ["augment-100"]}, "without a synthetic set arms have real"),
        ({"arm": "real-50"}, {"classifiers": [CNN, RESNET]}, "Name one of real, or add it to arms"),
        ({"against": {"arm": "real"}}, {"classifiers": [CNN, RESNET]}, "not with itself; received real, small-cnn"),
        ({"against": {"classifier": "vit"}}, {"classifiers": [CNN, RESNET]}, "Name one of small-cnn, resnet18"),
        ({"against": {"synthetic": "edm"}}, {"classifiers": [CNN, RESNET]}, "has no synthetic set"),
        ({"against": {"synthetic": "gan"}}, {"synthetic": SETS, "arms": ["augment-100"]}, "must be an arm of 'gan'"),
        ({"against": {"arm": "real", "synthetic": "gan"}}, {"synthetic": SETS}, "and real uses none"),
        ({"arm": "real"}, {"synthetic": SETS}, "is said by `against`"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_with_what_exists(
    primary: dict[str, Any] | None, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError) as caught:
        experiment(primary, **spec)
    assert words in str(caught.value)
