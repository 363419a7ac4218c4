"""Classes of a source become those of the trial: renamed, merged or left out, and checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process

from syntrial.errors import UserError
from syntrial.v1.data_preparation_pb2 import ClassMapping

Labels = NDArray[np.int64] | NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """What each class of the source is called in the trial."""

    names: tuple[str, ...]
    """The trial's classes, in the order of its labels."""
    targets: tuple[int, ...]
    """For each class of the source its place in `names`, or -1 where it is left out."""


def map_classes(
    classes: Sequence[str], mapping: Sequence[ClassMapping], *, into: Sequence[str] | None = None
) -> Classes:
    """The trial's classes for a source's `classes`.

    A class that `mapping` does not name keeps its name; one that it maps to "" is left out. `into` gives the classes
    of a data set that all must be among. Raises UserError for names that are in neither, with the nearest.
    """
    renamed = {}
    for number, entry in enumerate(mapping):
        field = f"class_map[{number}]"
        source_name: str = getattr(entry, "from")
        if source_name not in classes:
            raise UserError(
                field=f"{field}.from",
                rule="is a class of the source",
                received=source_name,
                remedy=_nearest(source_name, classes),
            )
        if source_name in renamed:
            raise UserError(
                field=f"{field}.from", rule="each class is mapped once", received=source_name, remedy="Remove one."
            )
        renamed[source_name] = entry.to
    wanted = [renamed.get(name, name) for name in classes]
    kept = [name for name in dict.fromkeys(wanted) if name]
    if into is not None:
        for name in kept:
            if name not in into:
                raise UserError(
                    field="class_map",
                    rule="every class of the images is a class of the data set",
                    received=name,
                    remedy=f"{_nearest(name, into)} Rename the class, or map it: {{from: …, to: …}}.",
                )
        kept = list(into)
    elif len(kept) < 2:
        raise UserError(
            field="class_map" if mapping else "source",
            rule="a trial has at least two classes",
            received=kept,
            remedy="Name a source with more classes, or map fewer of them away.",
        )
    return Classes(names=tuple(kept), targets=tuple(kept.index(name) if name else -1 for name in wanted))


def relabel(labels: Labels, classes: Classes) -> tuple[Labels, NDArray[np.bool_]]:
    """Labels in the trial's classes, and which images stay (N,).

    (N,) labels lose the images of classes that are left out; (N, K) labels lose the columns, and merge by "or".
    """
    targets = np.array(classes.targets)
    if labels.ndim == 1:
        moved = targets[labels]
        return moved.astype(np.int64), moved >= 0
    merged = np.zeros((len(labels), len(classes.names)), np.uint8)
    for column, target in enumerate(targets):
        if target >= 0:
            merged[:, target] |= labels[:, column].astype(np.uint8)
    return merged, np.ones(len(labels), dtype=bool)


def count_classes(labels: Labels, names: Sequence[str]) -> dict[str, int]:
    """How many images each class has; an image with several labels counts in each."""
    counts = np.bincount(labels, minlength=len(names)) if labels.ndim == 1 else labels.sum(0, dtype=np.int64)
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def check_split(labels: Labels, names: Sequence[str], *, split: str, source: str) -> None:
    """Raises UserError for an empty split and for a class with no images in it."""
    if len(labels) == 0:
        raise UserError(
            field=f"{source}: {split}",
            rule="every split holds images",
            received="none are left",
            remedy="Look at the leaks and the class map, or change the split rule.",
        )
    empty = [name for name, count in count_classes(labels, names).items() if count == 0]
    if empty:
        raise UserError(
            field=f"{source}: {split}",
            rule="every class has images in every split",
            received=f"none of {', '.join(empty)}",
            remedy="Add images, merge the class into another or leave it out with the class map, or split anew.",
        )
    if labels.ndim == 2 and (full := [name for name, column in zip(names, labels.T, strict=True) if column.all()]):
        raise UserError(
            field=f"{source}: {split}",
            rule="every label is absent from some images",
            received=f"{', '.join(full)} in all of them",
            remedy="Leave the label out with the class map.",
        )


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = process.extractOne(name.lower(), {item: item.lower() for item in known}, score_cutoff=60)
    return f"Did you mean {nearest[2]}?" if nearest else f"Known: {', '.join(known)}."
