"""Random numbers that belong to an item, never to a batch: counter-based streams over (seed, words, item).

An item is an image in a role: (origin, number within its set, copy). Because an item's numbers do not depend on what
else is in a pool, arms with the same seed see the same real images in the same relative order with the same
augmentation, and resuming or sharding a training changes nothing. Called by `pools` and `augment`.
"""

import numpy as np
import numpy.typing as npt

UInt64s = npt.NDArray[np.uint64]

_GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def item_codes(origin: npt.ArrayLike, number: npt.ArrayLike, copy: npt.ArrayLike) -> UInt64s:
    """Codes of items as uint64: 8 bits of origin, 16 of copy, 40 of number within the set; broadcast together."""
    parts = ((origin, 56), (copy, 40), (number, 0))
    origins, copies, numbers = (np.asarray(part, dtype=np.uint64) << np.uint64(shift) for part, shift in parts)
    codes: UInt64s = origins | copies | numbers
    return codes


def stream(codes: UInt64s, *words: int) -> UInt64s:
    """One uniform 64-bit number for each item of `codes` in the stream named by `words` (seed, purpose, pass, ...).

    Two rounds of splitmix64's finaliser (Steele et al. 2014) over the item's code under a state that the words make.
    """
    state = 0
    for word in words:
        state = _mix_int(state + _GAMMA + (word & _MASK))
    with np.errstate(over="ignore"):
        return _mix(_mix(codes + np.uint64(_GAMMA)) ^ np.uint64(state))


def word_of(*words: int) -> int:
    """One 63-bit number from words, to seed generators that take a single seed."""
    state = 0
    for word in words:
        state = _mix_int(state + _GAMMA + (word & _MASK))
    return state >> 1


def below(numbers: UInt64s, bound: int) -> npt.NDArray[np.int64]:
    """Uniform integers in [0, bound) from uniform 64-bit ones, by their upper 32 bits (bias under bound / 2**32)."""
    return ((numbers >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def uniform(numbers: UInt64s) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1) from uniform 64-bit ones, by their upper 53 bits."""
    drawn: npt.NDArray[np.float64] = (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def _mix(z: UInt64s) -> UInt64s:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mix_int(value: int) -> int:
    z = value & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
