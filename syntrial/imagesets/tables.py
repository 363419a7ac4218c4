"""How a folder with a table of its images is read: which file each row means, and what it says of it.

Plans and preparation go by this one rule, so that what is wrong with a table is told in a second, with its line.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets import folders
from syntrial.imagesets.classes import Labels, quoted
from syntrial.imagesets.columns import (
    MOST_ABSENT,
    Show,
    kept_column,
    lists_of,
    patients_of,
    present,
    splits_of,
)
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.filetypes import is_picture
from syntrial.imagesets.folders import (
    all_patients,
    channels_of_headers,
    numbers_of_headers,
    refuse_stacks,
    refuse_undecodable,
    some_headers,
    unnamed_dicom,
)
from syntrial.imagesets.labelling import label_rows, only_placed
from syntrial.imagesets.placing import AMBIGUOUS, Places, lies_under, root_of
from syntrial.imagesets.pseudonyms import spelling_notes
from syntrial.imagesets.sheets import PATH, SPREADSHEETS, Sheet, is_table, join_sheets, read_sheet
from syntrial.imagesets.split_words import split_word
from syntrial.imagesets.structure import PlacedPicture, lay_out
from syntrial.imagesets.trees import Tree, below_top, open_tree, with_archives
from syntrial.v1.data_preparation_pb2 import Source, TableFile, TableLabels, TableSource

USUAL_PATHS: Final = (
    *("path", "file name", "file", "file path", "image path", "image index", "image", "image name", "image file"),
    *("image id", "id code", "img", "img path", "img name", "picture", "dicom", "id"),
)
USUAL_PATIENTS: Final = (
    *("patient", "patient id", "subject", "subject id", "participant", "participant id", "case id", "lesion id", "pid"),
)
USUAL_SPLITS: Final = ("split", "subset", "partition", "dataset split", "fold name")
"""What columns are called, whatever their capitals, blanks and underlines."""
MOST_WORDS: Final = 20
"""Different cells of a column that says the splits."""
MOST_SHOWN: Final = 5
"""Of rows or files that are named in a message."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """The images that a table names, sorted by the names of their files."""

    pictures: tuple[PlacedPicture, ...]
    """Their labels are not in here."""
    classes: tuple[str, ...]
    labels: Labels
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    patients: tuple[str, ...] | None
    """As the table has them; None where it does not say."""
    columns: dict[str, tuple[str, ...]]
    """Those that are kept, by their headings."""
    notes: tuple[str, ...]
    """What was left out and how it was read, as sentences."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that there are, sorted by name."""
        return tuple(sorted({picture.split for picture in self.pictures}))

    def rows(self, split: str) -> list[int]:
        """The places of a split's images."""
        return [row for row, picture in enumerate(self.pictures) if picture.split == split]


def reads(source: Source) -> Callable[[str], bool]:
    """Tells of a file's name, relative to the folder, whether the source may read it: its digest is over these."""
    table = source.table
    named = {name for file in table.files for name in file.names} | set(table.metadata) | set(lists_of(table).values())

    def is_read(name: str) -> bool:
        if name in named or (not table.files and "/" not in name and is_table(name)):
            return True
        return lies_under(name, table.images) if table.images else is_picture(name)

    return is_read


def opened_images(tree: Tree, table: TableSource, *, title: str, scratch: Path | None = None) -> Tree:
    """The folder with the archives that `images` names as folders, as `trees.with_archives` has it."""
    return with_archives(tree, lambda name: root_of(name, table.images) == name, title=title, scratch=scratch)


def listed(tree: Tree, *, patient_pattern: str) -> TableSource | None:
    """How a folder is read whose images lie in no classes, but are named by a table at its top or in each split.

    None for a folder of classes, whatever tables lie beside them. The columns are those that are called like what they
    hold.
    """
    names = tree.names()
    top = [name for name in names if "/" not in name and is_table(name)]
    below = [name for name in names if name.count("/") == 1 and is_table(name)]
    parts = {name: split for name in below if (split := split_word(name.partition("/")[0]))}
    if not top and not parts:
        return None
    try:
        classes = lay_out(names, title="", unnamed=unnamed_dicom(names, opened=tree.open)).classes
    except SourceError:
        classes = ()
    if len(classes) > 1 and not all(map(split_word, classes)):
        return None
    files = [TableFile(names=[name]) for name in top]
    if not top and len(set(parts.values())) == len(parts):
        files = [TableFile(names=[name], split=split) for name, split in parts.items()]
    return TableSource(files=files, patient_pattern=patient_pattern) if len(files) == 1 or not top else None


