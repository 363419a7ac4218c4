"""The random filter, the control of every other: a number for each candidate that depends on nothing but who it is.

Pure. A candidate is (seed, class, number within the class): drawing more candidates, or others first, changes no
number.
"""

import hashlib

import numpy as np


def item_uniforms(*, seed: int, groups: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Uniform numbers float64 (N,) in [0, 1): the first 53 bits of BLAKE2b over (seed, class, number).

    `groups` and `numbers` are int64 (N,).
    """
    values = np.empty(len(groups))
    for position, (group, number) in enumerate(zip(groups.tolist(), numbers.tolist(), strict=True)):
        digest = hashlib.blake2b(f"{seed}/{group}/{number}".encode(), digest_size=8).digest()
        values[position] = (int.from_bytes(digest, "big") >> 11) / (1 << 53)
    return values
