"""Augmentation of a batch on the device: whole-pixel shifts with repeated edges, and horizontal flips.

Shapes: B images a batch, H×W pixels, C channels; N images in the resident table; S the largest shift.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from syntrial_classification.streams import UInt64s, below, stream

_SHIFT_ROWS, _SHIFT_COLUMNS, _FLIP = 101, 102, 103


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What may happen to a training image."""

    shift: int
    """Largest shift in pixels along each axis; uniform over the whole numbers from -shift to shift."""
    flip: bool
    """Whether half of the images are mirrored left to right."""


def visited(codes: UInt64s, visits: UInt64s, *, seed: int) -> UInt64s:
    """Codes (B,) of items at their visits, from which all of an image's augmentation is drawn.

    A function of (seed, item, visit) alone, so it does not depend on the image's place in a batch.
    """
    return stream(codes, seed) ^ stream(visits, seed, 1)


def draw(visited: UInt64s, *, augmentation: Augmentation) -> np.ndarray:
    """Shifts and flips of items at their visits: int64 (3, B) of rows, columns, flip (0 or 1); (2, B) without flips."""
    drawn = np.zeros((3 if augmentation.flip else 2, len(visited)), dtype=np.int64)
    if augmentation.shift:
        span = 2 * augmentation.shift + 1
        drawn[0] = below(stream(visited, _SHIFT_ROWS), span) - augmentation.shift
        drawn[1] = below(stream(visited, _SHIFT_COLUMNS), span) - augmentation.shift
    if augmentation.flip:
        drawn[2] = below(stream(visited, _FLIP), 2)
    return drawn


def windows(bordered_NHWC: Tensor, *, border: int) -> Tensor:
    """The H×W windows of a table whose images have a border: a view (N, 2S+1, 2S+1, H, W, C), no copy.

    S is `border`, the pixels on each side, which repeat the edge (`table.resident`).
    """
    count, height, width, channels = bordered_NHWC.shape
    places = 2 * border + 1
    image, row, column, channel = bordered_NHWC.stride()
    shape = (count, places, places, height - 2 * border, width - 2 * border, channels)
    return bordered_NHWC.as_strided(shape, (image, row, column, row, column, channel))


def gather(windows_NSSHWC: Tensor, indices: Tensor, drawn: Tensor | None) -> Tensor:
    """Images `indices` (int64, B) of the uint8 table, shifted and flipped as `drawn` says: uint8 (B, H, W, C).

    One indexed read, whole windows at a time; no shift is beyond the table's border.
    """
    border = windows_NSSHWC.shape[1] // 2
    if drawn is None:
        return windows_NSSHWC[indices, border, border]
    images = windows_NSSHWC[indices, border - drawn[0], border - drawn[1]]
    if len(drawn) == 2:
        return images
    return torch.where(drawn[2, :, None, None, None] == 1, images.flip(2), images)


def normalise(images_BHWC: Tensor, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """uint8 (B, H, W, C) to float32 (B, C, H, W) in channels-last memory, at mean 0 and standard deviation 1."""
    floating = images_BHWC.to(torch.float32).sub_(mean_C).mul_(1.0 / std_C)
    return floating.permute(0, 3, 1, 2)


def resized(images_BHWC: Tensor, *, side: int) -> Tensor:
    """uint8 (B, H, W, C) to float32 (B, C, side, side) at 0 to 255, in channels-last memory: bicubic, antialiased."""
    floating = images_BHWC.to(torch.float32).permute(0, 3, 1, 2)
    found = functional.interpolate(floating, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    # Bicubic overshoots at edges, beyond what an image holds.
    return found.clamp_(0.0, 255.0).contiguous(memory_format=torch.channels_last)


def scaled(images_BCHW: Tensor, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """float32 (B, C, H, W) at 0 to 255, at mean 0 and standard deviation 1."""
    return (images_BCHW - mean_C[:, None, None]) / std_C[:, None, None]
