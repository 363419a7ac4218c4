"""Classes of a source become those of the trial: renamed, merged or left out, made a task, and checked."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process

from syntrial.errors import UserError
from syntrial.imagesets.tasks import Outcome, apply, outcome_of
from syntrial.v1.data_preparation_pb2 import ClassMapping, Task

Labels = NDArray[np.int64] | NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """What each class of the source is called in the trial."""

    names: tuple[str, ...]
    """The trial's classes, in the order of its labels."""
    targets: tuple[int, ...]
    """For each class of the source its place in `names`, or -1 where it is left out; before a task is made of them."""
    outcome: Outcome | None = None
    """The task that is made of the classes once they are mapped."""

    @property
    def mapped(self) -> int:
        """How many classes there are once they are mapped, before a task is made of them."""
        return max(self.targets, default=-1) + 1 if self.outcome is not None else len(self.names)


def map_classes(
    classes: Sequence[str],
    mapping: Sequence[ClassMapping],
    *,
    into: Sequence[str] | None = None,
    task: Task | None = None,
    field: str = "class_map",
    source: str = "source",
    task_field: str = "task",
) -> Classes:
    """The trial's classes for a source's `classes`.

    A class that `mapping` does not name keeps its name; one that it maps to "" is left out. `task` is made of what
    comes of that. `into` gives the classes of a data set that all must be among, or become so by the task; `field`,
    `source` and `task_field` are what errors call the mapping, the source and the task. Raises UserError for names that
    are in neither, with what to write, and for classes that capital letters alone tell apart.
    """
    renamed: dict[str, str] = {}
    for entry in mapping:
        source_name: str = getattr(entry, "from")
        if source_name not in classes:
            raise UserError(
                field=field,
                rule="names classes of the source",
                received=repr(source_name),
                remedy=_nearest(source_name, classes),
            )
        if source_name in renamed:
            raise UserError(
                field=field, rule="each class is mapped once", received=repr(source_name), remedy="Remove one."
            )
        renamed[source_name] = entry.to
    wanted = [renamed.get(name, name) for name in classes]
    kept = [name for name in dict.fromkeys(wanted) if name]
    _check_letters(kept, field=field)
    targets = tuple(kept.index(name) if name else -1 for name in wanted)
    if into is not None and not set(kept) <= set(into) and task is not None and task.WhichOneof("kind"):
        return Classes(names=tuple(into), targets=targets, outcome=outcome_of(task, kept, field=task_field))
    if into is not None:
        _check_known(kept, into, field=field)
        kept = list(into)
        targets = tuple(kept.index(name) if name else -1 for name in wanted)
    elif task is not None and (outcome := outcome_of(task, kept, field=task_field)) is not None:
        return Classes(names=outcome.names, targets=targets, outcome=outcome)
    elif len(kept) < 2:
        raise UserError(
            field=field if mapping else source,
            rule="a trial has at least two classes",
            received=quoted(kept) or "none",
            remedy="Name a source with more classes, or map fewer of them away.",
        )
    return Classes(names=tuple(kept), targets=targets)


def _check_letters(names: Sequence[str], *, field: str) -> None:
    """Refuses 'Normal' beside 'normal': two spellings of one class would be told apart as two."""
    first: dict[str, str] = {}
    alike = {name: first[bare] for name in names if first.setdefault(bare := name.strip().casefold(), name) != name}
    if alike:
        raise UserError(
            field=field,
            rule="classes differ by more than capital letters and blanks",
            received=quoted([*dict.fromkeys(alike.values()), *alike]),
            remedy=f"Make them one, {class_map_words(alike)}, or rename the folders.",
        )


def _check_known(names: Sequence[str], known: Sequence[str], *, field: str) -> None:
    strange = [name for name in names if name not in known]
    if not strange:
        return
    nearest = {name: _best(name, known) for name in strange}
    told = {name: found for name, found in nearest.items() if found is not None}
    words = class_map_words({name: told.get(name, "CLASS") for name in strange})
    raise UserError(
        field=field,
        rule="every class of the images is a class of the data set",
        received=quoted(strange),
        remedy=f"The data set has {quoted(known)}: say which each is, {words}, or rename the folders."
        if len(told) < len(strange)
        else f"Say which each is, {words}, or rename the folders.",
    )


