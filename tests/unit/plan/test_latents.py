"""Generators in latents: their steps, what they share, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.references import member_refs
from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.plan.planner import plan
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan
from syntrial.rpc.file_fields import file_field
from syntrial.sources.resolve import resolve_sources


def planned(*latent: dict[str, Any], size: int = 32, **changes: Any) -> Plan:
    tree = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "x"},
        "spec": {
            "dataset": {"phantom": {}, "size": size},
            "synthetic": [
                {"name": f"ldm{number}", "generator": {"latentDiffusion": own}, **changes}
                for number, own in enumerate(latent)
            ],
            "arms": ["synthetic"],
        },
    }
    item = validate(tree)
    found = plan(item, resolve_sources(item, base=Path()).by_name)
    # The report is planned later.
    assert len(found.steps) + 1 <= size_of(item.spec).steps
    return found


def requests(found: Plan, method: str) -> list[Any]:
    return [step.request for step in found.steps if step.method.endswith(f"/{method}")]


def test_a_generator_in_latents_follows_its_autoencoder_and_the_latents_of_the_training_split() -> None:
    found = planned({"preset": "pico"})
    (autoencoder,), (encoding,) = requests(found, "TrainAutoencoder"), requests(found, "EncodeImages")
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert autoencoder.train == encoding.images == training.train
    assert {ref.member for ref in member_refs(training)} == {"train", "autoencoder", "latents"}
    assert encoding.autoencoder == training.latent.autoencoder
    assert (encoding.autoencoder.key, encoding.autoencoder.member) == (autoencoder.header.key, "autoencoder")
    assert training.latent.train.key == encoding.header.key


def test_what_stands_in_latents_is_given_the_training_split_alone() -> None:
    for method in ("TrainAutoencoder", "EncodeImages", "TrainGenerator", "SampleImages"):
        for request in requests(planned({}), method):
            assert {ref.member for ref in member_refs(request)} <= {"train", "autoencoder", "latents", "generator"}


def test_generators_of_one_autoencoder_share_it_and_another_denoiser_leaves_it_alone() -> None:
    found = planned({"preset": "pico"}, {"preset": "pico", "learningRate": 0.01})
    assert len(requests(found, "TrainAutoencoder")) == len(requests(found, "EncodeImages")) == 1
    assert sum(one.HasField("latent") for one in requests(found, "TrainGenerator")) == 2
    assert len(requests(planned({}, {"autoencoder": {"klWeight": 0.1}}), "TrainAutoencoder")) == 2


def test_each_replicate_of_the_method_has_an_autoencoder_of_its_own() -> None:
    assert [one.seed for one in requests(planned({}, replicates=3), "TrainAutoencoder")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("size", "own", "factor", "levels"),
    [
        (32, {}, 4, 3),
        (28, {}, 4, 3),
        (30, {}, 2, 2),
        (64, {"autoencoder": {"factor": 8}}, 8, 4),
        (256, {"preset": "base"}, 8, 4),
    ],
)
def test_presets_fit_the_images(size: int, own: dict[str, Any], factor: int, levels: int) -> None:
    found = planned(own, size=size)
    config = requests(found, "TrainAutoencoder")[0].config
    assert (config.factor, len(config.channels)) == (factor, levels)
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert (size // factor) % 2 ** (len(training.latent_diffusion.channels) - 1) == 0


@pytest.mark.parametrize("factor", [3, 1, 0, 64])
def test_a_factor_that_does_not_divide_the_images_is_refused_before_anything_runs(factor: int) -> None:
    says = r"generator.latentDiffusion.autoencoder.factor: is a power of 2, from 2, that divides the side of the images"
    with pytest.raises(UserError, match=says):
        planned({"autoencoder": {"factor": factor}})


GUIDED = {"preset": "pico", "conditioning": "classifier-guidance"}


def test_a_classifier_that_guides_is_a_step_of_its_own_on_the_same_latents() -> None:
    found = planned(GUIDED)
    (judge,) = requests(found, "TrainLatentClassifier")
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert judge.latents == training.latent.train
    assert judge.train == training.train
    (sampling,) = (one for one in requests(found, "SampleImages") if one.HasField("classifier"))
    assert (sampling.classifier.key, sampling.latent_diffusion.guidance) == (judge.header.key, 2)


def test_another_scale_of_guidance_trains_nothing_again() -> None:
    stronger = planned(GUIDED | {"sampler": {"guidance": 4}})
    keys = {step.key for step in planned(GUIDED).steps if step.method.partition("/")[2].startswith("Train")}
    generation = {step.key for step in stronger.steps if "GenerationService/Train" in step.method}
    assert generation <= keys


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (GUIDED | {"sampler": {"guidance": 0}}, "latentDiffusion.sampler.guidance: is above 0 with conditioning"),
        ({"guide": {"channels": 8}}, "latentDiffusion.guide: belongs to conditioning: classifier-guidance"),
        ({"preset": "pico", "sampler": {"guidance": 2}}, "latentDiffusion.sampler.guidance: compares the model with"),
    ],
)
def test_guidance_that_cannot_work_is_refused_before_anything_runs(own: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(own)


def test_an_unknown_preset_is_refused_as_the_file_spells_it() -> None:
    with pytest.raises(UserError, match=r"generator.latentDiffusion.preset: must be one of pico"):
        planned({"preset": "huge"})


def test_stages_complaints_are_told_as_the_file_spells_them() -> None:
    place = "spec.synthetic[].generator.latentDiffusion"
    service = "syntrial.v1.GenerationService"
    assert file_field("config.latent_channels", method=f"{service}/TrainAutoencoder") == (
        f"{place}.autoencoder.latentChannels"
    )
    assert file_field("latent_diffusion.p_std", method=f"{service}/TrainGenerator") == f"{place}.pStd"
    assert file_field("latent_diffusion.steps", method=f"{service}/SampleImages") == f"{place}.sampler.steps"
