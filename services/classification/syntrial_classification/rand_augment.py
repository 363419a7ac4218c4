"""RandAugment in batches on the device: some operations for each image, drawn from its own stream and visit.

Cubuk et al. 2020, with the operations and ranges of Cubuk et al. 2019 (AutoAugment), table 6. One magnitude serves all
operations; those that go both ways draw their sign. Which images an operation meets is known before a batch is on the
device, so nothing waits for it. Shapes: B images a batch, C channels, H×W pixels.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification.streams import UInt64s, below, stream, uniform

LARGEST: Final = 30.0
"""The magnitude at which an operation is at the end of its range."""
USUAL_OPERATIONS: Final = 2

_FIRST: Final = 151
_SHIFT: Final = 2 * 150 / 331
"""The largest, 150 of 331 pixels, in coordinates that run from -1 to 1."""
_SHEAR: Final = 0.3
_ANGLE: Final = math.radians(30)
_BLEND: Final = 0.9

GEOMETRY: Final = ("shear-x", "shear-y", "shift-x", "shift-y", "rotate")
INTENSITY: Final = (
    "brightness",
    "contrast",
    "sharpness",
    "colour",
    "autocontrast",
    "equalise",
    "solarise",
    "posterise",
)
IDENTITY: Final = ("identity",)


def is_asked(recipe: TrainingRecipe) -> bool:
    """Whether the recipe has any of it."""
    return bool(recipe.rand_augment)


def operations(recipe: TrainingRecipe) -> tuple[str, ...]:
    """What is drawn from."""
    match recipe.rand_augment_kind:
        case TrainingRecipe.OPERATIONS_GEOMETRY:
            return IDENTITY + GEOMETRY
        case TrainingRecipe.OPERATIONS_INTENSITY:
            return IDENTITY + INTENSITY
    return IDENTITY + GEOMETRY + INTENSITY


def draw(visited: UInt64s, *, recipe: TrainingRecipe) -> np.ndarray:
    """int64 (L, 2, B): of each of L operations one after another, its number in `operations` and its sign, 1 or -1."""
    layers = []
    for layer in range(recipe.rand_augment_operations or USUAL_OPERATIONS):
        which = below(stream(visited, _FIRST, layer, 0), len(operations(recipe)))
        sign = np.where(uniform(stream(visited, _FIRST, layer, 1)) < 0.5, -1, 1)
        layers.append(np.stack([which, sign]))
    return np.stack(layers)


def rand_augment(images_BCHW: Tensor, drawn_L2B: np.ndarray, *, recipe: TrainingRecipe) -> Tensor:
    """float32 (B, C, H, W) at 0 to 255, each image changed by its own operations.

    What comes into view repeats the edge. `drawn_L2B` is what `draw` gave, still on the host.
    """
    names = operations(recipe)
    share = recipe.rand_augment / LARGEST
    for which_B, sign_B in drawn_L2B:
        images_BCHW = _moved(images_BCHW, names, which_B, sign_B, share=share)
        for name, change in _CHANGES.items():
            places = np.flatnonzero(which_B == names.index(name)) if name in names else ()
            if len(places):
                where = torch.from_numpy(places).to(images_BCHW.device, non_blocking=True)
                signs = torch.from_numpy(sign_B[places]).to(images_BCHW.device, torch.float32, non_blocking=True)
                changed = change(images_BCHW[where], signs[:, None, None, None] * share)
                images_BCHW = images_BCHW.index_copy(0, where, changed)
    return images_BCHW


def _moved(
    images_BCHW: Tensor, names: tuple[str, ...], which_B: np.ndarray, sign_B: np.ndarray, *, share: float
) -> Tensor:
    """Those images moved whose operation is one of `GEOMETRY`: one resampling for all of them."""
    chosen = [names.index(name) for name in GEOMETRY if name in names]
    places = np.flatnonzero(np.isin(which_B, chosen))
    if not len(places):
        return images_BCHW
    theta_B23 = np.zeros((len(places), 2, 3), np.float32)
    for row, (which, sign) in enumerate(zip(which_B[places], sign_B[places], strict=True)):
        theta_B23[row] = _matrix(names[which], float(sign) * share)
    where = torch.from_numpy(places).to(images_BCHW.device, non_blocking=True)
    grid = functional.affine_grid(
        torch.from_numpy(theta_B23).to(images_BCHW.device, non_blocking=True),
        [len(places), *images_BCHW.shape[1:]],
        align_corners=False,
    )
    moved = functional.grid_sample(images_BCHW[where], grid, padding_mode="border", align_corners=False)
    return images_BCHW.index_copy(0, where, moved)


def _matrix(name: str, amount: float) -> list[list[float]]:
    """Where a pixel of the result is read, in coordinates that run from -1 to 1 over a square."""
    match name:
        case "shear-x":
            return [[1, _SHEAR * amount, 0], [0, 1, 0]]
        case "shear-y":
            return [[1, 0, 0], [_SHEAR * amount, 1, 0]]
        case "shift-x":
            return [[1, 0, _SHIFT * amount], [0, 1, 0]]
        case "shift-y":
            return [[1, 0, 0], [0, 1, _SHIFT * amount]]
    cosine, sine = math.cos(_ANGLE * amount), math.sin(_ANGLE * amount)
    return [[cosine, -sine, 0], [sine, cosine, 0]]


def _blended(images_BCHW: Tensor, plain: Tensor, amount_B111: Tensor) -> Tensor:
    """The image away from its plain form, or towards it, by a factor of 0.1 to 1.9."""
    return (plain + (1 + _BLEND * amount_B111) * (images_BCHW - plain)).clamp(0, 255)


def _grey(images_BCHW: Tensor) -> Tensor:
    """(B, 1, H, W): luma (ITU-R BT.601) of colour images."""
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    weights = torch.tensor((0.299, 0.587, 0.114), device=images_BCHW.device)
    return (images_BCHW * weights[:, None, None]).sum(dim=1, keepdim=True)


def _smooth(images_BCHW: Tensor) -> Tensor:
    """Each pixel with the eight around it, at weights 5 and 1; the edge stays."""
    channels = images_BCHW.shape[1]
    kernel = torch.ones((channels, 1, 3, 3), device=images_BCHW.device)
    kernel[:, :, 1, 1] = 5.0
    smoothed = images_BCHW.clone()
    smoothed[:, :, 1:-1, 1:-1] = functional.conv2d(images_BCHW.contiguous(), kernel / 13.0, groups=channels)
    return smoothed


def _stretched(images_BCHW: Tensor, _amount: Tensor) -> Tensor:
    """Each channel's least and largest value at 0 and 255; a constant one stays."""
    least, largest = images_BCHW.amin(dim=(2, 3), keepdim=True), images_BCHW.amax(dim=(2, 3), keepdim=True)
    span = largest - least
    return torch.where(span > 0, (images_BCHW - least) * (255.0 / span.clamp(min=1e-6)), images_BCHW)