def folder_contents(source: Source, path: Path, field: str) -> Contents:
    """`folders.contents`, or `contents` where a table names the images of a folder without classes."""
    title = f"{field} ({path.name})"
    with open_tree(path, title=title, field=field) as tree:
        table = None
        if not source.folder.unlabelled:
            table = listed(tree, patient_pattern=source.folder.patient_pattern)
        if table is None:
            return folders.contents_of_tree(source, tree, path=path, field=field)
        found = read_table(tree.names(), open_file=tree.open, table=table, title=title)
        return _with_headers(found, tree=tree)


def contents(source: Source, path: Path, field: str) -> Contents:
    """What the folder that an experiment names in `field` holds; raises SourceError for what preparation refuses."""
    title = f"{field}.table ({path.resolve().name})"
    with open_tree(path, title=title, field=field) as whole:
        tree = opened_images(whole, source.table, title=title)
        tree = tree if path.is_dir() else below_top(tree)
        names = list(filter(reads(source), tree.names()))
        table = read_table(names, open_file=tree.open, table=source.table, title=title, beside=tree.names())
        return _with_headers(table, tree=tree)


def _with_headers(table: Table, *, tree: Tree) -> Contents:
    headers = some_headers(table.pictures, tree=tree)
    refuse_stacks(headers, title=tree.title)
    refuse_undecodable(headers, tree=tree)
    if table.patients is None and (patients := all_patients(table.pictures, headers, tree=tree)):
        table = replace(table, patients=tuple(patients.get(picture.name, picture.name) for picture in table.pictures))
    return replace(foreseen_contents(table, channels=channels_of_headers(headers)), numbers=numbers_of_headers(headers))


def foreseen_contents(table: Table, *, channels: int) -> Contents:
    """The table's images as plans look at them."""
    known = table.patients or tuple(picture.name for picture in table.pictures)
    splits = {}
    for split in table.splits:
        rows = table.rows(split)
        splits[split] = SplitContents(labels=table.labels[rows], patients=tuple(known[row] for row in rows))
    return Contents(
        classes=table.classes,
        splits=splits,
        channels=channels,
        notes=table.notes,
    )


def read_table(
    names: Sequence[str],
    *,
    open_file: Callable[[str], BinaryIO],
    table: TableSource,
    title: str,
    show: Show = repr,
    beside: Sequence[str] = (),
) -> Table:
    """Reads the table of a folder that holds files of these names (relative, with '/').

    `open_file` opens one of them, `title` is what errors call the source, `show` how they write what is in a cell;
    `beside` are files that were perhaps meant where one is missing.
    Raises SourceError, with the line or the column, for a table that is missing or wrong.
    """
    sheet, of_file = _sheets(names, beside=beside, open_file=open_file, table=table, title=title)
    column = table.path or sheet.usual(USUAL_PATHS)
    if not column:
        raise SourceError(
            field=f"{sheet.title}: path",
            rule="one column is called like a path (path, file_name, image), or is named",
            received=f"the columns {quoted(sheet.headings)}",
            remedy="Write `table: {path: NAME}` with one of them.",
        )
    values = sheet.column(column, option="path")
    if table.metadata:
        sheet = _with_metadata(sheet, values, names, open_file=open_file, table=table, title=title)
    patient = table.patient or ("" if table.patient_pattern else sheet.usual(USUAL_PATIENTS))
    if table.ignore_splits:
        of_file = [""] * len(of_file)
    has_own = table.ignore_splits or table.lists.ByteSize() or any(of_file)
    taken = (column, patient, *table.keep)
    split = table.split or ("" if has_own else _usual_splits(sheet, table.labels, taken=taken))
    labelled = label_rows(sheet, table.labels, taken=(*taken, split))
    tables = {name for file in table.files for name in file.names} | set(table.metadata)
    files = [name for name in names if name not in tables and (not table.images or lies_under(name, table.images))]
    named = [name for name in files if is_picture(name)]
    pictures = [*named, *sorted(unnamed_dicom({*files}.difference(named), opened=open_file))]
    roots = sorted({root for name in pictures if (root := root_of(name, table.images))})
    places = Places(pictures, roots=roots)
    found = [places.find(value, base=folder) for value, folder in zip(values, sheet.folders, strict=True)]
    notes = _check_placed(sheet, found, values, column=column, is_partial=table.partial, show=show)
    owners = patients_of(sheet, values, table=table, column=patient, show=show)
    cells = splits_of(
        sheet, found, names, places, of_file=of_file, column=split, open_file=open_file, table=table, title=title
    )
    kept_columns = {name: kept_column(sheet, name, taken=(column, patient)) for name in table.keep}

    chosen = _once(sheet, found, labelled.labels, owners=owners, splits=cells, show=show)
    has_split = np.array([cell != "" for cell in cells])
    rows = [row for row in chosen if labelled.kept[row] and has_split[row]]
    notes = (*sheet.notes, *notes)
    if outside := sum(not has_split[row] for row in chosen):
        notes += (f"Left out: {counted(outside, 'image')} that no list of a split names.",)
    if repeated := sum(name is not None for name in found) - len(chosen):
        notes += (f"Left out: {counted(repeated, 'row')} in which another is repeated.",)
    if unlisted := sorted(set(pictures) - {name for name in found if name}):
        notes += (f"Left out: {counted(len(unlisted), 'file')} without a row{_some(unlisted, show)}.",)
    notes += spelling_notes(owners[row] for row in rows) if owners else ()
    if not rows:
        raise SourceError(
            field=sheet.title,
            rule="rows name images of the folder",
            received=f"{counted(len(sheet), 'row')}, and none is left",
            remedy="Check `images`, `path` and the lists of the splits.",
        )
    if not table.partial:
        labelled = only_placed(labelled, [name is not None for name in found])
    notes += labelled.notes
    return Table(
        pictures=tuple(PlacedPicture(name=str(found[row]), split=cells[row], label="") for row in rows),
        classes=labelled.classes,
        labels=labelled.labels[rows],
        patients=owners and tuple(owners[row] for row in rows),
        columns={name: tuple(column[row] for row in rows) for name, column in kept_columns.items()},
        notes=notes,
    )


