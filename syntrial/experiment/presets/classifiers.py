"""Recipes by which classifiers are trained where the user does not say otherwise: one visible table.

Called by `syntrial.plan.requests`, which expands them into training requests, so that each number here enters the
steps' keys. Torch-free.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.v1.classification_pb2 import TrainingRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipePreset:
    """How the models of a family are trained; fields are those of `TrainingRecipe`, besides the last three."""

    batch_size: int
    optimizer: str
    weight_decay: float
    schedule: str
    warmup: float
    augment_shift: int
    augment_flip: bool = False
    label_smoothing: float = 0.0
    ema_half_life_steps: float
    checkpoint: str = "LAST_EMA"
    validations: int = 12
    loss: str = "CROSS_ENTROPY"

    learning_rate: float
    """Peak learning rate of a phase that states none."""
    steps: int
    """Optimiser steps of a phase where the experiment states no budget."""
    models: tuple[str, ...]
    """Regular expressions, matched against the whole of a model's name (without timm's ".tag")."""


RECIPES: Final[Mapping[str, RecipePreset]] = {
    # Chosen on the validation split of PneumoniaMNIST (benchmarks/classifier_training.py trains the same model).
    "small-cnn": RecipePreset(
        batch_size=64,
        optimizer="ADAMW",
        weight_decay=0.05,
        schedule="ONE_CYCLE",
        warmup=0.2,
        augment_shift=2,
        ema_half_life_steps=30,
        learning_rate=3e-3,
        steps=750,
        models=("small-cnn",),
    ),
    # Shorter than MedMNIST v2's protocol (examples/medmnist-protocol.yaml), and free of selection: one cycle and the
    # last moving average.
    "resnet": RecipePreset(
        batch_size=128,
        optimizer="ADAMW",
        weight_decay=0.05,
        schedule="ONE_CYCLE",
        warmup=0.2,
        augment_shift=2,
        ema_half_life_steps=30,
        learning_rate=1e-3,
        steps=750,
        models=(r"(wide_|se|cspnet|ec)?res(net|nest|next)\d*.*", r"densenet.*", r"vgg.*", r"regnet.*"),
    ),
    # Touvron et al. 2021, at batch 128: AdamW 5e-4 × 128 / 512, weight decay 0.05, a rise over 5 of 50 epochs.
    "vision-transformer": RecipePreset(
        batch_size=128,
        optimizer="ADAMW",
        weight_decay=0.05,
        schedule="ONE_CYCLE",
        warmup=0.1,
        augment_shift=2,
        ema_half_life_steps=100,
        learning_rate=5e-4 * 128 / 512,
        steps=1850,
        models=(r"(deit|vit|beit|cait|xcit|swin|eva|deit3).*",),
    ),
    "default": RecipePreset(
        batch_size=128,
        optimizer="ADAMW",
        weight_decay=0.05,
        schedule="ONE_CYCLE",
        warmup=0.2,
        augment_shift=2,
        ema_half_life_steps=30,
        learning_rate=5e-4,
        steps=1000,
        models=(r".*",),
    ),
}
"""Recipes by family; the first whose pattern matches a model's name holds for it."""


def recipe_family(model: str) -> str:
    """The family of `RECIPES` to which the model belongs, by its name alone."""
    name = model.partition(".")[0]
    return next(
        family for family, preset in RECIPES.items() if any(re.fullmatch(pattern, name) for pattern in preset.models)
    )


def recipe_preset(model: str) -> TrainingRecipe:
    """The recipe of the model's family, every field filled in."""
    preset = RECIPES[recipe_family(model)]
    return TrainingRecipe(
        batch_size=preset.batch_size,
        optimizer=f"OPTIMIZER_{preset.optimizer}",
        weight_decay=preset.weight_decay,
        schedule=f"SCHEDULE_{preset.schedule}",
        warmup=preset.warmup,
        augment_shift=preset.augment_shift,
        augment_flip=preset.augment_flip,
        label_smoothing=preset.label_smoothing,
        ema_half_life_steps=preset.ema_half_life_steps,
        checkpoint=f"CHECKPOINT_CHOICE_{preset.checkpoint}",
        validations=preset.validations,
        loss=f"LOSS_{preset.loss}",
    )


def default_learning_rate(model: str) -> float:
    """The peak learning rate of the model's family."""
    return RECIPES[recipe_family(model)].learning_rate


def default_steps(model: str) -> int:
    """The length of a phase, in optimiser steps, where the experiment states no budget."""
    return RECIPES[recipe_family(model)].steps
