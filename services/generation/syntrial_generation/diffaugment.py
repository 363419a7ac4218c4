"""Differentiable augmentation of real and generated images alike: Zhao et al. 2020, "Differentiable Augmentation for
Data-Efficient GAN Training" (DiffAugment).

Each function takes and returns NCHW float32 in [-1, 1] and passes gradients to the images. Random numbers come from a
generator on the CPU, so that every device sees the same.
"""

import torch
from torch import Tensor


def augment(
    images: Tensor,
    *,
    shift: float,
    cutout: float,
    brightness: float,
    flip: bool,
    random: torch.Generator,
    probability: Tensor | None = None,
) -> Tensor:
    """All augmentations in turn; each one at strength 0 changes nothing, bit for bit.

    `shift` and `cutout` are shares of the side; `brightness` is the largest change at scale [-1, 1]. Each is applied to
    an image with the `probability` (a scalar; None: to all images).
    """

    def some(augmented: Tensor, before: Tensor) -> Tensor:
        if probability is None:
            return augmented
        chosen = torch.rand(len(before), 1, 1, 1, generator=random).to(before.device) < probability
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


def flipped(images: Tensor, *, random: torch.Generator) -> Tensor:
    """Half of the images mirrored, left and right."""
    flips = (torch.rand(len(images), 1, 1, 1, generator=random) < 0.5).to(images.device)
    return torch.where(flips, images.flip(3), images)


def brightened(images: Tensor, *, strength: float, random: torch.Generator) -> Tensor:
    """A constant in ± `strength` is added to each image."""
    change = (torch.rand(len(images), 1, 1, 1, generator=random) * 2 - 1) * strength
    return images + change.to(images.device)


def shifted(images: Tensor, *, share: float, random: torch.Generator) -> Tensor:
    """Moved by up to `share` of the side in each direction; what enters is 0 (mid-grey), as in the paper."""
    count, _, height, width = images.shape
    rows = _moved(height, count, share=share, random=random).to(images.device)
    columns = _moved(width, count, share=share, random=random).to(images.device)
    # One ring of zeros stands for all that lies outside.
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    number = torch.arange(count, device=images.device)[:, None, None]
    return padded[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def cut_out(images: Tensor, *, share: float, random: torch.Generator) -> Tensor:
    """A square of `share` of the side is set to 0 in each image; its centre may lie anywhere."""
    count, _, height, width = images.shape
    down = _covered(height, count, share=share, random=random).to(images.device)
    right = _covered(width, count, share=share, random=random).to(images.device)
    hole = down[:, None, :, None] & right[:, None, None, :]
    return images.masked_fill(hole, 0.0)


def _moved(side: int, count: int, *, share: float, random: torch.Generator) -> Tensor:
    """int64 (count, side): where each pixel comes from, in coordinates with one pixel of padding."""
    most = int(side * share + 0.5)
    shifts = torch.randint(-most, most + 1, (count, 1), generator=random)
    return (torch.arange(side)[None] - shifts + 1).clamp(0, side + 1)


def _covered(side: int, count: int, *, share: float, random: torch.Generator) -> Tensor:
    """bool (count, side): which rows or columns the square covers."""
    length = int(side * share + 0.5)
    starts = torch.randint(0, side + (1 - length % 2), (count, 1), generator=random) - length // 2
    place = torch.arange(side)[None]
    return (place >= starts) & (place < starts + length)
