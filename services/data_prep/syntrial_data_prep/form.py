"""A raw split becomes images of the trial's form, streamed to a file in scratch so that memory does not grow."""

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from syntrial.documents.scale import Scale
from syntrial.errors import SourceError, UserError
from syntrial.imagesets.classes import Classes, Labels, relabel
from syntrial.imagesets.facts import FileFacts, text_of
from syntrial.imagesets.filetypes import UNREADABLE
from syntrial.imagesets.folders import MOST_UNREADABLE
from syntrial.imagesets.imageset import MULTI_CLASS, MULTI_LABEL, ImageSet
from syntrial.rpc.context import StepContext
from syntrial.workers import in_order
from syntrial_data_prep import resample
from syntrial_data_prep.resample import Form
from syntrial_data_prep.scales import Clipped, levels
from syntrial_data_prep.shards import Filling, Shards
from syntrial_data_prep.sources.raw import Deferred, Raw, RawSplit

SMALLEST = 8
LARGEST = 1024
"""Sides in pixels between which a trial's images lie."""
CHUNK_IMAGES = 256
IMAGES_BETWEEN_REPORTS = 16
TOGETHER_PIXELS = 1 << 22
"""Of the pictures that a thread takes at a time, at most: what bounds memory, and what a stop waits for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Formed:
    """One split in the trial's form."""

    images_NHWC: NDArray[np.uint8]  # noqa: N815
    labels: Labels
    names: tuple[str, ...]
    """As the source's reader calls each image: no person's name."""
    patients: tuple[str, ...] | None
    identities: tuple[str, ...]
    """As in `RawSplit`: what splits are cut by. Never written."""
    unreadable: tuple[str, ...] = ()
    """Names of the images that could not be decoded; they are not among the others."""
    files: tuple[FileFacts, ...] | None = None
    """As in `RawSplit`, of each image."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Images of each class of the trial that could not be read, as files or as pictures; zeros for several labels."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """As in `RawSplit`."""
    clipped: Clipped = field(default_factory=Clipped)
    """Deep pixels of all images that lay outside the scale."""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, kept: NDArray[np.bool_], *, scratch: Path) -> "Formed":
        """The images where `kept`, (N,), is true; itself where all are kept."""
        if kept.all():
            return self
        rows = np.flatnonzero(kept)
        return replace(
            self,
            images_NHWC=_copy_rows(self.images_NHWC, rows, scratch=scratch),
            labels=self.labels[rows],
            names=tuple(self.names[row] for row in rows),
            patients=self.patients and tuple(self.patients[row] for row in rows),
            identities=tuple(self.identities[row] for row in rows),
            files=self.files and tuple(self.files[row] for row in rows),
            columns={name: tuple(column[row] for row in rows) for name, column in self.columns.items()},
        )

    def groups(self) -> tuple[str, ...]:
        """Each image's patient, or its own name where no patient is known."""
        return self.names if self.patients is None else self.patients

    def image_set(self, classes: Sequence[str], *, origins: dict[str, list[str]] | None = None) -> ImageSet:
        """The split as an image set; origins: "file", "patient" where it is known, kept columns, and those given."""
        columns = {"file": list(self.names)} | ({"patient": list(self.patients)} if self.patients else {})
        columns |= {name: list(column) for name, column in self.columns.items() if name not in columns}
        columns |= {"stored": [text_of(facts) for facts in self.files]} if self.files else {}
        return ImageSet(
            images_NHWC=self.images_NHWC,
            labels=self.labels,
            classes=tuple(classes),
            task=MULTI_CLASS if self.labels.ndim == 1 else MULTI_LABEL,
            origins=columns | (origins or {}),
        )


def check_size(size: int) -> None:
    """Raises UserError for a side that no trial can use."""
    if not SMALLEST <= size <= LARGEST:
        raise UserError(
            field="format.size",
            rule=f"is from {SMALLEST} to {LARGEST} pixels",
            received=size,
            remedy="28, 64, 128 and 224 are usual.",
        )


def counting(context: StepContext, *, before: int, total: int, activity: str) -> Callable[[int], None]:
    """Reports how many of `total` images are done, given how many are beyond the `before` of earlier calls."""

    def report(count: int) -> None:
        context.progress(before + count, total=total, unit="images", activity=activity)

    return report


