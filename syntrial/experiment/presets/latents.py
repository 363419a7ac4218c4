"""Presets of latent diffusion: the autoencoder, the denoiser of its latents, and how that is sampled.

Names of fields are those of the protos, where each is explained. Rows of `syntrial.experiment.presets.generators`.
"""

from collections.abc import Mapping
from typing import Any, Final

# `pico` and `nano` are sized for two CPU cores at 28 to 64 px. `small` and `base` are for a GPU at 64 to 128 px and at
# 256 px, after Rombach et al. 2022 (autoencoders of f = 4 and f = 8, the U-Net of their LDM-4), with noise levels after
# Karras et al. 2024; not tuned here.
AUTOENCODERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {
        "factor": 4,
        "channels": [16, 32, 32],
        "layers_per_level": 1,
        "latent_channels": 4,
        "images": 8_000,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "warmup_images": 400,
        "ema_half_life_images": 400,
        "kl_weight": 1e-6,
        "adversarial_weight": 0.0,
        "adversarial_after_images": 0,
        "discriminator_channels": 16,
    },
    "nano": {
        "factor": 4,
        "channels": [32, 64, 64],
        "layers_per_level": 1,
        "latent_channels": 4,
        "images": 24_000,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_images": 1_000,
        "ema_half_life_images": 1_000,
        "kl_weight": 1e-6,
        "adversarial_weight": 0.01,
        "adversarial_after_images": 16_000,
        "discriminator_channels": 32,
    },
    "small": {
        "factor": 4,
        "channels": [128, 256, 512],
        "layers_per_level": 2,
        "latent_channels": 3,
        "images": 4_000_000,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "warmup_images": 50_000,
        "ema_half_life_images": 100_000,
        "kl_weight": 1e-6,
        "adversarial_weight": 0.01,
        "adversarial_after_images": 1_600_000,
        "discriminator_channels": 64,
    },
    "base": {
        "factor": 8,
        "channels": [128, 256, 512, 512],
        "layers_per_level": 2,
        "latent_channels": 4,
        "images": 10_000_000,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "warmup_images": 50_000,
        "ema_half_life_images": 100_000,
        "kl_weight": 1e-6,
        "adversarial_weight": 0.01,
        "adversarial_after_images": 1_600_000,
        "discriminator_channels": 64,
    },
}
"""Autoencoders by preset."""

LATENT_DIFFUSION: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {
        "channels": [64, 128],
        "layers_per_level": 1,
        "attention_head_width": 32,
        "dropout": 0.0,
        "images": 20_000,
        "batch_size": 32,
        "learning_rate": 1.5e-3,
        "warmup_images": 600,
        "ema_half_life_images": 1_000,
        "p_mean": -0.4,
        "p_std": 1.0,
        "label_dropout": 0.0,
        "conditioning": "CONDITIONING_LABELS",
    },
    "nano": {
        "channels": [96, 192],
        "layers_per_level": 1,
        "attention_head_width": 32,
        "dropout": 0.0,
        "images": 120_000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "warmup_images": 3_000,
        "ema_half_life_images": 5_000,
        "p_mean": -0.4,
        "p_std": 1.0,
        "label_dropout": 0.1,
        "conditioning": "CONDITIONING_LABELS",
    },
    "small": {
        "channels": [128, 256, 384],
        "layers_per_level": 2,
        "attention_head_width": 64,
        "dropout": 0.1,
        "images": 8_000_000,
        "batch_size": 256,
        "learning_rate": 5e-4,
        "warmup_images": 100_000,
        "ema_half_life_images": 100_000,
        "p_mean": -0.4,
        "p_std": 1.0,
        "label_dropout": 0.1,
        "conditioning": "CONDITIONING_LABELS",
    },
    "base": {
        "channels": [224, 448, 672, 896],
        "layers_per_level": 2,
        "attention_head_width": 32,
        "dropout": 0.0,
        "images": 38_400_000,
        "batch_size": 128,
        "learning_rate": 2e-4,
        "warmup_images": 1_000_000,
        "ema_half_life_images": 500_000,
        "p_mean": -0.4,
        "p_std": 1.0,
        "label_dropout": 0.1,
        "conditioning": "CONDITIONING_LABELS",
    },
}
"""Denoisers of latents by preset."""

# As in pixels; `small` and `base` are DiT-S/2 and DiT-B/2 (Peebles and Xie 2023, table 1); not tuned here.
LATENT_TRANSFORMERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {"fold": 1, "channels": [192], "layers_per_level": 4, "attention_head_width": 32},
    "nano": {"fold": 1, "channels": [256], "layers_per_level": 5, "attention_head_width": 32},
    "small": {
        "fold": 2,
        "channels": [384],
        "layers_per_level": 12,
        "attention_head_width": 64,
        "dropout": 0.0,
        "learning_rate": 1e-4,
    },
    "base": {
        "fold": 2,
        "channels": [768],
        "layers_per_level": 12,
        "attention_head_width": 64,
        "dropout": 0.0,
        "learning_rate": 1e-4,
    },
}
"""What is another number than in `LATENT_DIFFUSION` where the denoiser is a transformer."""

LATENT_CLASSIFIERS: Final[Mapping[str, Mapping[str, Any]]] = {
    preset: {
        "channels": channels,
        "blocks": blocks,
        "attention_head_width": 16,
        "images": images,
        "batch_size": batch,
        "learning_rate": rate,
        "warmup_images": images // 20,
        "ema_half_life_images": images // 20,
        "weight_decay": 0.05,
        "p_mean": -0.4,
        "p_std": 1.4,
    }
    for preset, channels, blocks, images, batch, rate in (
        ("pico", 32, 2, 10_000, 32, 2e-3),
        ("nano", 64, 2, 40_000, 64, 1e-3),
        ("small", 128, 4, 2_000_000, 256, 5e-4),
        ("base", 256, 6, 10_000_000, 256, 3e-4),
    )
}
"""Classifiers that guide, by preset."""

USUAL_GUIDANCE: Final = 2.0
"""The scale of a classifier's guidance where none is said: without any, images would be of no class."""

LATENT_SAMPLERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pico": {"steps": 16, "sigma_min": 0.01, "sigma_max": 40.0, "rho": 7.0, "solver": "SOLVER_DPM_SOLVER_PP_2M"},
    "nano": {"steps": 16, "sigma_min": 0.01, "sigma_max": 40.0, "rho": 7.0, "solver": "SOLVER_DPM_SOLVER_PP_2M"},
    "small": {"steps": 32, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "solver": "SOLVER_HEUN"},
    "base": {"steps": 32, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "solver": "SOLVER_HEUN"},
}
"""How each preset is sampled; guidance and churn are 0."""
