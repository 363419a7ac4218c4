"""UMAP (McInnes, Healy and Melville 2018, arXiv 1802.03426): points of many dimensions drawn in two.

Written from the paper, since its library needs a compiler at run time (llvmlite, some hundred MB, and a cache that may
be written) for what takes a few thousand points some seconds. Neighbours are exact; the layout begins with principal
components, so that it hangs on no solver (Kobak and Linderman 2021); all is a function of the seed.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import curve_fit

Array = NDArray[np.float64]

EPOCHS: Final = 200
NEGATIVES: Final = 5
"""Points that each sampled pair is pushed away from (section 3.2)."""
EXTENT: Final = 10.0
"""Half the width of the first layout."""
_STEEPEST: Final = 4.0
"""What an update is cut to, as in the authors' code."""
_BISECTIONS: Final = 64
_ROWS: Final = 512


def umap(features_NF: Array, *, neighbours: int, min_dist: float, seed: int) -> Array:
    """float64 (N, 2): the layout; raises ValueError for fewer than 3 points."""
    count = len(features_NF)
    if count < 3:
        raise ValueError(f"a layout needs 3 points, not {count}")
    indices, distances = nearest(features_NF, min(neighbours, count - 1))
    weights = fuzzy_union(indices, memberships(distances), count=count)
    return layout(weights, principal(features_NF), curve(min_dist), seed=seed)


def nearest(features_NF: Array, neighbours: int) -> tuple[NDArray[np.int64], Array]:
    """Each point's nearest others and their distances, (N, neighbours) each, the nearest first."""
    points = np.asarray(features_NF, np.float64)
    squares = (points**2).sum(axis=1)
    found, distances = [], []
    for start in range(0, len(points), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(points)))
        apart = np.maximum(squares[rows, None] + squares[None] - 2 * points[rows] @ points.T, 0)
        apart[np.arange(len(rows)), rows] = np.inf
        order = np.argsort(apart, axis=1, kind="stable")[:, :neighbours]
        found.append(order)
        distances.append(np.sqrt(np.take_along_axis(apart, order, axis=1)))
    return np.concatenate(found), np.concatenate(distances)


def memberships(distances_NK: Array) -> Array:
    """How much each neighbour belongs to a point: exp(-(d - rho) / sigma), which sums to log2 K (algorithm 3)."""
    goal = np.log2(distances_NK.shape[1]) if distances_NK.shape[1] > 1 else 1.0
    beyond = distances_NK - distances_NK[:, :1]
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    sigma = np.ones(len(beyond))
    for _ in range(_BISECTIONS):
        total = np.exp(-beyond / sigma[:, None]).sum(axis=1)
        high, low = np.where(total > goal, sigma, high), np.where(total > goal, low, sigma)
        sigma = np.where(np.isinf(high), 2 * sigma, (low + high) / 2)
    # Where neighbours are as near as the nearest, none is left out (the authors' code has the same floor).
    floor = 1e-3 * distances_NK.mean(axis=1) + 1e-12
    found: Array = np.exp(-beyond / np.maximum(sigma, floor)[:, None])
    return found


def fuzzy_union(indices_NK: NDArray[np.int64], memberships_NK: Array, *, count: int) -> sparse.coo_array:
    """The weight of each pair: a + b - ab of what both ends say (section 3.1)."""
    rows = np.repeat(np.arange(count), indices_NK.shape[1])
    directed = sparse.csr_array((memberships_NK.ravel(), (rows, indices_NK.ravel())), shape=(count, count))
    both = directed.multiply(directed.T)
    return sparse.coo_array(directed + directed.T - both)


def principal(features_NF: Array) -> Array:
    """The first two principal components, to a stated width, their signs by the largest of each."""
    centred = features_NF - features_NF.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(centred), 2))
    found[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
    found *= np.sign(found[np.abs(found).argmax(axis=0), [0, 1]] + 1e-300)
    scaled: Array = found * (EXTENT / max(np.abs(found).max(), 1e-12))
    return scaled


def curve(min_dist: float, spread: float = 1.0) -> tuple[float, float]:
    """a and b of 1 / (1 + a d^2b), which comes nearest to 1 up to `min_dist` and falls exponentially then (eq. 17)."""
    x = np.linspace(0, 3 * spread, 300)
    wanted = np.where(x < min_dist, 1.0, np.exp(-(x - min_dist) / spread))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), x, wanted)
    return float(a), float(b)


def layout(weights: sparse.coo_array, start_N2: Array, ab: tuple[float, float], *, seed: int) -> Array:
    """The layout after stochastic gradient descent on the cross entropy (algorithm 5).

    An epoch takes each pair with a chance in proportion to its weight, in parts of about a pair a point, whose updates
    are added up.
    """
    a, b = ab
    places, count = start_N2.copy(), len(start_N2)
    chances = weights.data / weights.data.max()
    random = np.random.default_rng([seed, 23])
    for epoch in range(EPOCHS):
        rate = 1 - epoch / EPOCHS
        taken = random.permutation(np.flatnonzero(random.random(len(chances)) < chances))
        for start in range(0, len(taken), count):
            part = taken[start : start + count]
            heads, tails = weights.row[part], weights.col[part]
            move = np.zeros_like(places)
            apart = places[heads] - places[tails]
            squared = (apart**2).sum(axis=1)
            near = np.maximum(squared, 1e-12)
            pull = np.where(squared > 0, -2 * a * b * near ** (b - 1) / (1 + a * near**b), 0)
            pulled = np.clip(pull[:, None] * apart, -_STEEPEST, _STEEPEST)
            np.add.at(move, heads, pulled)
            np.add.at(move, tails, -pulled)
            pushed = np.repeat(heads, NEGATIVES)
            others = random.integers(0, count, len(pushed))
            apart = places[pushed] - places[others]
            squared = (apart**2).sum(axis=1)
            push = 2 * b / ((1e-3 + squared) * (1 + a * squared**b))
            away = np.clip(push[:, None] * apart, -_STEEPEST, _STEEPEST)
            np.add.at(move, pushed, away)
            places += rate * move
    return places