def _usual_splits(sheet: Sheet, labels: TableLabels, *, taken: Sequence[str]) -> str:
    """The column that says the splits: one called so, or the only one whose cells are words for several; "" for none.

    Raises SourceError for one that seems to say them in its own words.
    """
    named = sheet.usual(USUAL_SPLITS)
    others = [name for name in sheet.headings if name and name not in {*taken, labels.column, *labels.columns}]
    if named and named not in taken:
        return named
    by_words = []
    for name in others:
        cells = set(sheet.column(name, option="splits.column"))
        words = set(map(split_word, cells)) if len(cells) <= MOST_WORDS else {None}
        if None not in words and len(words) > 1:
            by_words.append(name)
    odd = [name for name in others if _is_of_splits(name)] if not by_words else []
    if len(by_words) > 1 or odd:
        raise SourceError(
            field=f"{sheet.title}: splits",
            rule="the splits stand in one column, in words (train, validation, test), or are not asked for",
            received=f"{quoted(by_words or odd)}, which {'seem' if len(by_words or odd) > 1 else 'seems'} to say them",
            remedy="Name the column, `splits: {column: NAME}`, with such words in it; or write "
            "`splits: {ignore: true}`, and Syntrial splits.",
        )
    return by_words[0] if by_words else ""


def _is_of_splits(name: str) -> bool:
    """Whether a column is called is_test, train_test, in_training or the like."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    return len(words) > 1 and all(word in {"is", "in", "or"} or split_word(word) for word in words)


def _some(names: Sequence[str], show: Show) -> str:
    shown = [show(name) for name in names[:MOST_SHOWN]]
    return f" ({', '.join(shown)}{' …' if len(names) > MOST_SHOWN else ''})" if all(shown) else ""


def _sheets(
    names: Sequence[str],
    *,
    beside: Sequence[str],
    open_file: Callable[[str], BinaryIO],
    table: TableSource,
    title: str,
) -> tuple[Sheet, list[str]]:
    """All rows, and the split of each where its file says it."""
    files = list(table.files)
    if not files:
        tables = [name for name in names if "/" not in name and is_table(name)]
        if len(tables) != 1:
            others = [name for name in (*names, *beside) if "/" not in name and name.lower().endswith(SPREADSHEETS)]
            raise SourceError(
                field=f"{title}: file",
                rule="the folder has one table at its top (.csv, .tsv, .parquet), or it is named",
                received=quoted(tables) if tables else "none" + (f", beside {quoted(others)}" if others else ""),
                remedy="Save the spreadsheet as CSV." if others and not tables else "Name it: `table: {file: NAME}`.",
            )
        files = [TableFile(names=tables)]
    sheets: dict[str, Sheet] = {}
    of_file: list[str] = []
    for file in files:
        name = present(file.names, names, title=f"{title}: file", beside=beside)
        sheet = _opened(name, open_file=open_file, table=table, title=title)
        sheets[name] = sheet
        of_file += [file.split] * len(sheet)
    return join_sheets(sheets), of_file


def _opened(name: str, *, open_file: Callable[[str], BinaryIO], table: TableSource, title: str) -> Sheet:
    with open_file(name) as file:
        return read_sheet(
            file,
            name=name,
            title=f"{title}: {name}",
            columns=tuple(table.columns),
            encoding=table.encoding,
            delimiter=table.delimiter,
        )


def _with_metadata(
    sheet: Sheet,
    values: list[str],
    names: Sequence[str],
    *,
    open_file: Callable[[str], BinaryIO],
    table: TableSource,
    title: str,
) -> Sheet:
    """The table with the columns of the one beside it, by the images' paths; cells are empty where that has no row."""
    name = present(table.metadata, names, title=f"{title}: metadata")
    more = _opened(name, open_file=open_file, table=replace_columns(table), title=title)
    column = table.path if table.path in more.headings else more.usual(USUAL_PATHS)
    keys = more.column(column or table.path or PATH, option="path")
    rows: dict[str, int] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, row)
    if len(rows) < len(keys):
        row = next(row for row, key in enumerate(keys) if rows[key] != row)
        raise SourceError(
            field=more.at(row),
            rule="the table of metadata has one row for each image",
            received=f"a second row for the image of line {more.lines[rows[keys[row]]]}",
            remedy="Leave one of them out.",
        )
    places = [rows.get(value) for value in values]
    added = [
        (heading, tuple("" if place is None else cells[place] for place in places))
        for heading, cells in zip(more.headings, more.cells, strict=True)
        if heading and heading != column
    ]
    missing = sum(place is None for place in places)
    notes = (f"Without a row in {name}: {counted(missing, 'image')}.",) if missing else ()
    return replace(
        sheet,
        headings=(*sheet.headings, *(heading for heading, _ in added)),
        cells=(*sheet.cells, *(cells for _, cells in added)),
        notes=(*sheet.notes, *more.notes, *notes),
    )


