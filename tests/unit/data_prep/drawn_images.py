"""Images for the audit's tests, drawn: as different as pictures can be, or as alike as chests."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from syntrial.imagesets.imageset import ImageSet
from syntrial.imagesets.near.alterations import KINDS

Images = NDArray[np.uint8]


def chests(count: int, *, side: int = 64, seed: int = 0, grain: float = 6.0) -> Images:
    """(N, side, side, 1): dark lungs in a bright body, alike, and each with anatomy and grain of its own."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    found = np.empty((count, side, side, 1), np.uint8)
    for number in range(count):
        height, apart, tilt = random.normal((0.33, 0.22, 0.0), (0.02, 0.015, 0.02))
        body = 150 - 90 * np.exp(-(((np.abs(x + tilt * y) - apart) / 0.11) ** 2) - ((y - 0.02) / height) ** 4)
        own = gaussian_filter(random.normal(0, 1, (side, side)), side / 18)
        own = 18 * own / own.std() + 10 * np.sin(2 * np.pi * (7 * y + 0.6 * np.abs(x) + random.random()))
        found[number, :, :, 0] = np.clip(body + own + random.normal(0, grain, (side, side)), 0, 255)
    return found


def fields(count: int, *, side: int = 28, channels: int = 1, seed: int = 0) -> Images:
    """(N, side, side, channels): smooth random pictures that have nothing in common."""
    random = np.random.default_rng(seed)
    own = gaussian_filter(random.normal(0, 1, (count, side, side, channels)), (0, side / 14, side / 14, 0))
    return np.clip(128 + 45 * own / own.std(), 0, 255).astype(np.uint8)


def altered(images: Images, kind: str, *, seed: int = 0) -> Images:
    """Each image after an alteration of `alterations.KINDS`."""
    random = np.random.default_rng([seed, 7])
    return np.stack([KINDS[kind](image, random) for image in images])


def as_split(images: Images, *, patients: list[str] | None = None) -> ImageSet:
    """A split of a trial with two classes by turns; each image of a patient of its own where none is named."""
    return ImageSet(
        images_NHWC=images,
        labels=np.arange(len(images), dtype=np.int64) % 2,
        classes=("a", "b"),
        task="multi-class",
        origins={"file": [f"f{row}" for row in range(len(images))]} | ({"patient": patients} if patients else {}),
    )
