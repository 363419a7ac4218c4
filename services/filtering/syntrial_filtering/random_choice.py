"""The random filter, the control of every other: a number for each candidate that depends on nothing but who it is.

`score` is what the stage calls; the rest is pure. A candidate is (seed, class, number within the class): drawing more
candidates, or others first, changes no number.
"""

import hashlib

import numpy as np

from syntrial.v1.filtering_pb2 import RandomFilter
from syntrial_filtering.scoring import Given, ScoredFilter, require_share


def score(settings: RandomFilter, given: Given, field: str) -> ScoredFilter:
    """Scores each candidate by its number; raises UserError for a share that cannot be kept."""
    require_share(settings.keep, field=f"{field}.keep")
    values = item_uniforms(seed=given.seed, groups=given.groups, numbers=given.numbers)
    return ScoredFilter(kind="random", scores=values, keep=settings.keep)


def item_uniforms(*, seed: int, groups: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Uniform numbers float64 (N,) in [0, 1): the first 53 bits of BLAKE2b over (seed, class, number).

    `groups` and `numbers` are int64 (N,).
    """
    values = np.empty(len(groups))
    for position, (group, number) in enumerate(zip(groups.tolist(), numbers.tolist(), strict=True)):
        digest = hashlib.blake2b(f"{seed}/{group}/{number}".encode(), digest_size=8).digest()
        values[position] = (int.from_bytes(digest, "big") >> 11) / (1 << 53)
    return values
