"""What every reader gives: splits with labels, origins, and pictures whose decoding is put off to whoever has a thread.

A picture is `Samples` of the source's own size; None stands for a file that could not be read. Nothing here is scaled
or resized yet.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syntrial.documents.names import Names
from syntrial.errors import SourceError
from syntrial.imagesets.facts import FileFacts
from syntrial.imagesets.headers import EIGHT
from syntrial_data_prep.samples import Samples

Deferred = Callable[[], Samples | None]
"""Decodes one picture: safe to be called in any thread, once; None where the file breaks off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a source lies, and who is told while much of it is read."""

    path: Path | None
    """As `resolve` found it; None where the source is drawn or downloaded."""
    cache: Path | None
    """Where downloads go; None: the user's cache folder."""
    on_progress: Callable[[int], None]
    """Called now and then; may raise to stop."""
    scratch: Path | None = None
    """Where a packed archive is unpacked; None: the system's folder for temporary files."""

    def existing(self) -> Path:
        """The path of what is there; raises SourceError where nothing is, or no path was given."""
        if self.path is None:
            raise SourceError(
                field="source",
                rule="a server that reads a file or folder is told where it lies",
                received="no location for its digest",
                remedy="Give the path where you start the run.",
            )
        if not self.path.exists():
            raise SourceError(
                field=str(self.path),
                rule="the file or folder exists",
                received="nothing there",
                remedy="Put it back.",
            )
        return self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """One split as the source has it."""

    labels: NDArray[np.int64] | NDArray[np.uint8]
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    names: tuple[str, ...]
    """What each image is called wherever that is written: "train/12", or a file's pseudonym."""
    patients: tuple[str, ...] | None
    """Each image's patient, by pseudonym where the source is of persons; None where it does not say."""
    identities: tuple[str, ...]
    """Each image's patient, else its name, as the source has them: what splits are cut by. Never written."""
    pictures: Callable[[], Iterator[Deferred]]
    """Starts reading; gives the pictures in order. Walked over in one thread."""
    sides: tuple[int, int]
    """The smallest and the largest side in pixels over the split's images."""
    oblong: int
    """How many images are not square."""
    files: tuple[FileFacts, ...] | None = None
    """What each image's file says of itself; None where images are no files of their own."""
    lost: tuple[int, ...] = ()
    """How many files of each of the source's classes could not be opened and are not among the images; empty: none."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What else the source says of each image and is kept, by heading."""


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
    originals: Names | None = None
    """Which file and patient each pseudonym stands for; None where there are no pseudonyms."""
    numbers: frozenset[str] = frozenset((EIGHT,))
    """What kinds of numbers the pixels are, as `syntrial.imagesets.pictures` names them."""
    notes: tuple[str, ...] = ()
    """What the audit should say about the source, as sentences."""


def by_row(read: Callable[[int], Samples | None], *, count: int) -> Callable[[], Iterator[Deferred]]:
    """Pictures of a source that is read in any order: `read` gives that of a row, and is safe from several threads."""

    def pictures() -> Iterator[Deferred]:
        for row in range(count):
            yield functools.partial(read, row)

    return pictures
