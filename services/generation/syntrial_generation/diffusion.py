"""The diffusion family: an EDM denoiser of pixels on a class-conditional network."""

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from syntrial_training.tensors import from_bytes, to_bytes
from torch import Tensor

from syntrial.documents.generator import WEIGHTS
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler
from syntrial_generation.checks import Checks
from syntrial_generation.curves import Curves
from syntrial_generation.data import Subject, label_vectors, to_pixels, to_unit_range
from syntrial_generation.denoiser import (
    AUGMENTATIONS,
    DenoiserSampling,
    DenoiserTraining,
    Network,
    check_network,
    check_sampler,
)
from syntrial_generation.family import Family
from syntrial_generation.loop import train
from syntrial_generation.mixture import Mixture
from syntrial_generation.parts import WHOLE, Part


def check_diffusion(config: DiffusionConfig, images: ImageSet) -> None:
    """Raises UserError where a diffusion model cannot be trained so on these images."""
    checks = Checks("diffusion")
    subject = Subject.of(images)
    check_network(
        checks,
        config,
        height=subject.height,
        width=subject.width,
        field="fold",
        of="an image",
    )
    checks.at_least_zero("sigma_data", config.sigma_data)
    checks.need(
        config.augment_shift < min(subject.height, subject.width),
        "augment_shift",
        "must be smaller than the image's side",
        config.augment_shift,
        "Choose a few pixels.",
    )
    checks.finish()


def check_diffusion_sampler(checks: Checks, sampler: DiffusionSampler) -> None:
    """Notes what is wrong with how a diffusion model is to be sampled."""
    check_sampler(checks, sampler, family="diffusion")


class Pixels:
    """Images as a denoiser is trained on them: augmented, at scale [-1, 1] about their mean."""

    def __init__(self, images: ImageSet, config: DiffusionConfig) -> None:
        self.subject = Subject.of(images)
        self.labels = label_vectors(images)
        self.labelled = np.ones(len(images), np.bool_)
        self.mixture = Mixture([len(images)])
        self.mean, spread = pixel_moments(images.images_NHWC)
        self.sigma_data = config.sigma_data or spread
        self._images_NHWC, self._config = images.images_NHWC, config

    def batch(self, rows: NDArray[np.int64], *, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `Examples`."""
        clean = to_unit_range(self._images_NHWC[rows]) - self.mean
        return augmented(clean, config=self._config, random=random)


class DiffusionTraining(DenoiserTraining):
    """The state of a training."""

    def __init__(self, images: ImageSet, config: DiffusionConfig, *, seed: int, part: Part = WHOLE) -> None:
        self.pixels = Pixels(images, config)
        super().__init__(self.pixels, config, network=Network.asked(config), family="diffusion", seed=seed, part=part)


def train_diffusion(
    images: ImageSet, config: DiffusionConfig, *, seed: int, context: StepContext, part: Part = WHOLE
) -> tuple[dict[str, bytes], dict[str, Any], Curves]:
    """Trains on the split; returns the weights as safetensors, what sampling needs beside them, and the curves."""
    training = DiffusionTraining(images, config, seed=seed, part=part)
    curves = train(training, context=context, part=part)
    settings = {
        "network": asdict(training.network),
        "mean": training.pixels.mean,
        "sigma_data": training.pixels.sigma_data,
        **training.begun,
    }
    return {WEIGHTS: to_bytes(training.average.tensors)}, settings, curves


class DiffusionSampling:
    """A trained denoiser of pixels ready to sample."""

    def __init__(
        self, weights: bytes, settings: dict[str, Any], *, subject: Subject, sampler: DiffusionSampler
    ) -> None:
        self._mean = float(settings["mean"])
        self._denoiser = DenoiserSampling(
            from_bytes(weights),
            network=Network.of(settings["network"]),
            subject=subject,
            sigma_data=float(settings["sigma_data"]),
            sampler=sampler,
        )

    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`, of which `labels_NK` are the label vectors."""
        return to_pixels(self._denoiser.draw(labels_NK, seed=seed, label=label, indices=indices) + self._mean)


def pixel_moments(images_NHWC: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels at scale [-1, 1], exact: from the histogram of the 256 levels."""
    counts = np.bincount(np.asarray(images_NHWC).reshape(-1), minlength=256)
    levels = np.arange(256) / 127.5 - 1
    mean = float((counts * levels).sum() / counts.sum())
    return mean, float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))


def augmented(clean: Tensor, *, config: DiffusionConfig, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shifted and flipped images (NCHW), and what was done to each, float32 (N, 3): down, right (share of the largest
    shift), flip. Half of the images are left as they are, so that the condition 0 is well trained.
    """
    count, _, height, width = clean.shape
    done = torch.zeros(count, AUGMENTATIONS)
    active = torch.rand(count, generator=random) < 0.5
    if config.augment_shift > 0:
        most = config.augment_shift
        shifts = torch.randint(-most, most + 1, (count, 2), generator=random) * active[:, None]
        done[:, :2] = shifts / most
        rows = (torch.arange(height) - shifts[:, :1]).clamp(0, height - 1)
        columns = (torch.arange(width) - shifts[:, 1:]).clamp(0, width - 1)
        clean = clean[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        clean = clean.permute(0, 3, 1, 2)
    if config.augment_flip:
        flips = active & (torch.rand(count, generator=random) < 0.5)
        done[:, 2] = flips.float()
        clean = torch.where(flips[:, None, None, None], clean.flip(3), clean)
    return clean.contiguous(), done


FAMILY: Final = Family(
    check=check_diffusion, train=train_diffusion, open=DiffusionSampling, check_sampler=check_diffusion_sampler
)
