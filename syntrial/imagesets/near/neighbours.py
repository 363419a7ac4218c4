"""The exact search for pairs of images nearer than a threshold, in all eight positions and a little closer.

Blocked matrix products in float32 of folded vectors (`likeness.folded`), each of which bounds a pair in all positions
at once; what this lets through is compared in full. What is found does not hang on block sizes; memory is that of the
vectors, of their folded ones, and of one block for each thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.near.likeness import Likeness, folded, nearest, positions
from syntrial.workers import in_order

Codes = NDArray[np.int64]

_ROWS: Final = 512
_COLUMNS: Final = 1024
"""Pairs of a block: its products stay in a core's cache."""
_PAIRS: Final = 1 << 14
"""Pairs that are compared in full at once."""
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
    and each other image: only pairs of different codes count. `on_progress` is told how much is done, in queries.
    """
    earlier = among is None
    others = among or queries
    views = [(queries.plain, others.plain), (queries.inner, others.inner)]
    views += [(queries.closer, others.plain), (queries.plain, others.closer)]
    bounds = {id(view): folded(view) for pair in views for view in pair}
    least = np.float32(1 - threshold**2 / 2 - _SLACK)

    def block(top: int, bottom: int) -> _Best:
        best = _Best(bottom - top)
        for left in range(0, bottom if earlier else len(others), _COLUMNS):
            right = min(left + _COLUMNS, len(others))
            for moved, still in views:
                rows, columns = places(bounds[id(moved)][top:bottom] @ bounds[id(still)][left:right].T, least=least)
                rows, columns = rows + top, columns + left
                kept = apart[0][rows] != apart[1][columns]
                if earlier:
                    kept &= columns < rows
                rows, columns = rows[kept], columns[kept]
                for start in range(0, len(rows), _PAIRS):
                    here, there = rows[start : start + _PAIRS], columns[start : start + _PAIRS]
                    distances, position = nearest(moved[here], still[there])
                    near = distances < threshold
                    best.add(here[near] - top, there[near], distances[near], position[near])
        return best

    # A block of rows is a thread's: products release the interpreter, and each has one thread of its own.
    total = len(queries)
    ends = [(top, min(top + _ROWS, total)) for top in range(0, total, _ROWS)]
    best = [_Best(0)]
    for (_, bottom), found in zip(ends, in_order(partial(block, *end) for end in ends), strict=True):
        best.append(found)
        if on_progress is not None:
            on_progress(bottom * bottom // total if earlier else bottom)
    return Found(
        rows=np.concatenate([part.rows for part in best]),
        distances=np.concatenate([part.distances for part in best]),
        positions=np.concatenate([part.positions for part in best]),
    )


class _Best:
    """The nearest so far of each query of a block; the lower row of two that are as near."""

    def __init__(self, count: int) -> None:
        self.rows = np.full(count, -1, np.int64)
        self.distances = np.full(count, np.inf)
        self.positions = np.zeros(count, np.int64)

    def add(self, queries: Codes, others: Codes, distances: NDArray[np.float64], position: Codes) -> None:
        order = np.lexsort((others, distances, queries))
        order = order[np.flatnonzero(np.diff(queries[order], prepend=-1))]
        queries, others, distances = queries[order], others[order], distances[order]
        held = self.distances[queries]
        nearer = (distances < held) | ((distances == held) & (others < self.rows[queries]))
        chosen = queries[nearer]
        self.rows[chosen], self.distances[chosen] = others[nearer], distances[nearer]
        self.positions[chosen] = position[order][nearer]


def places(products: NDArray[np.float32], *, least: np.float32) -> tuple[Codes, Codes]:
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
