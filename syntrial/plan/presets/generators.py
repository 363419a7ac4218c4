"""How a generator's preset becomes numbers: one visible table a family.

Called by `syntrial.plan.requests`, which expands them into generation requests, so that each number here enters the
steps' keys. Torch-free. Names of fields are those of the protos, where each is explained.
"""

from collections.abc import Mapping
from typing import Any, Final

from syntrial.errors import UserError
from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler, GanConfig, GanSampler, PcaConfig

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

DIFFUSION_SAMPLERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {"steps": 12, "sigma_min": 0.02, "sigma_max": 20.0, "rho": 5.0, "solver": "SOLVER_DPM_SOLVER_PP_2M"},
    "nano": {"steps": 12, "sigma_min": 0.02, "sigma_max": 20.0, "rho": 5.0, "solver": "SOLVER_DPM_SOLVER_PP_2M"},
    "small": {"steps": 18, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "solver": "SOLVER_HEUN"},
    "base": {"steps": 32, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "solver": "SOLVER_HEUN"},
}
"""How each diffusion preset is sampled; guidance and churn are 0."""

# After Huang et al. 2024; `augment_*` after Zhao et al. 2020, weaker where anatomy must stay in place. `nano`'s numbers
# gave recognisable and varied chest X-rays at 24,000 images (one seed, about 90 images a second on one core); a gamma
# of 0.2 showed a grid before the networks' outer convolutions became 3×3.
GAN: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {
        "latent_size": 64,
        "fold": 2,
        "channels": [128, 64],
        "blocks_per_level": 1,
        "images": 8_000,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "gamma": 0.1,
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
        "gamma": 0.1,
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
}
"""GANs by preset."""

PCA: Final[Mapping[str, Mapping[str, Any]]] = {"default": {"explained_variance": 0.99, "components": 0}}
"""Principal components by preset."""

PRESETS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {"diffusion": DIFFUSION, "gan": GAN, "pca": PCA}
"""The presets of each family: what an experiment may name."""

_MICRO_BATCH: Final[Mapping[str, int]] = {"pico": 32, "nano": 64, "small": 256, "base": 64, "default": 64}
"""Images sampled at a time: small enough to waste little in the last one of a class."""


def generator_preset(family: str, preset: str, *, image_size: int) -> DiffusionConfig | GanConfig | PcaConfig:
    """The configuration with every field filled in; `image_size` in pixels.

    Where a preset's folding and levels do not divide the image, the folding and then the levels are reduced to what
    does. Raises UserError for a preset that the family has not.
    """
    numbers = dict(_row(family, preset))
    if family == "pca":
        return PcaConfig(**numbers)
    channels = list(numbers["channels"])
    fold = numbers["fold"]
    if image_size % fold:
        fold = 1
    while len(channels) > 1 and image_size % (fold * 2 ** (len(channels) - 1)):
        # The level that goes is that of the lowest resolution: a GAN's first, a U-Net's last.
        channels.pop(0 if family == "gan" else -1)
    message = GanConfig if family == "gan" else DiffusionConfig
    return message(**numbers | {"channels": channels, "fold": fold})


def sampler_preset(family: str, preset: str) -> tuple[DiffusionSampler | GanSampler | None, int]:
    """The sampler of a preset (pca has none) and the size of its micro-batches; raises UserError as above."""
    _row(family, preset)
    if family == "diffusion":
        return DiffusionSampler(**DIFFUSION_SAMPLERS[preset]), _MICRO_BATCH[preset]
    if family == "gan":
        return GanSampler(truncation=1.0), _MICRO_BATCH[preset]
    return None, _MICRO_BATCH[preset]


def _row(family: str, preset: str) -> Mapping[str, Any]:
    rows = PRESETS[family]
    if preset not in rows:
        raise UserError(
            field=f"generator.{family}.preset",
            rule=f"must be one of {', '.join(rows)}",
            received=preset,
            remedy="Choose one of these; single numbers can be changed beside it.",
        )
    return rows[preset]
