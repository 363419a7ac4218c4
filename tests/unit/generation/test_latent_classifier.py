"""The classifier that guides: what it learns, what it is refused for, and that it guides."""

from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.latent_classifier import Network, log_likelihood

from syntrial.errors import Cancelled, UserError
from syntrial.rpc.testing import FakeCheckpoints
from syntrial.v1.generation_pb2 import DiffusionSampler, LatentDiffusionConfig


def unlabelled(lab: Any) -> LatentDiffusionConfig:
    """The configuration of a generator that a classifier guides."""
    config: LatentDiffusionConfig = lab.configs["latent_diffusion"]
    config.conditioning = LatentDiffusionConfig.CONDITIONING_CLASSIFIER_GUIDANCE
    return config


def sampler(guidance: float) -> DiffusionSampler:
    return DiffusionSampler(
        steps=3, sigma_min=0.01, sigma_max=40, rho=7, guidance=guidance, solver=DiffusionSampler.SOLVER_DDIM
    )


def test_the_likelihood_is_that_of_the_labels() -> None:
    scores = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    one, several = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    softmax = scores.softmax(dim=1)
    assert torch.allclose(log_likelihood(scores, one, task="multi-class"), softmax[[0, 1], [1, 0]].log())
    sigmoid = scores.sigmoid()
    expected = (sigmoid * several + (1 - sigmoid) * (1 - several)).log().sum(dim=1)
    assert torch.allclose(log_likelihood(scores, several, task="multi-label"), expected)


def test_scores_do_not_depend_on_how_many_latents_are_scored_together() -> None:
    network = Network(latent_channels=2, channels=8, blocks=1, attention_head_width=4, classes=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network.build().eval()
        x = torch.randn(4, 2, 4, 4)
    noise = torch.linspace(-1, 1, 4)
    assert torch.allclose(model(x, noise)[:1], model(x[:1], noise[:1]), atol=1e-5)


@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
def test_it_learns_and_resumes_exactly(task: str, lab: Any) -> None:
    split = lab.split(task=task)
    undisturbed = lab.train_guide(split)
    series = undisturbed.result("curves").json("curves.json")["series"]
    assert set(series) == {"guide_loss"} | ({"guide_accuracy"} if task == "multi-class" else set())
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        lab.train_guide(split, checkpoints=checkpoints, extra={"cancel_after": 5, "checkpoint_every": 3})
    weights = [
        made.result("classifier").read("weights.safetensors")
        for made in (undisturbed, lab.train_guide(split, checkpoints=checkpoints))
    ]
    assert weights[0] == weights[1]


def test_a_generator_without_labels_is_guided_to_different_images_of_each_class(lab: Any) -> None:
    split = lab.split()
    trained, guide = lab.train(split, latent_diffusion=unlabelled(lab)), lab.train_guide(split)

    def images(guidance: float) -> Any:
        given = {"latent_diffusion": sampler(guidance), "guide": guide if guidance else None}
        return lab.sample(split, trained, **given).result("images").array("images-00000.npy")

    unguided, guided = images(0.0), images(500.0)
    assert not np.array_equal(unguided, guided)


def test_guidance_without_a_classifier_and_a_classifier_without_use_are_refused(lab: Any) -> None:
    split = lab.split()
    guide = lab.train_guide(split)
    without = lab.train(split, latent_diffusion=unlabelled(lab))
    says = "classifier: guides a generator that was trained without labels"
    with pytest.raises(UserError, match=f"{says}.*received no classifier, guidance 2"):
        lab.sample(split, without, latent_diffusion=sampler(2.0))
    told = lab.train(split, latent_diffusion=small(lab))
    with pytest.raises(UserError, match=f"{says}.*received a classifier, guidance 2, a generator that is told labels"):
        lab.sample(split, told, guide=guide, latent_diffusion=sampler(2.0))
    pixels = lab.train(split, pca=lab.configs["pca"])
    with pytest.raises(UserError, match="classifier: nothing guides a pca generator but itself"):
        lab.sample(split, pixels, guide=guide)


def small(lab: Any) -> LatentDiffusionConfig:
    config: LatentDiffusionConfig = lab.configs["latent_diffusion"]
    config.conditioning = LatentDiffusionConfig.CONDITIONING_LABELS
    return config


def test_a_class_that_the_classifier_would_never_see_is_refused(lab: Any) -> None:
    few = lab.split().take(np.arange(0, 20, 2))
    with pytest.raises(UserError, match=r"config\.conditioning: .*must have seen each class; received no .* of ill"):
        lab.train_guide(few)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, r"config\.channels: must be above 0"),
        ({"attention_head_width": 3}, r"config\.attention_head_width: must divide the channels"),
        ({"p_std": 0.0}, r"config\.p_std: must be above 0"),
    ],
)
def test_a_classifier_that_cannot_work_is_refused(changes: dict[str, Any], message: str, lab: Any) -> None:
    with pytest.raises(UserError, match=message):
        lab.train_guide(lab.split(), **changes)
