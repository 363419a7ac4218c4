"""Differentiable augmentation of real and generated images alike: Zhao et al. 2020, "Differentiable Augmentation for
Data-Efficient GAN Training" (DiffAugment).

Each function takes and returns NCHW float32 in [-1, 1] and passes gradients to the images. Random numbers are
drawn on the CPU, so that every device sees the same.
"""

import torch
from torch import Tensor

from syntrial_generation.streams import RowsRandom


def augment(
    images: Tensor,
    *,
    shift: float,
    cutout: float,
    brightness: float,
    flip: bool,
    random: RowsRandom,
    probability: Tensor | None = None,
) -> Tensor:
    """All augmentations in turn; each one at strength 0 changes nothing, bit for bit.

    `shift` and `cutout` are shares of the side; `brightness` is the largest change at scale [-1, 1]. Each is applied to
    an image with the `probability` (a scalar; None: to all images).
    """

    def some(augmented: Tensor, before: Tensor) -> Tensor:
        if probability is None:
            return augmented
        chosen = random.rand(len(before), 1, 1, 1).to(before.device) < probability
        return torch.where(chosen, augmented, before)

    if flip:
        images = some(flipped(images, random=random), images)
    if brightness > 0:
        images = some(brightened(images, strength=brightness, random=random), images)
    if shift > 0:
        images = some(shifted(images, share=shift, random=random), images)
    if cutout > 0:
        images = some(cut_out(images, share=cutout, random=random), images)
    return images


def flipped(images: Tensor, *, random: RowsRandom) -> Tensor:
    """Half of the images mirrored, left and right."""
    flips = (random.rand(len(images), 1, 1, 1) < 0.5).to(images.device)
    return torch.where(flips, images.flip(3), images)


def brightened(images: Tensor, *, strength: float, random: RowsRandom) -> Tensor:
    """A constant in ± `strength` is added to each image."""
    change = (random.rand(len(images), 1, 1, 1) * 2 - 1) * strength
    return images + change.to(images.device)


def shifted(images: Tensor, *, share: float, random: RowsRandom) -> Tensor:
    """Moved by up to `share` of the side in each direction; what enters is 0 (mid-grey), as in the paper."""
    count, _, height, width = images.shape
    rows = _moved(height, count, share=share, random=random).to(images.device)
    columns = _moved(width, count, share=share, random=random).to(images.device)
    # One ring of zeros stands for all that lies outside.
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    number = torch.arange(count, device=images.device)[:, None, None]
    return padded[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def cut_out(images: Tensor, *, share: float, random: RowsRandom) -> Tensor:
    """A square of `share` of the side is set to 0 in each image; its centre may lie anywhere."""
    count, _, height, width = images.shape
    down = _covered(height, count, share=share, random=random).to(images.device)
    right = _covered(width, count, share=share, random=random).to(images.device)
    hole = down[:, None, :, None] & right[:, None, None, :]
    return images.masked_fill(hole, 0.0)


def _moved(side: int, count: int, *, share: float, random: RowsRandom) -> Tensor:
    """int64 (count, side): where each pixel comes from, in coordinates with one pixel of padding."""
    most = int(side * share + 0.5)
    shifts = random.randint(-most, most + 1, count, 1)
    return (torch.arange(side)[None] - shifts + 1).clamp(0, side + 1)


def _covered(side: int, count: int, *, share: float, random: RowsRandom) -> Tensor:
    """bool (count, side): which rows or columns the square covers."""
    length = int(side * share + 0.5)
    starts = random.randint(0, side + (1 - length % 2), count, 1) - length // 2
    place = torch.arange(side)[None]
    return (place >= starts) & (place < starts + length)
