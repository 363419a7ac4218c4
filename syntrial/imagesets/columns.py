"""What a table says of each row beside its labels: the patient, the split, and columns that are kept."""

import re
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from rapidfuzz import process

from syntrial.errors import SourceError
from syntrial.imagesets.classes import quoted
from syntrial.imagesets.filetypes import is_picture
from syntrial.imagesets.patterns import compile_pattern
from syntrial.imagesets.placing import Places
from syntrial.imagesets.sheets import Sheet, read_list
from syntrial.imagesets.split_words import split_word
from syntrial.imagesets.splits import SPLIT_NAMES, UNSPLIT
from syntrial.v1.data_preparation_pb2 import TableSource

MOST_ABSENT: Final = 0.05
"""The share of rows whose file may be absent: above it, something else is wrong."""
MOST_KEPT: Final = 100
"""Different words in a column that is kept for subgroups: more would tell persons apart."""

Show = Callable[[str], str]
"""How what stands in a cell, or a file's name, is written in messages: in preparation they go to others."""


def present(wanted: Sequence[str], names: Sequence[str], *, title: str, beside: Sequence[str] = ()) -> str:
    """The one of the names that is there; raises SourceError for none and for several.

    `beside` are files that were perhaps meant.
    """
    known = set(names)
    found = [name for name in wanted if name in known]
    if len(found) == 1:
        return found[0]
    nearest = process.extractOne(wanted[0], [name for name in beside or names if not is_picture(name)], score_cutoff=60)
    raise SourceError(
        field=title,
        rule="is a file of the folder",
        received=f"{quoted(found)}, which are several" if found else f"{quoted(list(wanted))}, which is not there",
        remedy="Take one of them away, or name it by `file`."
        if found
        else f"Did you mean {nearest[0]!r}?"
        if nearest
        else "Check the name; it is relative to `folder`.",
    )


def lists_of(table: TableSource) -> dict[str, str]:
    """The files of the lists by what they are of."""
    return {field.name: str(value) for field, value in table.lists.ListFields()}


def patients_of(
    sheet: Sheet, values: list[str], *, table: TableSource, column: str, show: Show
) -> tuple[str, ...] | None:
    """Each row's patient; None where the table does not say."""
    if not column and not table.patient_pattern:
        return None
    cells = sheet.column(column, option="patient") if column else values
    empty = [row for row, cell in enumerate(cells) if not cell]
    if empty and not table.own_patients:
        raise SourceError(
            field=f"{sheet.at(empty[0])}, {column}",
            rule="every row names its patient",
            received=f"an empty cell, as in {len(empty)} of {len(cells)} rows",
            remedy="Fill them; or write `emptyPatients: own`, where each such image is of a patient of its own.",
        )
    owners = list(cells)
    if table.patient_pattern:
        expression = compile_pattern(table.patient_pattern)
        for row, cell in enumerate(cells):
            match = expression.search(cell) if cell else None
            if cell and (match is None or not match[1]):
                raise SourceError(
                    field=f"{sheet.at(row)}, patientPattern",
                    rule="matches every row",
                    received=f"{show(cell) or 'a cell'}, which {table.patient_pattern!r} does not match",
                    remedy="Widen the pattern.",
                )
            owners[row] = str(match[1]) if match else ""
    # What no cell can hold keeps an image's own name apart from patients' names.
    return tuple(owner or f"\n{values[row]}" for row, owner in enumerate(owners))


def splits_of(
    sheet: Sheet,
    found: Sequence[str | None],
    names: Sequence[str],
    places: Places,
    *,
    of_file: list[str],
    column: str,
    open_file: Callable[[str], BinaryIO],
    table: TableSource,
    title: str,
) -> list[str]:
    """The split of each row: train, validation, test or UNSPLIT; "" where lists leave it out."""
    if lists := lists_of(table):
        listed = _listed(lists, names, places, open_file=open_file, table=table, title=title)
        return [listed.get(name or "", "") for name in found]
    if not column:
        return [split or UNSPLIT for split in of_file]
    cells = sheet.column(column, option="splits.column")
    known = {cell: split_word(cell) or "" for cell in set(cells)}
    strange = next((row for row, cell in enumerate(cells) if not known[cell]), None)
    if strange is not None:
        words = sorted(cell for cell in known if not known[cell])
        raise SourceError(
            field=f"{sheet.at(strange)}, {column}",
            rule=f"a split is one of {', '.join(SPLIT_NAMES)}",
            received=f"{cells[strange]!r} ({len(words)} such: {quoted(words)})" if cells[strange] else "an empty cell",
            remedy="Write one of these, or name the column of the splits: `splits: {column: NAME}`.",
        )
    return [known[cell] for cell in cells]


def _listed(
    lists: dict[str, str],
    names: Sequence[str],
    places: Places,
    *,
    open_file: Callable[[str], BinaryIO],
    table: TableSource,
    title: str,
) -> dict[str, str]:
    """The split of each file that a list names."""
    splits: dict[str, str] = {}
    origin: dict[str, str] = {}
    for kind, file in lists.items():
        name = present([file], names, title=f"{title}: splits.{kind}")
        with open_file(name) as opened:
            entries, lines = read_list(opened, title=f"{title}: {name}", encoding=table.encoding)
        absent = []
        for entry, line in zip(entries, lines, strict=True):
            # A list may be a table's first column.
            place = places.find(entry) or places.find(entry.split(",")[0].strip().strip('"'))
            if not place:
                absent.append(line)
                continue
            if origin.setdefault(place, kind) != kind:
                raise SourceError(
                    field=f"{title}: {name}: line {line}",
                    rule="an image stands in one list of splits",
                    received=f"one that stands in {lists[origin[place]]} too",
                    remedy="Take it out of one of them.",
                )
            splits[place] = "train" if kind == "trainval" else kind
        if len(absent) == len(entries) or (not table.partial and len(absent) > MOST_ABSENT * len(entries) + 1):
            raise SourceError(
                field=f"{title}: {name}" + (f": line {absent[0]}" if absent else ""),
                rule=f"at most {MOST_ABSENT:.0%} of a list's lines name a file that is not there",
                received=f"{len(absent)} of {len(entries)} lines",
                remedy="Check the list, or write `partial: true` where only a part of the images is meant to be there.",
            )
    return splits


def kept_column(sheet: Sheet, name: str, *, taken: Sequence[str]) -> list[str]:
    """A column that is kept with the images; raises SourceError for one that would tell persons apart."""
    cells = sheet.column(name, option="keep")
    words = {cell for cell in cells if cell and not _is_number(cell)}
    if name in taken or len(words) > MOST_KEPT:
        raise SourceError(
            field=f"{sheet.title}: keep",
            rule=f"keeps columns for subgroups, of numbers or of at most {MOST_KEPT} words: what is kept is in every "
            "export of the images",
            received=f"{name!r}, the path or the patient" if name in taken else f"{name!r} with {len(words)} words",
            remedy="Leave it out; patients are kept by pseudonym without it.",
        )
    return cells


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+([.,][0-9]+)?[A-Za-z]?", text) is not None and len(text) <= 6
