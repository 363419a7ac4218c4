"""Losses of each image: (B,) from logits (B, K)."""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from syntrial.v1.classification_pb2 import TrainingRecipe

FOCAL_GAMMA: Final = 2.0
"""Lin et al. 2017, the value that they recommend."""
ASYMMETRIC_NEGATIVE: Final = 4.0
ASYMMETRIC_MARGIN: Final = 0.05
"""Ridnik et al. 2021, the values that they recommend."""
_FLOOR: Final = 1e-8


def image_losses(
    logits: Tensor, targets: Tensor, *, recipe: TrainingRecipe, weights_K: Tensor | None = None, smooth: bool = False
) -> Tensor:
    """The loss of each image, float32 (B,).

    `targets` int64 (B,): softmax over the K classes; float32 (B, K): K independent labels, averaged. `weights_K` are
    the weights of classes, or of labels that an image has (`class_weights`); `smooth` spreads labels by the recipe.

    Focal: -α (1 - p)^γ log p of the true class (Lin et al. 2017, equation 5). Asymmetric: with q = max(p - margin, 0),
    -(1 - p)^γ+ log p for a label that an image has, -q^γ- log(1 - q) for one that it lacks (Ridnik et al. 2021,
    equations 5 to 7); of several labels alone.
    """
    spread = recipe.label_smoothing if smooth else 0.0
    if targets.ndim == 2:
        if recipe.loss == TrainingRecipe.LOSS_ASYMMETRIC:
            entropy = _asymmetric(logits, targets, recipe=recipe)
        else:
            spread_targets = targets * (1 - spread) + 0.5 * spread
            entropy = functional.binary_cross_entropy_with_logits(logits, spread_targets, reduction="none")
            if recipe.loss == TrainingRecipe.LOSS_FOCAL:
                p_true = torch.exp(-functional.binary_cross_entropy_with_logits(logits, targets, reduction="none"))
                entropy = entropy * (1 - p_true) ** (recipe.focal_gamma or FOCAL_GAMMA)
                if recipe.focal_alpha:
                    entropy = entropy * torch.where(targets > 0.5, recipe.focal_alpha, 1 - recipe.focal_alpha)
        if weights_K is not None:
            entropy = entropy * torch.where(targets > 0.5, weights_K, 1.0)
        return entropy.mean(dim=1)
    entropy = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=spread)
    if recipe.loss == TrainingRecipe.LOSS_FOCAL:
        p_true = torch.softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
        entropy = entropy * (1 - p_true) ** (recipe.focal_gamma or FOCAL_GAMMA)
        if recipe.focal_alpha:
            entropy = entropy * torch.where(targets == 1, recipe.focal_alpha, 1 - recipe.focal_alpha)
    return entropy if weights_K is None else entropy * weights_K[targets]


def _asymmetric(logits: Tensor, targets: Tensor, *, recipe: TrainingRecipe) -> Tensor:
    """(B, K), see `image_losses`."""
    probabilities_BK = torch.sigmoid(logits)
    margin = recipe.asymmetric_margin or ASYMMETRIC_MARGIN
    shifted_BK = (probabilities_BK - margin).clamp(min=0)
    has = (1 - probabilities_BK) ** recipe.asymmetric_positive * functional.logsigmoid(logits)
    power = recipe.asymmetric_negative or ASYMMETRIC_NEGATIVE
    lacks = shifted_BK**power * torch.log((1 - shifted_BK).clamp(min=_FLOOR))
    return -(targets * has + (1 - targets) * lacks)


def class_weights(labels: npt.NDArray[np.generic], *, classes: int) -> npt.NDArray[np.float32]:
    """Balanced weights of a training split, float32 (K,).

    One class an image (labels int64 (N,)): N / (K · n_k), so that all classes weigh the same and the mean is 1. Several
    labels (uint8 (N, K)): (N - n_k) / n_k for an image that has label k, so that having and lacking weigh the same. A
    class or label that no image has gets 1.
    """
    if labels.ndim == 1:
        counts = np.bincount(labels.astype(np.int64), minlength=classes)
        weights = len(labels) / (classes * np.maximum(counts, 1))
    else:
        counts = labels.sum(axis=0, dtype=np.int64)
        weights = (len(labels) - counts) / np.maximum(counts, 1)
    balanced: npt.NDArray[np.float32] = np.where((counts > 0) & (counts < len(labels)), weights, 1.0).astype(np.float32)
    return balanced


def probabilities(logits: Tensor, *, multi_label: bool) -> Tensor:
    """Probabilities, float64 (B, K), computed in double precision."""
    wide = logits.double()
    return torch.sigmoid(wide) if multi_label else torch.softmax(wide, dim=1)
