"""Augmentation that resamples or recolours, in batches on the device: crops, rotations, jitter, erased rectangles.

Every number is drawn from the item's own stream and visit (`augment.visited`), so an image's augmentation does not
depend on its place in a batch. Shapes: B images a batch, C channels, H×W pixels.
"""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification.streams import UInt64s, stream, uniform

ASPECT: Final = 4 / 3
"""Crops and erased rectangles are from 3:4 to 4:3, on a logarithmic scale (Szegedy et al. 2015, section 6)."""
ERASED: Final = (0.02, 1 / 3)
"""Least and largest share of the area that is erased (Zhong et al. 2020, section 4)."""

_FIRST: Final = 110
_NUMBERS: Final = (
    "area",
    "aspect",
    "x",
    "y",
    "angle",
    "brightness",
    "contrast",
    "erase",
    "erased_area",
    "erased_aspect",
    "erased_x",
    "erased_y",
)


def is_asked(recipe: TrainingRecipe) -> bool:
    """Whether the recipe has any of it."""
    return bool(recipe.crop or recipe.rotation or recipe.jitter or recipe.erasing)


def draw(visited: UInt64s) -> np.ndarray:
    """Uniform numbers in [0, 1) of each item's visit, float32 (R, B): one row for each thing that may happen to it."""
    return np.stack([uniform(stream(visited, _FIRST + row)) for row in range(len(_NUMBERS))]).astype(np.float32)


def distort(images_BCHW: Tensor, drawn_RB: Tensor, *, recipe: TrainingRecipe) -> Tensor:
    """float32 (B, C, H, W) at 0 to 255, cropped, turned, and made lighter or darker as the numbers of `draw` say.

    A crop keeps a share of the area from `crop` to 1 and is enlarged to the whole, bilinearly; what a rotation brings
    into view repeats the edge. Contrast changes about the image's mean.
    """
    number = dict(zip(_NUMBERS, drawn_RB, strict=True))
    if recipe.crop or recipe.rotation:
        smallest = recipe.crop or 1.0
        width, height = _sides(smallest + (1 - smallest) * number["area"], number["aspect"])
        if not recipe.crop:
            width = height = torch.ones_like(width)
        angle = torch.deg2rad((2 * number["angle"] - 1) * recipe.rotation)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        left, top = (2 * number["x"] - 1) * (1 - width), (2 * number["y"] - 1) * (1 - height)
        rows = (torch.stack([width * cosine, -width * sine, left]), torch.stack([height * sine, height * cosine, top]))
        theta_B23 = torch.stack(rows).permute(2, 0, 1)
        grid = functional.affine_grid(theta_B23, list(images_BCHW.shape), align_corners=False)
        images_BCHW = functional.grid_sample(images_BCHW, grid, padding_mode="border", align_corners=False)
    if recipe.jitter:
        contrast = (1 + (2 * number["contrast"] - 1) * recipe.jitter)[:, None, None, None]
        brightness = (1 + (2 * number["brightness"] - 1) * recipe.jitter)[:, None, None, None]
        means = images_BCHW.mean(dim=(1, 2, 3), keepdim=True)
        images_BCHW = (((images_BCHW - means) * contrast + means) * brightness).clamp(0, 255)
    return images_BCHW


def erase(images_BCHW: Tensor, drawn_RB: Tensor, *, recipe: TrainingRecipe) -> Tensor:
    """Normalised images, of which the share `erasing` have a rectangle set to 0, the training images' mean."""
    if not recipe.erasing:
        return images_BCHW
    number = dict(zip(_NUMBERS, drawn_RB, strict=True))
    least, largest = ERASED
    width, height = _sides(least + (largest - least) * number["erased_area"], number["erased_aspect"])
    boxes_BHW = boxes(width, height, number["erased_x"], number["erased_y"], like=images_BCHW)
    gone_BHW = boxes_BHW & (number["erase"] < recipe.erasing)[:, None, None]
    return images_BCHW.masked_fill(gone_BHW[:, None], 0.0)


def boxes(width_B: Tensor, height_B: Tensor, x_B: Tensor, y_B: Tensor, *, like: Tensor) -> Tensor:
    """Which pixels lie in each image's box, bool (B, H, W): sides as shares, all inside, placed by x and y in [0, 1).

    A pixel is in the box where its centre is.
    """
    height, width = like.shape[2:]
    centres_H = (torch.arange(height, device=like.device) + 0.5) / height
    centres_W = (torch.arange(width, device=like.device) + 0.5) / width
    left, top = x_B * (1 - width_B), y_B * (1 - height_B)
    inside_BW = (centres_W >= left[:, None]) & (centres_W < (left + width_B)[:, None])
    inside_BH = (centres_H >= top[:, None]) & (centres_H < (top + height_B)[:, None])
    return inside_BH[:, :, None] & inside_BW[:, None, :]


def _sides(area_B: Tensor, aspect_B: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, as shares of the image's, of boxes of an area and of a uniform number that draws the aspect."""
    ratio = torch.exp((2 * aspect_B - 1) * math.log(ASPECT))
    return torch.sqrt(area_B * ratio).clamp(max=1), torch.sqrt(area_B / ratio).clamp(max=1)
