"""The gan family: Huang et al. 2024 (R3GAN): a relativistic pairing loss with R1 and R2 penalties.

Equation numbers are the paper's. Augmentation is that of `diffaugment`, or adaptive by `adaptive`; beyond the paper, a
term of the generator's loss keeps images of a class apart (`spread`).
"""

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
from torch import Tensor
from torch.nn import functional

from syntrial.documents.generator import WEIGHTS
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import GanConfig, GanSampler
from syntrial_generation.adaptive import SHARE_OF_TRAINING, Probability, pipeline
from syntrial_generation.checks import Checks
from syntrial_generation.curves import Curves
from syntrial_generation.data import Subject, label_vectors, to_pixels, to_unit_range
from syntrial_generation.diffaugment import augment
from syntrial_generation.family import Family
from syntrial_generation.gan_networks import Discriminator, Generator
from syntrial_generation.initial import DISCRIMINATOR, Labels, begin, check_settings, freeze, told
from syntrial_generation.loop import AVERAGE_RAMP, GeneratorTraining, train
from syntrial_generation.parts import WHOLE, Part
from syntrial_generation.spread import Spread
from syntrial_generation.streams import RowsRandom, batch_indices, item_noise, step_generator

# The paper's schedules (appendix D), as shares of a training: the learning rate falls along a cosine to this share of
# its peak, beta2 rises from 0.9 to 0.99, and gamma falls to a tenth, all within the burn-in; here the learning rate's
# fall spans the whole run, since short runs end before a plateau would pay.
_FINAL_RATE = 0.05
_BETA2 = (0.9, 0.99)
_BURN_IN = 0.5
_FINAL_GAMMA = 0.1


LABELS = "embed.weight"
"""Weights of both networks that have a column for each class, before that of `with_constant`."""

