"""A table's file as columns of text: comma-, tab- or semicolon-separated, gzipped or not, JSON Lines, or Parquet.

How text is read, where the user does not say:

    encoding     by a byte order mark (UTF-8, UTF-16); UTF-16 where every other byte is zero; else UTF-8; what is not
                 UTF-8 is read as Windows-1252, which holds Latin-1, with a note
    delimiter    of comma, tab, semicolon and bar the one by which the first lines have equally many cells, and most
    headings     the first line, unless it names a picture and the columns are named by the user; lists of two columns
                 (`a/1.png 0`) need none

Everything that is wrong is told with the line. Nothing of a cell is evaluated.
"""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from rapidfuzz import process

from syntrial.errors import SourceError
from syntrial.imagesets.classes import quoted
from syntrial.imagesets.filetypes import HEAD_BYTES, TEXT, UNKNOWN, ZIP, is_picture, kind_of_head

JSON_LINES: Final = (".jsonl", ".ndjson")
TABLE_SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz", *JSON_LINES)
"""Lower case. What is taken for a table where none is named."""
SPREADSHEETS: Final = (".xlsx", ".xls", ".ods")
"""Tables that are not read."""
MOST_TABLE_BYTES: Final = 256 << 20
"""Of a table's text, unpacked."""
MOST_LINE: Final = 1 << 20
"""Characters in a line: above it, it is no table."""
MOST_COLUMNS: Final = 10_000
MOST_ROWS: Final = 5_000_000
DELIMITERS: Final = (",", "\t", ";", "|")
PATH, LABEL = "path", "label"
"""The columns of a list without headings."""
_SNIFFED_LINES: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sheet:
    """A table's cells, stripped of blanks around them."""

    title: str
    """What errors call it."""
    headings: tuple[str, ...]
    cells: tuple[Sequence[str], ...]
    """Of each heading a column."""
    lines: Sequence[int]
    """The line of each row in the file, from 1; of Parquet its number."""
    notes: tuple[str, ...] = ()
    starts: tuple[tuple[int, str, str], ...] = ()
    """Of each of the tables that it is made of: the first row, what errors call it, and the file's name."""

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, *, option: str) -> list[str]:
        """The cells under a heading; `option` is where the user names it. Raises SourceError for none or two."""
        found = [number for number, heading in enumerate(self.headings) if heading == name]
        if len(found) == 1:
            return [cell.strip() for cell in self.cells[found[0]]]
        nearest = process.extractOne(name.lower(), {text: text.lower() for text in self.headings}, score_cutoff=60)
        raise SourceError(
            field=f"{self.title}: {option}",
            rule="names one column of the table",
            received=f"{name!r}, which is there {len(found)} times" if found else f"{name!r}, which is not there",
            remedy="Rename one of them."
            if found
            else (f"Did you mean {nearest[2]!r}? " if nearest else "") + f"The columns are {quoted(self.headings)}.",
        )

    def usual(self, names: Sequence[str]) -> str:
        """The first of `names` that is a heading, whatever its capitals, blanks and underlines; "" where none is."""
        bare = {_bare(heading): heading for heading in reversed(self.headings) if heading}
        return next((bare[name] for name in map(_bare, names) if name in bare), "")

    @property
    def folders(self) -> list[str]:
        """Of each row the folder that its table lies in, relative to the source's; "" at its top."""
        found = [""] * len(self)
        for start, _, name in self.starts:
            found[start:] = [name.rpartition("/")[0]] * (len(self) - start)
        return found

    def at(self, row: int) -> str:
        """Where a row stands, for messages."""
        title = next((title for start, title, _ in reversed(self.starts) if row >= start), self.title)
        return f"{title}: line {self.lines[row]}"

    def line(self, row: int) -> str:
        """The same within a message that names the tables: "line 3", or "line 3 of b.csv" where there are several."""
        if len(self.starts) < 2:
            return f"line {self.lines[row]}"
        name = next(name for start, _, name in reversed(self.starts) if row >= start)
        return f"line {self.lines[row]} of {name}"


