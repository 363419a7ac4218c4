"""A limit for each class or label that every pass over a pool draws anew. Torch-free.

An item is drawn by its own stream for the pass, and by nothing else that is in the pool: arms with the same seed and
share show the same real images in the same pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from syntrial.imagesets.splits import capped
from syntrial_classification.pools import REAL, Integers, Mask, Pool
from syntrial_classification.streams import UInt64s, item_codes, stream

_DRAW, _COUNTED = 17, 18


def shown_by_pass(
    pool: Pool, labels: npt.NDArray[Any], *, parts: Sequence[tuple[float, int]], most: int, seed: int, phase: int
) -> Callable[[int], Mask]:
    """Which items, (P,), a pass shows by its number: of each label at most `most` times the ratio of each part.

    `labels` are those of the pool's items; `parts` are the ratio and the number of items of each part of the pool, in
    its order. So an arm's ratio of synthetic to real images is that of each pass.
    """

    def shown(number: int) -> Mask:
        masks, first = [], 0
        for ratio, count in parts:
            items = slice(first, first + count)
            order = _order(pool.codes[items], seed, _DRAW, phase, number)
            masks.append(capped(labels[items], order=order, most=max(1, round(most * ratio))))
            first += count
        return np.concatenate(masks)

    return shown


def as_a_pass(labels: npt.NDArray[Any], *, most: int, seed: int) -> npt.NDArray[Any]:
    """The labels of those images of a training split that a pass over all of it shows: how often each one comes."""
    codes = item_codes(REAL, np.arange(len(labels)), 0)
    return labels[capped(labels, order=_order(codes, seed, _COUNTED), most=most)]


def _order(codes: UInt64s, *words: int) -> Integers:
    return np.argsort(stream(codes, *words), kind="stable").astype(np.int64)
