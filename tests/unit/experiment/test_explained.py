"""What is said of each field of a generator, and of a classifier's training."""

import pytest

from k8s.crd import generate
from syntrial.errors import UserError
from syntrial.experiment.classifiers import Budget, Probe, Recipe, Stage
from syntrial.experiment.explained import explained, explained_classifier
from syntrial.experiment.presets.classifiers import RECIPES


@pytest.mark.parametrize("family", ["diffusion", "gan", "latentDiffusion", "pca"])
def test_each_field_has_a_meaning_and_says_what_it_takes(family: str) -> None:
    found = list(explained(family))
    assert all(one.meaning.endswith((".", ")")) and one.takes for one in found), found
    # A preset says what a field is where nothing else is said, or its meaning does.
    assert not [one.field for one in found if not one.presets and "Default:" not in one.meaning]


def test_a_field_is_named_as_a_search_names_it_with_its_presets_values() -> None:
    found = {one.field: one for one in explained("gan")}
    assert found["learningRate"].presets["nano"] == 2e-3
    assert found["sampler.truncation"].presets["pico"] == 1.0
    assert found["batchSize"].takes == "whole numbers at least 0"
    assert {one.field: one for one in explained("diffusion")}["sampler.solver"].presets["small"] == "heun"


def test_a_family_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match="is one of diffusion, gan, latentDiffusion or pca; received stylegan"):
        list(explained("stylegan"))


@pytest.mark.parametrize("model", ["small-cnn", "resnet50", "vit_tiny_patch16_224", "efficientnet_b0"])
def test_each_field_of_a_training_has_a_meaning_a_default_and_what_it_takes(model: str) -> None:
    found = {one.field: one for one in explained_classifier(model)}
    assert all(one.takes and one.meaning.endswith((".", ")")) for one in found.values()), found
    untold = [one.field for one in found.values() if not one.presets and "Default:" not in one.meaning]
    # Of the two lengths of a phase one has a default.
    assert untold == ["budget.epochs"]
    assert len(found) == 2 + sum(len(kind.model_fields) for kind in (Recipe, Stage, Probe, Budget))


def test_a_trainings_defaults_are_those_of_the_models_family() -> None:
    found = {one.field: one for one in explained_classifier("resnet50.a1_in1k")}
    assert found["recipe.batchSize"].presets == {"resnet": RECIPES["resnet"].batch_size}
    assert found["recipe.optimizer"].presets == {"resnet": "adamw"}
    assert found["learningRate"].presets == {"resnet": 1e-3}
    assert found["budget.steps"].presets == {"resnet": 750}
    assert found["recipe.warmup"].takes == "numbers at least 0, under 1"
    assert found["recipe.layerDecay"].takes == "numbers above 0, at most 1"
    assert found["recipe.schedule"].takes == "one-cycle, constant, steps, decay, restarts"
    assert found["recipe.selectBy"].meaning.endswith("Default: loss.")
    assert found["stem"].meaning.endswith("Default: auto.")
    transformer = {one.field: one for one in explained_classifier("vit_tiny_patch16_224")}
    assert transformer["recipe.warmup"].presets == {"vision-transformer": 0.1}


def test_meanings_are_those_of_the_protos() -> None:
    assert generate.MEANINGS.read_text(encoding="utf-8") == generate.meanings(), "run `make crd`"
