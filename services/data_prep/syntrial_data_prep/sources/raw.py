"""What every reader gives: splits with labels, origins and a stream of pictures that is read once.

A picture is uint8, (H, W) grey or (H, W, 3) colour, of the source's own size; None stands for a file that could not be
read. Nothing here is resized yet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """One split as the source has it."""

    labels: NDArray[np.int64] | NDArray[np.uint8]
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    names: tuple[str, ...]
    """What each image is called in the source: "train/12", or the file's relative path."""
    patients: tuple[str, ...] | None
    """Each image's patient; None where the source does not say."""
    pictures: Callable[[], Iterator[Picture | None]]
    """Starts reading; gives N pictures in order."""
    sides: tuple[int, int]
    """The smallest and the largest side in pixels over the split's images."""
    oblong: int
    """How many images are not square."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """A source that was opened."""

    title: str
    """What errors call it: the file's or folder's name, or the data set's."""
    splits: dict[str, RawSplit]
    """train, validation, test (not always all), or UNSPLIT alone."""
    classes: tuple[str, ...]
    multi_label: bool
    channels: int
    """1 where all images are grey, 3 where all are in colour, 0 where they are mixed."""
    about: str = ""
    """What the report calls it; empty: the title."""
    notes: tuple[str, ...] = ()
    """What the audit should say about the source, as sentences."""
