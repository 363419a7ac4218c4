"""Nearest neighbours by blocks: exact, on float32 matrix products, in memory that does not grow with the sets.

Used by the copy search and by precision and recall. Vectors are float32 (N, D); distances are Euclidean.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

_QUERY_BLOCK: Final = 512
_REFERENCE_BLOCK: Final = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """The k nearest references of each of N queries, nearest first."""

    indices_NK: np.ndarray  # noqa: N815
    """int64; -1 where fewer than k references were allowed."""
    distances_NK: np.ndarray  # noqa: N815
    """float32; infinite where fewer than k references were allowed."""


def squared_distances(queries_ND: np.ndarray, references_MD: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances float32 (N, M), by one matrix product; never negative.

    Good to about 1e-6 of the vectors' squared lengths: where near-zero distances matter, compute those few again.
    """
    squares = -2.0 * (queries_ND @ references_MD.T)
    squares += np.einsum("nd,nd->n", queries_ND, queries_ND)[:, None]
    squares += np.einsum("nd,nd->n", references_MD, references_MD)[None, :]
    np.maximum(squares, 0.0, out=squares)
    return np.asarray(squares)


def distance_blocks(queries_VND: np.ndarray, references_MD: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """All squared distances, block by block: (the queries' slice, the references' slice, float32 (n, m)).

    A query comes in V views; the nearest of them counts.
    """
    for start in range(0, queries_VND.shape[1], _QUERY_BLOCK):
        rows = slice(start, min(start + _QUERY_BLOCK, queries_VND.shape[1]))
        for reference_start in range(0, len(references_MD), _REFERENCE_BLOCK):
            columns = slice(reference_start, min(reference_start + _REFERENCE_BLOCK, len(references_MD)))
            squares = squared_distances(queries_VND[0, rows], references_MD[columns])
            for view_ND in queries_VND[1:]:
                np.minimum(squares, squared_distances(view_ND[rows], references_MD[columns]), out=squares)
            yield rows, columns, squares


def nearest(
    queries_VND: np.ndarray,
    references_MD: np.ndarray,
    *,
    count: int,
    apart: tuple[tuple[np.ndarray, np.ndarray], ...] = (),
    report: Callable[[int], None] | None = None,
) -> Neighbours:
    """The `count` nearest references of each of N queries, which come in V views (the nearest counts).

    `apart` holds pairs of int64 codes (of the queries, of the references): a query and a reference with the same code
    are never neighbours, which keeps a patient's other images, or an image itself, out of its neighbourhood.
    Ties are broken by the reference's position. `report` is called with the queries done.
    """
    queries, references = queries_VND.shape[1], len(references_MD)
    best = np.full((queries, count), np.inf, dtype=np.float32)
    found = np.full((queries, count), -1, dtype=np.int64)
    for rows, columns, squares in distance_blocks(queries_VND, references_MD):
        for query_codes, reference_codes in apart:
            squares[query_codes[rows, None] == reference_codes[None, columns]] = np.inf
        kept = min(count, squares.shape[1])
        nearest_here = np.argpartition(squares, kept - 1, axis=1)[:, :kept]
        values = np.concatenate([best[rows], np.take_along_axis(squares, nearest_here, axis=1)], axis=1)
        positions = np.concatenate([found[rows], nearest_here + columns.start], axis=1)
        positions[~np.isfinite(values)] = -1
        order = np.lexsort((positions, values), axis=1)[:, :count]
        best[rows] = np.take_along_axis(values, order, axis=1)
        found[rows] = np.take_along_axis(positions, order, axis=1)
        if report is not None and columns.stop == references:
            report(rows.stop)
    return Neighbours(indices_NK=found, distances_NK=np.sqrt(best))
