"""What images tell of how they were taken and processed: exposure, tone, noise, sharpness, grain, which way round.

Each is one number an image. None is free of content: pneumonia is bright, a tumour has edges. So none is ever a reason
to stop; how well it tells the class is told beside chance, and people look at the pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from syntrial.imagesets.near.likeness import LUMA
from syntrial.workers import in_blocks

BLOCK: Final = 8
"""JPEG's blocks have this side."""
CHUNK_PIXELS: Final = 500_000
"""Pixels that are looked at together, which bounds the memory whatever the images' size."""
SHARES: Final = (2, 50, 98)
"""Percentiles of an image's pixels that stand for its darkest, its middle and its brightest tone."""
LEAST_LEVEL: Final = 0.1
"""The density of a grey level, where 1 is that of 256 levels in equal use, below which it says nothing."""
Numbers = NDArray[np.float64]
T = TypeVar("T")


def of_images(images_NHWC: NDArray[np.uint8], rows: NDArray[np.int64]) -> dict[str, Numbers]:
    """By name, (R,): a number of each image in `rows` (R,)."""
    parts = list(_in_grey(images_NHWC, rows, _measured))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def histograms(images_NHWC: NDArray[np.uint8], rows: NDArray[np.int64]) -> Numbers:
    """(R, 256): the share of the pixels of each image in `rows` (R,) that each grey level has."""
    parts = list(_in_grey(images_NHWC, rows, _shares))
    return np.concatenate(parts) if parts else np.zeros((0, 256))


def comb(first: Numbers, second: Numbers) -> Numbers:
    """(256,): how much more each level is used in one mean histogram than its neighbours are, less that in the other.

    A change of gamma or contrast, fewer levels, or numbers that were rounded twice leave out some levels and double
    others; nothing that is photographed does. A smooth difference, as of two contents, is 0: a level's logarithm is
    taken beside that of a cubic through its neighbours. Levels that either has little of, and those where pixels
    saturate, say nothing.
    """
    around = [np.convolve(np.pad(found, 2, mode="edge"), np.full(5, 0.2), "valid") for found in (first, second)]
    known = np.minimum(*around) > LEAST_LEVEL / 256
    known[:2] = known[-2:] = False
    teeth = []
    for found in (first, second):
        log = np.log(found + LEAST_LEVEL / 5 / 256)
        edged = np.pad(log, 2, mode="edge")
        smooth = (-edged[:-4] + 4 * edged[1:-3] + 4 * edged[3:-1] - edged[4:]) / 6
        teeth.append(np.clip(log - smooth, -2, 2))
    return np.where(known, teeth[0] - teeth[1], 0.0)