_ALWAYS_APPLIED = (GanConfig.PIPELINE_UNSPECIFIED, GanConfig.PIPELINE_DIFFAUGMENT)
_WITH_GEOMETRY = (GanConfig.PIPELINE_BG, GanConfig.PIPELINE_BGC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """What both networks are built from; written into `generator.json`."""

    latent_size: int
    channels: tuple[int, ...]
    blocks_per_level: int
    fold: int

    def generator(self, subject: Subject) -> Generator:
        """The generator with initial weights from torch's global generator."""
        return Generator(
            latent_size=self.latent_size,
            labels=len(subject.classes) + 1,
            channels=self.channels,
            blocks_per_level=self.blocks_per_level,
            side=subject.height,
            colors=subject.channels,
            fold=self.fold,
        ).to(memory_format=torch.channels_last)

    def discriminator(self, subject: Subject) -> Discriminator:
        """The discriminator with initial weights from torch's global generator."""
        return Discriminator(
            labels=len(subject.classes) + 1,
            channels=self.channels,
            blocks_per_level=self.blocks_per_level,
            side=subject.height,
            colors=subject.channels,
            fold=self.fold,
            features=self.latent_size,
        ).to(memory_format=torch.channels_last)


def check_gan(config: GanConfig, images: ImageSet) -> None:
    """Raises UserError where a GAN cannot be trained so on these images."""
    checks = Checks("gan")
    subject = Subject.of(images)
    levels = len(config.channels)
    checks.need(
        levels > 0 and all(count > 0 for count in config.channels),
        "channels",
        "must give at least one level, each above 0",
        list(config.channels),
        "Give the channels of each level, lowest resolution first, for example [128, 64, 32].",
    )
    side = (config.fold or 1) * 2 ** max(levels - 1, 0)
    checks.need(
        subject.height % side == 0 and subject.width % side == 0,
        "channels",
        f"an image's sides must be multiples of fold × 2^(levels - 1) = {side}",
        f"{subject.height}×{subject.width} pixels, fold {config.fold or 1}, {levels} levels",
        "Choose another image size or another number of levels.",
    )
    checks.need(
        subject.height == subject.width,
        "channels",
        "a GAN makes square images",
        f"{subject.height}×{subject.width} pixels",
        "Prepare the data at one size for both sides.",
    )
    checks.positive("latent_size", config.latent_size)
    checks.positive("blocks_per_level", config.blocks_per_level)
    checks.length(images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.at_least_zero("gamma", config.gamma)
    checks.at_least_zero("spread", config.spread)
    checks.share("augment_shift", config.augment_shift)
    checks.share("augment_cutout", config.augment_cutout)
    checks.share("augment_brightness", config.augment_brightness)
    checks.share("augment_target", config.augment_target)
    checks.need(
        config.augment_target > 0 or config.augment_pipeline in _ALWAYS_APPLIED,
        "augment_pipeline",
        "the pipelines b, bg and bgc need `augment_target` above 0: applied to every image, they would show in samples",
        GanConfig.Pipeline.Name(config.augment_pipeline).removeprefix("PIPELINE_").lower(),
        "Give a target, 0.6 in the paper, or leave the pipeline out.",
    )
    checks.finish()


def check_gan_sampler(checks: Checks, sampler: GanSampler) -> None:
    """Notes what is wrong with how a GAN is to be sampled."""
    checks.need(
        0 < sampler.truncation <= 1, "gan.truncation", "must lie in (0, 1]", sampler.truncation, "Use 1 for none."
    )


class GanTraining(GeneratorTraining):
    """The state of a training."""

    def __init__(self, images: ImageSet, config: GanConfig, *, seed: int, part: Part = WHOLE) -> None:
        """Raises UserError where the generator that it begins with does not fit, and for parts that cannot stay."""
        super().__init__(config, family="gan")
        self._config = config
        self._seed = seed
        self._images_NHWC = images.images_NHWC
        self._labels_NK = label_vectors(images)
        self.networks = Networks(
            latent_size=config.latent_size,
            channels=tuple(config.channels),
            blocks_per_level=config.blocks_per_level,
            fold=config.fold or 1,
        )
        subject = Subject.of(images)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._generator = self.networks.generator(subject).to(self.device)
            self._discriminator = self.networks.discriminator(subject).to(self.device)
        self.begun = self._begin(part, subject) if part.initial is not None else {}
        """What `generator.json` keeps of the generator that it began with; empty: of none."""
        self._judging = [weight for weight in self._discriminator.parameters() if weight.requires_grad]
        """The discriminator's weights that are trained."""
        self.modules = (self._generator, self._discriminator)
        self.average = MovingAverage(self._generator)
        """The generator's averaged weights: what sampling uses."""
        self._generator_optimizer = self._adam(self._generator)
        self._discriminator_optimizer = self._adam(self._discriminator)
        self._probability = (
            Probability(
                target=config.augment_target,
                rise_images=config.augment_rise_images or max(config.images * SHARE_OF_TRAINING, 1),
                device=self.device,
            )
            if config.augment_target > 0
            else None
        )
        labels_NK = self._labels_NK
        self._spread = (
            Spread(images.images_NHWC, labels_NK, seed=seed, device=self.device) if config.spread > 0 else None
        )

    def _begin(self, part: Part, subject: Subject) -> dict[str, Any]:
        initial = part.initial
        assert initial is not None
        check_settings(initial.settings["networks"], asdict(self.networks))
        before = initial.subject.classes
        labels = Labels(weight=LABELS, before=before, columns_before=len(before), now=subject.classes)
        networks = {"generator": self._generator, "discriminator": self._discriminator}
        anew, notes = {}, []
        for name, weights in (("generator", initial.weights), ("discriminator", initial.discriminator)):
            if weights is None:
                notes.append(f"the {name} begins anew: the earlier generator was kept without {DISCRIMINATOR}")
                anew[name] = f"{DISCRIMINATOR} is not there"
                continue
            begin(networks[name], weights, labels=labels, settings=initial.settings["networks"])
            anew |= {f"{name}.{weight}": why for weight, why in labels.anew.items()}
        frozen = freeze(networks, part.freeze, anew=anew)
        return {"initial": told(initial, new=labels.new, frozen=frozen, notes=notes)}

    def discriminator_tensors(self) -> dict[str, Tensor]:
        """The discriminator's weights, as they are: what a further training begins with."""
        return self._discriminator.state_dict()

    def step(self, number: int) -> None:
        """One step of the discriminator and one of the generator, on one batch of real images."""
        config = self._config
        batch = config.batch_size
        share = min(number * batch / max(config.images, 1), 1.0)
        rate = self._schedule(share)
        gamma = config.gamma * (_FINAL_GAMMA + (1 - _FINAL_GAMMA) * falling(share / _BURN_IN))
        rows = batch_indices(len(self._images_NHWC), batch_size=batch, step=number, seed=self._seed)
        random = step_generator("gan", seed=self._seed, step=number)
        parts = parts_of(batch, device=self.device)
        real = to_unit_range(self._images_NHWC[rows]).to(self.device)
        labels = with_constant(torch.from_numpy(self._labels_NK[rows])).to(self.device)
        latents = torch.randn(2, batch, config.latent_size, generator=random).to(self.device)

        def augmentation(of: str, part: slice) -> RowsRandom:
            # Streams of their own: the parts of a batch are worked on at the same time, and by several ranks.
            whole = next(whole for whole in parts if whole.start <= part.start < whole.stop)
            random = step_generator(f"gan {of} {whole.start}", seed=self._seed, step=number)
            rows = slice(part.start - whole.start, part.stop - whole.start)
            return RowsRandom(random, rows=rows, of=whole.stop - whole.start)

        def of_discriminator(part: slice) -> tuple[Tensor, Tensor]:
            random = augmentation("discriminator", part)
            with torch.no_grad():
                fake = self._generator(latents[0, part], labels[part])
            real_seen = self._augment(real[part], random).detach().requires_grad_(True)
            fake_seen = self._augment(fake, random).detach().requires_grad_(True)
            # Both in one pass: twice the batch is cheaper than two passes.
            scores = self._discriminator(torch.cat([real_seen, fake_seen]), torch.cat([labels[part], labels[part]]))
            count = len(fake)
            loss = discriminator_loss(scores[:count], scores[count:])
            r1, r2 = gradient_penalties(scores, real_seen, fake_seen)
            share = count / batch
            signs = torch.sign(scores[:count] - scores[count:]).mean()
            return share * (loss + gamma / 2 * (r1 + r2)), share * torch.stack([loss, r1, r2, signs])

        loss_discriminator, r1, r2, signs = set_gradients(self._discriminator, of_discriminator, parts)
        self._discriminator_optimizer.step()

        def of_generator(part: slice) -> tuple[Tensor, Tensor]:
            random = augmentation("generator", part)
            fake = self._generator(latents[1, part], labels[part])
            seen = torch.cat([self._augment(real[part], random), self._augment(fake, random)])
            scores = self._discriminator(seen, torch.cat([labels[part], labels[part]]))
            count = len(fake)
            share = count / batch * generator_loss(scores[:count], scores[count:])
            if self._spread is None:
                return share, share[None]
            term, added = self._spread.term(fake, labels[part, :-1])
            return share + config.spread * count / batch * term, torch.cat([share[None], added.flatten()])

        for weight in self._judging:
            weight.requires_grad_(False)
        figures = set_gradients(self._generator, of_generator, parts)
        self._generator_optimizer.step()
        for weight in self._judging:
            weight.requires_grad_(True)
        done = (number + 1) * batch
        self.average.update(decay=decay(batch, done=done, half_life=config.ema_half_life_images, ramp=AVERAGE_RAMP))
        losses = {"discriminator_loss": loss_discriminator, "generator_loss": figures[0], "r1": r1, "r2": r2}
        if self._probability is not None:
            self._probability.note(signs, step=number, batch=batch)
            losses |= {"augment_probability": self._probability.value}
        if self._spread is not None:
            self._spread.note(figures[1:], batch=batch)
            losses |= {"missing_spread": self._spread.missing()}
        self.losses.note(number, losses, learning_rate=rate)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of both networks, the generator's average, and the optimisers' moments."""
        return (
            prefixed(self._generator.state_dict(), "generator/")
            | prefixed(self._discriminator.state_dict(), "discriminator/")
            | prefixed(self.average.tensors, "average/")
            | prefixed(optimizer_tensors(self._generator_optimizer), "generator_optimizer/")
            | prefixed(optimizer_tensors(self._discriminator_optimizer), "discriminator_optimizer/")
            | prefixed(self._probability.tensors() if self._probability is not None else {}, "augmentation/")
            | prefixed(self._spread.tensors() if self._spread is not None else {}, "spread/")
        )

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` took."""
        self._generator.load_state_dict(under(tensors, "generator/"))
        self._discriminator.load_state_dict(under(tensors, "discriminator/"))
        self.average.load(under(tensors, "average/"))
        load_optimizer(self._generator_optimizer, under(tensors, "generator_optimizer/"))
        load_optimizer(self._discriminator_optimizer, under(tensors, "discriminator_optimizer/"))
        if self._probability is not None:
            self._probability.load(under(tensors, "augmentation/"))
        if self._spread is not None:
            self._spread.load(under(tensors, "spread/"))

    def _adam(self, module: torch.nn.Module) -> torch.optim.Adam:
        # beta1 = 0, as in the paper: momentum harms the game of two networks.
        return torch.optim.Adam(module.parameters(), lr=self._config.learning_rate, betas=(0.0, _BETA2[0]))

    def _schedule(self, share: float) -> float:
        """Sets both optimisers for the share of the training that is done, and gives the learning rate."""
        rate = self._config.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * falling(share))
        beta2 = _BETA2[1] + (_BETA2[0] - _BETA2[1]) * falling(share / _BURN_IN)
        for optimizer in (self._generator_optimizer, self._discriminator_optimizer):
            optimizer.param_groups[0].update(lr=rate, betas=(0.0, beta2))
        return rate

    def _augment(self, images: Tensor, random: RowsRandom) -> Tensor:
        config = self._config
        probability = None if self._probability is None else self._probability.value
        if probability is not None and config.augment_pipeline not in _ALWAYS_APPLIED:
            return pipeline(
                images,
                geometry=config.augment_pipeline in _WITH_GEOMETRY,
                colour=config.augment_pipeline == GanConfig.PIPELINE_BGC,
                probability=probability,
                random=random,
            )
        return augment(
            images,
            probability=probability,
            shift=config.augment_shift,
            cutout=config.augment_cutout,
            brightness=config.augment_brightness,
            flip=config.augment_flip,
            random=random,
        )


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Eq. 2 for the discriminator: f(D(fake) - D(real)) over pairs, f(t) = softplus(t)."""
    return functional.softplus(fake_scores - real_scores).mean()


def generator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Eq. 2 for the generator: the same pairs, the other way round."""
    return functional.softplus(real_scores - fake_scores).mean()


def gradient_penalties(scores: Tensor, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """R1 and R2 (eqs. 3 and 4): mean squared norm of the score's gradient at real and at generated images."""
    real_slope, fake_slope = torch.autograd.grad(scores.sum(), [real, fake], create_graph=True)
    return real_slope.square().sum(dim=(1, 2, 3)).mean(), fake_slope.square().sum(dim=(1, 2, 3)).mean()


def falling(share: float) -> float:
    """Half a cosine from 1 at 0 to 0 at 1, and 0 beyond."""
    return 0.5 * (1 + float(np.cos(np.pi * min(max(share, 0.0), 1.0))))


def with_constant(labels_NK: Tensor) -> Tensor:
    """float32 (N, K + 1): a column of ones, so that an image without any label has an embedding too."""
    return torch.cat([labels_NK, torch.ones(len(labels_NK), 1)], dim=1)


def train_gan(
    images: ImageSet, config: GanConfig, *, seed: int, context: StepContext, part: Part = WHOLE
) -> tuple[dict[str, bytes], dict[str, Any], Curves]:
    """Trains on the split; returns both networks' weights as safetensors, what sampling needs, and the curves."""
    training = GanTraining(images, config, seed=seed, part=part)
    curves = train(training, context=context, part=part)
    files = {
        WEIGHTS: to_bytes(training.average.tensors),
        DISCRIMINATOR: to_bytes(training.discriminator_tensors()),
    }
    return files, {"networks": asdict(training.networks), **training.begun}, curves


class GanSampling:
    """A trained generator ready to sample."""

    def __init__(self, weights: bytes, settings: dict[str, Any], *, subject: Subject, sampler: GanSampler) -> None:
        networks = settings["networks"]
        self._networks = Networks(**{**networks, "channels": tuple(networks["channels"])})
        self.device = compute.device()
        self._generator = self._networks.generator(subject)
        self._generator.load_state_dict(from_bytes(weights))
        self._generator.to(self.device).eval()
        self._truncation = sampler.truncation

    @torch.inference_mode()
    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`, of which `labels_NK` are the label vectors."""
        shape = (self._networks.latent_size,)
        latents = item_noise("gan latent", seed=seed, label=label, indices=indices, shape=shape) * self._truncation
        labels = with_constant(torch.from_numpy(labels_NK))
        return to_pixels(self._generator(latents.to(self.device), labels.to(self.device)))


FAMILY: Final = Family(
    check=check_gan, train=train_gan, open=GanSampling, check_sampler=check_gan_sampler, beside=(DISCRIMINATOR,)
)
