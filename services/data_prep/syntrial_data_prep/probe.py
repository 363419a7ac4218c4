"""Shortcut probes: how well small models tell the classes by what they should not need.

Ridge regression of each class against the others (or of each label) is fitted to training images and judged on
validation images, by their looks: files alone, borders alone, thumbnails of 8×8 cells, and what of these changes its
sign when an image is mirrored. A thumbnail may tell the class, since a disease may show in it; borders may a little;
files never may. A further model looks for what processing leaves in histograms. The same model of the real data says
what it thinks of labels that came with synthetic images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from syntrial.imagesets import ridge
from syntrial.imagesets.classes import Labels
from syntrial.imagesets.ridge import Ridge, Vectors
from syntrial.imagesets.thumbnails import CELLS, thumbnails
from syntrial_data_prep.acquisition import comb
from syntrial_data_prep.properties import Column

BORDER_CELLS: Final = 16
RIDGE: Final = 0.01
"""Penalty over the number of training images, for features of deviation 1."""
PERMUTATIONS: Final = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    """What a small model reaches on validation images."""

    look: str
    auroc: float
    """Mean over classes."""
    by_class: tuple[float, ...]
    chance: float
    """What 99 of 100 permutations of the validation labels stay under."""


def one_hot(labels: Labels, count: int) -> NDArray[np.float64]:
    """(N, K): 1 for each class or label that an image has."""
    return np.asarray(labels, float) if labels.ndim == 2 else np.eye(count)[labels]


def fit(features: Vectors, truth: Vectors) -> Ridge:
    """The regression that all probes here are."""
    return ridge.fit(features, truth, penalty=RIDGE)


def aurocs(scores: Vectors, truth: Vectors) -> Vectors:
    """(K,): the area under each column's ROC curve (Mann and Whitney); NaN where a class is absent or is all."""
    return _areas(_ranks(scores), truth)


def _ranks(scores: Vectors) -> Vectors:
    return np.stack([rankdata(column) for column in scores.T], axis=1)


def _areas(ranks: Vectors, truth: Vectors) -> Vectors:
    positives = truth.sum(0)
    negatives = len(truth) - positives
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((ranks * truth).sum(0) - positives * (positives + 1) / 2) / (positives * negatives))


def _chance(scores: Vectors, truth: Vectors, *, take: Callable[[Vectors], float], stream: tuple[int, int]) -> float:
    """What 99 of 100 permutations of the truth stay under, of what is taken of the classes' areas."""
    ranks, random = _ranks(scores), np.random.default_rng(stream)
    rounds = [take(_areas(ranks, truth[random.permutation(len(truth))])) for _ in range(PERMUTATIONS)]
    return float(np.quantile(rounds, 0.99))


def probe(look: str, train: tuple[Vectors, Vectors], validation: tuple[Vectors, Vectors], *, seed: int = 0) -> Probed:
    """Fits to (features, truth) of training images, and judges on those of validation images beside chance."""
    scores = fit(*train).scores(validation[0])
    truth = validation[1]
    by_class = aurocs(scores, truth)
    return Probed(
        look=look,
        auroc=_mean(by_class),
        by_class=tuple(by_class.tolist()),
        chance=_chance(scores, truth, take=_mean, stream=(seed, 11)),
    )


def probe_levels(train: tuple[Vectors, Vectors], validation: tuple[Vectors, Vectors], *, seed: int = 0) -> Probed:
    """Of (`histograms`, truth): how well their fine structure tells the class that it tells best.

    What training images of a class have of a `comb` beside all others is looked for in each validation image.
    """
    shares, truth = train
    combs = np.stack([_comb(shares, has) for has in truth.T], axis=1)
    scores = validation[0] @ combs
    by_class = aurocs(scores, validation[1])
    return Probed(
        look="levels",
        auroc=_best(by_class),
        by_class=tuple(by_class.tolist()),
        chance=_chance(scores, validation[1], take=_best, stream=(seed, 13)),
    )


def _comb(shares: Vectors, has: Vectors) -> Vectors:
    if not 0 < has.sum() < len(has):
        return np.zeros(shares.shape[1])
    return comb(shares[has == 1].mean(0), shares[has != 1].mean(0))


def _best(values: Vectors) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else 0.5


def _mean(values: Vectors) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.5


def sides(images_NHWC: NDArray[np.uint8]) -> tuple[Vectors, Vectors]:
    """Thumbnails (N, F) without what is the same from left and right, and with that alone.

    Mirroring changes the sign of the first and leaves the second as it is.
    """
    grid = thumbnails(images_NHWC).reshape(len(images_NHWC), CELLS, CELLS, -1)
    half, mirrored = grid[:, :, : CELLS // 2], grid[:, :, ::-1][:, :, : CELLS // 2]
    odd, even = half - mirrored, half + mirrored
    return odd.reshape(len(grid), -1), even.reshape(len(grid), -1)


def borders(images_NHWC: NDArray[np.uint8]) -> Vectors:
    """(N, F): the outermost ring of 16×16 parts of each image."""
    grid = thumbnails(images_NHWC, cells=BORDER_CELLS).reshape(len(images_NHWC), BORDER_CELLS, BORDER_CELLS, -1)
    ring = np.ones((BORDER_CELLS, BORDER_CELLS), bool)
    ring[1:-1, 1:-1] = False
    return grid[:, ring].reshape(len(grid), -1)


def file_features(columns: Sequence[Column], *, like: Sequence[Column]) -> Vectors:
    """(N, F): numbers as they are and in ranks of training images, texts by their values there (`like`)."""
    parts: list[Vectors] = []
    for column, reference in zip(columns, like, strict=True):
        if reference.values.dtype.kind == "U":
            known = np.unique(reference.values)
            parts += [(column.values == value).astype(float)[:, None] for value in known[:32]]
        elif column.values.dtype.kind != "U":
            ordered = np.sort(reference.values.astype(float))
            rank = np.searchsorted(ordered, column.values.astype(float), side="left") / max(len(ordered), 1)
            parts += [rank[:, None], (rank**2)[:, None]]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(columns[0].values) if columns else 0, 0))
