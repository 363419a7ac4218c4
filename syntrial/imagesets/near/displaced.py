"""A second search for near duplicates: inverted grey, shifts, and crops of one side or of a corner.

These move low spatial frequencies further than re-encoding does, so each would ask for a search of its own. One is
enough: the plain vectors in the position they have. Where they are opposite, one image is the other's negative. Where
they are as near as the twelfth neighbour of an image usually is (`Calibration.reach`), the two are compared again by
their `Likeness.parts`: what a shift by a margin leaves of an image is one part of it, and the opposite part of the
other; and a crop is a part of one, and the other whole.
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.near.likeness import INVERTED, MOVED, OPPOSITE, PARTS, Likeness
from syntrial.imagesets.near.neighbours import Codes, Found, places
from syntrial.workers import in_order

_ROWS: Final = 512
_COLUMNS: Final = 1024
_PAIRS: Final = 1 << 11
_SLACK: Final = np.float32(1e-5)


def displaced(
    queries: Likeness, among: Likeness | None, *, threshold: float, reach: float, apart: tuple[Codes, Codes]
) -> Found:
    """For each query the nearest image as a negative or displaced, below `threshold`; else as `neighbours.within`."""
    others = queries if among is None else among
    rows, distances = np.full(len(queries), -1, np.int64), np.full(len(queries), np.inf)
    positions = np.zeros(len(queries), np.int64)
    for pairs in _search(queries, others, threshold=threshold, reach=reach, apart=apart, earlier=among is None):
        order = np.lexsort((pairs[1], pairs[2], pairs[0]))
        order = order[np.flatnonzero(np.diff(pairs[0][order], prepend=-1))]
        here, there, found, position = (values[order] for values in pairs)
        nearer = found < distances[here]
        rows[here[nearer]], distances[here[nearer]] = there[nearer], found[nearer]
        positions[here[nearer]] = position[nearer]
    return Found(rows=rows, distances=distances, positions=positions)


def merged(first: Found, second: Found) -> Found:
    """The nearer of both for each query."""
    nearer = second.distances < first.distances
    return Found(
        rows=np.where(nearer, second.rows, first.rows),
        distances=np.where(nearer, second.distances, first.distances),
        positions=np.where(nearer, second.positions, first.positions),
    )


def apart_by_parts(first: Likeness, second: Likeness) -> NDArray[np.float64]:
    """(N,): of pairs of images, in order, the least distance as displaced ones."""
    best = np.full(len(first), -1.0)
    for number in range(len(PARTS)):
        one = first.parts[number].astype(np.float32)
        opposite = second.parts[OPPOSITE[number]].astype(np.float32)
        for moved, still in ((one, second.plain), (first.plain, opposite), (one, opposite)):
            np.maximum(best, np.einsum("nd,nd->n", moved, still, dtype=np.float64), out=best)
    return _distances(best)


def _distances(products: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.round(np.sqrt(np.maximum(2 - 2 * products, 0)), 6), np.float64)


_Pairs = tuple[Codes, Codes, NDArray[np.float64], Codes]


def _search(
    queries: Likeness,
    others: Likeness,
    *,
    threshold: float,
    reach: float,
    apart: tuple[Codes, Codes],
    earlier: bool,
) -> Iterator[_Pairs]:
    near = np.float32(1 - max(reach, threshold) ** 2 / 2) - _SLACK

    def block(top: int, bottom: int) -> list[_Pairs]:
        some: list[_Pairs] = []
        for left in range(0, bottom if earlier else len(others), _COLUMNS):
            right = min(left + _COLUMNS, len(others))
            products = queries.plain[top:bottom] @ others.plain[left:right].T
            here, there = places(np.abs(products, out=products), least=near)
            kept = apart[0][here + top] != apart[1][there + left]
            if earlier:
                kept &= there + left < here + top
            here, there = here[kept], there[kept]
            here, there = here + top, there + left
            for start in range(0, len(here), _PAIRS):
                chosen = slice(start, start + _PAIRS)
                some.append(_compared(here[chosen], there[chosen]))
        return some

    def _compared(here: Codes, there: Codes) -> _Pairs:
        first, second = queries.take(here), others.take(there)
        products = np.einsum("nd,nd->n", first.plain, second.plain, dtype=np.float64)
        negative = products < 0
        distances = np.where(negative, _distances(-products), apart_by_parts(first, second))
        found = distances < threshold
        return here[found], there[found], distances[found], np.where(negative, INVERTED, MOVED)[found]

    ends = [(top, min(top + _ROWS, len(queries))) for top in range(0, len(queries), _ROWS)]
    for found in in_order(partial(block, *end) for end in ends):
        yield from found
