"""The diffusion family: trains an EDM denoiser on a class-conditional U-Net, and samples from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from syntrial_training import compute
from syntrial_training.averages import MovingAverage, decay
from syntrial_training.parts import parts_of, set_gradients
from syntrial_training.tensors import from_bytes, load_optimizer, optimizer_tensors, prefixed, to_bytes, under
from torch import Tensor, nn

from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler
from syntrial_generation import edm
from syntrial_generation.checks import Checks
from syntrial_generation.curves import Curves
from syntrial_generation.data import Subject, label_vectors, to_pixels, to_unit_range
from syntrial_generation.family import Family
from syntrial_generation.loop import AVERAGE_RAMP, GeneratorTraining, train
from syntrial_generation.streams import batch_indices, item_noise, step_generator
from syntrial_generation.unet import FoldedUNet

# Beside the labels, the network is told whether they are withheld, and of the augmentation: shift down, shift right,
# flip (Karras et al. 2022, section 5: "non-leaking", since all of it is 0 in sampling).
_EXTRA_CONDITIONS = 4
_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What `FoldedUNet` is built from; written into `generator.json`."""

    fold: int
    channels: tuple[int, ...]
    layers_per_level: int
    attention_head_width: int
    dropout: float

    def build(self, subject: Subject) -> FoldedUNet:
        """The network with initial weights from torch's global generator."""
        network = FoldedUNet(
            image_channels=subject.channels,
            image_size=subject.height,
            conditions=len(subject.classes) + _EXTRA_CONDITIONS,
            fold=self.fold,
            channels=self.channels,
            layers_per_level=self.layers_per_level,
            attention_head_width=self.attention_head_width,
            dropout=self.dropout,
        )
        return network.to(memory_format=torch.channels_last)


