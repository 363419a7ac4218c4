"""The latent diffusion family (Rombach et al. 2022): an EDM denoiser of the latents of an autoencoder."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from syntrial_training.tensors import from_bytes, prefixed, to_bytes, under
from torch import Tensor

from syntrial.documents.generator import WEIGHTS
from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import (
    DiffusionSampler,
    LatentDiffusionConfig,
    SampleImagesRequest,
    TrainGeneratorRequest,
)
from syntrial_generation.autoencoder import SIGMA_DATA, Autoencoder, drawn
from syntrial_generation.checks import Checks
from syntrial_generation.curves import Curves
from syntrial_generation.data import Subject, label_vectors, to_pixels
from syntrial_generation.denoiser import (
    AUGMENTATIONS,
    DenoiserSampling,
    DenoiserTraining,
    Network,
    check_network,
    check_sampler,
)
from syntrial_generation.family import Family
from syntrial_generation.initial import Initial
from syntrial_generation.latent_classifier import Judge
from syntrial_generation.latents import AUTOENCODER, Moments, read_autoencoder
from syntrial_generation.loop import train
from syntrial_generation.mixture import Joined, Mixture, check_weights
from syntrial_generation.parts import WHOLE, Part

_DENOISER: Final = "denoiser/"
"""How the names of its weights begin, beside those of the autoencoder."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Given:
    """What the family trains on: the split, its latents, and the autoencoder that made them."""

    images: ImageSet
    moments: Moments
    weights: dict[str, Tensor]
    """The autoencoder's."""
    description: dict[str, Any]
    """The autoencoder's `autoencoder.json`."""
    pools: tuple[Moments, ...] = ()
    """Latents of unlabelled images."""
    weights_of_pools: tuple[float, ...] = ()
    """How often an image of each pool is shown, in proportion to a training image."""


def read(request: TrainGeneratorRequest, images: ImageSet, context: StepContext) -> Given:
    """Opens the latents of the split and their autoencoder.

    Raises UserError where the request names none, or latents of other images or of another autoencoder.
    """
    latent = request.latent
    if not latent.HasField("autoencoder") or not latent.HasField("train"):
        raise UserError(
            field="latent",
            rule="must name an autoencoder and the training split's latents by it",
            received="none",
            remedy="Run TrainAutoencoder and EncodeImages, and name the members `autoencoder` and `latents`.",
        )
    moments = Moments(context.open(latent.train))
    if len(moments) != len(images) or moments.autoencoder != latent.autoencoder.key:
        raise UserError(
            field="latent.train",
            rule="must be the latents of the training split by the autoencoder that is named beside them",
            received=f"latents of {len(moments)} images by {moments.autoencoder[:12]}, {len(images)} training images",
            remedy="Run EncodeImages on the training split with this autoencoder.",
        )
    check_weights(latent.unlabelled, field="latent.unlabelled")
    pools = tuple(Moments(context.open(pool.images)) for pool in latent.unlabelled)
    for number, pool in enumerate(pools):
        if pool.autoencoder != latent.autoencoder.key:
            raise UserError(
                field=f"latent.unlabelled[{number}].images",
                rule="must be latents by the autoencoder that is named beside them",
                received=f"latents by {pool.autoencoder[:12]}, the autoencoder's {latent.autoencoder.key[:12]}",
                remedy="Run EncodeImages on the pool with this autoencoder.",
            )
    weights, description = read_autoencoder(context.open(latent.autoencoder))
    return Given(
        images=images,
        moments=moments,
        weights=weights,
        description=description,
        pools=pools,
        weights_of_pools=tuple(pool.weight for pool in latent.unlabelled),
    )


def _check_autoencoder(initial: Initial, given: Given) -> None:
    """Raises UserError for a generator of other latents than those that are given: by an autoencoder of other weights,
    or of another scale."""
    had = under(initial.weights, AUTOENCODER)
    same = had.keys() == given.weights.keys() and all(torch.equal(had[name], given.weights[name]) for name in had)
    if not same or initial.settings["autoencoder"] != given.description:
        by = str(initial.settings.get("autoencoder_key", ""))
        raise UserError(
            field="initial",
            rule="is one of latents by the autoencoder that is named beside it",
            received=f"latents by {by[:12]}, not {given.moments.autoencoder[:12]}",
            remedy="Name the generator itself as the autoencoder.",
        )


def check(config: LatentDiffusionConfig, given: Given) -> None:
    """Raises UserError where a latent diffusion model cannot be trained so in these latents."""
    checks = Checks("latent_diffusion")
    subject = latent_subject(Subject.of(given.images), given.description)
    check_network(
        checks,
        config,
        height=subject.height,
        width=subject.width,
        field="fold" if config.fold > 1 else "channels",
        of="the latents",
    )
    checks.finish()


def check_latent_sampler(checks: Checks, sampler: DiffusionSampler) -> None:
    """Notes what is wrong with how a latent diffusion model is to be sampled."""
    check_sampler(checks, sampler, family="latent_diffusion")


def latent_subject(subject: Subject, description: dict[str, Any]) -> Subject:
    """The subject with the shape of its latents by an autoencoder, as the denoiser sees them."""
    channels, height, width = Autoencoder.latent_shape(description)
    return Subject(classes=subject.classes, task=subject.task, height=height, width=width, channels=channels)


