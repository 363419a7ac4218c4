"""Adaptive augmentation: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data".

Every augmentation is applied to an image with probability p, which follows how far the discriminator overfits (section
3.1), so that a set that is large enough is hardly augmented, and what augmentations show does not leak into the images
(section 2.2). The pipelines are those of appendix B, with its strengths: pixel blitting, geometry, colour. Images are
resampled bilinearly with mirrored borders, where the paper filters by wavelets.

Images are NCHW float32 in [-1, 1]. Random numbers are drawn on the CPU; p stays on the device. Written from
the paper.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from syntrial_generation.streams import RowsRandom

EVERY: Final = 4
"""Steps after which p moves, as in the paper."""

SHARE_OF_TRAINING: Final = 0.1
"""Of a training's images: over so many p may rise from 0 to 1 where nothing else is said. The paper's 500,000 are more
than short trainings show."""

SHIFT: Final = 0.125
"""Largest shift in whole pixels, and the deviation of the others, as a share of the side."""

_QUARTER_TURNS: Final = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
"""Cosine and sine, exactly, so that a quarter turn moves pixels and blends none."""


class Probability:
    """p, which rises where the discriminator tells real images of the training set too surely, and falls elsewhere.

    The measure is r_t = E[sign(D(real) - D(generated))] over pairs: the paper's heuristic, equation 1, for a loss that
    knows scores by their differences only (Huang et al. 2024). 0: no overfitting; 1: every pair is told.
    """

    def __init__(self, *, target: float, rise_images: float, device: torch.device) -> None:
        """`target` of r_t, in (0, 1); p moves by at most 1 in `rise_images` images."""
        self._target, self._rise_images = target, rise_images
        self.value = torch.zeros((), device=device)
        """p, a scalar on the device."""
        self._signs = torch.zeros((), device=device)

    def note(self, signs: Tensor, *, step: int, batch: int) -> None:
        """Takes the mean sign of a step's pairs; after every EVERY steps p moves towards the target."""
        self._signs = self._signs + signs.detach()
        if (step + 1) % EVERY == 0:
            change = torch.sign(self._signs / EVERY - self._target) * (EVERY * batch / self._rise_images)
            self.value = (self.value + change).clamp(0.0, 1.0)
            self._signs = torch.zeros_like(self._signs)

    def tensors(self) -> dict[str, Tensor]:
        """p and the signs noted since it moved."""
        return {"value": self.value, "signs": self._signs}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` took."""
        self.value, self._signs = (tensors[name].to(self.value.device) for name in ("value", "signs"))


def pipeline(images: Tensor, *, geometry: bool, colour: bool, probability: Tensor, random: RowsRandom) -> Tensor:
    """Images after pixel blitting, and after geometry and colour where asked, each part with the given probability.

    Where nothing is applied to an image it comes back unchanged, bit for bit.
    """
    draw = Draw(len(images), probability=probability, random=random, device=images.device)
    matrices = blits(draw, side=images.shape[2])
    if geometry:
        matrices = matrices @ geometries(draw, side=images.shape[2])
    images = resampled(images, matrices)
    return coloured(images, colours(draw, hues=images.shape[1] == 3)) if colour else images


class Draw:
    """Random numbers of N images, at rest where the augmentation is not applied."""

    def __init__(self, count: int, *, probability: Tensor, random: RowsRandom, device: torch.device) -> None:
        self.count, self.device = count, device
        self.probability, self._random = probability, random

    def uniform(self, low: float, high: float, *, rest: float = 0.0, probability: Tensor | None = None) -> Tensor:
        """Float32 (N,) in [low, high), `rest` where it is not applied."""
        drawn = self._random.rand(self.count) * (high - low) + low
        return self._applied(drawn, rest=rest, probability=probability)

    def normal(self, deviation: float) -> Tensor:
        """Float32 (N,) about 0, 0 where it is not applied."""
        return self._applied(self._random.randn(self.count) * deviation, rest=0.0)

    def factor(self, octaves: float) -> Tensor:
        """Float32 (N,): log-normal, of a deviation in octaves, 1 where it is not applied."""
        return torch.exp2(self.normal(octaves))

    def _applied(self, drawn: Tensor, *, rest: float, probability: Tensor | None = None) -> Tensor:
        chosen = self._random.rand(self.count).to(self.device)
        limit = self.probability if probability is None else probability
        return torch.where(chosen < limit, drawn.to(self.device), rest)


def blits(draw: Draw, *, side: int) -> Tensor:
    """Float32 (N, 3, 3): mirrored, quarter turns, shifts by whole pixels; about the image's centre, in pixels."""
    flips = 1 - 2 * draw.uniform(0, 2).floor()
    turns = torch.tensor(_QUARTER_TURNS, device=draw.device)[draw.uniform(0, 4).floor().long()]
    shifts = [torch.round(draw.uniform(-SHIFT, SHIFT) * side) for _ in range(2)]
    ones = torch.ones_like(flips)
    return scaling(flips, ones) @ rotation(turns[:, 0], turns[:, 1]) @ translation(*shifts)


def geometries(draw: Draw, *, side: int) -> Tensor:
    """Float32 (N, 3, 3): scaled, turned, stretched and shifted by fractions of pixels."""
    scale = draw.factor(0.2)
    # A rotation before the stretch and one after it: together with probability p.
    half = 1 - torch.sqrt(1 - draw.probability)
    before = draw.uniform(-math.pi, math.pi, probability=half)
    stretch = draw.factor(0.2)
    after = draw.uniform(-math.pi, math.pi, probability=half)
    shifts = [draw.normal(SHIFT) * side for _ in range(2)]
    turned = rotation(torch.cos(before), torch.sin(before)) @ scaling(stretch, 1 / stretch)
    return scaling(scale, scale) @ turned @ rotation(torch.cos(after), torch.sin(after)) @ translation(*shifts)


def colours(draw: Draw, *, hues: bool) -> Tensor:
    """Float32 (N, 4, 4) on (red, green, blue, 1): brightness, contrast, luma flip; `hues`: hue, saturation."""
    grey = torch.tensor([1.0, 1.0, 1.0, 0.0], device=draw.device) / math.sqrt(3)
    along = torch.outer(grey, grey)
    identity = torch.eye(4, device=draw.device)
    brightness = identity.repeat(draw.count, 1, 1)
    brightness[:, :3, 3] = draw.normal(0.2)[:, None]
    factor = draw.factor(0.5)
    contrast = torch.diag_embed(torch.stack([factor, factor, factor, torch.ones_like(factor)], dim=1))
    flips = draw.uniform(0, 2).floor()[:, None, None]
    matrices = (identity - 2 * flips * along) @ contrast @ brightness
    if hues:
        angle = draw.uniform(-math.pi, math.pi)[:, None, None]
        cross = torch.zeros(4, 4, device=draw.device)
        a = 1 / math.sqrt(3)
        cross[:3, :3] = torch.tensor([[0.0, -a, a], [a, 0.0, -a], [-a, a, 0.0]], device=draw.device)
        # Rodrigues: a rotation about the grey axis; the homogeneous coordinate stays.
        turned = identity + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)
        saturation = draw.factor(1.0)[:, None, None]
        across = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0], device=draw.device)) - along
        matrices = (identity + (saturation - 1) * across) @ turned @ matrices
    return matrices


def resampled(images: Tensor, matrices: Tensor) -> Tensor:
    """The images at the places where `matrices` (N, 3, 3) take their pixels (x, y, 1), counted from the centre.

    Bilinear; beyond the border the image is mirrored. Linear in the images, with gradients to them; written with
    gathers, whose gradient is deterministic on every device.
    """
    count, _, height, width = images.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device, dtype=matrices.dtype) - (height - 1) / 2,
        torch.arange(width, device=images.device, dtype=matrices.dtype) - (width - 1) / 2,
        indexing="ij",
    )
    places = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])
    found = matrices[:, :2] @ places
    columns = (found[:, 0] + (width - 1) / 2).reshape(count, height, width)
    rows = (found[:, 1] + (height - 1) / 2).reshape(count, height, width)
    pixels = images.permute(0, 2, 3, 1)
    number = torch.arange(count, device=images.device)[:, None, None]
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top)[..., None], (columns - left)[..., None]

    def at(row: Tensor, column: Tensor) -> Tensor:
        return pixels[number, _mirrored(row, side=height), _mirrored(column, side=width)]

    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return (upper * (1 - down) + lower * down).permute(0, 3, 1, 2).contiguous()


def coloured(images: Tensor, matrices: Tensor) -> Tensor:
    """The images' colours by `matrices` (N, 4, 4) on (red, green, blue, 1); grey ones count as three equal channels."""
    if images.shape[1] == 3:
        mixed = torch.einsum("ncd,ndhw->nchw", matrices[:, :3, :3], images)
        return mixed + matrices[:, :3, 3, None, None]
    factor = matrices[:, :3, :3].sum(dim=2).mean(dim=1)
    return images * factor[:, None, None, None] + matrices[:, :3, 3].mean(dim=1)[:, None, None, None]


def scaling(across: Tensor, along: Tensor) -> Tensor:
    """Float32 (N, 3, 3)."""
    return torch.diag_embed(torch.stack([across, along, torch.ones_like(across)], dim=1))


def rotation(cosine: Tensor, sine: Tensor) -> Tensor:
    """Float32 (N, 3, 3)."""
    nothing, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    return torch.stack([cosine, -sine, nothing, sine, cosine, nothing, nothing, nothing, one], 1).reshape(-1, 3, 3)


def translation(across: Tensor, along: Tensor) -> Tensor:
    """Float32 (N, 3, 3)."""
    nothing, one = torch.zeros_like(across), torch.ones_like(across)
    return torch.stack([one, nothing, across, nothing, one, along, nothing, nothing, one], 1).reshape(-1, 3, 3)


def _mirrored(index: Tensor, *, side: int) -> Tensor:
    """int64: whole numbers as indices of a side, mirrored at its outermost pixels as often as needed."""
    period = max(2 * (side - 1), 1)
    wrapped = index.long().abs() % period
    return torch.where(wrapped > side - 1, period - wrapped, wrapped)
