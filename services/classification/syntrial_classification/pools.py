"""Pools of images that the phases of a training draw from, and the order in which they are drawn. Torch-free.

The table of a training holds its real images, then its synthetic ones; a pool is a list of rows of the table. What is
chosen from a set is chosen by the items' own streams, so pools are nested: the images of a smaller share are among
those of a larger one.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from syntrial.counting import counted
from syntrial.errors import UserError
from syntrial_classification.streams import UInt64s, item_codes, stream

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

REAL, SYNTHETIC = 0, 1
ORIGINS = ("real", "synthetic")
"""Names of the origins, in the order of their codes."""

_CHOICE, _LABELS, _ORDER, _BALANCE = 11, 12, 13, 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """What a phase draws from: P items."""

    rows: Integers
    """(P,) rows of the table."""
    origins: npt.NDArray[np.uint8]
    """(P,) REAL or SYNTHETIC."""
    codes: UInt64s
    """(P,) the items' codes, see `streams.item_codes`."""
    copies: Integers
    """(P,) 0 for an image's first appearance in the pool, 1 for its first repetition, ..."""

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self) -> dict[str, int]:
        """Items by origin; `duplicated` counts repetitions of real images apart from `real`."""
        real = self.origins == REAL
        return {
            "real": int((real & (self.copies == 0)).sum()),
            "duplicated": int((real & (self.copies > 0)).sum()),
            "synthetic": int((~real).sum()),
        }


def make_pool(real_rows: Integers, *, copies: Integers, synthetic_numbers: Integers, synthetic_rows: Integers) -> Pool:
    """A pool of real rows with their copy numbers, and of synthetic images by number within their set and row."""
    numbers = np.concatenate([real_rows, synthetic_numbers])
    all_copies = np.concatenate([copies, np.zeros(len(synthetic_numbers), dtype=np.int64)])
    origins = np.repeat(np.array([REAL, SYNTHETIC], dtype=np.uint8), [len(real_rows), len(synthetic_numbers)])
    return Pool(
        rows=np.concatenate([real_rows, synthetic_rows]),
        origins=origins,
        codes=item_codes(origins, numbers, all_copies),
        copies=all_copies,
    )


