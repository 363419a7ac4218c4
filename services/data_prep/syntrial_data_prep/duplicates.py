"""Images that are the same to the pixel, by the hash of their pixels; `neighbours` finds those that nearly are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.workers import in_blocks

BLOCK_IMAGES: Final = 64
"""Images that a thread hashes before it takes the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two images, as rows of two sets."""

    first: int
    second: int
    distance: float
    position: int = 0
    """In which position the first is like the second: a row of `likeness.POSITIONS`."""


def hashes(images_NHWC: NDArray[np.uint8]) -> list[str]:
    """The SHA-256 of each image's pixels."""

    def of_block(here: slice) -> list[str]:
        return [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images_NHWC[here]]

    return list(chain.from_iterable(in_blocks(of_block, count=len(images_NHWC), size=BLOCK_IMAGES)))


def same(first: Sequence[str], second: Sequence[str]) -> list[Pair]:
    """Each hash that stands on both sides, once, with its first place on each; in the order of `second`."""
    places: dict[str, int] = {}
    for row, digest in enumerate(first):
        places.setdefault(digest, row)
    pairs: list[Pair] = []
    for row, digest in enumerate(second):
        if digest in places:
            pairs.append(Pair(first=places.pop(digest), second=row, distance=0.0))
    return pairs


def repeats(digests: Sequence[str]) -> list[Pair]:
    """Each image that repeats an earlier one of the same set, with the earlier one."""
    places: dict[str, int] = {}
    pairs: list[Pair] = []
    for row, digest in enumerate(digests):
        if digest in places:
            pairs.append(Pair(first=places[digest], second=row, distance=0.0))
        else:
            places[digest] = row
    return pairs
