"""Keeping a share of each class: the rule that every ranking filter shares.

Pure. Arrays are by candidate (N,): `scores` (lower is better), `groups` int64 (the class), `numbers` int64 (the
candidate's number within its class). Decisions depend on these alone, never on the order of the candidates.
"""

import math

import numpy as np

# Products such as 0.7 × 10 lie a few units in the last place above the number that is meant.
_ROUNDING = 1e-9


def kept_count(candidates: int, *, keep: float) -> int:
    """How many of a class's candidates a share `keep` is: rounded up, so that a share above 0 keeps at least one."""
    return min(candidates, math.ceil(keep * candidates - _ROUNDING))


def lowest_share(
    scores: np.ndarray, *, groups: np.ndarray, numbers: np.ndarray, keep: float, among: np.ndarray
) -> np.ndarray:
    """bool (N,): of the candidates `among` (bool), the share `keep` of each group that has the lowest scores.

    Equal scores are told apart by the lower number.
    """
    kept = np.zeros(len(scores), dtype=bool)
    for group in np.unique(groups[among]):
        members = np.flatnonzero(among & (groups == group))
        order = members[np.lexsort((numbers[members], scores[members]))]
        kept[order[: kept_count(len(order), keep=keep)]] = True
    return kept


def first_of_each(*, groups: np.ndarray, numbers: np.ndarray, quota: dict[int, int], among: np.ndarray) -> np.ndarray:
    """bool (N,): of the candidates `among` (bool), the first `quota` of each group by number; no quota: none."""
    kept = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups[among]):
        members = np.flatnonzero(among & (groups == group))
        order = members[np.argsort(numbers[members], kind="stable")]
        kept[order[: quota.get(int(group), 0)]] = True
    return kept