def read_sheet(
    file: BinaryIO, *, name: str, title: str, columns: Sequence[str] = (), encoding: str = "", delimiter: str = ""
) -> Sheet:
    """Reads a table from an open file that can be read from its start.

    `name` is the file's, for its suffix; `columns` are the headings where the first line has none. Raises SourceError
    for what is no table, with the line.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.startswith(b"PAR1"):
        return _parquet(file, title=title)
    if head.startswith(b"\x1f\x8b"):
        data = _unpacked(file, title=title)
        name = name.removesuffix(".gz")
    else:
        data = file.read(MOST_TABLE_BYTES + 1)
    if len(data) > MOST_TABLE_BYTES:
        raise _wrong(title, f"a table's text has at most {MOST_TABLE_BYTES >> 20} MiB", "more", "Give it as Parquet.")
    text, notes = _text(data, encoding=encoding, title=title)
    line = next((number for number, line in enumerate(text.split("\n"), start=1) if len(line) > MOST_LINE), None)
    if line is not None:
        raise _wrong(
            f"{title}: line {line}",
            f"a line has at most {MOST_LINE:,} characters",
            "a longer one",
            "This is no table: check the file.",
        )
    if name.lower().endswith(JSON_LINES):
        rows, lines = _json_rows(text, title=title)
        return _sheet(rows, lines, columns=(), notes=notes, title=title)
    if text.lstrip()[:1] in {"{", "["}:
        _refuse_json(text, title=title)
    is_list = name.lower().endswith((".txt", ".lst"))
    rows, lines = _rows(text, delimiter=delimiter, is_list=is_list, columns=len(columns), title=title)
    return _sheet(rows, lines, columns=columns, notes=notes, title=title)


def join_sheets(sheets: Mapping[str, Sheet]) -> Sheet:
    """Tables, by the names of their files, as one; raises SourceError where they have other columns."""
    first = next(iter(sheets.values()))
    starts: list[tuple[int, str, str]] = []
    lines: list[int] = []
    for name, sheet in sheets.items():
        if set(sheet.headings) != set(first.headings) or len(sheet.headings) != len(first.headings):
            raise _wrong(
                sheet.title,
                f"has the columns of {first.title}",
                quoted(sorted(set(sheet.headings) ^ set(first.headings))) + ", which one of them lacks",
                "Make their columns the same.",
            )
        starts.append((len(lines), sheet.title, name))
        lines += list(sheet.lines)
    cells = []
    for number, heading in enumerate(first.headings):
        column: list[str] = []
        for sheet in sheets.values():
            column += sheet.cells[number if sheet.headings == first.headings else sheet.headings.index(heading)]
        cells.append(column)
    return Sheet(
        title=first.title,
        headings=first.headings,
        cells=tuple(cells),
        lines=lines,
        notes=tuple(note for sheet in sheets.values() for note in sheet.notes),
        starts=tuple(starts),
    )


def read_list(file: BinaryIO, *, title: str, encoding: str = "") -> tuple[list[str], list[int]]:
    """The lines of a file that names a path a line, and their numbers from 1; raises SourceError as `read_sheet`."""
    data = file.read(MOST_TABLE_BYTES + 1)
    if len(data) > MOST_TABLE_BYTES:
        raise _wrong(title, f"a list has at most {MOST_TABLE_BYTES >> 20} MiB", "more", "Check the file.")
    text, _ = _text(data, encoding=encoding, title=title)
    named = [(line.strip().strip('"'), number) for number, line in enumerate(text.splitlines(), start=1)]
    return [line for line, _ in named if line], [number for line, number in named if line]


def _wrong(field: str, rule: str, received: object, remedy: str) -> SourceError:
    return SourceError(field=field, rule=rule, received=received, remedy=remedy)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _unpacked(file: BinaryIO, *, title: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return unpacked.read(MOST_TABLE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _wrong(title, "a gzipped table is whole", str(error), "Copy or download it again.") from None


def _text(data: bytes, *, encoding: str, title: str) -> tuple[str, tuple[str, ...]]:
    """The text, and what is to be said of how it was read."""
    notes: tuple[str, ...] = ()
    if encoding:
        try:
            text = data.decode(encoding)
        except (UnicodeError, LookupError) as error:
            raise _wrong(
                f"{title}: encoding",
                "the table's text is of the encoding that is named",
                f"{encoding!r} ({error})",
                "Leave `encoding` out, or name another: utf-8, latin-1, gb18030, shift_jis.",
            ) from None
        return _plain(text.removeprefix("\ufeff"), title=title), notes
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        used = "utf-16"
    elif len(data) >= 4 and not any(data[1:64:2]) and all(data[0:64:2]):
        used = "utf-16-le"
    elif len(data) >= 4 and not any(data[0:64:2]) and all(data[1:64:2]):
        used = "utf-16-be"
    else:
        used = "utf-8-sig"
    if used == "utf-8-sig":
        # What spreadsheets are saved as is a zip archive.
        kind = ZIP if data.startswith(b"PK\3\4") else kind_of_head(data[:HEAD_BYTES])
        if kind not in {TEXT, UNKNOWN}:
            remedy = "Save the spreadsheet as CSV." if kind == ZIP else kind.remedy
            raise _wrong(title, "a table is text (CSV, TSV) or Parquet", f"{kind.one}, {len(data)} bytes long", remedy)
    try:
        return _plain(data.decode(used), title=title), notes
    except UnicodeDecodeError as error:
        if used != "utf-8-sig":
            raise _wrong(title, "a table in UTF-16 is whole", str(error), "Copy or download it again.") from None
        line = data.count(b"\n", 0, error.start) + 1
    if b"\0" in data:
        _plain(data.decode("latin-1"), title=title)
    notes = (
        f"The table {title.rpartition(': ')[2]} is not UTF-8 (line {line}) and was read as Windows-1252: "
        "where its letters look wrong, name its `encoding`.",
    )
    return data.decode("cp1252", errors="replace"), notes


def _plain(text: str, *, title: str) -> str:
    place = text.find("\0")
    if place >= 0:
        raise _wrong(
            f"{title}: line {text.count(chr(10), 0, place) + 1}",
            "a table's text holds no NUL",
            "a NUL",
            "Copy or download it again, or name its `encoding`.",
        )
    return text


def _rows(text: str, *, delimiter: str, is_list: bool, columns: int, title: str) -> tuple[list[list[str]], list[int]]:
    """The rows with their lines, blank ones left out. A list may have so many `columns` with blanks between them."""
    if not text.strip():
        raise _wrong(title, "a table has rows", "an empty file", "Copy or download it again.")
    sign = delimiter or _sniffed(text)
    if not sign and is_list:
        found = [(line.strip(), number) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        if columns > 2 and all(len(line.split()) == columns for line, _ in found):
            return [line.split() for line, _ in found], [number for _, number in found]
        return [list(line.rsplit(None, 1)) for line, _ in found], [number for _, number in found]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign or ",", strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    before = 0
    try:
        for row in reader:
            # A cell may go over several lines: the row begins at the first.
            if any(row):
                rows.append(row)
                lines.append(before + 1)
                if len(row) > MOST_COLUMNS or len(rows) > MOST_ROWS:
                    raise _wrong(
                        f"{title}: line {before + 1}",
                        f"a table has at most {MOST_COLUMNS:,} columns and {MOST_ROWS:,} rows",
                        "more",
                        "Give a part of it.",
                    )
            before = reader.line_num
    except csv.Error as error:
        raise _wrong(
            f"{title}: line {before + 1}",
            "quotes open and close around whole cells",
            str(error),
            'Close the quote, or write a quote within a cell twice: "".',
        ) from None
    return rows, lines


def _json_rows(text: str, *, title: str) -> tuple[list[list[str]], list[int]]:
    """The rows of JSON Lines, the headings first: an object a line, of texts, numbers and truth values."""
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"{title}: line {number}", "a line is a JSON object", str(error), "Mend the line.") from None
        if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
            what = "another value" if not isinstance(found, dict) else "a list or an object in one of its cells"
            remedy = "Write a line for each image, and a column for each label."
            raise _wrong(f"{title}: line {number}", "a line is a JSON object of texts and numbers", what, remedy)
        objects.append((number, found))
        if len(found) > MOST_COLUMNS or len(objects) > MOST_ROWS:
            most = f"a table has at most {MOST_COLUMNS:,} columns and {MOST_ROWS:,} rows"
            raise _wrong(f"{title}: line {number}", most, "more", "Give a part of it.")
    if not objects:
        raise _wrong(title, "a table has rows", "an empty file", "Copy or download it again.")
    headings = list(dict.fromkeys(key for _, found in objects for key in found))
    rows = [["" if found.get(key) is None else str(found[key]) for key in headings] for _, found in objects]
    return [headings, *rows], [0, *(number for number, _ in objects)]


def _refuse_json(text: str, *, title: str) -> None:
    """Raises SourceError for a JSON document; what only begins like one is a table."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    is_coco = isinstance(found, dict) and {"images", "annotations"} <= found.keys()
    raise _wrong(
        title,
        "a table is text (CSV, TSV, JSON Lines) or Parquet",
        "a JSON document" + (" of boxes or regions, as COCO's" if is_coco else ""),
        "Write a table with a row for each image, of its path and its class, as CSV or JSON Lines (.jsonl).",
    )


