"""The transformer as a denoiser: what it begins as, and that all which holds of the U-Net holds of it."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation import edm
from syntrial_generation.data import Subject
from syntrial_generation.diffusion import DiffusionSampling, DiffusionTraining
from syntrial_generation.transformer import PatchTransformer
from syntrial_training.tensors import to_bytes

from syntrial.errors import UserError
from syntrial.v1.generation_pb2 import Denoiser, DiffusionSampler, LatentDiffusionConfig
from tests.unit.generation.conftest import blobs_of
from tests.unit.generation.test_initial import begun, short, weights


def transformer(config: Any, **changes: Any) -> Any:
    """A small transformer in place of the U-Net of a configuration."""
    other = type(config)()
    other.CopyFrom(config)
    del other.channels[:]
    other.channels.append(16)
    other.denoiser, other.fold = Denoiser.DENOISER_TRANSFORMER, 2
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def network(*, layers: int = 2, height: int = 8, width: int = 8) -> PatchTransformer:
    torch.manual_seed(0)
    return PatchTransformer(
        image_channels=3,
        image_height=height,
        image_width=width,
        conditions=6,
        fold=2,
        width=16,
        layers=layers,
        attention_head_width=8,
        dropout=0.0,
    ).eval()


def stirred(model: PatchTransformer) -> PatchTransformer:
    """With random weights in place of the zeros that training starts from."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    return model


def test_a_fresh_transformer_gives_zero_so_the_denoiser_gives_the_skip_alone() -> None:
    fresh, x, sigma = network(), torch.randn(2, 3, 8, 8), torch.tensor([0.1, 3.0])
    conditions = torch.randn(2, 6)
    assert torch.equal(fresh(x, torch.zeros(2), conditions), torch.zeros_like(x))
    tokens, told = torch.randn(2, 16, 16), torch.randn(2, 16)
    assert all(torch.equal(block(tokens, told), tokens) for block in fresh.blocks)
    clean = edm.denoise(lambda scaled, level: fresh(scaled, level, conditions), x, sigma, sigma_data=0.5)
    skip = edm.preconditioning(sigma, sigma_data=0.5).skip[:, None, None, None]
    assert torch.equal(clean, skip * x)


def test_it_is_told_the_noise_the_conditions_and_where_each_patch_lies() -> None:
    model, x = stirred(network(height=8, width=12)), torch.randn(1, 3, 8, 12)
    conditions, level = torch.zeros(1, 6), torch.zeros(1)
    conditions[0, 0] = 1
    null = torch.zeros(1, 6)
    null[0, 2] = 1
    base = model(x, level, conditions)
    assert base.shape == x.shape
    assert not torch.allclose(base, model(x, level + 0.5, conditions), atol=1e-4)
    assert not torch.allclose(base, model(x, level, null), atol=1e-4)
    # Attention alone would move with its patches.
    moved = model(x.roll(2, dims=3), level, conditions)
    assert not torch.allclose(base.roll(2, dims=3), moved, atol=1e-4)


def test_patches_are_the_squares_of_the_image() -> None:
    # Without a block, each patch of the output is a function of the same patch of the input.
    model, x = stirred(network(layers=0)), torch.randn(1, 3, 8, 8)
    changed = x.clone()
    changed[:, :, 2:4, 6:8] += 1
    level, conditions = torch.zeros(1), torch.zeros(1, 6)
    differs = (model(changed, level, conditions) != model(x, level, conditions)).any(dim=1)[0]
    assert differs[2:4, 6:8].all()
    assert differs.sum() == 4