def strata(labels: npt.NDArray[np.generic]) -> Integers:
    """The stratum of each image: its class, or the combination of its labels where there are several; int64 (N,)."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    _, found = np.unique(labels, axis=0, return_inverse=True)
    combinations: Integers = found.reshape(-1).astype(np.int64)
    return combinations


def largest_remainder(weights: npt.NDArray[np.float64], total: int) -> Integers:
    """`total` shared out in proportion to `weights`: whole numbers, ties to the lower index; int64."""
    exact = weights * (total / weights.sum())
    shares: Integers = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[: total - int(shares.sum())]] += 1
    return shares


def choose(labels: npt.NDArray[np.generic], *, share: float, seed: int) -> Integers:
    """Rows of a stratified share of the images, ascending; nested: a larger share of the same seed holds a smaller.

    The image at rank r of its stratum (by its own stream) is taken where the strata's running quota asks for it: all
    images are ordered by (r + 1/2) / stratum size, and the first round(share * N) are taken.
    """
    count = round(share * len(labels))
    if count == len(labels):
        return np.arange(count, dtype=np.int64)
    return np.sort(_ranking(labels, seed=seed)[:count])


def repeat(labels: npt.NDArray[np.generic], *, ratio: float, seed: int) -> tuple[Integers, Integers]:
    """Rows and copy numbers (from 1) that repeat round(ratio * N) images: whole rounds, then a stratified share."""
    count = round(ratio * len(labels))
    whole, rest = divmod(count, max(1, len(labels)))
    ranking = _ranking(labels, seed=seed)
    rows = np.concatenate([np.tile(np.arange(len(labels), dtype=np.int64), whole), np.sort(ranking[:rest])])
    copies = np.repeat(np.arange(1, whole + 2, dtype=np.int64), [len(labels)] * whole + [rest])
    return rows, copies


def resample(labels: Integers, *, proportions: Integers, total: int, seed: int) -> tuple[Integers, Integers]:
    """Rows and copy numbers (from 0) of `total` images in the class proportions given by counts (K,).

    Classes with too few images repeat them. Raises UserError where a class is asked for that has no image.
    """
    wanted = largest_remainder(proportions.astype(np.float64), total)
    codes = item_codes(REAL, np.arange(len(labels)), 0)
    rows, copies = [], []
    for klass, count in enumerate(wanted):
        own = np.flatnonzero(labels == klass)
        if count and not len(own):
            raise UserError(
                field="phases.real_proportions",
                rule="real images can be resampled only to classes that the training split has",
                received=f"{counted(count, 'image')} asked of class {klass}, which has none",
                remedy="Leave the resampled control out, or map the synthetic set's classes to the data set's.",
            )
        own = own[np.argsort(stream(codes[own], seed, _CHOICE), kind="stable")]
        rows.append(np.resize(own, count))
        copies.append(np.arange(count, dtype=np.int64) // max(1, len(own)))
    return np.concatenate(rows), np.concatenate(copies)


def balanced(pool: Pool, labels: Integers, *, seed: int) -> Pool:
    """The pool with the items of each class repeated until there are as many as of the largest, first ones first.

    `labels`, int64 (T,), are those of the table's rows. Whole rounds, then a share by the items' own streams; repeated
    items count as copies, and are augmented by streams of their own.
    """
    classes = labels[pool.rows]
    most = int(np.bincount(classes).max())
    step = int(pool.copies.max()) + 1
    parts, rounds = [], []
    for klass in np.unique(classes):
        own = np.flatnonzero(classes == klass)
        own = own[np.argsort(stream(pool.codes[own], seed, _BALANCE), kind="stable")]
        parts.append(np.resize(own, most))
        rounds.append(np.arange(most, dtype=np.int64) // len(own))
    items, repeated = np.concatenate(parts), np.concatenate(rounds)
    order = np.lexsort((items, repeated))
    items, repeated = items[order], repeated[order]
    copies = pool.copies[items] + repeated * step
    shift = np.uint64(40)
    return Pool(
        rows=pool.rows[items],
        origins=pool.origins[items],
        codes=pool.codes[items] + ((repeated * step).astype(np.uint64) << shift),
        copies=copies,
    )


def permuted_labels(labels: npt.NDArray[np.generic], *, numbers: Integers, seed: int) -> npt.NDArray[np.generic]:
    """The labels with those of the images `numbers` permuted among them; every other label stays. A copy."""
    codes = item_codes(SYNTHETIC, numbers, 0)
    order = np.argsort(stream(codes, seed, _LABELS), kind="stable")
    permuted = labels.copy()
    permuted[np.sort(numbers)] = labels[numbers[order]]
    return permuted


def _ranking(labels: npt.NDArray[np.generic], *, seed: int) -> Integers:
    """All rows, those first that every larger stratified share has too."""
    groups = strata(labels)
    keys = stream(item_codes(REAL, np.arange(len(groups)), 0), seed, _CHOICE)
    order = np.lexsort((keys, groups))
    sizes = np.bincount(groups)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    quantiles = (np.arange(len(groups)) - first + 0.5) / np.repeat(sizes, sizes)
    return order[np.lexsort((keys[order], quantiles))].astype(np.int64)


class Order:
    """The order in which a phase draws from its pool: whole passes, each a permutation of its own.

    Within a pass items stand by their own stream, so the relative order of real images is the same in every arm with
    the same seed, whatever else its pool holds. Batches go on from one pass into the next, so all but a last one are
    full. A pass may leave items out, each others (see `capping`).
    """

    def __init__(self, pool: Pool, *, seed: int, phase: int, shown: Callable[[int], Mask] | None = None) -> None:
        """`shown` says by the number of a pass which items, (P,), it shows; None: every pass shows all."""
        self.pool = pool
        self._words = (seed, _ORDER, phase)
        self._shown = shown and lru_cache(maxsize=2)(shown)
        self._permutation = lru_cache(maxsize=2)(self._permute)
        self._starts = [0]

    def start(self, number: int) -> int:
        """How many draws lie before a pass."""
        if self._shown is None:
            return number * len(self.pool)
        while len(self._starts) <= number:
            self._starts.append(self._starts[-1] + int(self.shown(len(self._starts) - 1).sum()))
        return self._starts[number]

    def shown(self, number: int) -> Mask:
        """The items, (P,), that a pass shows."""
        return np.ones(len(self.pool), np.bool_) if self._shown is None else self._shown(number)

    def pass_of(self, draw: int) -> int:
        """The pass that a draw belongs to."""
        if self._shown is None:
            return draw // len(self.pool)
        while self._starts[-1] <= draw:
            self.start(len(self._starts))
        return bisect_right(self._starts, draw) - 1

    def draws(self, start: int, stop: int) -> tuple[Integers, Integers]:
        """Items (positions in the pool) and pass numbers of the draws [start, stop) of the phase; int64 each."""
        items, passes = [], []
        for number in range(self.pass_of(start), self.pass_of(stop - 1) + 1):
            first = self.start(number)
            chosen = self._permutation(number)[max(0, start - first) : stop - first]
            items.append(chosen)
            passes.append(np.full(len(chosen), number, dtype=np.int64))
        return np.concatenate(items), np.concatenate(passes)

    def expected(self, draws: int) -> dict[str, int]:
        """Images of each origin among the first `draws` draws, counted from the pool and not from `draws()`.

        Whole passes show every item that they show once; of the last, those whose key is among the smallest.
        """
        whole = self.pass_of(draws)
        rest = draws - self.start(whole)
        origins = self.pool.origins
        if self._shown is None:
            counts = whole * np.bincount(origins, minlength=len(ORIGINS))
        else:
            counts = np.zeros(len(ORIGINS), np.int64)
            for number in range(whole):
                counts += np.bincount(origins[self.shown(number)], minlength=len(ORIGINS))
        if rest:
            shown = self.shown(whole)
            keys = stream(self.pool.codes[shown], *self._words, whole)
            threshold = np.partition(keys, rest - 1)[rest - 1]
            counts = counts + np.bincount(origins[shown][keys <= threshold], minlength=len(ORIGINS))
        return {name: int(count) for name, count in zip(ORIGINS, counts, strict=True)}

    def distinct(self, draws: int) -> int:
        """Different items among the first `draws` draws."""
        whole = self.pass_of(draws)
        found = np.zeros(len(self.pool), np.bool_)
        for number in range(whole):
            found |= self.shown(number)
        found[self._permutation(whole)[: draws - self.start(whole)]] = True
        return int(found.sum())

    def _permute(self, number: int) -> Integers:
        order = np.argsort(stream(self.pool.codes, *self._words, number), kind="stable").astype(np.int64)
        return order if self._shown is None else order[self.shown(number)[order]]


def batch_bounds(images: int, *, batch_size: int) -> list[int]:
    """Where the batches of `images` draws begin and end: [0, B, 2B, ..., images].

    A single image left over joins the batch before: batch statistics need two.
    """
    bounds = [*range(0, images, batch_size), images]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
        del bounds[-2]
    return bounds
