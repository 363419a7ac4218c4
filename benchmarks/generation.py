"""Speed of the generation stage on this machine: the `nano` presets at 28 px, and ratios to named peers.

    python benchmarks/generation.py

The peers: for training, the same network on pixels that are not folded; for sampling, Heun's method (Karras et al.
2022) at as many evaluations of the network as gives its usual 18 steps. Both run in this process, one after the other.
Times are the process's CPU times, since the machine may be shared.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from syntrial_generation.data import Subject, one_hot
from syntrial_generation.diffusion import DiffusionSampling, DiffusionTraining
from syntrial_generation.gan import GanTraining
from syntrial_training.tensors import to_bytes

from syntrial.experiment.presets.generators import generator_preset, sampler_preset
from syntrial.imagesets.imageset import ImageSet
from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler, GanConfig

_STEPS = 5


def per_second(work: Callable[[int], object], *, images: int) -> float:
    """Images per second of CPU time, over a few calls after one that warms up."""
    work(0)
    start = time.process_time()
    for number in range(1, _STEPS + 1):
        work(number)
    return images * _STEPS / (time.process_time() - start)


def noise_split() -> ImageSet:
    """Images of noise: speed does not depend on what they show."""
    random = np.random.default_rng(0)
    return ImageSet(
        images_NHWC=random.integers(0, 256, (512, 28, 28, 1), dtype=np.uint8),
        labels=np.arange(512, dtype=np.int64) % 2,
        classes=("negative", "positive"),
        task="multi-class",
    )


def trained(config: DiffusionConfig) -> tuple[DiffusionTraining, float]:
    """A training after a few steps, and its images per CPU second."""
    training = DiffusionTraining(noise_split(), config, seed=0)
    return training, per_second(training.step, images=config.batch_size)


def sampled(
    training: DiffusionTraining, config: DiffusionConfig, sampler: DiffusionSampler, *, micro_batch: int
) -> float:
    """Images per CPU second that a trained model makes."""
    settings = {
        "network": {
            "fold": config.fold,
            "channels": list(config.channels),
            "layers_per_level": config.layers_per_level,
            "attention_head_width": config.attention_head_width,
            "dropout": config.dropout,
        },
        "mean": training.pixels.mean,
        "sigma_data": training.pixels.sigma_data,
    }
    weights = to_bytes(training.average.tensors)
    sampling = DiffusionSampling(weights, settings, subject=Subject.of(noise_split()), sampler=sampler)
    labels = one_hot(np.zeros(micro_batch, dtype=np.int64), classes=2)
    start = time.process_time()
    sampling.images(labels, seed=0, label=0, indices=range(micro_batch))
    return micro_batch / (time.process_time() - start)


def nano() -> tuple[DiffusionConfig, DiffusionSampler, int]:
    """The `nano` diffusion model at 28 px: its training, its sampler and its micro-batch."""
    config = generator_preset("diffusion", "nano", image_size=28)
    sampler, micro_batch = sampler_preset("diffusion", "nano")
    assert isinstance(config, DiffusionConfig)
    assert isinstance(sampler, DiffusionSampler)
    return config, sampler, micro_batch


def main() -> None:
    """Prints the rates and their ratios."""
    # One thread: waiting threads spin, which would count as computing on a machine that is shared.
    torch.set_num_threads(1)
    config, sampler, micro_batch = nano()
    plain = DiffusionConfig()
    plain.CopyFrom(config)
    plain.fold = 1
    training, folded = trained(config)
    _, unfolded = trained(plain)
    print(f"diffusion training: {folded:.0f} images per CPU second; {folded / unfolded:.1f} times pixels not folded")

    heun = DiffusionSampler(steps=18, sigma_min=0.002, sigma_max=80, rho=7, solver=DiffusionSampler.SOLVER_HEUN)
    rates = [sampled(training, config, chosen, micro_batch=micro_batch) for chosen in (sampler, heun)]
    print(f"diffusion sampling: {rates[0]:.1f} images per CPU second; {rates[0] / rates[1]:.1f} times Heun in 18 steps")

    split = noise_split()
    gan = generator_preset("gan", "nano", image_size=28)
    assert isinstance(gan, GanConfig)
    flat = GanConfig()
    flat.CopyFrom(gan)
    flat.fold = 1
    del flat.channels[:]
    flat.channels.extend([*gan.channels, gan.channels[-1] // 2])
    rate = per_second(GanTraining(split, gan, seed=0).step, images=gan.batch_size)
    ratio = rate / per_second(GanTraining(split, flat, seed=0).step, images=gan.batch_size)
    print(f"gan training: {rate:.0f} images per CPU second; {ratio:.1f} times a third level in place of folding")


if __name__ == "__main__":
    main()
