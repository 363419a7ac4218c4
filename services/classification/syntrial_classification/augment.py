"""Augmentation of a batch on the device: whole-pixel shifts with repeated edges, and horizontal flips.

Shapes: B images a batch, H×W pixels, C channels; N images in the resident table.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from syntrial_classification.streams import UInt64s, below, stream

_SHIFT_ROWS, _SHIFT_COLUMNS, _FLIP = 101, 102, 103


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What may happen to a training image."""

    shift: int
    """Largest shift in pixels along each axis; uniform over the whole numbers from -shift to shift."""
    flip: bool
    """Whether half of the images are mirrored left to right."""


def draw(codes: UInt64s, visits: UInt64s, *, seed: int, augmentation: Augmentation) -> np.ndarray:
    """Shifts and flips for each item and visit: int64 (3, B) of rows, columns and flip (0 or 1).

    A function of (seed, item, visit) alone, so an image's augmentation does not depend on its place in a batch.
    """
    drawn = np.zeros((3, len(codes)), dtype=np.int64)
    visited = stream(codes, seed) ^ stream(visits, seed, 1)
    if augmentation.shift:
        span = 2 * augmentation.shift + 1
        drawn[0] = below(stream(visited, _SHIFT_ROWS), span) - augmentation.shift
        drawn[1] = below(stream(visited, _SHIFT_COLUMNS), span) - augmentation.shift
    if augmentation.flip:
        drawn[2] = below(stream(visited, _FLIP), 2)
    return drawn


def gather(images_NHWC: Tensor, indices: Tensor, drawn: Tensor | None) -> Tensor:
    """Images `indices` (int64, B) of the uint8 table, shifted and flipped as `drawn` (3, B) says: uint8 (B, H, W, C).

    One indexed read of the table; pixels beyond an edge repeat it.
    """
    if drawn is None:
        return images_NHWC[indices]
    height, width = images_NHWC.shape[1:3]
    rows = torch.arange(height, device=indices.device)
    columns = torch.arange(width, device=indices.device)
    rows_BH = (rows[None] - drawn[0, :, None]).clamp_(0, height - 1)
    columns_BW = (columns[None] - drawn[1, :, None]).clamp_(0, width - 1)
    columns_BW = torch.where(drawn[2, :, None] == 1, columns_BW.flip(1), columns_BW)
    return images_NHWC[indices[:, None, None], rows_BH[:, :, None], columns_BW[:, None, :]]


def normalise(images_BHWC: Tensor, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """uint8 (B, H, W, C) to float32 (B, C, H, W) in channels-last memory, at mean 0 and standard deviation 1."""
    scaled = images_BHWC.to(torch.float32).sub_(mean_C).mul_(1.0 / std_C)
    return scaled.permute(0, 3, 1, 2)
