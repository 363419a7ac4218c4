"""Losses of each image: (B,) from logits (B, K)."""

import torch
from torch import Tensor
from torch.nn import functional

from syntrial.v1.classification_pb2 import TrainingRecipe

FOCAL_GAMMA = 2.0
"""Lin et al. 2017, the value that they recommend."""


def image_losses(logits: Tensor, targets: Tensor, *, loss: int, label_smoothing: float = 0.0) -> Tensor:
    """The loss of each image, float32 (B,).

    `targets` int64 (B,): softmax over the K classes; float32 (B, K): K independent labels, averaged.
    Focal: -(1 - p)^2 log p of the true class (Lin et al. 2017, equation 4, without class weights).
    """
    if targets.ndim == 2:
        smooth = targets * (1 - label_smoothing) + 0.5 * label_smoothing
        entropy = functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
        if loss == TrainingRecipe.LOSS_FOCAL:
            p_true = torch.exp(-functional.binary_cross_entropy_with_logits(logits, targets, reduction="none"))
            entropy = entropy * (1 - p_true) ** FOCAL_GAMMA
        return entropy.mean(dim=1)
    entropy = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)
    if loss == TrainingRecipe.LOSS_FOCAL:
        p_true = torch.softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
        entropy = entropy * (1 - p_true) ** FOCAL_GAMMA
    return entropy


def probabilities(logits: Tensor, *, multi_label: bool) -> Tensor:
    """Probabilities, float64 (B, K), computed in double precision."""
    wide = logits.double()
    return torch.sigmoid(wide) if multi_label else torch.softmax(wide, dim=1)
