"""Shortcut probes: how well small models tell the classes by what they should not need.

Ridge regression of each class against the others (or of each label) is fitted to training images and judged on
validation images, by three looks: files alone, borders alone, and thumbnails of 8×8 cells. A thumbnail may tell the
class, since a disease may show in it; borders may a little; files never may. The same model of the real data says what
it thinks of labels that came with synthetic images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from syntrial.imagesets.classes import Labels
from syntrial_data_prep.properties import Column

CELLS: Final = 8
BORDER_CELLS: Final = 16
RIDGE: Final = 0.01
"""Penalty over the number of training images, for features of deviation 1."""
PERMUTATIONS: Final = 400
BLOCK_IMAGES: Final = 64
"""Images that are reduced at once."""
Vectors = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    """What a small model reaches on validation images."""

    look: str
    auroc: float
    """Mean over classes."""
    by_class: tuple[float, ...]
    chance: float
    """What 99 of 100 permutations of the validation labels stay under."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """Weights of the ridge regression, on features before they are scaled."""

    means: Vectors
    deviations: Vectors
    weights: Vectors
    """(F + 1, K), the last row the constants."""

    def scores(self, features: Vectors) -> Vectors:
        """(N, K): the higher the likelier."""
        scaled = (features - self.means) / self.deviations
        found: Vectors = scaled @ self.weights[:-1] + self.weights[-1]
        return found


def one_hot(labels: Labels, count: int) -> NDArray[np.float64]:
    """(N, K): 1 for each class or label that an image has."""
    return np.asarray(labels, float) if labels.ndim == 2 else np.eye(count)[labels]


def fit(features: Vectors, truth: Vectors) -> Model:
    """Ridge regression of `truth` (N, K) on `features` (N, F)."""
    means, deviations = features.mean(0), features.std(0)
    deviations = np.where(deviations > 1e-9, deviations, 1.0)
    scaled = (features - means) / deviations
    centre = truth.mean(0)
    gram = scaled.T @ scaled + RIDGE * len(scaled) * np.eye(scaled.shape[1])
    weights = np.linalg.solve(gram, scaled.T @ (truth - centre))
    return Model(means=means, deviations=deviations, weights=np.concatenate([weights, centre[None]]))


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


def probe(look: str, train: tuple[Vectors, Vectors], validation: tuple[Vectors, Vectors], *, seed: int = 0) -> Probed:
    """Fits to (features, truth) of training images, and judges on those of validation images beside chance."""
    scores = fit(*train).scores(validation[0])
    truth = validation[1]
    ranks = _ranks(scores)
    by_class = _areas(ranks, truth)
    random = np.random.default_rng([seed, 11])
    chance = [_mean(_areas(ranks, truth[random.permutation(len(truth))])) for _ in range(PERMUTATIONS)]
    return Probed(
        look=look,
        auroc=_mean(by_class),
        by_class=tuple(by_class.tolist()),
        chance=float(np.quantile(chance, 0.99)),
    )


def _mean(values: Vectors) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.5


def thumbnails(images_NHWC: NDArray[np.uint8], *, cells: int = CELLS) -> Vectors:
    """(N, cells² C): the means of equal parts of each image."""
    count, height, width, channels = images_NHWC.shape
    rows, columns = (np.arange(cells + 1) * side / cells for side in (height, width))
    reduce = [
        np.maximum(np.minimum(edges[1:, None], np.arange(side) + 1) - np.maximum(edges[:-1, None], np.arange(side)), 0)
        for edges, side in ((rows, height), (columns, width))
    ]
    down, across = ((weights / weights.sum(1, keepdims=True)).astype(np.float32) for weights in reduce)
    found = np.empty((count, cells, cells, channels))
    for start in range(0, count, BLOCK_IMAGES):
        planes = np.moveaxis(np.asarray(images_NHWC[start : start + BLOCK_IMAGES], np.float32), 3, 1)
        found[start : start + BLOCK_IMAGES] = np.moveaxis(down @ planes @ across.T, 1, 3)
    return found.reshape(count, -1)


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
