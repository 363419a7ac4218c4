"""What a source holds, as far as names, headers and labels tell: its classes and splits, and who is in them.

Each kind of source that lies at an address has a function that reads this in a second (`arrays.contents`,
`folders.contents`), by the code that its reader in data preparation goes by.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.classes import Labels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitContents:
    """Who is in a split."""

    labels: Labels
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    patients: tuple[str, ...]
    """Of each image; its own name where the source does not say."""

    def take(self, kept: NDArray[np.bool_]) -> "SplitContents":
        """The images where `kept`, (N,), is true."""
        if kept.all():
            return self
        rows = np.flatnonzero(kept)
        return SplitContents(labels=self.labels[rows], patients=tuple(self.patients[row] for row in rows))

    def patients_by_class(self, count: int) -> tuple[int, ...]:
        """How many patients have images of each of `count` classes; one with images of several counts in each."""
        members = [self.labels == k if self.labels.ndim == 1 else self.labels[:, k] == 1 for k in range(count)]
        return tuple(
            len({patient for patient, is_of_it in zip(self.patients, member, strict=True) if is_of_it})
            for member in members
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class Contents:
    """What a source holds."""

    classes: tuple[str, ...]
    splits: Mapping[str, SplitContents]
    """train, validation, test (not always all), or UNSPLIT alone."""
    channels: int
    """1 where all images are grey, 3 where all are in colour, 0 where both were seen."""
    notes: tuple[str, ...] = ()
    """What was left out and how it was read, as sentences for the user's own terminal."""
    numbers: frozenset[str] = frozenset()
    """What kinds of numbers the pixels are, as `syntrial.imagesets.pictures` names them."""
