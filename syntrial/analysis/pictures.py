"""Pictures of the report: which images are shown, and strips of them as PNG data addresses.

The choice is seeded by what is shown (set, class), never by how images look, so that nobody picks the good ones.
"""

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 1
"""Transparent pixels between images of a strip."""
LARGEST_SIDE = 96
"""Images with more pixels a side are reduced for the page."""


def choose(candidates: Sequence[int] | NDArray[Any], *, count: int, seed: str) -> list[int]:
    """At most `count` of `candidates`, in ascending order: those whose hash with `seed` is smallest."""
    ordered = sorted(
        (int(candidate) for candidate in candidates),
        key=lambda candidate: hashlib.sha256(f"{seed}/{candidate}".encode()).digest(),
    )
    return sorted(ordered[:count])


def members(labels: NDArray[Any], *, class_index: int) -> NDArray[np.int64]:
    """Indices of the images of a class; for multi-label (N, K) those that have the label."""
    chosen = labels == class_index if labels.ndim == 1 else labels[:, class_index] == 1
    return np.flatnonzero(chosen).astype(np.int64)


def thumbnail(image_HWC: NDArray[np.uint8]) -> Image.Image:
    """The image as RGBA, reduced by the box filter where it is larger than the page needs."""
    pixels = image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    longest = max(picture.size)
    if longest > LARGEST_SIDE:
        size = tuple(max(1, round(side * LARGEST_SIDE / longest)) for side in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.BOX)
    return picture


def strip(images: Sequence[NDArray[np.uint8]]) -> str:
    """A row of images (H, W, C) uint8 of one shape, as a PNG data address."""
    return sheet([images])


def pair_strip(pairs_P2HWC: NDArray[np.uint8]) -> str:
    """Pairs of images, the first above the second, as a PNG data address."""
    return sheet([list(pairs_P2HWC[:, 0]), list(pairs_P2HWC[:, 1])])


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> str:
    """Rows of images (H, W, C) uint8 of one shape, as a PNG data address with transparent gaps."""
    tiles = [[thumbnail(np.asarray(image)) for image in row] for row in rows]
    width, height = tiles[0][0].size
    columns = max(len(row) for row in tiles)
    grey = all(tile.mode == "L" for row in tiles for tile in row)
    mode = "LA" if grey else "RGBA"
    canvas = Image.new(mode, (columns * (width + GAP) - GAP, len(tiles) * (height + GAP) - GAP))
    for y, row in enumerate(tiles):
        for x, tile in enumerate(row):
            canvas.paste(tile.convert(mode), (x * (width + GAP), y * (height + GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", optimize=False, compress_level=9)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