def _in_grey(
    images_NHWC: NDArray[np.uint8], rows: NDArray[np.int64], work: Callable[[NDArray[np.float32]], T]
) -> Iterator[T]:
    """What `work` makes of so many images at a time, in order, by all cores."""
    most = max(1, CHUNK_PIXELS // max(1, images_NHWC.shape[1] * images_NHWC.shape[2]))
    return in_blocks(lambda here: work(_grey(images_NHWC[rows[here]])), count=len(rows), size=most)


def _shares(grey_NHW: NDArray[np.float32]) -> Numbers:
    shares: Numbers = _counts(grey_NHW) / (grey_NHW.shape[1] * grey_NHW.shape[2])
    return shares


def _counts(grey_NHW: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 256): how many pixels of each image have each grey level, rounded."""
    levels = np.rint(grey_NHW).astype(np.uint8).reshape(len(grey_NHW), -1)
    return np.stack([np.bincount(image, minlength=256) for image in levels]).astype(np.int64, copy=False)


def _grey(block_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    block = np.asarray(block_NHWC, np.float32)
    return block[..., 0] if block.shape[3] == 1 else block @ LUMA


def _measured(grey_NHW: NDArray[np.float32]) -> dict[str, Numbers]:
    count, height, _ = grey_NHW.shape
    flat = grey_NHW.reshape(count, -1)
    counts = _counts(grey_NHW)
    is_whole = bool((flat == np.rint(flat)).all())
    low, middle, high = _percentiles(counts, SHARES) if is_whole else np.percentile(flat, SHARES, axis=1)
    spread = np.maximum(high - low, 1)
    deviation = np.maximum(grey_NHW.std((1, 2)), 0.5)
    noise = _noise(grey_NHW)
    found = {
        "brightness": grey_NHW.mean((1, 2)),
        "contrast": deviation,
        "darkest level": flat.min(1),
        "brightest level": high,
        "tone": (middle - low) / spread,
        "noise": noise,
        "noise over contrast": np.log(noise / deviation + 1e-3),
        "fine detail": _fine_detail(grey_NHW),
        "grey levels in use": _levels(counts),
        "blocks": _blocks(grey_NHW),
        "top minus bottom": grey_NHW[:, : height // 2].mean((1, 2)) - grey_NHW[:, -(height // 2) :].mean((1, 2)),
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def _noise(grey_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """The deviation of additive noise (Immerkaer 1996, "Fast noise variance estimation", equation 5).

    A mask that is the difference of two Laplacians sees no edges of constant slope.
    """
    sums = grey_NHW[:, :, :-2] - 2 * grey_NHW[:, :, 1:-1] + grey_NHW[:, :, 2:]
    masked = sums[:, :-2] - 2 * sums[:, 1:-1] + sums[:, 2:]
    return np.asarray(np.sqrt(np.pi / 2) / 6 * np.abs(masked).mean((1, 2)), np.float32)


def _fine_detail(grey_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithm of the share of power at frequencies that half the resolution can't hold."""
    power = dctn(grey_NHW, axes=(1, 2), norm="ortho") ** 2
    total = power.sum((1, 2))
    coarse = power[:, : power.shape[1] // 2, : power.shape[2] // 2].sum((1, 2))
    return np.asarray(np.log10((np.maximum(total - coarse, 0) + 1) / (total - power[:, 0, 0] + 1)), np.float32)


def _levels(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """The share of levels between the darkest and the brightest that some pixel has, of as many as there could be."""
    has = counts > 0
    darkest, brightest = has.argmax(1), 255 - has[:, ::-1].argmax(1)
    return np.asarray(has.sum(1) / (brightest - darkest + 1), np.float32)


def _percentiles(counts: NDArray[np.int64], shares: Sequence[int]) -> Numbers:
    """(P, N): percentiles of images whose pixels are whole grey levels, by how many have each: as NumPy has them."""
    below = counts.cumsum(1)
    found = []
    for share in shares:
        place = (int(below[0, -1]) - 1) * (share / 100)
        first = int(place)
        lower, upper = (np.asarray((below <= rank).sum(1), np.float64) for rank in (first, first + 1))
        part = place - first
        found.append(upper - (upper - lower) * (1 - part) if part >= 0.5 else lower + (upper - lower) * part)
    return np.stack(found)


def _blocks(grey_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much larger steps between JPEG's blocks are than those within: the logarithm of their ratio.

    0 for images in which no block has another behind it.
    """
    if min(grey_NHW.shape[1:]) < BLOCK + 2:
        return np.zeros(len(grey_NHW), np.float32)
    across, down = np.abs(np.diff(grey_NHW, axis=2)).mean(1), np.abs(np.diff(grey_NHW, axis=1)).mean(2)
    ratios = []
    for steps in (across, down):
        # The step that follows a block, beside those around it, so that where an image has its detail does not matter.
        at = np.arange(BLOCK - 1, steps.shape[1] - 1, BLOCK)
        around = (steps[:, at - 1] + steps[:, at + 1]) / 2
        ratios.append(np.log((steps[:, at] + 0.5) / (around + 0.5)).mean(1))
    return np.asarray((ratios[0] + ratios[1]) / 2, np.float32)
