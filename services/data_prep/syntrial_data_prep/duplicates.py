"""Images that are the same to the pixel, by the hash of their pixels; `neighbours` finds those that nearly are."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.workers import in_blocks

MOST_EQUAL: Final = 3
"""Among so few images equal ones are left to the search for leaks."""
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


def require_different(digests: Collection[Sequence[str]], *, title: str) -> None:
    """Raises SourceError where more than half of all images, by the hashes of each split, are one and the same."""
    counts = Counter(chain.from_iterable(digests))
    total, most = counts.total(), max(counts.values(), default=0)
    if total > MOST_EQUAL and most > total / 2:
        raise SourceError(
            field=title,
            rule="images differ from each other",
            received=f"{most:,} of {counted(total, 'image')} that are the same to the pixel",
            remedy="Open one of them: blank pictures and placeholders show nothing. Of pictures with transparency the "
            "colours are read, laid over black.",
        )


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
