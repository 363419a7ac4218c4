"""Parts of an experiment as requests of the stages."""

from typing import Any

import pytest

from syntrial.errors import UserError
from syntrial.experiment.filters import FILTERS, Filter
from syntrial.experiment.model import Spec, Synthetic
from syntrial.plan import requests
from syntrial.v1.classification_pb2 import TrainingPhase
from syntrial.v1.filtering_pb2 import Filter as FilterMessage
from syntrial.v1.generation_pb2 import Denoiser, GanConfig


def synthetic(*filters: Any) -> Synthetic:
    return Synthetic.model_validate({"name": "x", "generator": {"gan": {}}, "copies": 0, "filters": filters})


def test_filters_are_asked_for_in_order_and_candidates_drawn_for_what_they_take() -> None:
    item = synthetic({"centroid": {"keep": 0.5}}, {"confidence": {"minimum": 0.75}})
    first, second = requests.filters(item)
    assert (first.WhichOneof("kind"), first.centroid.keep) == ("centroid", 0.5)
    assert (second.WhichOneof("kind"), second.confidence.minimum) == ("confidence", 0.75)
    assert requests.oversampling(item) == 2 * requests.UNKNOWN_HEADROOM
    assert requests.random_filters(item)[0].random.keep == 0.5


def test_every_filter_that_an_experiment_may_name_has_a_message() -> None:
    messages = FilterMessage.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert set(FILTERS) < {field.name for field in messages}


class Newer(Filter):
    """Filters of which one has neither a row nor a message."""

    KINDS = ("centroid", "confidence", "brightness")
    brightness: float | None = None


@pytest.mark.parametrize("ask", [requests.filters, requests.oversampling, requests.random_filters])
def test_a_kind_of_filter_that_no_request_is_known_for_is_never_taken_for_another(ask: Any) -> None:
    with pytest.raises((LookupError, AttributeError), match="brightness"):
        ask(synthetic().model_copy(update={"filters": (Newer(brightness=0.5),)}))


def staged(stages: Any, **spec: Any) -> Spec:
    return Spec.model_validate(
        {
            "dataset": {"medmnist": "breastmnist"},
            "synthetic": [{"name": "x", "generator": {"pca": {}}}],
            "classifiers": [{"model": "resnet18", "learningRate": 0.01, "stages": stages}],
            **spec,
        }
    )


def test_every_phase_of_an_arm_is_made_of_the_classifiers_stages() -> None:
    stages = [{"train": ["fc"], "steps": 5}, {"train": ["layer4", "fc"], "learningRate": 0.001, "begin": "best"}, {}]
    spec = staged(stages, arms=["finetune"], budget={"steps": 70})
    phases = requests.training_phases(spec, spec.classifiers[0], spec.primary.arm)
    assert [(phase.real, phase.synthetic) for phase in phases] == [(0, 1)] * 3 + [(1, 0)] * 3
    assert [phase.steps for phase in phases] == [5, 70, 70] * 2
    assert [list(phase.train) for phase in phases[:3]] == [["fc"], ["layer4", "fc"], []]
    assert [phase.learning_rate for phase in phases[:3]] == [0.01, 0.001, 0.01]
    assert phases[1].start == TrainingPhase.START_BEST


@pytest.mark.parametrize("budget", [{"epochs": 3}, {"steps": 70}])
def test_stages_in_epochs_take_as_many_steps_in_the_control_as_in_the_arm(budget: Any) -> None:
    arms = [{"name": "own", "phases": [{"real": 1, "synthetic": 1}]}]
    spec = staged([{"train": ["fc"], "epochs": 2}, {"epochs": 4}], arms=arms, budget=budget)
    arm, control = spec.primary.arm, spec.control_of(spec.primary.arm)
    shown = [
        [
            phase.epochs * (phase.real + phase.synthetic)
            for phase in requests.training_phases(spec, spec.classifiers[0], one)
        ]
        for one in (arm, control)
    ]
    assert shown == [[4, 8], [4, 8]]
    assert control.synthetic_ratio == 0


def test_without_stages_a_control_is_the_one_that_it_was() -> None:
    spec = staged([], arms=["augment-100"], budget={"steps": 70})
    assert spec.control_of(spec.primary.arm).name == "real"


def test_a_first_stage_begins_with_no_stage_before_it() -> None:
    with pytest.raises(ValueError, match="none before it"):
        staged([{"begin": "best"}])


@pytest.mark.parametrize("family", ["gan", "diffusion"])
def test_a_length_in_thousands_of_images_is_the_same_request(family: str) -> None:
    def asked(**fields: Any) -> Any:
        item = Synthetic.model_validate({"name": "x", "generator": {family: fields}})
        assert item.generator is not None
        return requests.generator_training(item.generator, size=28, seed=0)

    assert asked(kimg=2.5) == asked(images=2_500)
    assert asked(kimg=2.5) != asked()


def test_augmentations_that_adapt_are_asked_for_by_their_words() -> None:
    fields = {"augmentTarget": 0.6, "augmentPipeline": "bgc"}
    item = Synthetic.model_validate({"name": "x", "generator": {"gan": fields}})
    assert item.generator is not None
    config = requests.generator_training(item.generator, size=28, seed=0).gan
    assert (config.augment_target, config.augment_pipeline) == (0.6, GanConfig.PIPELINE_BGC)


def training(kind: str, *, size: int = 28, **fields: Any) -> Any:
    item = Synthetic.model_validate({"name": "x", "generator": {kind: fields}})
    assert item.generator is not None
    return getattr(requests.generator_training(item.generator, size=size, seed=0), item.generator.kind)


@pytest.mark.parametrize("kind", ["diffusion", "latentDiffusion"])
def test_a_denoiser_is_the_u_net_where_nothing_else_is_said(kind: str) -> None:
    plain, told = training(kind), training(kind, denoiser="unet")
    assert plain == told
    assert plain.denoiser == Denoiser.DENOISER_UNSPECIFIED
    changed = training(kind, denoiser="transformer", channels=[64])
    assert changed.denoiser == Denoiser.DENOISER_TRANSFORMER
    assert list(changed.channels) == [64]
    assert changed.layers_per_level > plain.layers_per_level


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (
            "diffusion",
            {"fold": 3, "denoiser": "transformer"},
            r"generator\.diffusion\.fold: .* received fold 3, images of 28",
        ),
        ("diffusion", {"fold": 4}, r"generator\.diffusion\.fold: .* received fold 4 × 2\^1 of 2 levels, images of 28"),
        (
            "latentDiffusion",
            {"fold": 2, "denoiser": "transformer"},
            r"generator\.latentDiffusion\.fold: .* received fold 2, latents of 7 places",
        ),
        ("latentDiffusion", {"channels": [8, 8]}, r"generator\.latentDiffusion\.channels: .* latents of 7 places"),
        (
            "diffusion",
            {"channels": [64, 128], "denoiser": "transformer"},
            r"generator\.diffusion\.channels: of a transformer are one number, its width; received \[64, 128\]",
        ),
    ],
)
def test_a_denoiser_that_does_not_fit_the_images_is_refused_before_anything_runs(
    kind: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        training(kind, **fields)