def check_diffusion(config: DiffusionConfig, images: ImageSet) -> None:
    """Raises UserError where a diffusion model cannot be trained so on these images."""
    checks = Checks("diffusion")
    subject = Subject.of(images)
    fold = config.fold or 1
    levels = len(config.channels)
    checks.need(
        levels > 0 and all(count > 0 for count in config.channels),
        "channels",
        "must give at least one level, each above 0",
        list(config.channels),
        "Give the channels of each level, for example [64, 128].",
    )
    side = fold * 2 ** max(levels - 1, 0)
    checks.need(
        subject.height % side == 0 and subject.width % side == 0,
        "fold",
        f"an image's sides must be multiples of fold × 2^(levels - 1) = {side}",
        f"{subject.height}×{subject.width} pixels, fold {fold}, {levels} levels",
        "Choose another image size, fewer levels in `channels`, or another fold.",
    )
    width = config.attention_head_width
    checks.need(
        width == 0 or all(count % width == 0 for count in config.channels[-1:]),
        "attention_head_width",
        "must divide the channels of the last level",
        f"{width}, channels {list(config.channels)}",
        "Choose a divisor, or 0 for no attention.",
    )
    checks.positive("layers_per_level", config.layers_per_level)
    checks.length(images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.share("dropout", config.dropout)
    checks.share("label_dropout", config.label_dropout)
    checks.positive("p_std", config.p_std)
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
    checks.positive("diffusion.steps", sampler.steps)
    checks.need(
        0 < sampler.sigma_min < sampler.sigma_max,
        "diffusion.sigma_min",
        "must be above 0 and below sigma_max",
        f"{sampler.sigma_min}, sigma_max {sampler.sigma_max}",
        "Leave both out for the preset's values.",
    )
    checks.positive("diffusion.rho", sampler.rho)
    checks.at_least_zero("diffusion.churn", sampler.churn)
    checks.at_least_zero("diffusion.guidance", sampler.guidance)
    checks.need(
        not (sampler.churn > 0 and sampler.solver == DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M),
        "diffusion.churn",
        "the solver dpm-solver-pp-2m is deterministic: churn must be 0",
        sampler.churn,
        "Use the solver heun, or leave churn out.",
    )


class DiffusionTraining(GeneratorTraining):
    """The state of a training."""

    def __init__(self, images: ImageSet, config: DiffusionConfig, *, seed: int) -> None:
        super().__init__(config, family="diffusion")
        self._config = config
        self._seed = seed
        self._images_NHWC = images.images_NHWC
        self._labels_NK = label_vectors(images)
        self.mean, spread = pixel_moments(images.images_NHWC)
        self.sigma_data = config.sigma_data or spread
        self.network = Network(
            fold=config.fold or 1,
            channels=tuple(config.channels),
            layers_per_level=config.layers_per_level,
            attention_head_width=config.attention_head_width,
            dropout=config.dropout,
        )
        subject = Subject.of(images)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._model = self.network.build(subject).to(self.device).train()
        self.modules = (self._model,)
        self.average = MovingAverage(self._model)
        """The averaged weights: what sampling uses."""
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )

    def step(self, number: int) -> None:
        """One optimiser step; its batch, noise and dropout are functions of (seed, number)."""
        config = self._config
        batch = config.batch_size
        rows = batch_indices(len(self._images_NHWC), batch_size=batch, step=number, seed=self._seed)
        random = step_generator("diffusion", seed=self._seed, step=number)
        clean = to_unit_range(self._images_NHWC[rows]) - self.mean
        clean, augmentation = augmented(clean, config=config, random=random)
        kept = (torch.rand(batch, 1, generator=random) >= config.label_dropout).to(torch.float32)
        labels = torch.from_numpy(self._labels_NK[rows])
        conditions = torch.cat([labels * kept, 1 - kept, augmentation], dim=1).to(self.device)
        # Noise levels are spread evenly over the distribution's quantiles within the batch: less variance from step to
        # step than independent ones, and each level's distribution is unchanged.
        offset = torch.rand(1, generator=random)
        quantiles = ((torch.arange(batch) + offset) / batch).clamp(1e-6, 1 - 1e-6)
        normal = torch.special.ndtri(quantiles.double()).float()[torch.randperm(batch, generator=random)]
        noise = torch.randn(clean.shape, generator=random)
        sigma = edm.training_sigma(normal, p_mean=config.p_mean, p_std=config.p_std)
        clean, noise, sigma = clean.to(self.device), noise.to(self.device), sigma.to(self.device)

        def denoising(part: slice) -> tuple[Tensor, Tensor]:
            losses = edm.denoising_loss(
                lambda x, level: self._model(x, level, conditions[part]),
                clean[part],
                noise[part],
                sigma[part],
                sigma_data=self.sigma_data,
            )
            share = losses.sum() / batch
            return share, share

        with torch.random.fork_rng(enabled=config.dropout > 0):
            if config.dropout > 0:
                torch.manual_seed(int(torch.randint(2**62, (1,), generator=random)))
            # Dropout draws from the one generator that torch has.
            parts = [slice(batch)] if config.dropout > 0 else parts_of(batch, device=self.device)
            loss = set_gradients(self._model, denoising, parts)
        nn.utils.clip_grad_norm_(self._model.parameters(), _GRADIENT_NORM)
        rate = learning_rate(
            number * batch, peak=config.learning_rate, warmup=config.warmup_images, images=config.images
        )
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        done = (number + 1) * batch
        self.average.update(decay=decay(batch, done=done, half_life=config.ema_half_life_images, ramp=AVERAGE_RAMP))
        self.losses.note(number, {"loss": loss}, learning_rate=rate)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, their average and the optimiser's moments."""
        return (
            prefixed(self._model.state_dict(), "model/")
            | prefixed(self.average.tensors, "average/")
            | prefixed(optimizer_tensors(self._optimizer), "optimizer/")
        )

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` took."""
        self._model.load_state_dict(under(tensors, "model/"))
        self.average.load(under(tensors, "average/"))
        load_optimizer(self._optimizer, under(tensors, "optimizer/"))


def train_diffusion(
    images: ImageSet, config: DiffusionConfig, *, seed: int, context: StepContext
) -> tuple[bytes, dict[str, Any], Curves]:
    """Trains on the split; returns the weights as safetensors, what sampling needs beside them, and the curves."""
    training = DiffusionTraining(images, config, seed=seed)
    curves = train(training, context=context)
    settings = {
        "network": asdict(training.network),
        "mean": training.mean,
        "sigma_data": training.sigma_data,
    }
    return to_bytes(training.average.tensors), settings, curves


class DiffusionSampling:
    """A trained denoiser ready to sample."""

    def __init__(
        self, weights: bytes, settings: dict[str, Any], *, subject: Subject, sampler: DiffusionSampler
    ) -> None:
        network = settings["network"]
        built = Network(**{**network, "channels": tuple(network["channels"])})
        self.device = compute.device()
        self._model = built.build(subject)
        self._model.load_state_dict(from_bytes(weights))
        self._model.to(self.device).eval()
        self._subject = subject
        self._sampler = sampler
        self._mean = float(settings["mean"])
        self._sigma_data = float(settings["sigma_data"])

    @torch.inference_mode()
    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`, of which `labels_NK` are the label vectors."""
        sampler, subject = self._sampler, self._subject
        shape = (subject.channels, subject.height, subject.width)
        sigmas = edm.sigma_steps(
            sampler.steps, sigma_min=sampler.sigma_min, sigma_max=sampler.sigma_max, rho=sampler.rho
        )

        def noise(purpose: str) -> Tensor:
            return item_noise(purpose, seed=seed, label=label, indices=indices, shape=shape).to(self.device)

        start = noise("diffusion start") * sigmas[0]
        denoiser = self._denoiser(torch.from_numpy(labels_NK).to(self.device))
        if sampler.solver == DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M:
            result = edm.dpm_solver_pp_2m(denoiser, start, sigmas)
        else:
            result = edm.heun(
                denoiser, start, sigmas, churn=sampler.churn, noise=lambda step: noise(f"diffusion churn {step}")
            )
        return to_pixels(result + self._mean)

    def _denoiser(self, labels: Tensor) -> edm.Denoiser:
        extra = torch.zeros(len(labels), _EXTRA_CONDITIONS, device=labels.device)
        given = torch.cat([labels, extra], dim=1)
        withheld = torch.zeros_like(given)
        withheld[:, labels.shape[1]] = 1.0

        def told(conditions: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
            return edm.denoise(
                lambda scaled, level: self._model(scaled, level, conditions), x, sigma, sigma_data=self._sigma_data
            )

        guidance = self._sampler.guidance
        if guidance in {0.0, 1.0}:
            return lambda x, sigma: told(given, x, sigma)

        def guided(x: Tensor, sigma: Tensor) -> Tensor:
            # Ho and Salimans 2022, eq. 6, for denoisers: scale 1 is the conditional model.
            without = told(withheld, x, sigma)
            return without + guidance * (told(given, x, sigma) - without)

        return guided


def pixel_moments(images_NHWC: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels at scale [-1, 1], exact: from the histogram of the 256 levels."""
    counts = np.bincount(np.asarray(images_NHWC).reshape(-1), minlength=256)
    levels = np.arange(256) / 127.5 - 1
    mean = float((counts * levels).sum() / counts.sum())
    return mean, float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))


def learning_rate(done: int, *, peak: float, warmup: int, images: int) -> float:
    """Linear rise over `warmup` images, then the fall of a cosine to 0 at `images`."""
    if done < warmup:
        return peak * (done + 1) / warmup
    share = (done - warmup) / max(images - warmup, 1)
    return peak * 0.5 * (1 + float(np.cos(np.pi * min(share, 1.0))))


def augmented(clean: Tensor, *, config: DiffusionConfig, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shifted and flipped images (NCHW), and what was done to each, float32 (N, 3): down, right (share of the largest
    shift), flip. Half of the images are left as they are, so that the condition 0 is well trained.
    """
    count, _, height, width = clean.shape
    done = torch.zeros(count, 3)
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