def class_map_words(mapping: Mapping[str, str]) -> str:
    """What a user writes to map classes: in an experiment's file, and at the command line."""
    pairs = ", ".join(f"{source!r}: {to!r}" for source, to in mapping.items())
    options = " ".join(f"--class-map {shlex.quote(f'{source}={to}')}" for source, to in mapping.items())
    return f"`classMap: {{{pairs}}}` (with `syntrial judge`: {options})"


def relabel(labels: Labels, classes: Classes) -> tuple[Labels, NDArray[np.bool_]]:
    """Labels in the trial's classes, and which images stay (N,).

    (N,) labels lose the images of classes that are left out; (N, K) labels lose the columns, and merge by "or". A task
    is made of what comes of that; it may make one class of several labels, and leave images out. Raises UserError for
    a task that is none for such labels.
    """
    moved, stays = _in_classes(labels, classes)
    if classes.outcome is None:
        return moved, stays
    made, wanted = apply(classes.outcome, moved)
    return made, stays & wanted


def _in_classes(labels: Labels, classes: Classes) -> tuple[Labels, NDArray[np.bool_]]:
    targets = np.array(classes.targets)
    if labels.ndim == 1:
        moved = targets[labels]
        return moved.astype(np.int64), moved >= 0
    merged = np.zeros((len(labels), classes.mapped), np.uint8)
    for column, target in enumerate(targets):
        if target >= 0:
            merged[:, target] |= labels[:, column].astype(np.uint8)
    return merged, np.ones(len(labels), dtype=bool)


def count_classes(labels: Labels, names: Sequence[str]) -> dict[str, int]:
    """How many images each class has; an image with several labels counts in each."""
    counts = np.bincount(labels, minlength=len(names)) if labels.ndim == 1 else labels.sum(0, dtype=np.int64)
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def check_split(labels: Labels, names: Sequence[str], *, split: str, source: str) -> None:
    """Raises UserError for an empty split and for a class with no images in it.

    Of several labels one may be missing in validation and test, where it is no part of the metrics (`unscored`), as
    long as another is not.
    """
    if len(labels) == 0:
        raise UserError(
            field=f"{source}: {split}",
            rule="every split holds images",
            received="none are left",
            remedy="Look at `leaks` and `classMap`, or change `split`.",
        )
    if labels.ndim == 2 and split != "train" and len(unscored(labels, names)) < len(names):
        return
    empty = [name for name, count in count_classes(labels, names).items() if count == 0]
    if empty:
        raise UserError(
            field=f"{source}: {split}",
            rule="every class has images in every split"
            if labels.ndim == 1
            else "every label has images in training, and one at least in every other split",
            received=f"none of {quoted(empty)}",
            remedy="Add images, merge the class into another or leave it out by `classMap`, or change `split`.",
        )
    if labels.ndim == 2 and (full := [name for name, column in zip(names, labels.T, strict=True) if column.all()]):
        raise UserError(
            field=f"{source}: {split}",
            rule="every label is absent from some images",
            received=f"{quoted(full)} in all of them",
            remedy="Leave the label out by `classMap`.",
        )


def unscored(labels: Labels, names: Sequence[str]) -> list[str]:
    """Of several labels those that no image has, or all: no AUROC of them exists. None where each image has a class."""
    if labels.ndim == 1:
        return []
    return [name for name, column in zip(names, labels.T, strict=True) if column.all() or not column.any()]


def quoted(names: Sequence[str]) -> str:
    """Names in quotes, the first eight of them."""
    shown = ", ".join(repr(name) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def _best(name: str, known: Sequence[str]) -> str | None:
    found = process.extractOne(name.lower(), {item: item.lower() for item in known}, score_cutoff=60)
    return None if found is None else str(found[2])


def _nearest(name: str, known: Sequence[str]) -> str:
    best = _best(name, known)
    return f"Known: {quoted(known)}." if best is None else f"Did you mean {best!r}?"
