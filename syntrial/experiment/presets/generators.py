"""The families of generators that an experiment may name, and how a preset of theirs becomes numbers.

One table, from which the model, the schema and the plan are made; a family's row here, its message in the protos and
its own file in the generation service are all there is to it (docs/extending.md). `syntrial.plan.requests` expands
presets into generation requests, so that each number here enters the steps' keys. Torch-free. Names of fields are those
of the protos, where each is explained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic.alias_generators import to_camel

from syntrial.errors import UserError
from syntrial.experiment.presets.latents import (
    AUTOENCODERS,
    LATENT_CLASSIFIERS,
    LATENT_DIFFUSION,
    LATENT_SAMPLERS,
    LATENT_TRANSFORMERS,
)
from syntrial.v1.generation_pb2 import (
    AutoencoderConfig,
    LatentClassifierConfig,
    SampleImagesRequest,
    TrainGeneratorRequest,
)

# `pico` (small sets) and `nano` are sized for two CPU cores at 28 px: 75 s and 9 minutes of training, by the images a
# core did in a second (about 65 and 83). On one seed each: at 45,000 images `nano`'s settings gave plain chest X-rays,
# and a classifier trained on 600 of them a validation AUROC of .971 to .974, where 600 `pca` samples gave .951 to .953
# and 600 real images .993; batches of 16 at 1.5e-3 bring `pico`'s loss down in two thirds of the images that 32 at 1e-3
# take. `small` and `base` are for a GPU at 28 to 64 and 64 to 128 px, after Karras et al. 2022, table 7 (their CIFAR-10
# and FFHQ-64 settings); not tuned here.
DIFFUSION: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {
        "fold": 2,
        "channels": [64, 128],
        "layers_per_level": 1,
        "attention_head_width": 32,
        "dropout": 0.0,
        "images": 10_000,
        "batch_size": 16,
        "learning_rate": 1.5e-3,
        "warmup_images": 400,
        "ema_half_life_images": 400,
        "p_mean": -1.4,
        "p_std": 1.2,
        "sigma_data": 0.0,
        "augment_shift": 1,
        "augment_flip": False,
        "label_dropout": 0.0,
    },
    "nano": {
        "fold": 2,
        "channels": [64, 128],
        "layers_per_level": 1,
        "attention_head_width": 32,
        "dropout": 0.0,
        "images": 60_000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "warmup_images": 3_000,
        "ema_half_life_images": 3_000,
        "p_mean": -1.4,
        "p_std": 1.2,
        "sigma_data": 0.0,
        "augment_shift": 2,
        "augment_flip": False,
        "label_dropout": 0.1,
    },
    "small": {
        "fold": 1,
        "channels": [128, 256],
        "layers_per_level": 3,
        "attention_head_width": 64,
        "dropout": 0.1,
        "images": 4_000_000,
        "batch_size": 256,
        "learning_rate": 5e-4,
        "warmup_images": 100_000,
        "ema_half_life_images": 100_000,
        "p_mean": -1.2,
        "p_std": 1.2,
        "sigma_data": 0.0,
        "augment_shift": 2,
        "augment_flip": False,
        "label_dropout": 0.1,
    },
    "base": {
        "fold": 1,
        "channels": [128, 256, 256, 256],
        "layers_per_level": 3,
        "attention_head_width": 64,
        "dropout": 0.1,
        "images": 20_000_000,
        "batch_size": 256,
        "learning_rate": 2e-4,
        "warmup_images": 1_000_000,
        "ema_half_life_images": 500_000,
        "p_mean": -1.2,
        "p_std": 1.2,
        "sigma_data": 0.0,
        "augment_shift": 4,
        "augment_flip": False,
        "label_dropout": 0.1,
    },
}
"""Diffusion models by preset."""

# `pico` and `nano` have as many weights as their U-Nets (docs/lab-notes.md has what they gave); `small` and `base` are
# DiT-S/2 and DiT-B/4 at the paper's learning rate (Peebles and Xie 2023, table 1); not tuned here.
DIFFUSION_TRANSFORMERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {"fold": 4, "channels": [192], "layers_per_level": 4, "attention_head_width": 32},
    "nano": {"fold": 4, "channels": [192], "layers_per_level": 4, "attention_head_width": 32},
    "small": {
        "fold": 2,
        "channels": [384],
        "layers_per_level": 12,
        "attention_head_width": 64,
        "dropout": 0.0,
        "learning_rate": 1e-4,
    },
    "base": {
        "fold": 4,
        "channels": [768],
        "layers_per_level": 12,
        "attention_head_width": 64,
        "dropout": 0.0,
        "learning_rate": 1e-4,
    },
}
"""What is another number than in `DIFFUSION` where the denoiser is a transformer."""

DIFFUSION_SAMPLERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {"steps": 12, "sigma_min": 0.02, "sigma_max": 20.0, "rho": 5.0, "solver": "SOLVER_DPM_SOLVER_PP_2M"},
    "nano": {"steps": 12, "sigma_min": 0.02, "sigma_max": 20.0, "rho": 5.0, "solver": "SOLVER_DPM_SOLVER_PP_2M"},
    "small": {"steps": 18, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "solver": "SOLVER_HEUN"},
    "base": {"steps": 32, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "solver": "SOLVER_HEUN"},
}
"""How each diffusion preset is sampled; guidance and churn are 0."""

# After Huang et al. 2024; `augment_*` after Zhao et al. 2020, weaker where anatomy must stay in place. Of `pico` and
# `nano` docs/lab-notes.md has what gamma and spread gave.
GAN: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {
        "latent_size": 64,
        "fold": 2,
        "channels": [128, 64],
        "blocks_per_level": 1,
        "images": 8_000,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "gamma": 1.0,
        "spread": 5.0,
        "ema_half_life_images": 500,
        "augment_shift": 0.125,
        "augment_cutout": 0.25,
        "augment_brightness": 0.1,
        "augment_flip": False,
    },
    "nano": {
        "latent_size": 64,
        "fold": 2,
        "channels": [128, 64],
        "blocks_per_level": 1,
        "images": 30_000,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "gamma": 1.0,
        "spread": 5.0,
        "ema_half_life_images": 1_000,
        "augment_shift": 0.125,
        "augment_cutout": 0.25,
        "augment_brightness": 0.1,
        "augment_flip": False,
    },
    "small": {
        "latent_size": 64,
        "fold": 1,
        "channels": [384, 256, 128],
        "blocks_per_level": 2,
        "images": 5_000_000,
        "batch_size": 256,
        "learning_rate": 2e-4,
        "gamma": 0.5,
        "ema_half_life_images": 50_000,
        "augment_shift": 0.125,
        "augment_cutout": 0.5,
        "augment_brightness": 0.2,
        "augment_flip": False,
    },
    "base": {
        "latent_size": 64,
        "fold": 1,
        "channels": [512, 512, 384, 256, 128],
        "blocks_per_level": 2,
        "images": 25_000_000,
        "batch_size": 256,
        "learning_rate": 2e-4,
        "gamma": 2.0,
        "ema_half_life_images": 500_000,
        "augment_shift": 0.125,
        "augment_cutout": 0.5,
        "augment_brightness": 0.2,
        "augment_flip": False,
    },
    # For 128 to 1024 px: a level for each power of two, from 4 px; smaller images leave out the highest ones.
    "large": {
        "latent_size": 64,
        "fold": 1,
        "channels": [768, 768, 768, 768, 384, 192, 96, 48, 24],
        "blocks_per_level": 2,
        "images": 25_000_000,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "gamma": 15.0,
        "ema_half_life_images": 500_000,
        "augment_shift": 0.125,
        "augment_cutout": 0.5,
        "augment_brightness": 0.2,
        "augment_flip": False,
    },
}
"""GANs by preset; `large` is not tuned here."""

GAN_SAMPLERS: Final[Mapping[str, Mapping[str, Any]]] = {preset: {"truncation": 1.0} for preset in GAN}
"""How each GAN preset is sampled: without truncation."""

PCA: Final[Mapping[str, Mapping[str, Any]]] = {"default": {"explained_variance": 0.99, "components": 0}}
"""Principal components by preset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What the platform knows of a family of generators, beside its messages."""

    about: str
    """What it is, as a sentence; the text of `kubectl explain`."""
    presets: Mapping[str, Mapping[str, Any]]
    """The fields of its message in `TrainGeneratorRequest`, by preset."""
    default: str
    """The preset of a generator that names none."""
    samplers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The fields of its message in `SampleImagesRequest`, by preset; empty where it has none."""
    bounds: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Of fields that may be other numbers than those from 0, as `syntrial.experiment.base.overrides` takes them."""
    lowest_level: int = -1
    """Where the lowest resolution stands in `channels`: the level that goes where an image is too small for all."""
    autoencoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The fields of `AutoencoderConfig`, by preset, where it works in the latents of an autoencoder."""
    transformers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is another number in each preset where `denoiser` is transformer; empty where it has no such field."""
    from_4_pixels: tuple[str, ...] = ()
    """Presets whose lowest resolution has at least 4 pixels a side: the highest levels go where an image is small."""


FAMILIES: Final[Mapping[str, Family]] = {
    "diffusion": Family(
        about="A class-conditional diffusion model (EDM).",
        presets=DIFFUSION,
        default="nano",
        samplers=DIFFUSION_SAMPLERS,
        bounds={"p_mean": {"ge": None}},
        transformers=DIFFUSION_TRANSFORMERS,
    ),
    "gan": Family(
        about="A class-conditional GAN.",
        presets=GAN,
        default="nano",
        samplers=GAN_SAMPLERS,
        lowest_level=0,
        from_4_pixels=("large",),
    ),
    "latent_diffusion": Family(
        about="A diffusion model in the latents of an autoencoder (Rombach et al. 2022).",
        presets=LATENT_DIFFUSION,
        default="nano",
        samplers=LATENT_SAMPLERS,
        bounds={"p_mean": {"ge": None}},
        autoencoders=AUTOENCODERS,
        transformers=LATENT_TRANSFORMERS,
    ),
    "pca": Family(
        about="A Gaussian in the principal components of each class: the baseline that a generator must beat.",
        presets=PCA,
        default="default",
    ),
}
"""The families by their names in `TrainGeneratorRequest` and `SampleImagesRequest`: what an experiment may name."""

BASELINE: Final = "pca"
"""The family whose images stand beside those of every trial."""

_MICRO_BATCH: Final[Mapping[str, int]] = {"pico": 32, "small": 256}
"""Images sampled at a time, by preset: small enough to waste little in the last one of a class."""
USUAL_MICRO_BATCH: Final = 64


def config_message(family: str) -> type[Message]:
    """The family's message in `TrainGeneratorRequest`."""
    config: Any = TrainGeneratorRequest.DESCRIPTOR.fields_by_name[family]
    return GetMessageClass(config.message_type)