def test_the_loss_falls(lab: Any) -> None:
    config = transformer(lab.configs["diffusion"], dropout=0.0, images=100_000, learning_rate=1e-2)
    config.augment_shift, config.augment_flip = 0, False
    training = DiffusionTraining(lab.split().take(np.zeros(20, dtype=np.int64)), config, seed=0)
    losses = []
    for number in range(80):
        training.step(number)
        losses.append(training.curves.latest["loss"])
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_guidance_moves_away_from_the_unconditional_image(lab: Any) -> None:
    split = lab.split()
    training = DiffusionTraining(split, transformer(lab.configs["diffusion"]), seed=0)
    with torch.no_grad():
        for tensor in training.average.tensors.values():
            tensor.copy_(0.2 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    settings = {"network": asdict(training.network), "mean": 0.0, "sigma_data": 0.5}
    pictures = []
    for guidance in (0.0, 1.0, 3.0):
        sampler = DiffusionSampler(steps=3, sigma_min=0.1, sigma_max=2, rho=7, guidance=guidance)
        sampling = DiffusionSampling(
            to_bytes(training.average.tensors), settings, subject=Subject.of(split), sampler=sampler
        )
        pictures.append(sampling.images(np.eye(2, dtype=np.float32), seed=0, label=0, indices=range(2)))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("family", ["diffusion", "latent_diffusion"])
def test_an_interrupted_and_resumed_training_gives_the_same_bytes_and_images(family: str, lab: Any) -> None:
    trained = lab.train_interrupted(lab.split(), **{family: transformer(lab.configs[family])})
    drawn = lab.sample(lab.split(), trained, **lab.samplers[family]).result("images").array("images-00000.npy")
    fewer = lab.sample(lab.split(), trained, ratio=0.4, **lab.samplers[family]).result("images")
    assert drawn.shape == (20, 8, 8, 1)
    assert np.array_equal(fewer.array("images-00000.npy")[:4], drawn[:4])


def test_a_classifier_guides_one_that_is_told_no_label(lab: Any) -> None:
    split = lab.split()
    conditioning = LatentDiffusionConfig.CONDITIONING_CLASSIFIER_GUIDANCE
    config = transformer(lab.configs["latent_diffusion"], conditioning=conditioning)
    trained, guide = lab.train(split, latent_diffusion=config), lab.train_guide(split)
    sampler = lab.samplers["latent_diffusion"]["latent_diffusion"]
    plain = lab.sample(split, trained, latent_diffusion=sampler).result("images")
    sampler.guidance = 20.0
    guided = lab.sample(split, trained, guide=guide, latent_diffusion=sampler).result("images")
    assert not np.array_equal(plain.array("images-00000.npy"), guided.array("images-00000.npy"))


def test_parts_stay_and_classes_are_taken_over_and_another_architecture_is_refused(lab: Any) -> None:
    split, unet = lab.split(), short(lab.configs["diffusion"])
    config = short(transformer(unet))
    earlier = blobs_of(lab.train(split, diffusion=transformer(lab.configs["diffusion"])), "generator")
    before, after = weights(earlier), weights(begun(split, earlier, freeze=["blocks.0"], diffusion=config))
    frozen = {name for name in before if name.startswith("blocks.0.")}
    assert frozen
    assert {name for name in before if torch.equal(before[name], after[name])} >= frozen
    assert not torch.equal(before["output.weight"], after["output.weight"])
    with pytest.raises(UserError, match=r"initial: .*denoiser transformer, not unet.*denoiser: transformer"):
        begun(split, earlier, diffusion=unet)
    with pytest.raises(UserError, match=r"initial: .*denoiser unet, not transformer.*denoiser: unet"):
        begun(split, blobs_of(lab.train(split, diffusion=unet), "generator"), diffusion=config)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("diffusion", {"fold": 3}, "diffusion.fold: the sides of an image must be multiples"),
        ("latent_diffusion", {"fold": 3}, "latent_diffusion.fold: the sides of the latents must be multiples"),
        ("diffusion", {"attention_head_width": 0}, "diffusion.attention_head_width: must divide"),
        ("diffusion", {"attention_head_width": 5}, "diffusion.attention_head_width: must divide"),
        ("diffusion", {"layers_per_level": 0}, "diffusion.layers_per_level: must be above 0"),
        ("diffusion", {"channels": [18]}, r"diffusion.channels: .*its width, a multiple of 4; received \[18\]"),
        ("diffusion", {"channels": [16, 16]}, "diffusion.channels: of a transformer are one number"),
    ],
)
def test_a_transformer_that_cannot_work_is_refused_by_its_field(
    family: str, changes: dict[str, Any], message: str, lab: Any
) -> None:
    config = transformer(lab.configs[family])
    for name, value in changes.items():
        if name == "channels":
            del config.channels[:]
            config.channels.extend(value)
        else:
            setattr(config, name, value)
    with pytest.raises(UserError, match=message):
        lab.train(lab.split(), **{family: config})
