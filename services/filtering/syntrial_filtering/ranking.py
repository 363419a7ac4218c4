"""Keeping the first of each class by a score: the rule that every ranking filter and the quota share.

Pure. Arrays are by candidate (N,): `scores` (lower is better), `groups` int64 (the class), `numbers` int64 (the
candidate's number within its class). Decisions depend on these alone, never on the order of the candidates.
"""

import math
from collections.abc import Mapping

import numpy as np

# Products such as 0.7 × 10 lie a few units in the last place above the number that is meant.
_ROUNDING = 1e-9


def kept_count(candidates: int, *, keep: float) -> int:
    """How many of a class's candidates a share `keep` is: rounded up, so that a share above 0 keeps at least one."""
    return min(candidates, math.ceil(keep * candidates - _ROUNDING))


def share_of_each(groups: np.ndarray, *, keep: float) -> dict[int, int]:
    """How many a share `keep` is of each group."""
    found, counts = np.unique(groups, return_counts=True)
    return {int(group): kept_count(int(count), keep=keep) for group, count in zip(found, counts, strict=True)}


def lowest_of_each(
    scores: np.ndarray, *, groups: np.ndarray, numbers: np.ndarray, quota: Mapping[int, int], among: np.ndarray
) -> np.ndarray:
    """bool (N,): of the candidates `among` (bool), the `quota` of each group that have the lowest scores.

    Equal scores are told apart by the lower number; a group without a quota keeps none.
    """
    kept = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups[among]):
        members = np.flatnonzero(among & (groups == group))
        order = members[np.lexsort((numbers[members], scores[members]))]
        kept[order[: quota.get(int(group), 0)]] = True
    return kept
