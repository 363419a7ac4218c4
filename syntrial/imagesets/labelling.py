"""The labels of a table's rows: one class, several labels that a sign joins, or a column of 0 and 1 for each.

Columns of which each row has exactly one 1 are classes (one-hot), unless the user says that there may be several. What
-1 (not certain: CheXpert's tables) and an empty cell stand for is the user's to say: nothing is guessed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets.classes import Labels, quoted
from syntrial.imagesets.sheets import Sheet
from syntrial.v1.data_preparation_pb2 import TableLabels

MOST_LABELS: Final = 1000
"""Distinct classes or labels: more are names or numbers of something else."""
USUAL_LABELS: Final = (
    *("label", "labels", "class", "class name", "class label", "diagnosis", "target", "category", "finding"),
    *("findings", "finding labels", "dx", "y"),
)
"""What the column of the class is called, whatever its capitals, blanks and underlines."""

_CELLS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("0", "0.0", "false", "no"), 0),
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1),
    **dict.fromkeys(("-1", "-1.0"), -1),
    **dict.fromkeys(("", "nan", "na"), -2),
}
_LIST: Final = re.compile(r"\[\s*(?:('[^']*'|\"[^\"]*\")\s*(?:,\s*('[^']*'|\"[^\"]*\")\s*)*)?\]")
"""A cell of texts in brackets, as Python and JSON write lists: ['effusion', 'mass']."""
_SIGN: Final = "\x1f"
"""Between the labels of such a cell: no text has it."""
_UNSURE, _BLANK, _OTHER = -1, -2, -3
_POLICIES: Final[Mapping[int, int]] = {TableLabels.UNSURE_ZEROS: 0, TableLabels.UNSURE_ONES: 1}
_DROPPED: Final = -4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labelled:
    """The labels of rows."""

    classes: tuple[str, ...]
    """Of a column sorted by name, as the folders of classes are; of several columns in their order."""
    labels: Labels
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    kept: NDArray[np.bool_]
    """(N,) which rows stay: those of cells that the user leaves out do not."""
    notes: tuple[str, ...]


def label_rows(sheet: Sheet, labels: TableLabels, *, taken: Sequence[str]) -> Labelled:
    """The labels of a table's rows; `taken` are columns that are something else.

    Raises SourceError, with the line and the column, for cells that are no labels.
    """
    if labels.columns:
        return _of_columns(sheet, labels)
    column = labels.column or _usual(sheet, taken=taken)
    cells = sheet.column(column, option="labels.column")
    if all(map(_LIST.fullmatch, filter(None, cells))):
        return _joined(sheet, *_of_lists(cells, labels), column=column)
    return _joined(sheet, cells, labels, column=column) if labels.separator else _classes(sheet, cells, labels, column)


def only_placed(labelled: Labelled, placed: Sequence[bool]) -> Labelled:
    """Without the classes that only rows of no file have: such rows say nothing of the images."""
    rows = labelled.kept & np.array(placed, bool)
    if labelled.labels.ndim == 2 or not rows.any():
        return labelled
    has = np.bincount(labelled.labels[rows], minlength=len(labelled.classes)) > 0
    if has.all():
        return labelled
    lost = [name for name, is_there in zip(labelled.classes, has, strict=True) if not is_there]
    return Labelled(
        classes=tuple(name for name in labelled.classes if name not in lost),
        labels=np.maximum(np.cumsum(has) - 1, 0)[labelled.labels],
        kept=labelled.kept & has[labelled.labels],
        notes=(*labelled.notes, f"Left out: {quoted(lost)}, which no image that is there has."),
    )


def _usual(sheet: Sheet, *, taken: Sequence[str]) -> str:
    """The one column that is called like labels; raises SourceError, which says what to write."""
    found = {name for usual in USUAL_LABELS if (name := sheet.usual([usual])) and name not in taken}
    if len(found) == 1:
        return found.pop()
    binary = [
        name
        for name, cells in zip(sheet.headings, sheet.cells, strict=True)
        if name and name not in taken and {cell.strip().lower() for cell in cells} <= _CELLS.keys()
    ]
    others = [name for name in sheet.headings if name and name not in taken]
    several = f", or labels of 0 and 1 as `labels: {{columns: [{', '.join(binary[:20])}]}}`" if binary else ""
    raise SourceError(
        field=f"{sheet.title}: labels",
        rule="one column is called like a label (label, class, diagnosis, target), or is named",
        received=f"{quoted(sorted(found))}, which are several" if found else f"the columns {quoted(others)}",
        remedy=f"Write `table: {{labels: {{column: NAME}}}}` with one of them{several}.",
    )


def _of_lists(cells: Sequence[str], labels: TableLabels) -> tuple[list[str], TableLabels]:
    """Cells of texts in brackets as labels with a sign between them; empty brackets are no label."""
    joined = [_SIGN.join(text[1:-1].strip() for text in re.findall(r"'[^']*'|\"[^\"]*\"", cell)) for cell in cells]
    changed = TableLabels()
    changed.CopyFrom(labels)
    changed.separator = _SIGN
    if all(cells):
        changed.blank = TableLabels.UNSURE_ZEROS
    return joined, changed


def _classes(sheet: Sheet, cells: list[str], labels: TableLabels, column: str) -> Labelled:
    kept = _filled(sheet, cells, labels, column=column)
    names = _distinct([cell for cell, stays in zip(cells, kept.tolist(), strict=True) if stays], sheet, column=column)
    _check_single(names, sheet, column=column)
    numbers = {name: number for number, name in enumerate(names)}
    return Labelled(
        classes=names,
        labels=np.array([numbers.get(cell, 0) for cell in cells], np.int64),
        kept=kept,
        notes=_left_out(kept),
    )


def _check_single(names: Sequence[str], sheet: Sheet, *, column: str) -> None:
    """Refuses 'Edema|Mass' beside 'Edema' and 'Mass': several labels would be told apart as one class."""
    known = set(names)
    for sign in ("|", ";", ",", "/", "+", "&"):
        joined = [
            name for name in names if sign in name and known.issuperset(part.strip() for part in name.split(sign))
        ]
        if joined:
            raise SourceError(
                field=f"{sheet.title}: {column}",
                rule="a cell holds one class, unless the sign between several labels is named",
                received=quoted(joined),
                remedy=f"Write `labels: {{column: {column}, separator: '{sign}'}}`.",
            )


def _joined(sheet: Sheet, cells: list[str], labels: TableLabels, *, column: str) -> Labelled:
    """Several labels in one cell, by the sign between them."""
    kept = (
        np.ones(len(cells), bool)
        if labels.blank == TableLabels.UNSURE_ZEROS
        else _filled(sheet, cells, labels, column=column)
    )
    parts = {cell: [part for text in cell.split(labels.separator) if (part := text.strip())] for cell in set(cells)}
    for row, cell in enumerate(cells):
        if labels.none in parts[cell] and labels.none and len(parts[cell]) > 1:
            raise SourceError(
                field=f"{sheet.at(row)}, {column}",
                rule=f"{labels.none!r} stands alone: it says that there is no label",
                received=repr(cell),
                remedy="Mend the cell, or leave `labels.none` out: it is then a label like others.",
            )
    named = {part for found in parts.values() for part in found if part != labels.none}
    classes = _distinct(sorted(named), sheet, column=column)
    numbers = {name: number for number, name in enumerate(classes)}
    codes = {cell: code for code, cell in enumerate(parts)}
    rows_of = np.zeros((len(parts), len(classes)), np.uint8)
    for cell, code in codes.items():
        rows_of[code, [numbers[part] for part in parts[cell] if part in numbers]] = 1
    return Labelled(classes=classes, labels=rows_of[[codes[cell] for cell in cells]], kept=kept, notes=_left_out(kept))


def _of_columns(sheet: Sheet, labels: TableLabels) -> Labelled:
    """A column for each label."""
    values = np.empty((len(sheet), len(labels.columns)), np.int8)
    policies = {_UNSURE: labels.uncertain, _BLANK: labels.blank}
    options = {_UNSURE: "uncertain", _BLANK: "blank"}
    for number, name in enumerate(labels.columns):
        cells = sheet.column(name, option="labels.columns")
        codes = {cell: _CELLS.get(cell.lower(), _OTHER) for cell in set(cells)}
        found = np.array([codes[cell] for cell in cells], np.int8)
        for code, policy in policies.items():
            if policy != TableLabels.UNSURE_UNSPECIFIED:
                found[found == code] = _POLICIES.get(policy, _DROPPED)
        wrong = np.flatnonzero((found < 0) & (found != _DROPPED))
        if len(wrong):
            row = int(wrong[0])
            option = options.get(int(found[row]))
            raise SourceError(
                field=f"{sheet.at(row)}, {name}",
                rule="a column of labels holds 0 and 1" + (f" unless `labels.{option}` says more" if option else ""),
                received=f"{cells[row]!r}"
                + (f" (and so in {counted(len(wrong) - 1, 'more row')})" if len(wrong) > 1 else ""),
                remedy=f"Write `labels: {{{option}: zeros}}`, ones or ignore (the image is left out)."
                if option
                else "Mend the cell, or name the columns that are labels in `labels.columns`.",
            )
        values[:, number] = found
    kept = ~(values == _DROPPED).any(axis=1)
    sums = np.where(values == _DROPPED, 0, values).sum(axis=1)
    notes = list(_left_out(kept))
    names = tuple(labels.columns)
    if kept.any() and not labels.several and (sums[kept] == 1).all():
        notes.append(
            "Each row has exactly one label and was read as having one class; `labels: {several: true}` reads several."
        )
        return Labelled(
            classes=names, labels=np.maximum(values, 0).argmax(axis=1).astype(np.int64), kept=kept, notes=tuple(notes)
        )
    return Labelled(classes=names, labels=np.maximum(values, 0).astype(np.uint8), kept=kept, notes=tuple(notes))


def _filled(sheet: Sheet, cells: list[str], labels: TableLabels, *, column: str) -> NDArray[np.bool_]:
    """Which cells hold something; raises SourceError where one is empty and the user does not say what that means."""
    filled = np.array([bool(cell) for cell in cells])
    empty = np.flatnonzero(~filled)
    if len(empty) and labels.blank != TableLabels.UNSURE_IGNORE:
        raise SourceError(
            field=f"{sheet.at(int(empty[0]))}, {column}",
            rule="every image has a label",
            received="an empty cell"
            + (f" (and so in {counted(len(empty) - 1, 'more row')})" if len(empty) > 1 else ""),
            remedy="Fill it, or leave such images out: `labels: {blank: ignore}`.",
        )
    return filled


def _distinct(names: Sequence[str], sheet: Sheet, *, column: str) -> tuple[str, ...]:
    found = tuple(sorted(set(names)))
    if len(found) > MOST_LABELS or (len(found) > 50 and 2 * len(found) > len(sheet)):
        raise SourceError(
            field=f"{sheet.title}: {column}",
            rule=f"a column of labels has few different ones, {MOST_LABELS:,} at most",
            received=f"{len(found):,} in {counted(len(sheet), 'row')}",
            remedy="Name the column of the labels in `labels.column`, and the sign between several in "
            "`labels.separator`.",
        )
    return found


def _left_out(kept: NDArray[np.bool_]) -> tuple[str, ...]:
    count = int((~kept).sum())
    return (f"Left out: {counted(count, 'row')} without a label, or with one that is not certain.",) if count else ()
