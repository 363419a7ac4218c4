"""The tissue phantom: nine textures in the colours of a stained section, for a trial in colour with many classes.

Called by `phantom`. Each texture is a map of two numbers a pixel, pink (eosin) and purple (haematoxylin), made from
random points and stripes; the stain's strength and hue differ between patients.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.floating]
POINTS = 24
"""Random points in each image; textures use as many of them as they need."""


def paint(
    labels: NDArray[np.int64],
    *,
    anatomies: Sequence[np.random.Generator],
    streams: Sequence[np.random.Generator],
    size: int,
    difficulty: float,
) -> NDArray[np.uint8]:
    """Images as uint8 (B, size, size, 3); one stream for the patient's stain and one for the image, each in order."""
    stain = np.stack([stream.standard_normal(8, dtype=np.float32) for stream in anatomies]).clip(-2, 2)
    points = np.stack([stream.random((POINTS, 2), dtype=np.float32) for stream in streams]) * 2.6 - 1.3
    draws = np.stack([stream.random(8, dtype=np.float32) for stream in streams])
    grain = np.stack([stream.standard_normal((size, size, 3), dtype=np.float32) for stream in streams])

    ticks = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    x, y = np.broadcast_arrays(ticks[None, :], ticks[:, None])
    pink = np.zeros((len(labels), size, size), np.float32)
    purple = np.zeros_like(pink)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        pink[rows], purple[rows] = _TEXTURES[int(label)](x, y, points[rows], draws[rows])
    # Difficulty: the texture fades into an even stain, and the grain grows.
    fade = 1 - 0.75 * difficulty
    pink = 0.35 + (pink - 0.35) * fade
    purple = 0.25 + (purple - 0.25) * fade
    pink *= (1 + 0.12 * stain[:, 0])[:, None, None]
    purple *= (1 + 0.12 * stain[:, 1])[:, None, None]
    # Light is absorbed by each stain (Beer-Lambert; hues near those of Ruifrok & Johnston 2001).
    eosin = np.array([0.10, 0.95, 0.30], np.float32) + 0.04 * stain[:, 2:5]
    haematoxylin = np.array([0.75, 0.90, 0.35], np.float32) + 0.04 * stain[:, 5:8]
    absorbed = pink[..., None] * eosin[:, None, None, :] + 1.2 * purple[..., None] * haematoxylin[:, None, None, :]
    image = 0.96 * np.exp(-absorbed) + grain * (0.012 + 0.05 * difficulty)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _nearest(x: Planes, y: Planes, points: NDArray[np.float32]) -> tuple[Planes, Planes]:
    """Distance from each pixel to the nearest and to the second nearest of the points: (B, S, S) each."""
    squared = (x - points[:, :, 0, None, None]) ** 2 + (y - points[:, :, 1, None, None]) ** 2
    two = np.sqrt(np.partition(squared, 1, axis=1)[:, :2])
    return two[:, 0], two[:, 1]


def _stripes(x: Planes, y: Planes, draws: NDArray[np.float32], *, waves: float, bend: float) -> Planes:
    """Bent stripes from -1 to 1 in a random direction."""
    angle, phase = (np.pi * draws[:, 0])[:, None, None], (2 * np.pi * draws[:, 1:3])[:, :, None, None]
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    shift = bend * np.sin(np.pi * (1 + draws[:, 3])[:, None, None] * along + phase[:, 0])
    stripes: Planes = np.sin(np.pi * waves * (0.85 + 0.3 * draws[:, 4])[:, None, None] * (across + shift) + phase[:, 1])
    return stripes


def _blank(x: Planes, _y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    even = np.ones((len(points), *x.shape), np.float32)
    return (0.05 + 0.08 * draws[:, 0])[:, None, None] * even, 0.02 * even


def _cells(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    first, second = _nearest(x, y, points[:, :14])
    wall = np.exp(-(((second - first) / 0.09) ** 2))
    return 0.06 + 0.55 * wall, 0.04 + 0.1 * wall * draws[:, 0, None, None]


def _debris(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    first, _ = _nearest(x, y, points)
    mottle = 0.5 + 0.5 * np.sin(9 * first + 6 * draws[:, 0, None, None])
    return 0.30 + 0.35 * mottle, 0.10 + 0.25 * np.exp(-((first / 0.12) ** 2))


def _dots(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    first, _ = _nearest(x, y, points)
    nuclei = 1 / (1 + np.exp((first - 0.15 - 0.03 * draws[:, 0, None, None]) / 0.02))
    return np.full_like(first, 0.15), 0.12 + 0.95 * nuclei


def _streaks(x: Planes, y: Planes, _points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    stripes = _stripes(x, y, draws, waves=3.0, bend=0.30)
    return 0.08 + 0.05 * stripes, 0.20 + 0.14 * stripes


def _fibres(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    stripes = _stripes(x, y, draws, waves=5.5, bend=0.03)
    first, _ = _nearest(x, y, points[:, :5])
    return 0.60 + 0.18 * stripes, 0.08 + 0.45 * np.exp(-((first / 0.08) ** 2))


def _rings(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    first, _ = _nearest(x, y, points[:, :4])
    radius = (0.36 + 0.1 * draws[:, 0])[:, None, None]
    rim = np.exp(-(((first - radius) / 0.085) ** 2))
    return 0.30 - 0.2 * (first < radius), 0.10 + 0.75 * rim


def _waves(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    stripes = _stripes(x, y, draws, waves=3.5, bend=0.22)
    first, _ = _nearest(x, y, points[:, :9])
    return 0.40 + 0.22 * stripes, 0.06 + 0.55 * np.exp(-((first / 0.10) ** 2))


def _clusters(x: Planes, y: Planes, points: NDArray[np.float32], draws: NDArray[np.float32]) -> tuple[Planes, Planes]:
    nests = points[:, :3]
    members = nests[:, np.arange(21) % 3] + 0.42 * points[:, 3:24] / 1.3
    first, _ = _nearest(x, y, members)
    nest, _ = _nearest(x, y, nests)
    nuclei = np.exp(-((first / 0.14) ** 2))
    return 0.35 + 0.1 * draws[:, 0, None, None] + 0 * first, 0.12 + 0.65 * nuclei + 0.2 * np.exp(-((nest / 0.45) ** 2))


_TEXTURES = (_blank, _cells, _debris, _dots, _streaks, _fibres, _rings, _waves, _clusters)
