"""The exact search for pairs of images nearer than a threshold, in all eight positions and a little closer.

Blocked matrix products in float32: of a prefix of the vectors first, whose product with the lengths of the rest bounds
that of the whole, then of the whole for the pairs that this lets through. What is found does not hang on block sizes;
memory is that of the vectors and of one block for each thread.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial_data_prep.likeness import Likeness, bounding, positions
from syntrial_data_prep.workers import in_order

Codes = NDArray[np.int64]

_ROWS: Final = 512
_COLUMNS: Final = 2048
"""Pairs of a block: its products stay in a core's cache."""
_DENSE: Final = 0.01
"""Share of a block's pairs that the bound may let through before all are compared by one product."""
_PAIRS: Final = 1 << 16
_QUERIES: Final = 128
_SLACK: Final = 1e-5
"""What float32 may round in a product of two vectors of length 1."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """For each of N queries its nearest image within the threshold."""

    rows: Codes
    """(N,): its row, or -1."""
    distances: NDArray[np.float64]
    """(N,): infinite where there is none."""
    positions: Codes
    """(N,): in which position (`likeness.POSITIONS`) the query is like it."""


def within(
    queries: Likeness,
    among: Likeness | None,
    *,
    threshold: float,
    apart: tuple[Codes, Codes],
    on_progress: Callable[[int], None] | None = None,
) -> Found:
    """For each query the nearest image at a distance below `threshold`, in any position, closer or not.

    `among` None looks for each image's nearest *earlier* image of the same set. `apart` holds a code for each query
    and each other image: only pairs of different codes count. `on_progress` is told how many queries are done.
    """
    best = _Best(len(queries))
    if among is None:
        passes = [(queries.plain, queries.plain, False), (queries.inner, queries.inner, False)]
        passes.append((queries.closer, queries.plain, False))
    else:
        passes = [(queries.plain, among.plain, False), (queries.inner, among.inner, False)]
        passes += [(queries.closer, among.plain, False), (among.closer, queries.plain, True)]
    for number, (moved, still, swapped) in enumerate(passes):
        pairs = _search(moved, still, threshold=threshold, codes=(apart[1], apart[0]) if swapped else apart)
        for done, some in pairs:
            for rows, columns, distances, position in some:
                if among is None:
                    # Each pair belongs to its later image.
                    best.add(np.maximum(rows, columns), np.minimum(rows, columns), distances, position)
                else:
                    best.add(*((columns, rows) if swapped else (rows, columns)), distances, position)
            if on_progress is not None:
                on_progress((number * len(queries) + done * len(queries) // max(len(moved), 1)) // len(passes))
    return best.found()


class _Best:
    """The nearest so far, by row; the lower row of two that are as near."""

    def __init__(self, count: int) -> None:
        self._rows = np.full(count, -1, np.int64)
        self._distances = np.full(count, np.inf)
        self._positions = np.zeros(count, np.int64)

    def add(self, queries: Codes, others: Codes, distances: NDArray[np.float64], position: int) -> None:
        order = np.lexsort((others, distances, queries))
        queries, others, distances = queries[order], others[order], distances[order]
        first = np.flatnonzero(np.diff(queries, prepend=-1))
        queries, others, distances = queries[first], others[first], distances[first]
        held = self._distances[queries]
        nearer = (distances < held) | ((distances == held) & (others < self._rows[queries]))
        chosen = queries[nearer]
        self._rows[chosen], self._distances[chosen] = others[nearer], distances[nearer]
        self._positions[chosen] = position

    def found(self) -> Found:
        return Found(rows=self._rows, distances=self._distances, positions=self._positions)


_Some = list[tuple[Codes, Codes, NDArray[np.float64], int]]


def _search(
    moved: NDArray[np.float32], still: NDArray[np.float32], *, threshold: float, codes: tuple[Codes, Codes]
) -> Iterator[tuple[int, _Some]]:
    """Compares each of `moved` in all positions with `still`: how many of `moved` are done, and what was near.

    Of one set with itself each pair comes once, and none is an image with itself.
    """
    least = np.float32(1 - threshold**2 / 2 - _SLACK)
    views = positions(moved)
    bounds = [bounding(view) for view in views]
    still_bounds = np.ascontiguousarray(bounding(still).T)
    halved = moved is still

    def block(top: int, bottom: int) -> tuple[int, _Some]:
        some: _Some = []
        for left in range(0, bottom if halved else len(still), _COLUMNS):
            right = min(left + _COLUMNS, len(still))
            for position, (view, bound) in enumerate(zip(views, bounds, strict=True)):
                upper = bound[top:bottom] @ still_bounds[:, left:right]
                rows, columns = _places(upper, least=least)
                if len(rows) > _DENSE * upper.size:
                    rows, columns = _places(view[top:bottom] @ still[left:right].T, least=least)
                rows, columns = rows + top, columns + left
                kept = codes[0][rows] != codes[1][columns]
                if halved:
                    kept &= columns < rows
                rows, columns = rows[kept], columns[kept]
                for start in range(0, len(rows), _PAIRS):
                    here, there = rows[start : start + _PAIRS], columns[start : start + _PAIRS]
                    products = np.einsum("nd,nd->n", view[here], still[there], dtype=np.float64)
                    distances = np.round(np.sqrt(np.maximum(2 - 2 * products, 0)), 6)
                    near = distances < threshold
                    if near.any():
                        some.append((here[near], there[near], distances[near], position))
        return bottom, some

    # A block of rows is a thread's: products release the interpreter, and each has one thread of its own.
    ends = [(top, min(top + _ROWS, len(moved))) for top in range(0, len(moved), _ROWS)]
    yield from in_order(partial(block, top, bottom) for top, bottom in ends)


def _places(products: NDArray[np.float32], *, least: np.float32) -> tuple[Codes, Codes]:
    """Rows and columns where a product is at least so large; few are, so eight are looked at at once."""
    high = products >= least
    if products.shape[1] % 8:
        rows, columns = np.nonzero(high)
        return rows, columns
    words = np.flatnonzero(high.reshape(-1).view(np.uint64))
    if not len(words):
        return words, words
    bits, offsets = np.nonzero(high.reshape(-1, 8)[words])
    flat = words[bits] * 8 + offsets
    return flat // products.shape[1], flat % products.shape[1]


def several(
    queries: NDArray[np.float32], among: NDArray[np.float32], *, count: int, apart: tuple[Codes, Codes]
) -> NDArray[np.float64]:
    """(N, count): the distances of each query to its nearest `count` images, ascending, in any position.

    Infinite where there are fewer of another code.
    """
    found = np.full((len(queries), count), np.inf)
    blank = ~among.any(1)
    views = positions(queries)
    kept = min(count, len(among))
    for top in range(0, len(queries), _QUERIES):
        bottom = min(top + _QUERIES, len(queries))
        products = np.full((bottom - top, len(among)), -2, np.float32)
        for view in views:
            np.maximum(products, view[top:bottom] @ among.T, out=products)
        products[:, blank] = -2
        products[apart[0][top:bottom, None] == apart[1][None, :]] = -2
        nearest = -np.sort(np.partition(-products, kept - 1, axis=1)[:, :kept], axis=1)
        distances = np.sqrt(np.maximum(2 - 2 * nearest.astype(np.float64), 0))
        found[top:bottom, :kept] = np.where(nearest < -1.5, np.inf, distances)
    found[~queries.any(1)] = np.inf
    return found