def replace_columns(table: TableSource) -> TableSource:
    """The source without `columns`, which are those of the first table."""
    changed = TableSource()
    changed.CopyFrom(table)
    del changed.columns[:]
    return changed


def _check_placed(
    sheet: Sheet, found: list[str | None], values: list[str], *, column: str, is_partial: bool, show: Show
) -> tuple[str, ...]:
    """What is to be said of rows without a file; raises SourceError where these are too many, or a path means two."""
    several = [row for row, name in enumerate(found) if name == AMBIGUOUS]
    if several:
        more = counted(len(several) - 1, "more row")
        raise SourceError(
            field=f"{sheet.at(several[0])}, {column}",
            rule="a path means one file of the folder",
            received=f"{show(values[several[0]])}, which several are called (and so in {more})",
            remedy="Write paths with their folders, or name the folder of the images by `images`.",
        )
    absent = [row for row, name in enumerate(found) if name is None]
    if not absent:
        return ()
    some = ", ".join(sheet.line(row) for row in absent[:MOST_SHOWN])
    if shown := show(values[absent[0]]):
        some = ", ".join(f"{sheet.line(row)}: {show(values[row])}" for row in absent[:MOST_SHOWN])
    if len(absent) == len(found) or (not is_partial and len(absent) > MOST_ABSENT * len(found)):
        raise SourceError(
            field=f"{sheet.at(absent[0])}, {column}",
            rule=f"at most {MOST_ABSENT:.0%} of the rows name a file that is not there",
            received=f"{len(absent)} of {len(found)}, the first {shown or 'of them here'}",
            remedy="Check `images` and `path`."
            if len(absent) == len(found)
            else "Bring the files, or write `partial: true` where only a part of the images is meant to be there.",
        )
    return (f"Left out: {counted(len(absent), 'row')} without a file ({some}).",)


def _once(
    sheet: Sheet,
    found: Sequence[str | None],
    labels: Labels,
    *,
    owners: Sequence[str] | None,
    splits: Sequence[str],
    show: Show,
) -> list[int]:
    """One row for each file, in the order of their names; raises SourceError for two that contradict each other."""
    first: dict[str, int] = {}
    repeated: list[tuple[int, int]] = []
    for row, name in enumerate(found):
        if name and first.setdefault(name, row) != row:
            repeated.append((first[name], row))
    for before, row in repeated:
        same: NDArray[np.bool_] | bool = labels[before] == labels[row]
        differs = [
            word
            for word, is_other in (
                ("label", not np.all(same)),
                ("patient", owners is not None and owners[before] != owners[row]),
                ("split", splits[before] != splits[row]),
            )
            if is_other
        ]
        if differs:
            raise SourceError(
                field=sheet.at(row),
                rule="rows of one image say the same of it",
                received=f"another {' and another '.join(differs)} than {sheet.line(before)}"
                + (f" for {show(str(found[row]))}" if show(str(found[row])) else ""),
                remedy="Leave one of them out.",
            )
    return [first[name] for name in sorted(first)]
