from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.data import Subject
from syntrial_generation.diffusion import DiffusionSampling, DiffusionTraining, augmented, pixel_moments
from syntrial_generation.unet import norm_groups
from syntrial_training.tensors import to_bytes

from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler


def test_pixel_moments_are_those_of_the_scaled_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    scaled = images / 127.5 - 1
    assert pixel_moments(images) == pytest.approx((scaled.mean(), scaled.std()))


def test_guidance_moves_away_from_the_unconditional_image(lab: Any) -> None:
    train = lab.split()
    training = DiffusionTraining(train, lab.configs["diffusion"], seed=0)
    with torch.no_grad():
        # Random weights in place of the zeros that training starts from, so that the label shows.
        for weights in training.average.tensors.values():
            weights.copy_(0.2 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
    settings = {"network": asdict(training.network), "mean": 0.0, "sigma_data": 0.5}
    pictures = []
    for guidance in (0.0, 1.0, 3.0):
        sampler = DiffusionSampler(steps=3, sigma_min=0.1, sigma_max=2, rho=7, guidance=guidance)
        sampling = DiffusionSampling(
            to_bytes(training.average.tensors), settings, subject=Subject.of(train), sampler=sampler
        )
        pictures.append(sampling.images(np.eye(2, dtype=np.float32), seed=0, label=0, indices=range(2)))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_augmentation_tells_what_it_did() -> None:
    clean = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    config = DiffusionConfig(augment_shift=2, augment_flip=True)
    changed, told = augmented(clean, config=config, random=torch.Generator().manual_seed(1))
    for before, after, (down, right, flip) in zip(clean[:, 0], changed[:, 0], told.tolist(), strict=True):
        rows = (torch.arange(8) - round(2 * down)).clamp(0, 7)
        columns = (torch.arange(8) - round(2 * right)).clamp(0, 7)
        moved = before[rows][:, columns]
        assert torch.equal(after, moved.flip(1) if flip else moved)
    untouched = (told == 0).all(dim=1)
    assert 0.3 < float(untouched.float().mean()) < 0.8


def test_training_starts_from_a_network_that_gives_zero(lab: Any) -> None:
    training = DiffusionTraining(lab.split(), lab.configs["diffusion"], seed=0)
    network = training.network.build(Subject.of(lab.split())).eval()
    network.load_state_dict(training.average.tensors)
    output = network(torch.randn(2, 1, 8, 8), torch.zeros(2), torch.zeros(2, 6))
    assert torch.equal(output, torch.zeros(2, 1, 8, 8))


def test_the_loss_falls(lab: Any) -> None:
    config = lab.configs["diffusion"]
    config.dropout, config.images, config.learning_rate = 0.0, 100_000, 1e-2
    train = lab.split()
    config.augment_shift, config.augment_flip = 0, False
    flat = train.take(np.zeros(20, dtype=np.int64))
    training = DiffusionTraining(flat, config, seed=0)
    losses = []
    for number in range(80):
        training.step(number)
        losses.append(training.curves.latest["loss"])
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_norm_groups_divide_every_level() -> None:
    assert norm_groups((64, 128)) == 16
    assert norm_groups((12, 8)) == 4
    assert norm_groups((5,)) == 1