def _sniffed(text: str) -> str:
    """The delimiter of the first lines; "" where there is one column."""
    lines = text[: 1 << 18].splitlines()[:_SNIFFED_LINES]
    best, most = "", 1
    for sign in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=sign) if any(row)]
        except csv.Error:
            continue
        # By the first line: what is odd about others is told with their numbers.
        usual = max(set(widths), key=widths.count) if widths else 1
        agree = sum(width == widths[0] for width in widths)
        if usual == widths[0] > most and 2 * agree > len(widths):
            best, most = sign, usual
    return best


def _sheet(
    rows: list[list[str]], lines: list[int], *, columns: Sequence[str], notes: tuple[str, ...], title: str
) -> Sheet:
    first = [cell.strip() for cell in rows[0]]
    if columns:
        headings = tuple(columns)
    elif any(is_picture(cell) for cell in first):
        if len(first) != 2:
            raise _wrong(
                f"{title}: line {lines[0]}",
                "the first line has the columns' names",
                "the name of a picture in it",
                f"Name the columns in order: `columns: [path, label, …]`, {len(first)} of them.",
            )
        headings = (PATH, LABEL) if is_picture(first[0]) else (LABEL, PATH)
    else:
        headings, rows, lines = tuple(first), rows[1:], lines[1:]
    width = len(headings)
    if not rows:
        raise _wrong(title, "a table has rows", "its headings alone", "Give the whole table.")
    for number, row in enumerate(rows):
        if width > 1 and row[0].strip() == headings[0] and tuple(cell.strip() for cell in row) == headings:
            again = "the headings once more"
            raise _wrong(f"{title}: line {lines[number]}", "the headings stand once", again, "Leave the line out.")
        if len(row) != width:
            if len(row) < width or any(cell.strip() for cell in row[width:]):
                raise _wrong(
                    f"{title}: line {lines[number]}",
                    f"every row has the {width} cells of the headings",
                    f"{len(row)} cells",
                    "Put cells that hold the delimiter into quotes, or name the `delimiter`.",
                )
            rows[number] = row[:width]
    return Sheet(title=title, headings=headings, cells=tuple(zip(*rows, strict=True)), lines=lines, notes=notes)