def sampler_message(family: str) -> type[Message] | None:
    """The family's message in `SampleImagesRequest`, or None where it has none."""
    sampler: Any = SampleImagesRequest.DESCRIPTOR.fields_by_name.get(family)
    return GetMessageClass(sampler.message_type) if sampler is not None else None


def generator_preset(family: str, preset: str, *, image_size: int, is_transformer: bool = False) -> Any:
    """The family's message with every field of a preset filled in; `image_size` in pixels, or places of latents.

    Where a preset's folding and levels do not divide the image, the folding is halved and then the levels are reduced
    to what does. Raises UserError for a preset that the family has not.
    """
    numbers = dict(_row(family, preset))
    if is_transformer:
        numbers |= {**FAMILIES[family].transformers[preset], "denoiser": "DENOISER_TRANSFORMER"}
    if "channels" in numbers:
        channels = list(numbers["channels"])
        fold = numbers.get("fold", 1)
        while image_size % fold:
            fold //= 2
        if preset in FAMILIES[family].from_4_pixels:
            channels = channels[: max((image_size // (4 * fold)).bit_length(), 1)]
        while len(channels) > 1 and image_size % (fold * 2 ** (len(channels) - 1)):
            channels.pop(FAMILIES[family].lowest_level)
        numbers |= {"channels": channels} | ({"fold": fold} if "fold" in numbers else {})
    return config_message(family)(**numbers)


def autoencoder_preset(family: str, preset: str, *, image_size: int, factor: int | None) -> AutoencoderConfig:
    """The family's autoencoder with every field of a preset filled in; `image_size` in pixels.

    `factor` is the user's; the preset's is halved until it divides the image. Channels follow the factor. Raises
    UserError for a preset that the family has not, and for a factor that does not divide the image.
    """
    _row(family, preset)
    numbers = dict(FAMILIES[family].autoencoders[preset])
    if factor is None:
        factor = int(numbers["factor"])
        while factor > 2 and image_size % factor:
            factor //= 2
    if factor < 2 or factor & (factor - 1) or image_size % factor:
        raise UserError(
            field=f"generator.{to_camel(family)}.autoencoder.factor",
            rule="is a power of 2, from 2, that divides the side of the images",
            received=f"{factor}, images of {image_size} pixels",
            remedy="Choose another factor, or another `dataset.size`.",
        )
    channels = list(numbers["channels"])
    levels = factor.bit_length()
    channels = (channels + [channels[-1]] * levels)[:levels]
    return AutoencoderConfig(**numbers | {"factor": factor, "channels": channels})


def classifier_preset(preset: str) -> LatentClassifierConfig:
    """The classifier that guides, with every field of a preset filled in; the preset is one of its family's."""
    return LatentClassifierConfig(**LATENT_CLASSIFIERS[preset])


def sampler_preset(family: str, preset: str) -> tuple[Any, int]:
    """The sampler of a preset, None where the family has none, and the size of its micro-batches.

    Raises UserError as above.
    """
    _row(family, preset)
    micro_batch = _MICRO_BATCH.get(preset, USUAL_MICRO_BATCH)
    message = sampler_message(family)
    return (message(**FAMILIES[family].samplers[preset]) if message else None), micro_batch


def _row(family: str, preset: str) -> Mapping[str, Any]:
    rows = FAMILIES[family].presets
    if preset not in rows:
        raise UserError(
            field=f"generator.{to_camel(family)}.preset",
            rule=f"must be one of {', '.join(rows)}",
            received=preset,
            remedy="Choose one of these; single numbers can be changed beside it.",
        )
    return rows[preset]
