import pytest

from syntrial.experiment.presets.classifiers import (
    RECIPES,
    default_learning_rate,
    default_steps,
    recipe_family,
    recipe_preset,
)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("small-cnn", "small-cnn"),
        ("resnet18", "resnet"),
        ("resnet50.a1_in1k", "resnet"),
        ("densenet121", "resnet"),
        ("deit_tiny_patch16_224", "vision-transformer"),
        ("convnext_tiny", "default"),
    ],
)
def test_a_model_takes_the_recipe_of_its_family(model: str, family: str) -> None:
    assert recipe_family(model) == family
    assert default_steps(model) == RECIPES[family].steps
    assert default_learning_rate(model) == RECIPES[family].learning_rate


@pytest.mark.parametrize("family", RECIPES)
def test_a_preset_states_every_choice(family: str) -> None:
    recipe = recipe_preset({"resnet": "resnet18", "vision-transformer": "vit_tiny_patch16_224"}.get(family, family))
    for name in ("optimizer", "schedule", "checkpoint", "loss", "batch_size", "validations"):
        assert getattr(recipe, name)
