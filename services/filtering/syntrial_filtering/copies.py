"""The search for memorised training images: synthetic images nearer to one than is plausible for a new image.

Generators copy: diffusion models were shown to give training images back (Carlini et al. 2023, "Extracting training
data from diffusion models"; Somepalli et al. 2023, "Diffusion art or digital forgery?"), small medical sets most of
all. An image's score is the relative distance of Carlini et al. (2023, section 4.2): its distance to the nearest
training image over its mean distance to its nearest ones. A new image is about as far from the nearest as from the
others (a score near 1); a copy is much nearer to one (a score near 0).

Distances are between blurred images of at most 32 pixels a side, each shifted by up to a fourteenth of the side to
where it fits best, with brightness and contrast taken out. The threshold is what real images show: a quantile of the
scores of training images against the training images of *other* patients. Mirrored, turned and
inverted copies are `turned`'s to find; cropped ones are not found.

Called by the verbs. Images are uint8 (N, H, W, C).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.ndimage import convolve1d

from syntrial_filtering.neighbours import nearest
from syntrial_filtering.network import pool

WORKING_SIDE: Final = 32
"""Images are compared at this side at most: what is finer tells noise, not patients."""

COARSE_SIDE: Final = 8
"""Side of the thumbnails by which the candidates for a neighbourhood are found."""

NEIGHBOURS: Final = 12
"""Size of the neighbourhood that a distance is relative to; its members are compared under all shifts."""

SPARE: Final = 4
"""Copies of a training image among the others that its neighbourhood is calibrated without."""

CALIBRATION_IMAGES: Final = 10_000
"""At most this many training images, drawn at random, calibrate the threshold."""

_QUERY_BLOCK: Final = 512
_PAIR_BLOCK: Final = 64
_FLAT: Final = 1.0
"""Deviation of grey levels under which an image counts as blank: its contrast is not scaled up further."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingIndex:
    """The training images, made ready for the search."""

    blurred_NHWC: np.ndarray  # noqa: N815
    """float16."""
    coarse_ND: np.ndarray  # noqa: N815
    """float32: thumbnails of the centre, of mean 0 and length 1."""
    patients: np.ndarray
    """int64 codes (N,)."""
    contents: np.ndarray
    """int64 codes (N,): equal for identical images."""
    reach: int
    """Largest shift, in pixels at the working resolution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyScores:
    """How near each of N images is to the training images."""

    scores: np.ndarray
    """float64 (N,): distance to the nearest training image over the mean distance to the nearest ones."""
    nearest: np.ndarray
    """int64 (N,): the nearest training image; -1 where none was allowed."""
    distances: np.ndarray
    """float64 (N,): distance to it, between images of mean 0 and length 1 (0 to 2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyThreshold:
    """The score at or under which an image counts as a copy, and where it comes from."""

    value: float
    quantile: float
    """Share of new real images expected at or under it."""
    images: int
    """Training images that it was calibrated on."""
    real_share: float
    """Share of these at or under it: above `quantile` where one patient's images stand under several names."""


def content_codes(images_NHWC: np.ndarray) -> np.ndarray:
    """int64 codes (N,): equal exactly for images with the same pixels."""
    codes: dict[bytes, int] = {}
    digests = (hashlib.sha256(image.tobytes()).digest() for image in images_NHWC)
    return np.fromiter((codes.setdefault(digest, len(codes)) for digest in digests), np.int64, len(images_NHWC))


def _reach(side: int) -> int:
    return max(1, round(side / 14))


def _blurred(images_NHWC: np.ndarray) -> np.ndarray:
    """Reduced to WORKING_SIDE (box filter) and smoothed by the binomial kernel (1, 2, 1)/4: float16 (N, h, w, C)."""
    count, height, width, channels = images_NHWC.shape
    side = (min(height, WORKING_SIDE), min(width, WORKING_SIDE))
    result = np.empty((count, *side, channels), dtype=np.float16)
    kernel = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    for start in range(0, count, 256):
        block = np.asarray(images_NHWC[start : start + 256]).astype(np.float32)
        if max(height, width) > WORKING_SIDE:
            planes = torch.from_numpy(block).permute(0, 3, 1, 2)
            block = pool(planes, cells=WORKING_SIDE).permute(0, 2, 3, 1).contiguous().numpy()
        for axis in (1, 2):
            block = convolve1d(block, kernel, axis=axis, mode="nearest")
        result[start : start + 256] = block
    return result


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """float32 vectors of mean 0 and length 1 along the last axis (shorter where the image is blank)."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    floor = _FLAT * np.sqrt(vectors.shape[-1])
    lengths = np.sqrt(np.einsum("...d,...d->...", centred, centred))
    return np.asarray(centred / np.maximum(lengths, floor)[..., None], dtype=np.float32)


def _window(blurred_NHWC: np.ndarray, *, reach: int, down: int = 0, right: int = 0) -> np.ndarray:
    """The part `reach` pixels smaller at each border, moved by (down, right) in -reach to reach: float32, a copy."""
    height, width = blurred_NHWC.shape[-3:-1]
    rows = slice(reach + down, height - reach + down)
    columns = slice(reach + right, width - reach + right)
    return np.asarray(blurred_NHWC[..., rows, columns, :], dtype=np.float32)


def _coarse(blurred_NHWC: np.ndarray, *, reach: int, down: int = 0, right: int = 0) -> np.ndarray:
    """Thumbnails of the window (see `_window`): float32 (N, D), normalised."""
    count, channels = len(blurred_NHWC), blurred_NHWC.shape[3]
    result = np.empty((count, COARSE_SIDE * COARSE_SIDE * channels), dtype=np.float32)
    for start in range(0, count, 256):
        window = _window(blurred_NHWC[start : start + 256], reach=reach, down=down, right=right)
        thumbnails = pool(torch.from_numpy(window).permute(0, 3, 1, 2), cells=COARSE_SIDE)
        result[start : start + 256] = _normalised(thumbnails.flatten(1).numpy())
    return result


def index_training(images_NHWC: np.ndarray, *, patients: np.ndarray) -> TrainingIndex:
    """Makes the training images ready for the search; `patients` int64 codes (N,)."""
    blurred = _blurred(images_NHWC)
    reach = _reach(min(blurred.shape[1:3]))
    return TrainingIndex(
        blurred_NHWC=blurred,
        coarse_ND=_coarse(blurred, reach=reach),
        patients=np.asarray(patients, dtype=np.int64),
        contents=content_codes(images_NHWC),
        reach=reach,
    )


def _shifted_distances(queries_NHWC: np.ndarray, references_NKHWC: np.ndarray, *, reach: int) -> np.ndarray:
    """Least distance float64 (N, K) between the queries' centres and any window of the references within `reach`.

    With the centre q of mean 0 and length |q| <= 1 and a window w, |q - w'|² = |q|² + |w'|² - 2 q·w', where w' is w
    less its mean m, over its length l: q·w' = q·w / l, and l² = w·w - D m².
    """
    count, kept = references_NKHWC.shape[:2]
    centres_ND = _normalised(_window(queries_NHWC, reach=reach).reshape(count, -1))
    size = centres_ND.shape[1]
    squares_N = np.einsum("nd,nd->n", centres_ND, centres_ND)
    best = np.full((count, kept), np.inf, dtype=np.float32)
    # Grey levels about 0 keep the sum of squares small, and with it the rounding.
    references = references_NKHWC.astype(np.float32) - 127.5
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            windows = _window(references, reach=reach, down=down, right=right).reshape(count, kept, size)
            means = windows.mean(axis=2)
            lengths = np.sqrt(np.maximum(np.einsum("nkd,nkd->nk", windows, windows) - size * means**2, 0.0))
            scale = np.maximum(lengths, _FLAT * np.sqrt(size))
            products = (windows @ centres_ND[:, :, None])[:, :, 0]
            np.minimum(best, squares_N[:, None] + (lengths / scale) ** 2 - 2 * products / scale, out=best)
    return np.sqrt(np.maximum(best, 0.0)).astype(np.float64)


def score(
    images_NHWC: np.ndarray,
    index: TrainingIndex,
    *,
    apart: tuple[tuple[np.ndarray, np.ndarray], ...] = (),
    report: Callable[[int], None] | None = None,
) -> CopyScores:
    """How near each image is to the training images; `apart` as in `neighbours.nearest`.

    Memory is bounded: a block of queries and one block of distances. `report` is called with the images done.
    """
    scores = np.ones(len(images_NHWC))
    distances = np.full(len(images_NHWC), np.inf)
    positions = np.full(len(images_NHWC), -1, dtype=np.int64)
    for rows, found, shifted in _neighbourhoods(images_NHWC, index, count=NEIGHBOURS, apart=apart, report=report):
        scores[rows], positions[rows], distances[rows] = _relative(shifted, found)
    return CopyScores(scores=scores, nearest=positions, distances=distances)


def _neighbourhoods(
    images_NHWC: np.ndarray,
    index: TrainingIndex,
    *,
    count: int,
    apart: tuple[tuple[np.ndarray, np.ndarray], ...],
    report: Callable[[int], None] | None,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Of some images at a time: which they are, the training images nearest by thumbnails (-1: nobody), in that order,
    and the distances to these under all shifts, both (n, K).
    """
    count = min(count, len(index.coarse_ND))
    # The middle first; a query may be moved by any whole pixel, as a candidate lost here is not found again.
    moves = sorted(range(-index.reach, index.reach + 1), key=abs)
    for start in range(0, len(images_NHWC), _QUERY_BLOCK):
        block = slice(start, min(start + _QUERY_BLOCK, len(images_NHWC)))
        blurred = _blurred(images_NHWC[block])
        views_VND = np.stack(
            [_coarse(blurred, reach=index.reach, down=down, right=right) for down in moves for right in moves]
        )
        here = tuple((query_codes[block], reference_codes) for query_codes, reference_codes in apart)
        found = nearest(views_VND, index.coarse_ND, count=count, apart=here).indices_NK
        for first in range(0, len(blurred), _PAIR_BLOCK):
            part = slice(first, min(first + _PAIR_BLOCK, len(blurred)))
            rows = slice(start + part.start, start + part.stop)
            yield (
                rows,
                found[part],
                _shifted_distances(blurred[part], index.blurred_NHWC[found[part]], reach=index.reach),
            )
        if report is not None:
            report(block.stop)


def _relative(shifted: np.ndarray, found_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, nearest, distances) of a few images from the distances to their neighbourhoods (-1: nobody)."""
    allowed = found_NK >= 0
    items = np.arange(len(shifted))
    best = np.where(allowed, shifted, np.inf).argmin(axis=1)
    usable = allowed[items, best]
    distances = np.where(usable, shifted[items, best], np.inf)
    positions = np.where(usable, found_NK[items, best], -1)
    allowed[items, best] = False
    others = allowed.sum(axis=1)
    mean = np.where(allowed, shifted, 0.0).sum(axis=1) / np.maximum(others, 1)
    # Blank images lie on each other: among them nothing is relatively near.
    comparable = usable & (others > 0) & (mean > 1e-3)
    scores = np.where(comparable, shifted[items, best] / np.where(comparable, mean, 1.0), 1.0)
    return scores, positions, distances


def dimension(shifted: np.ndarray, found_NK: np.ndarray) -> float:
    """Of neighbourhoods, by how distances grow from their middle to their end (Levina and Bickel 2004, equation 8).

    Copies of an image stand before its middle; where every image has some, middle and end lie farther out alike. NaN
    where no neighbourhood is whole.
    """
    ordered = np.sort(np.where(found_NK >= 0, shifted, np.inf), axis=1)
    last, middle = ordered[:, -1], ordered[:, ordered.shape[1] // 2 - 1]
    whole = np.isfinite(last) & (middle > 1e-3)
    if ordered.shape[1] < 4 or not whole.any():
        return float("nan")
    growth = float(np.log(last[whole] / middle[whole]).mean())
    harmonic = float((1 / np.arange(ordered.shape[1] // 2, ordered.shape[1])).sum())
    return harmonic / max(growth, 1e-6)


def chance_quantile(quantile: float, *, dimension: float) -> float:
    """The `quantile`, a small one, of the scores of points strewn evenly in so many dimensions.

    With E_1 < E_2 < … the points of a Poisson process, the i-th nearest lies at E_i^(1/m), and E_1 is evenly
    distributed up to E_2: a score is at most t with probability t^m E[M^m / E_2], M the mean over the others.
    """
    arrivals = np.random.default_rng(0).exponential(size=(4096, NEIGHBOURS)).cumsum(axis=1)
    means = (arrivals[:, 1:] ** (1 / dimension)).mean(axis=1)
    return float((quantile / (means**dimension / arrivals[:, 1]).mean()) ** (1 / dimension))


def _without_twins(shifted: np.ndarray, found_NK: np.ndarray, *, nearer: float) -> np.ndarray:
    """The neighbourhoods of `NEIGHBOURS` (-1: nobody) without up to `SPARE` images that are copies of the query.

    Those that are nearest are copies where the last of them is nearer than `nearer` times the mean of the others.
    """
    distances = np.where(found_NK >= 0, shifted, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")
    ordered = np.take_along_axis(distances, order, axis=1)
    twins = np.zeros(len(ordered), dtype=np.int64)
    for number in range(1, min(SPARE, ordered.shape[1] - 2) + 1):
        others = ordered[:, number : number + NEIGHBOURS - 1]
        finite = np.isfinite(others)
        mean = np.where(finite, others, 0.0).sum(axis=1) / np.maximum(finite.sum(axis=1), 1)
        twins[(ordered[:, number - 1] <= nearer * mean) & (mean > 1e-3)] = number
    ranks = np.argsort(order, axis=1, kind="stable")
    kept = np.where(ranks < twins[:, None], -1, found_NK)
    surplus = (kept >= 0).cumsum(axis=1) > NEIGHBOURS
    return np.where(surplus, -1, kept)


def weibull_quantile(scores: np.ndarray, *, quantile: float) -> float:
    """The `quantile` of the Weibull distribution through the median and the 90% quantile of `scores`.

    The distance to the nearest of many points in m dimensions is Weibull-distributed with shape m. Fitted to the
    upper half of the scores it does not see the lower tail, where unlabelled repeats of a patient gather.
    """
    middle, upper = np.quantile(scores, [0.5, 0.9])
    if not 0.0 < middle < upper:
        return 0.0
    shape = np.log(np.log(0.1) / np.log(0.5)) / np.log(upper / middle)
    scale = middle / np.log(2.0) ** (1.0 / shape)
    return float(scale * (-np.log1p(-quantile)) ** (1.0 / shape))


def calibrate(
    index: TrainingIndex,
    images_NHWC: np.ndarray,
    *,
    quantile: float,
    seed: int,
    report: Callable[[int], None] | None = None,
) -> CopyThreshold:
    """The score that a share `quantile` of new real images falls at or under.

    Scores training images (`images_NHWC`, those that `index` was made of) against those of other patients with other
    pixels: exact duplicates are one image twice, whatever the patients are called.

    Where the data say which images are of one patient, the threshold is the scores' empirical quantile (the order
    statistic under it), and no more than `weibull_quantile`. Where they do not, public sets hold repeats of a patient
    under several names (a quarter of BreastMNIST's training images have one), and the empirical quantile would be
    theirs: it is `weibull_quantile` alone, and the share of training images under it is reported beside it.

    Where most training images have a copy among them (a set that was re-encoded and put beside itself), the upper half
    of the scores is theirs too. So copies are left out of the neighbourhoods first: images nearer than a tenth of
    `quantile` lets points come that are strewn in as many dimensions as the far neighbours show.
    """
    chosen = np.arange(len(images_NHWC))
    if len(chosen) > CALIBRATION_IMAGES:
        chosen = np.sort(np.random.default_rng([seed, 3]).choice(chosen, CALIBRATION_IMAGES, replace=False))
    apart = ((index.patients[chosen], index.patients), (index.contents[chosen], index.contents))
    parts = list(_neighbourhoods(images_NHWC[chosen], index, count=NEIGHBOURS + SPARE, apart=apart, report=report))
    found, shifted = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    scores, nearest_row, _ = _relative(shifted[:, :NEIGHBOURS], found[:, :NEIGHBOURS])
    usable = scores[nearest_row >= 0]
    if not len(usable):
        return CopyThreshold(value=0.0, quantile=quantile, images=0, real_share=0.0)
    clean = usable
    if np.isfinite(dimensions := dimension(shifted[:, :NEIGHBOURS], found[:, :NEIGHBOURS])):
        nearer = chance_quantile(quantile / 10, dimension=dimensions)
        scores, nearest_row, _ = _relative(shifted, _without_twins(shifted, found, nearer=nearer))
        clean = scores[nearest_row >= 0]
    value = weibull_quantile(clean, quantile=quantile)
    patients_known = len(np.unique(index.patients)) < len(index.patients)
    if patients_known:
        value = min(value, float(np.quantile(clean, quantile, method="lower")))
    return CopyThreshold(value=value, quantile=quantile, images=len(usable), real_share=float((usable <= value).mean()))


def is_copy(scores: CopyScores, *, threshold: CopyThreshold) -> np.ndarray:
    """bool (N,): the images at or under the threshold."""
    return np.asarray(scores.scores <= threshold.value)


def repeated(images_NHWC: np.ndarray) -> int:
    """How many images are exact repetitions of an earlier one in the same set: a sign of collapse."""
    return len(images_NHWC) - len(np.unique(content_codes(images_NHWC)))
