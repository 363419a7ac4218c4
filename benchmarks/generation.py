"""Speed of the generation stage on this machine: the `nano` presets at 28 px, and ratios to named peers.

    python benchmarks/generation.py [--seconds 600 [--data FOLDER] [--folder FOLDER]]

The peers: for training, the same network on pixels that are not folded; for sampling, Heun's method (Karras et al.
2022) at as many evaluations of the network as gives its usual 18 steps. Both run in this process, one after the other.
Times are the process's CPU times, since the machine may be shared. Of a step of each family: the share of its time that
is spent outside forward pass, backward pass and optimiser.

With `--seconds`, CPU time of a training, two trials say what images are worth, as they would of a user's: a diffusion
model of PneumoniaMNIST against one that was trained for a tenth of that time; and, on drawn textures of nine kinds at
64 px, a diffusion model of latents (a third of the time is its autoencoder's) against one of pixels. That takes about
eight times as long; with `--folder` the trials lie there, and one that was stopped goes on. Ends with 1 where a step's
share is too large, or a trial does not end in favour of the former.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from syntrial_generation import denoiser, gan, train_autoencoder
from syntrial_generation.data import Subject, one_hot
from syntrial_generation.diffusion import DiffusionSampling, DiffusionTraining
from syntrial_generation.gan import GanTraining
from syntrial_generation.loop import GeneratorTraining
from syntrial_generation.mixture import Mixture
from syntrial_generation.train_autoencoder import AutoencoderTraining
from syntrial_training.tensors import to_bytes
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from syntrial.experiment.presets.generators import autoencoder_preset, generator_preset, sampler_preset
from syntrial.imagesets.imageset import ImageSet
from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler, GanConfig

OUTSIDE = 0.05
"""The most of a step that may pass outside forward pass, backward pass and optimiser."""
_STEPS = 5
_OF_A_DENOISER = (
    "channels",
    "layers_per_level",
    "attention_head_width",
    "dropout",
    "images",
    "batch_size",
    "learning_rate",
    "warmup_images",
    "ema_half_life_images",
    "p_mean",
    "p_std",
    "label_dropout",
)


def per_second(work: Callable[[int], object], *, images: int, first: int = 0) -> float:
    """Images per second of CPU time, over a few calls after one that warms up; numbered from `first`."""
    work(first)
    start = time.process_time()
    for number in range(first + 1, first + _STEPS + 1):
        work(number)
    return images * _STEPS / (time.process_time() - start)


def noise_split(*, side: int = 28, channels: int = 1) -> ImageSet:
    """Images of noise: speed does not depend on what they show."""
    random = np.random.default_rng(0)
    return ImageSet(
        images_NHWC=random.integers(0, 256, (512, side, side, channels), dtype=np.uint8),
        labels=np.arange(512, dtype=np.int64) % 2,
        classes=("negative", "positive"),
        task="multi-class",
    )


def spent_outside(training: GeneratorTraining, module: ModuleType) -> float:
    """The share of a step's CPU time outside forward pass, backward pass and optimiser; `module` has the step."""
    inside = started = 0.0
    passes = module.set_gradients

    def begin(*_: object) -> None:
        nonlocal started
        started = time.process_time()

    def end(*_: object) -> None:
        nonlocal inside
        inside += time.process_time() - started

    def timed(*arguments: Any) -> Any:
        begin()
        found = passes(*arguments)
        end()
        return found

    hooks = register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end)
    try:
        with patch.object(module, "set_gradients", timed):
            training.step(0)
            inside, start = 0.0, time.process_time()
            for number in range(1, 2 * _STEPS + 1):
                training.step(number)
            return 1 - inside / (time.process_time() - start)
    finally:
        for hook in hooks:
            hook.remove()


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


def autoencoder(*, side: int, judged: bool) -> AutoencoderTraining:
    """The `nano` autoencoder's training on colour images, its discriminator begun or without."""
    config = autoencoder_preset("latent_diffusion", "nano", image_size=side, factor=None)
    config.adversarial_after_images = 0
    if not judged:
        config.adversarial_weight = 0
    images = noise_split(side=side, channels=3).images_NHWC
    return AutoencoderTraining(images, config, shape=images.shape[1:], mixture=Mixture([len(images)]), seed=0)


