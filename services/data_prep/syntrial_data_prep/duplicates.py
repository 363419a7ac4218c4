"""Images that are the same, or nearly: by the hash of their pixels, and by the distance of their shapes in brightness.

Near duplicates are found on 16×16 grey reductions with mean and contrast taken out, so the distance is
sqrt(2 - 2·correlation): 0 for a copy whatever its exposure, 1.41 for unrelated images. What counts as near is
calibrated on the data set itself, since chests resemble each other more than skin does: see `calibrate`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
DEVIATIONS = 4.0
"""How far below the usual logarithm of a nearest distance a pair must lie: about 3 images in 100,000 by chance."""
CALIBRATION_IMAGES = 2000
"""At most so many training images, evenly spread, have their nearest neighbour looked up to calibrate."""
BLOCK = 512
COPY_DISTANCE = 0.02
"""Below this two images differ by rounding or by resampling alone: what calibration leaves out, and its floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two images, as rows of two sets."""

    first: int
    second: int
    distance: float


def hashes(images_NHWC: NDArray[np.uint8]) -> list[str]:
    """The SHA-256 of each image's pixels."""
    return [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images_NHWC]


def same(first: Sequence[str], second: Sequence[str]) -> list[Pair]:
    """Each hash that stands on both sides, once, with its first place on each; in the order of `second`."""
    places: dict[str, int] = {}
    for row, digest in enumerate(first):
        places.setdefault(digest, row)
    pairs: list[Pair] = []
    for row, digest in enumerate(second):
        if digest in places:
            pairs.append(Pair(first=places.pop(digest), second=row, distance=0.0))
    return pairs


def repeats(digests: Sequence[str]) -> list[Pair]:
    """Each image that repeats an earlier one of the same set, with the earlier one."""
    places: dict[str, int] = {}
    pairs: list[Pair] = []
    for row, digest in enumerate(digests):
        if digest in places:
            pairs.append(Pair(first=places[digest], second=row, distance=0.0))
        else:
            places[digest] = row
    return pairs


def features(images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 256): each image's grey reduction to 16×16 without mean and with norm 1; zeros for a constant image."""
    rows = np.empty((len(images_NHWC), SIDE * SIDE), np.float32)
    for row, image in enumerate(images_NHWC):
        grey = Image.fromarray(image[:, :, 0]) if image.shape[2] == 1 else Image.fromarray(image).convert("L")
        # In floating point, since rounding to 256 levels would part two exposures of one image.
        reduced = grey.convert("F").resize((SIDE, SIDE), Image.Resampling.BOX)
        rows[row] = np.asarray(reduced, np.float32).reshape(-1)
    rows -= rows.mean(1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # Under half a grey level of contrast there is no shape to compare.
    return np.where(norms > SIDE / 2, rows / np.maximum(norms, 1e-6), 0).astype(np.float32)


def nearest(
    queries: NDArray[np.float32],
    among: NDArray[np.float32],
    *,
    different: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each query the row of the nearest feature and its distance; infinite where there is none.

    `different` holds the patients of queries and of the others: only pairs of different ones count.
    """
    rows = np.zeros(len(queries), np.int64)
    distances = np.full(len(queries), np.inf)
    if len(among) == 0:
        return rows, distances
    blank = ~among.any(1)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        correlation = block @ among.T
        correlation[:, blank] = -np.inf
        if different is not None:
            correlation[different[0][start : start + BLOCK, None] == different[1][None, :]] = -np.inf
        best = correlation.argmax(1)
        rows[start : start + BLOCK] = best
        top = correlation[np.arange(len(block)), best].astype(np.float64)
        distances[start : start + BLOCK] = np.where(block.any(1), np.sqrt(np.clip(2 - 2 * top, 0, None)), np.inf)
        if on_progress is not None:
            on_progress(min(start + BLOCK, len(queries)))
    return rows, distances


def calibrate(found: NDArray[np.float32], *, patients: NDArray[np.int64]) -> float:
    """The distance under which two images are near duplicates, from nearest neighbours of *different* patients.

    The logarithms of those distances have median m and median absolute deviation d; the threshold is
    exp(m - 4 · 1.4826 · d). Both are robust, so duplicates that hide among the pairs hardly move it; copies (closer
    than `COPY_DISTANCE`) are left out beforehand.
    """
    chosen = np.unique(np.linspace(0, len(found) - 1, min(CALIBRATION_IMAGES, len(found))).astype(np.int64))
    _, distances = nearest(found[chosen], found, different=(patients[chosen], patients))
    usual = distances[np.isfinite(distances) & (distances > COPY_DISTANCE)]
    if len(usual) < 20:
        # Too few to say what is usual: only what differs by rounding counts.
        return COPY_DISTANCE
    logarithms = np.log(usual)
    middle = np.median(logarithms)
    spread = 1.4826 * np.median(np.abs(logarithms - middle))
    return max(COPY_DISTANCE, float(np.exp(middle - DEVIATIONS * spread)))
