"""What is to be told of the images: a task made of a source's classes or labels, after the class map.

    binary        images with one of the positive labels against those with none of the labels, with one of the negative
                  ones, or against all others; images in neither are left out. Classes: negative, positive
    multi_label   some labels of several, in an order; images with none of them stay
    ordinal       the classes in the order that is given, in which labels, tables and figures have them

A plan and data preparation go by the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syntrial.errors import UserError
from syntrial.v1.data_preparation_pb2 import BinaryTask, Task

NONE, OTHERS = "none", "others"
"""The negative class where it has no name of its own, and what users write for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A task that fits the classes it is made of."""

    kind: str
    """A field of `Task`."""
    names: tuple[str, ...]
    """The classes it ends in."""
    places: tuple[tuple[int, ...], ...]
    """For each of `names` the places, among the classes before, of those that make it; () where `rest` does."""
    rest: str = ""
    """Of a binary task without negative labels: NONE or OTHERS."""
    field: str
    """What errors call the task."""


def outcome_of(task: Task, classes: Sequence[str], *, field: str) -> Outcome | None:
    """What the task makes of `classes`; None where there is no task. Raises UserError for names that are not there."""
    kind = task.WhichOneof("kind")
    if kind is None:
        return None
    match kind:
        case "binary":
            binary = task.binary
            _check_names(binary.positive, classes, field=f"{field}.binary.positive")
            _check_names(binary.negative, classes, field=f"{field}.binary.negative", may_be_empty=bool(binary.rest))
            if both := set(binary.positive) & set(binary.negative):
                raise UserError(
                    field=f"{field}.binary",
                    rule="a label is positive or negative",
                    received=", ".join(sorted(both)),
                    remedy="Leave it out of one of them.",
                )
            rest = "" if binary.negative else _rest(binary)
            negative = rest or " or ".join(binary.negative)
            positive = " or ".join(binary.positive)
            if negative in binary.positive:
                negative = f"not {positive}"
            return Outcome(
                kind=kind,
                names=(negative, positive),
                places=(_places(binary.negative, classes), _places(binary.positive, classes)),
                rest=rest,
                field=field,
            )
        case "multi_label":
            labels = task.multi_label.labels
            _check_names(labels, classes, field=f"{field}.multiLabel", at_least=2)
            return Outcome(
                kind=kind, names=tuple(labels), places=tuple(_places([name], classes) for name in labels), field=field
            )
        case _:
            order = task.ordinal.order
            _check_names(order, classes, field=f"{field}.ordinal", at_least=2)
            if missing := [name for name in classes if name not in order]:
                raise UserError(
                    field=f"{field}.ordinal",
                    rule="names every class, from the least to the most",
                    received=f"{', '.join(map(repr, order))} without {', '.join(map(repr, missing))}",
                    remedy="Add it, or leave the class out by `classMap`.",
                )
            return Outcome(
                kind=kind, names=tuple(order), places=tuple(_places([name], classes) for name in order), field=field
            )


def apply(outcome: Outcome, labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The labels that the task is about, and which images stay (N,).

    `labels` are int64 (N,) with -1 for images that are left out already, or uint8 (N, K). Raises UserError where the
    task is not one for labels of this kind.
    """
    several = labels.ndim == 2
    if outcome.kind == "binary":
        negative, positive = outcome.places
        is_positive = _has(labels, positive)
        is_negative: NDArray[np.bool_]
        if negative:
            is_negative = _has(labels, negative)
        elif outcome.rest == NONE:
            if not several:
                raise _of_the_other_kind(
                    outcome, "`negative: none` is for images with several labels", "one class each"
                )
            is_negative = np.asarray(~labels.any(axis=1))
        else:
            is_negative = np.ones(len(labels), bool) if several else labels >= 0
        return is_positive.astype(np.int64), is_positive | is_negative
    if outcome.kind == "multi_label":
        if not several:
            raise _of_the_other_kind(outcome, "`multiLabel` is for images with several labels", "one class each")
        return labels[:, [place for (place,) in outcome.places]], np.ones(len(labels), bool)
    if several:
        raise _of_the_other_kind(outcome, "`ordinal` is for images with one class each", "several labels each")
    order = np.zeros(len(outcome.names) + 1, np.int64)
    order[-1] = -1
    for number, (place,) in enumerate(outcome.places):
        order[place] = number
    return order[labels], labels >= 0


def _has(labels: NDArray[Any], places: Sequence[int]) -> NDArray[np.bool_]:
    if labels.ndim == 1:
        return np.isin(labels, list(places))
    return np.asarray(labels[:, list(places)].any(axis=1))


def _rest(binary: BinaryTask) -> str:
    return {BinaryTask.REST_NONE: NONE, BinaryTask.REST_OTHERS: OTHERS}.get(binary.rest, "")


def _places(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    return tuple(classes.index(name) for name in names)


def _of_the_other_kind(outcome: Outcome, rule: str, received: str) -> UserError:
    return UserError(field=outcome.field, rule=rule, received=received, remedy="Write another `task`, or leave it out.")


def _check_names(
    names: Sequence[str], classes: Sequence[str], *, field: str, may_be_empty: bool = False, at_least: int = 1
) -> None:
    strange = [name for name in names if name not in classes]
    if strange or len(set(names)) < len(names):
        raise UserError(
            field=field,
            rule="names classes or labels of the data set, each once",
            received=", ".join(map(repr, strange or names)),
            remedy=f"They are {', '.join(map(repr, classes[:20]))}.",
        )
    if len(names) < at_least and not may_be_empty:
        raise UserError(
            field=field,
            rule="names one class or label" if at_least == 1 else f"names {at_least} classes or labels or more",
            received=", ".join(map(repr, names)) or "none",
            remedy=f"They are {', '.join(map(repr, classes[:20]))}.",
        )
