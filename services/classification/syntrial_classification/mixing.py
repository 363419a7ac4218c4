"""Mixup and CutMix within a batch: each image with the one that mirrors its place, by a share of its own.

Zhang et al. 2018 (equation 1) and Yun et al. 2019 (equations 1 and 2). Batches follow from the request, and shares from
the items' own streams, so a training that goes on after an interruption mixes alike. Called by `training`.
"""

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification.distort import boxes
from syntrial_classification.streams import UInt64s, stream, uniform

_SHARE, _X, _Y, _WHICH = 131, 132, 133, 134


def is_asked(recipe: TrainingRecipe) -> bool:
    """Whether the recipe mixes."""
    return bool(recipe.mixup or recipe.cutmix)


def draw(visited: UInt64s, *, recipe: TrainingRecipe) -> np.ndarray:
    """float32 (4, B): each item's own share, by Beta(α, α); its box's place, x and y; 1 where it is cut, 0 mixed."""
    share, x, y, which = (uniform(stream(visited, word)) for word in (_SHARE, _X, _Y, _WHICH))
    both = bool(recipe.mixup and recipe.cutmix)
    cut = which < 0.5 if both else np.full(len(visited), bool(recipe.cutmix))
    alpha = np.where(cut, recipe.cutmix or 1.0, recipe.mixup or 1.0)
    return np.stack([betaincinv(alpha, alpha, share), x, y, cut]).astype(np.float32)


def mix(images_BCHW: Tensor, drawn_RB: Tensor) -> tuple[Tensor, Tensor]:
    """The mixed images, and the share (B,) that each has of itself; the rest is of the image at the mirrored place."""
    share, x, y, cut = drawn_RB
    others = images_BCHW.flip(0)
    side = torch.sqrt(1 - share)
    inside_BHW = boxes(side, side, x, y, like=images_BCHW)
    cut_out = torch.where(inside_BHW[:, None], others, images_BCHW)
    own = share[:, None, None, None]
    mixed = torch.where(cut[:, None, None, None] > 0.5, cut_out, own * images_BCHW + (1 - own) * others)
    # A box has whole pixels: what counts is what it covers.
    covered = 1 - inside_BHW.float().mean(dim=(1, 2))
    return mixed, torch.where(cut > 0.5, covered, share)