def _equalised(images_BCHW: Tensor, _amount: Tensor) -> Tensor:
    """Each channel's values by their ranks: 255 times the share of pixels that are darker, among those not darkest."""
    count = images_BCHW.shape[2] * images_BCHW.shape[3]
    values_BCP = images_BCHW.flatten(2).round()
    sorted_BCP = values_BCP.sort(dim=2).values.contiguous()
    darker = torch.searchsorted(sorted_BCP, values_BCP.contiguous(), right=True).float()
    darkest = torch.searchsorted(sorted_BCP, sorted_BCP[:, :, :1].contiguous(), right=True).float()
    spread = (darker - darkest) * (255.0 / (count - darkest).clamp(min=1.0))
    return torch.where(darkest < count, spread, values_BCP).view_as(images_BCHW)


def _solarised(images_BCHW: Tensor, amount_B111: Tensor) -> Tensor:
    """Values from a threshold on inverted: 256 at magnitude 0, none is; 0 at the largest, all are."""
    return torch.where(images_BCHW >= 256.0 * (1 - amount_B111.abs()), 255.0 - images_BCHW, images_BCHW)


def _posterised(images_BCHW: Tensor, amount_B111: Tensor) -> Tensor:
    """The upper 8 to 4 bits of each value."""
    step = 2.0 ** torch.round(4 * amount_B111.abs())
    return torch.floor(images_BCHW / step) * step


_CHANGES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "brightness": lambda images, amount: _blended(images, torch.zeros_like(images), amount),
    "contrast": lambda images, amount: _blended(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), amount),
    "sharpness": lambda images, amount: _blended(images, _smooth(images), amount),
    "colour": lambda images, amount: _blended(images, _grey(images), amount),
    "autocontrast": _stretched,
    "equalise": _equalised,
    "solarise": _solarised,
    "posterise": _posterised,
}