def latents(*, side: int) -> DiffusionTraining:
    """A training with the network and batches of the `nano` denoiser of latents, on pixels nearly of their shape:
    an image has at most three channels, which only the first and last convolution see.
    """
    coder = autoencoder_preset("latent_diffusion", "nano", image_size=side, factor=None)
    config = generator_preset("latent_diffusion", "nano", image_size=side // coder.factor)
    alike = DiffusionConfig(fold=1, **{name: getattr(config, name) for name in _OF_A_DENOISER})
    split = noise_split(side=side // coder.factor, channels=3)
    return DiffusionTraining(split, alike, seed=0)


def lengths(*, side: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is written of a model of latents and of one of pixels, each trained for so many seconds of CPU time."""
    config, _, _ = nano()
    pixels = DiffusionTraining(noise_split(side=side, channels=3), config, seed=0)
    denoiser, judged, plain = (
        latents(side=side),
        autoencoder(side=side, judged=True),
        autoencoder(side=side, judged=False),
    )
    # The discriminator begins at two thirds of the images, as in the preset.
    image = sum(
        share / per_second(training.step, images=training.batch_size)
        for share, training in ((1 / 3, judged), (2 / 3, plain))
    )
    shown = int(seconds / 3 / image)
    return {
        "images": int(seconds * 2 / 3 * per_second(denoiser.step, images=denoiser.batch_size)),
        "autoencoder": {"images": shown, "adversarialAfterImages": shown * 2 // 3},
    }, {"images": int(seconds * per_second(pixels.step, images=pixels.batch_size))}


def compared(name: str, dataset: dict[str, Any], better: dict[str, Any], worse: dict[str, Any]) -> dict[str, Any]:
    """An experiment of two sets: does a classifier of the first set's images alone beat the second's?"""
    sets = [{"name": key, "generator": generator, "copies": 0.0} for key, generator in (better | worse).items()]
    (first,), (second,) = better, worse
    primary = {"arm": "synthetic", "synthetic": first, "against": {"synthetic": second}}
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "dataset": dataset,
            "synthetic": sets,
            "arms": ["synthetic"],
            "replicates": 3,
            "exploratoryReplicates": 2,
            "controls": "none",
            "budget": {"steps": 300},
            "endpoint": {"metric": "accuracy", "smallestEffect": 0.01, "primary": primary},
        },
    }


def trials(seconds: float) -> Iterator[dict[str, Any]]:
    """The two experiments, the larger model of each first."""
    config, _, _ = nano()
    _, rate = trained(config)
    whole = int(seconds * rate)
    chest = {"medmnist": "pneumoniamnist", "size": 28, "trainFraction": 0.2}
    longer, shorter = ({"diffusion": {"preset": "nano", "images": images}} for images in (whole, whole // 10))
    yield compared("training-length", chest, {"longer": longer}, {"a-tenth": shorter})
    patients = {"trainPatients": 900, "validationPatients": 270, "testPatients": 900, "imagesPerPatient": 1}
    tissue = {"phantom": {"variant": "tissue", **patients}, "size": 64}
    latent, pixel = lengths(side=64, seconds=seconds)
    yield compared(
        "latents-or-pixels",
        tissue,
        {"latents": {"latentDiffusion": {"preset": "nano", **latent}}},
        {"pixels": {"diffusion": {"preset": "nano", **pixel}}},
    )


def report_of(experiment: dict[str, Any], *, data: Path | None, folder: Path | None) -> dict[str, Any]:
    """The report of a trial in a folder; one that was begun there goes on, with the lengths that it began with."""
    name = experiment["metadata"]["name"]
    with contextlib.ExitStack() as stack:
        place = (folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))) / name
        place.mkdir(parents=True, exist_ok=True)
        file = place / "experiment.yaml"
        if not file.exists():
            file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
        options = ["--data-root", str(data)] if data else []
        command = [sys.executable, "-m", "syntrial", "run", file.name, "--store", "store", *options]
        subprocess.run(command, cwd=place, check=True)
        report: dict[str, Any] = json.loads((place / "runs" / name / "report.json").read_bytes())
        return report


def trial_arguments(parser: argparse.ArgumentParser, *, without: str) -> None:
    """Adds what a benchmark with trials is told of them; `without` says what there is without."""
    parser.add_argument("--seconds", type=float, default=0, help=f"CPU time of each training; 0: {without}.")
    parser.add_argument("--data", type=Path, help="The folder with pneumoniamnist.npz.")
    parser.add_argument("--folder", type=Path, help="Where trials are kept, so that one that was stopped goes on.")


def main() -> int:
    """Prints the rates and their ratios, and what the trials say; 1 where something is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    trial_arguments(parser, without="no trials")
    given = parser.parse_args()
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
    gan_config = generator_preset("gan", "nano", image_size=28)
    assert isinstance(gan_config, GanConfig)
    flat = GanConfig()
    flat.CopyFrom(gan_config)
    flat.fold = 1
    del flat.channels[:]
    flat.channels.extend([*gan_config.channels, gan_config.channels[-1] // 2])
    rate = per_second(GanTraining(split, gan_config, seed=0).step, images=gan_config.batch_size)
    ratio = rate / per_second(GanTraining(split, flat, seed=0).step, images=gan_config.batch_size)
    print(f"gan training: {rate:.0f} images per CPU second; {ratio:.1f} times a third level in place of folding")

    missed = 0
    for name, made, module in (
        ("diffusion", training, denoiser),
        ("gan", GanTraining(split, gan_config, seed=0), gan),
        ("latents, 64 px", latents(side=64), denoiser),
        ("autoencoder, 64 px", autoencoder(side=64, judged=True), train_autoencoder),
    ):
        share = spent_outside(made, module)
        missed += share > OUTSIDE
        print(f"{name}: {share:.1%} of a step outside forward pass, backward pass and optimiser, {OUTSIDE:.0%} at most")
    for experiment in trials(given.seconds) if given.seconds else ():
        verdict = report_of(experiment, data=given.data, folder=given.folder)["verdict"]
        low, high = verdict["interval_95"]
        missed += low <= 0
        first, second = (item["name"] for item in experiment["spec"]["synthetic"])
        print(f"accuracy, {first} minus {second}: {verdict['estimate']:+.3f} (95% interval {low:+.3f} to {high:+.3f})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