def _parquet(file: BinaryIO, *, title: str) -> Sheet:
    try:
        # Large, and for those alone who have such files.
        from pyarrow import parquet
    except ImportError:
        raise _wrong(
            title, "Parquet is read with pyarrow", "it is not installed", "Install syntrial[local], or save it as CSV."
        ) from None
    import pyarrow

    try:
        opened = parquet.ParquetFile(file)
        if opened.metadata.num_rows > MOST_ROWS or opened.metadata.num_columns > MOST_COLUMNS:
            raise _wrong(title, f"a table has at most {MOST_ROWS:,} rows", opened.metadata.num_rows, "Give a part.")
        # Columns of lists, or of whole pictures, are no cells.
        plain = [
            item.name for item in opened.schema_arrow if not pyarrow.types.is_nested(item.type) and not _is_bytes(item)
        ]
        table = opened.read(columns=plain)
        cells = tuple([_cell(value) for value in table.column(name).to_pylist()] for name in plain)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise _wrong(title, "a Parquet file is whole", str(error), "Copy or download it again.") from None
    if not cells or not len(cells[0]):
        raise _wrong(title, "a table has rows", "none", "Give the whole table.")
    return Sheet(title=title, headings=tuple(plain), cells=cells, lines=range(1, len(cells[0]) + 1))


def _is_bytes(item: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_binary(item.type) or pyarrow.types.is_large_binary(item.type))


def _cell(value: object) -> str:
    """A value as CSV would have it."""
    if value is None or value != value:  # noqa: PLR0124 - not a number
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def is_table(name: str) -> bool:
    """Whether a file of this name may be a table that was not named."""
    return name.lower().endswith(TABLE_SUFFIXES)
