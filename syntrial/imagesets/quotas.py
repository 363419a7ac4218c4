"""How many synthetic images of each class a trial needs: one rule for sampling, filtering and classification.

Pure. Quotas are nested: for one balance, a smaller ratio asks for no more of any class than a larger one, so the first
n images of each class, by their number within the class, serve every ratio.
"""

import math
from collections.abc import Sequence
from typing import Final

from syntrial.v1.generation_pb2 import Balance

# Products such as 1.1 × 10 lie a few units in the last place above the number that is meant.
_ROUNDING = 1e-9

_MARGIN: Final = 1.1
"""Over the candidates that were enough at the share accepted so far, since the next need not pass as often."""

_LEAST_GROWTH: Final = 1.5
_MOST_GROWTH: Final = 4.0
"""Of the candidates from a round of drawing to the next: few rounds, and no leap by what a handful of images say."""


def class_quota(counts: Sequence[int], *, ratio: float, balance: int) -> tuple[int, ...]:
    """Synthetic images needed of each class.

    `counts` are the training split's images of each class; `ratio` is synthetic to training images, at least 0;
    `balance` is a value of the enum `Balance`.

    - `BALANCE_MATCH` (also unspecified): `ratio` times each count, rounded half up, so equal to the counts at 1.
    - `BALANCE_UNIFORM`: the same number of each class, its share of `ratio` times all images, rounded half up.
    - `BALANCE_FILL`: `ratio` times all images, each given to the class that has fewest images, real and synthetic
      together, at that moment (of equals, the first).

    A class without training images gets none: no generator has seen one. Raises ValueError for a negative count or
    ratio.
    """
    if not (math.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"ratio must be a number of at least 0, not {ratio}")
    if any(count < 0 for count in counts):
        raise ValueError(f"counts must be at least 0, not {list(counts)}")
    present = [k for k, count in enumerate(counts) if count > 0]
    quota = [0] * len(counts)
    if not present:
        return tuple(quota)
    total = total_quota(sum(counts), ratio=ratio)
    if balance == Balance.BALANCE_UNIFORM:
        for k in present:
            quota[k] = _round_half_up(ratio * sum(counts) / len(present))
    elif balance == Balance.BALANCE_FILL:
        for k, share in zip(present, _fill([counts[k] for k in present], total=total), strict=True):
            quota[k] = share
    else:
        for k in present:
            quota[k] = _round_half_up(ratio * counts[k])
    return tuple(quota)


def total_quota(images: int, *, ratio: float) -> int:
    """Synthetic images needed where there are no classes to share them out among (several labels an image)."""
    return _round_half_up(ratio * images)


def candidates(quota: int, *, oversample: float) -> int:
    """Images to draw so that filters may take some away: `oversample` (at least 1) times the quota, rounded up."""
    return math.ceil(quota * oversample - _ROUNDING)


def enough_oversample(share: float) -> float:
    """The `oversample` at which a class would have had its quota whose candidates pass by this share, above 0."""
    return math.ceil(_MARGIN / share * 20 - _ROUNDING) / 20


def next_oversample(oversample: float, *, limit: float, share: float) -> float:
    """The `oversample` of the next round, where the worst class's share of candidates that pass left it short."""
    least, most = _LEAST_GROWTH * oversample, _MOST_GROWTH * oversample
    return min(limit, most if share * most <= _MARGIN else max(least, enough_oversample(share)))


def most_rounds(oversample: float, *, limit: float) -> int:
    """Rounds of drawing at most, the first with `oversample` candidates for each image needed, the last `limit`."""
    rounds = 1
    while oversample < limit:
        oversample, rounds = oversample * _LEAST_GROWTH, rounds + 1
    return rounds


def _round_half_up(value: float) -> int:
    """Monotone, and free of Python's rounding to even, which would make a larger ratio's step uneven."""
    return math.floor(value + 0.5 + _ROUNDING)


def _fill(counts: Sequence[int], *, total: int) -> list[int]:
    """Raises the lowest counts to a common level: the closed form of giving `total` images out one by one."""
    order = sorted(range(len(counts)), key=lambda k: counts[k])
    below = 0
    for number in range(1, len(order) + 1):
        below += counts[order[number - 1]]
        level, rest = divmod(total + below, number)
        if number == len(order) or level < counts[order[number]]:
            break
    filled = sorted(order[:number])
    shares = [0] * len(counts)
    for rank, k in enumerate(filled):
        shares[k] = level - counts[k] + (1 if rank < rest else 0)
    return shares