def form(
    split: RawSplit,
    *,
    title: str,
    classes: Classes,
    shape: Form,
    scale: Scale,
    scratch: Path,
    shards: Shards,
    name: str,
    on_progress: Callable[[int], None],
) -> Formed:
    """Reads a split once: classes mapped, pictures scaled and fitted to `shape`, unreadable ones left out.

    Pictures are decoded and resized in several threads, a few at a time; the bytes are the same for any number. What an
    earlier attempt saved in `shards`, by the split's `name`, is not decoded again.

    `on_progress` gets the number of images done. Raises SourceError for damage that leaves nothing to go on with.
    """
    labels, wanted = relabel(split.labels, classes)
    size, channels = shape.size, shape.channels
    images = open_memmap(_fresh(scratch), mode="w+", dtype=np.uint8, shape=(int(wanted.sum()), size, size, channels))
    lost = dict.fromkeys(classes.names, 0)
    if split.lost:
        targets, are_wanted = relabel(np.arange(len(split.lost), dtype=np.int64), classes)
        for target, is_wanted, count in zip(targets.tolist(), are_wanted.tolist(), split.lost, strict=True):
            if is_wanted:
                lost[classes.names[target]] += count
    wanted_rows = np.flatnonzero(wanted).tolist()
    filling = Filling(images, split=name, shards=shards)
    reads = (
        functools.partial(_formed, read, shape=shape, scale=scale)
        for read in _chosen(split, wanted_rows[filling.done :])
    )
    together = max(1, TOGETHER_PIXELS // max(split.sides[1], size) ** 2)
    for row, found in zip(wanted_rows[filling.done :], in_order(reads, together=together), strict=True):
        if filling.done % IMAGES_BETWEEN_REPORTS == 0:
            filling.save_if_due()
            on_progress(row)
        filling.add(found)
    filling.close()
    rows = [wanted_rows[place] for place in filling.read]
    not_read = [wanted_rows[place] for place in filling.unreadable]
    if labels.ndim == 1:
        for row in not_read:
            lost[classes.names[int(labels[row])]] += 1
    unreadable = [split.names[row] for row in not_read]
    on_progress(len(split.names))
    if unreadable and not rows:
        raise _undecodable(unreadable, of=len(unreadable), title=title)
    return Formed(
        images_NHWC=images[: len(rows)],
        labels=labels[rows],
        names=tuple(split.names[row] for row in rows),
        patients=split.patients and tuple(split.patients[row] for row in rows),
        identities=tuple(split.identities[row] for row in rows),
        unreadable=tuple(unreadable),
        files=split.files and tuple(split.files[row] for row in rows),
        lost=lost,
        columns={name: tuple(column[row] for row in rows) for name, column in split.columns.items()},
        clipped=filling.clipped,
    )


def form_all(
    raw: Raw, *, classes: Classes, shape: Form, scale: Scale, shards: Shards, context: StepContext
) -> dict[str, Formed]:
    """Each split of a source by `form`, with progress over them all.

    Raises SourceError where more images than may be unreadable could not be decoded.
    """
    total, done = sum(len(found.names) for found in raw.splits.values()), 0
    parts: dict[str, Formed] = {}
    for name, found in raw.splits.items():
        parts[name] = form(
            found,
            title=raw.title,
            classes=classes,
            shape=shape,
            scale=scale,
            scratch=context.scratch,
            shards=shards,
            name=name,
            on_progress=counting(context, before=done, total=total, activity="reading"),
        )
        done += len(found.names)
    _check_decoded(tuple(parts.values()), title=raw.title)
    return parts


def _check_decoded(parts: Sequence[Formed], *, title: str) -> None:
    unreadable = [name for part in parts for name in part.unreadable]
    total = len(unreadable) + sum(map(len, parts))
    if len(unreadable) > MOST_UNREADABLE * total:
        raise _undecodable(unreadable, of=total, title=title)


def _undecodable(names: Sequence[str], *, of: int, title: str) -> SourceError:
    return SourceError(
        field=f"{title}: {names[0]}",
        rule=f"at most {MOST_UNREADABLE:.0%} of the images cannot be decoded",
        received=f"{len(names)} of {of}, whose headers are sound and whose pixels are damaged",
        remedy="Copy or download them again, or remove them.",
    )


def _chosen(split: RawSplit, rows: Sequence[int]) -> Iterator[Deferred]:
    """The pictures of these rows, which ascend; what follows is walked over too, for a source that checks its end."""
    pictures, before = split.pictures(), -1
    for row in rows:
        yield next(itertools.islice(pictures, row - before - 1, None))
        before = row
    deque(pictures, maxlen=0)


def _formed(read: Deferred, *, shape: Form, scale: Scale) -> tuple[NDArray[np.uint8], Clipped] | None:
    try:
        samples = read()
        if samples is None:
            return None
        picture, clipped = levels(samples, scale)
    except UNREADABLE:
        return None
    return resample.fit(picture, shape), clipped


def join(parts: Sequence[Formed], *, scratch: Path) -> Formed:
    """Several splits as one, in order; patients are kept where all of them know theirs."""
    if len(parts) == 1:
        return parts[0]
    shape = (sum(len(part) for part in parts), *parts[0].images_NHWC.shape[1:])
    images = open_memmap(_fresh(scratch), mode="w+", dtype=np.uint8, shape=shape)
    start = 0
    for part in parts:
        images[start : start + len(part)] = part.images_NHWC
        start += len(part)
    facts = [part.files for part in parts if part.files is not None]
    known = [part.patients for part in parts if part.patients is not None]
    return Formed(
        images_NHWC=images,
        labels=np.concatenate([part.labels for part in parts]),
        names=tuple(name for part in parts for name in part.names),
        patients=tuple(patient for column in known for patient in column) if len(known) == len(parts) else None,
        identities=tuple(identity for part in parts for identity in part.identities),
        unreadable=tuple(name for part in parts for name in part.unreadable),
        files=tuple(facts for column in facts for facts in column) if len(facts) == len(parts) else None,
        lost={name: sum(part.lost.get(name, 0) for part in parts) for part in parts for name in part.lost},
        columns={
            name: tuple(cell for part in parts for cell in part.columns[name])
            for name in parts[0].columns
            if all(name in part.columns for part in parts)
        },
        clipped=sum((part.clipped for part in parts), Clipped()),
    )


def _fresh(scratch: Path) -> Path:
    return scratch / f"images-{len(list(scratch.glob('images-*.npy'))):03d}.npy"


def _copy_rows(images: NDArray[np.uint8], rows: NDArray[np.int64], *, scratch: Path) -> NDArray[np.uint8]:
    target = open_memmap(_fresh(scratch), mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:]))
    for start in range(0, len(rows), CHUNK_IMAGES):
        target[start : start + CHUNK_IMAGES] = images[rows[start : start + CHUNK_IMAGES]]
    copied: NDArray[np.uint8] = target
    return copied