def is_told(config: LatentDiffusionConfig) -> bool:
    """Whether the denoiser is told labels, or a classifier guides it."""
    return config.conditioning != LatentDiffusionConfig.CONDITIONING_CLASSIFIER_GUIDANCE


class Latents:
    """Latents as a denoiser is trained on them: drawn anew from their moments each time they are shown."""

    sigma_data = SIGMA_DATA

    def __init__(self, given: Given) -> None:
        self.subject = latent_subject(Subject.of(given.images), given.description)
        known = label_vectors(given.images)
        unlabelled = sum(map(len, given.pools))
        self.labels = np.concatenate([known, np.zeros((unlabelled, known.shape[1]), np.float32)])
        self.labelled = np.arange(len(self.labels)) < len(known)
        self.mixture = Mixture([len(known), *map(len, given.pools)], [1.0, *given.weights_of_pools])
        self._moments = Joined([given.moments, *given.pools])

    def batch(self, rows: NDArray[np.int64], *, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `Examples`."""
        moments = torch.from_numpy(self._moments[rows])
        noise = torch.randn(len(rows), moments.shape[1] // 2, *moments.shape[2:], generator=random)
        return drawn(moments, noise), torch.zeros(len(rows), AUGMENTATIONS)


def train_latent(
    given: Given, config: LatentDiffusionConfig, *, seed: int, context: StepContext, part: Part = WHOLE
) -> tuple[dict[str, bytes], dict[str, Any], Curves]:
    """Trains in the latents; returns the weights of the denoiser and of the autoencoder as safetensors, what sampling
    needs beside them, and the curves.
    """
    network = Network.asked(config)
    if part.initial is not None:
        _check_autoencoder(part.initial, given)
    training = DenoiserTraining(
        Latents(given),
        config,
        network=network,
        family="latent_diffusion",
        seed=seed,
        is_told=is_told(config),
        part=part,
        weights_under=_DENOISER,
    )
    curves = train(training, context=context, part=part)
    weights = prefixed(training.average.tensors, _DENOISER) | prefixed(given.weights, AUTOENCODER)
    settings = {
        "network": asdict(network),
        "autoencoder": given.description,
        "autoencoder_key": given.moments.autoencoder,
        "is_told": is_told(config),
        **training.begun,
    }
    return {WEIGHTS: to_bytes(weights)}, settings, curves


class LatentSampling:
    """A trained denoiser of latents ready to sample, with the autoencoder that decodes what it draws."""

    def __init__(
        self,
        weights: bytes,
        settings: dict[str, Any],
        *,
        subject: Subject,
        sampler: DiffusionSampler,
    ) -> None:
        self.settings, self.subject = settings, subject
        tensors, description = from_bytes(weights), settings["autoencoder"]
        self._autoencoder = Autoencoder.of(under(tensors, AUTOENCODER), description)
        self.denoiser = DenoiserSampling(
            under(tensors, _DENOISER),
            network=Network.of(settings["network"]),
            subject=latent_subject(subject, description),
            sigma_data=SIGMA_DATA,
            sampler=sampler,
            is_told=bool(settings["is_told"]),
        )

    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`, of which `labels_NK` are the label vectors."""
        latents = self.denoiser.draw(labels_NK, seed=seed, label=label, indices=indices)
        return to_pixels(self._autoencoder.decode(latents))


def guide(sampling: LatentSampling, request: SampleImagesRequest, context: StepContext) -> None:
    """Opens the classifier that guides; none does a generator that is told labels, and where the guidance is 0.

    Raises UserError where a classifier is missing or not wanted, and for one of other classes or another autoencoder.
    """
    settings, subject = sampling.settings, sampling.subject
    wants = not settings["is_told"] and request.latent_diffusion.guidance > 0
    if wants != request.HasField("classifier"):
        told = "is told labels" if settings["is_told"] else "was trained without labels"
        raise UserError(
            field="classifier",
            rule="guides a generator that was trained without labels, where guidance is above 0, and no other",
            received=f"{'a' if request.HasField('classifier') else 'no'} classifier, guidance "
            f"{request.latent_diffusion.guidance:g}, a generator that {told}",
            remedy="Train the generator with conditioning: classifier-guidance and name a classifier of its latents.",
        )
    if not wants:
        return
    reader = context.open(request.classifier)
    description = reader.json("classifier.json")
    if tuple(description["classes"]) != subject.classes or description["task"] != subject.task:
        raise UserError(
            field="classifier",
            rule="must tell the classes of the generator's images",
            received=f"classes {', '.join(description['classes'])}; the generator's {', '.join(subject.classes)}",
            remedy="Train the classifier on the training split that the generator saw.",
        )
    if description["autoencoder"] != settings["autoencoder_key"]:
        raise UserError(
            field="classifier",
            rule="must be one of latents by the generator's autoencoder",
            received=f"{description['autoencoder'][:12]}, the generator's {settings['autoencoder_key'][:12]}",
            remedy="Train the classifier on latents by that autoencoder.",
        )
    sampling.denoiser.judge = Judge(from_bytes(reader.read("weights.safetensors")), description)


FAMILY: Final = Family(
    read=read,
    check=check,
    train=train_latent,
    open=LatentSampling,
    check_sampler=check_latent_sampler,
    guide=guide,
)
