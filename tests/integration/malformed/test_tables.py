"""Malformed tables: each is told at plan time with its line or column, and in preparation without what stands there."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep import sources

from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.imagesets.sheets import MOST_LINE
from syntrial.sources.named import sources_of
from syntrial.sources.resolve import resolve_sources

PERSON = "meier"
"""In the name of every file: preparation may not say it."""
COUNT = 40
HEAD = "path,label,patient,split"


def name_of(number: int) -> str:
    return f"{PERSON}_{number}.png"


def rows(count: int = COUNT) -> list[list[str]]:
    """A sound table: path, label, patient, split."""
    splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    return [
        [name_of(number), ("ill", "well")[number % 2], f"p{number // 2}", splits[number // 2 % 10]]
        for number in range(count)
    ]


def text(table: list[list[str]] | None = None, *, head: str = HEAD, sign: str = ",") -> str:
    return "\n".join([head.replace(",", sign), *(sign.join(row) for row in table or rows())])


def changed(row: int, column: int, value: str) -> list[list[str]]:
    table = rows()
    table[row][column] = value
    return table


def every(column: int, value: Callable[[int, str], str]) -> list[list[str]]:
    return [
        [value(number, cell) if place == column else cell for place, cell in enumerate(row)]
        for number, row in enumerate(rows())
    ]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What lies in `set/labels.csv`, what the experiment says, and what is told."""

    table: str | bytes
    told: tuple[str, ...]
    """What the error says, in any of its parts."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """Further files."""


CASES: dict[str, Case] = {
    "an empty file": Case(table="", told=("labels.csv", "empty file")),
    "a file of blanks": Case(table=" \n \n", told=("a table has rows",)),
    "headings once more": Case(
        table=f"{text()}\n{HEAD}\n{text()}", told=(f"line {COUNT + 2}", "the headings once more", "Leave the line out")
    ),
    "a column that seems to say the splits": Case(
        table=text(every(3, lambda _, cell: str(int(cell == "test"))), head="path,label,patient,is_test"),
        told=("'is_test', which seems to say them", "splits: {ignore: true}"),
    ),
    "boxes as COCO has them": Case(
        table='{"images": [], "annotations": []}', told=("a JSON document of boxes", "a row for each image")
    ),
    "a JSON list": Case(table='[{"path": "1.png", "label": "a"}]', told=("a JSON document", "JSON Lines")),
    "JSON Lines that break off": Case(
        table=HEAD,
        files={"t.jsonl": '{"path": "1.png", "label": "a"}\n{"pa'},
        fields={"file": "t.jsonl"},
        told=("line 2", "a line is a JSON object"),
    ),
    "JSON Lines of lists": Case(
        table=HEAD,
        files={"t.jsonl": '{"path": "1.png", "label": ["a"]}\n'},
        fields={"file": "t.jsonl"},
        told=("line 1", "a list or an object in one of its cells"),
    ),
    "no JSON Lines": Case(
        table=HEAD, files={"t.jsonl": "[1]\n"}, fields={"file": "t.jsonl"}, told=("line 1", "another value")
    ),
    "headings alone": Case(table=HEAD, told=("headings alone",)),
    "a web page": Case(table="<!DOCTYPE html><html><body>Log in</body></html>", told=("web page", "Download it again")),
    "a zip archive, as spreadsheets are": Case(
        table=b"PK\3\4" + bytes(60), told=("zip archive", "Save the spreadsheet as CSV")
    ),
    "a picture": Case(table=b"\x89PNG\r\n\x1a\n" + bytes(40), told=("PNG picture",)),
    "a pointer": Case(
        table="version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", told=("Git LFS pointer", "lfs pull")
    ),
    "a gzipped table that breaks off": Case(
        table=gzip.compress(text().encode())[:-20], told=("a gzipped table is whole",)
    ),
    "a Parquet file that breaks off": Case(table=b"PAR1" + bytes(90), told=("Parquet", "whole")),
    "NUL bytes": Case(table=text(changed(3, 1, "i\0ll")), told=("line 5", "NUL")),
    "a line of a hundred megabytes": Case(
        table=text() + "\n" + "x," * (MOST_LINE * 50), told=("line 42", "a line has at most")
    ),
    "a quote that is never closed": Case(table=text(changed(5, 1, '"ill')), told=("line 7", "quotes open and close")),
    "a quote within a cell": Case(table=text(changed(5, 1, '"ill" maybe"')), told=("line 7", "Close the quote")),
    "a cell too many": Case(table=text(changed(7, 1, "ill,more")), told=("line 9", "5 cells", "4 cells")),
    "a cell too few": Case(table=text().replace("p4,train", "p4", 1), told=("line 10", "3 cells")),
    "another delimiter than the one that is named": Case(
        table=text(sign=";"), fields={"delimiter": "\t"}, told=("path", "path;label;patient;split")
    ),
    "an encoding that it is not": Case(
        table=text(changed(2, 1, "gesünd")).encode("latin-1"),
        fields={"encoding": "utf-8"},
        told=("encoding", "utf-8", "Leave `encoding` out"),
    ),
    "UTF-16 that breaks off": Case(
        table=b"\xff\xfe" + text().encode("utf-16-le")[:-1], told=("UTF-16 is whole", "Copy or download it again")
    ),
    "a column that is not there": Case(
        table=text(),
        fields={"patient": "Patients ID"},
        told=("patient", "'Patients ID', which is not there", "'patient'"),
    ),
    "a column that is there twice": Case(
        table=text(head="path,label,label,split"), fields={"labels": {"column": "label"}}, told=("2 times", "Rename")
    ),
    "no column that is called like a path": Case(
        table=text(head="a,label,patient,split"), told=("path", "is named", "`table: {path: NAME}`")
    ),
    "no column that is called like a label": Case(
        table=text(head="path,a,patient,split"), told=("labels", "`table: {labels: {column: NAME}}`")
    ),
    "two columns that are called like a label": Case(
        table=text(head="path,class,diagnosis,split"), told=("'class', 'diagnosis'", "which are several")
    ),
    "no headings": Case(
        table=text().split("\n", 1)[1], told=("line 1", "names", "columns: [path, label, …]`, 4 of them")
    ),
    "a path that is not there": Case(
        table=text(every(0, lambda number, cell: cell if number > 4 else f"no{number}.png")),
        told=("line 2, path", "5 of 40", "partial: true"),
    ),
    "no path that is there": Case(
        table=text(every(0, lambda number, _: f"other/{number}x.png")), told=("40 of 40", "Check `images` and `path`")
    ),
    "a path that two files have": Case(
        table=text(changed(0, 0, "twice.png")),
        files={"a/twice.png": "", "b/twice.png": ""},
        told=("line 2, path", "which several are called", "Write paths with their folders"),
    ),
    "two rows of one image that contradict each other": Case(
        table=text([*rows(), [name_of(3), "ill", "p1", "train"]]), told=("line 42", "another label than line 5")
    ),
    "a label that is empty": Case(
        table=text(changed(4, 1, "")), told=("line 6, label", "an empty cell", "blank: ignore")
    ),
    "labels that are names of something else": Case(
        table=text([[f"n{row}.png", f"w{row}", "p", "train"] for row in range(150)]),
        told=("few different ones", "150 in 150 rows"),
    ),
    "several labels in a cell, without their sign": Case(
        table=text(changed(6, 1, "ill|well")), told=("'ill|well'", "separator: '|'")
    ),
    "the word for none beside a label": Case(
        table=text(changed(6, 1, "ill|well")),
        fields={"labels": {"column": "label", "separator": "|", "none": "well"}},
        told=("line 8, label", "'well' stands alone"),
    ),
    "a column of labels that holds a word": Case(
        table=text(every(1, lambda number, _: "x" if number == 9 else str(number % 2))),
        fields={"labels": {"columns": ["label"]}},
        told=("line 11, label", "0 and 1", "'x'"),
    ),
    "a label that is not certain": Case(
        table=text(every(1, lambda number, _: "-1" if number == 9 else str(number % 2))),
        fields={"labels": {"columns": ["label"]}},
        told=("line 11, label", "uncertain: zeros"),
    ),
    "patients of half of the rows": Case(
        table=text(every(2, lambda number, cell: "" if number % 2 else cell)),
        told=("line 3, patient", "20 of 40 rows", "emptyPatients: own"),
    ),
    "a patient that no pattern finds": Case(
        table=text(changed(8, 2, "x")),
        fields={"patient": "patient", "patientPattern": r"p(\d+)"},
        told=("line 10, patientPattern", "Widen the pattern"),
    ),
    "an unknown word for a split": Case(
        table=text(changed(8, 3, "ward 3")), told=("line 10, split", "'ward 3'", "train, training")
    ),
    "a split that is empty": Case(table=text(changed(8, 3, "")), told=("line 10, split", "an empty cell")),
    "a list that is not there": Case(
        table=text(), fields={"splits": {"test": "tests.txt"}}, told=("splits.test", "'tests.txt', which is not there")
    ),
    "an image in two lists": Case(
        table=text(),
        fields={"splits": {"train": "train.txt", "test": "test.txt"}},
        files={"train.txt": "\n".join(map(name_of, range(30))), "test.txt": "\n".join(map(name_of, range(29, 40)))},
        told=("test.txt: line 1", "one list of splits", "train.txt"),
    ),
    "a list of other images": Case(
        table=text(),
        fields={"splits": {"test": "test.txt"}},
        files={"test.txt": "a.png\nb.png"},
        told=("test.txt: line 1", "2 of 2 lines"),
    ),
    "a table that is not there": Case(
        table=text(), fields={"file": "label.csv"}, told=("'label.csv', which is not there", "'labels.csv'")
    ),
    "two tables of which none is named": Case(
        table=text(), files={"more.csv": text()}, told=("one table at its top", "'labels.csv', 'more.csv'")
    ),
    "a column to keep that names persons": Case(
        table=text([[f"{PERSON}_{row % 40}.png", "ill", f"p{row}", f"word{row}"] for row in range(120)]),
        fields={"keep": ["split"], "splits": {"test": "t.txt"}},
        files={"t.txt": name_of(0)},
        told=("keep", "120 words", "for subgroups"),
    ),
    "a table of metadata with two rows of an image": Case(
        table=text(),
        fields={"file": "labels.csv", "metadata": "more.csv"},
        files={"more.csv": f"path,age\n{name_of(0)},5\n{name_of(0)},6"},
        told=("more.csv: line 3", "line 2"),
    ),
    "two tables, the second of which says otherwise": Case(
        table=text(),
        fields={"files": {"train": "labels.csv", "test": "more.csv"}},
        files={"more.csv": text([[name_of(3), "well", "p1", "train"]])},
        told=("more.csv: line 2", "another split than line 5 of labels.csv"),
    ),
    "two tables, with rows without a file in both": Case(
        table=text(changed(1, 0, "gone.png")),
        fields={"files": {"train": "labels.csv", "test": "more.csv"}},
        files={"more.csv": text([[f"lost{row}.png", "well", "p1", "train"] for row in range(20)])},
        told=("labels.csv: line 3", "21 of 60"),
    ),
    "a spreadsheet in place of a table": Case(
        table=text(), fields={"file": "labels.xlsx"}, files={"labels.xlsx": b"PK\3\4" + bytes(60)}, told=("as CSV",)
    ),
    "a positive label that there is not": Case(
        table=text(),
        dataset={"task": {"binary": {"positive": "sick"}}},
        told=("spec.dataset.task.binary.positive", "'sick'", "'ill', 'well'"),
    ),
    "no labels at all as the negative of classes": Case(
        table=text(),
        dataset={"task": {"binary": {"positive": "ill", "negative": "none"}}},
        told=("spec.dataset.task", "`negative: none` is for images with several labels"),
    ),
    "one patient in two splits, which is to stop the trial": Case(
        table=text(changed(0, 2, "p8")),
        dataset={"leaks": {"sharedPatients": "stop"}},
        told=("spec.dataset.leaks.sharedPatients", "1 patient has images in train and test", "Write `drop`"),
    ),
    "an order without a class": Case(
        table=text(),
        dataset={"task": {"ordinal": ["ill", "worse"]}},
        told=("spec.dataset.task.ordinal", "'worse'"),
    ),
}
OF_THE_PLAN = {name for name, case in CASES.items() if case.dataset}
"""What the table alone does not show."""


def draw(folder: Path, case: Case) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name_of(number))
    for name, content in {"labels.csv": case.table, **case.files}.items():
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        if name.endswith(".png"):
            Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(place)
        else:
            place.write_bytes(content if isinstance(content, bytes) else content.encode())


def experiment(case: Case):
    return validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {
                "dataset": {"table": {"folder": "set", **case.fields}, "size": 8, **case.dataset},
                "synthetic": [{"name": "base", "generator": {"pca": {}}}],
            },
        }
    )


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_table_is_told_when_the_trial_is_planned(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    draw(tmp_path / "set", case)
    with pytest.raises(UserError) as caught:
        resolve_sources(experiment(case), base=tmp_path)
    (violation,) = caught.value.violations
    assert violation.field.startswith("spec.dataset")
    assert all((violation.rule, violation.received, violation.remedy))
    for part in case.told:
        assert part in str(violation)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_THE_PLAN])
def test_preparation_tells_it_too_and_says_no_name(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    draw(tmp_path / "set", case)
    (ref,) = sources_of(experiment(case))
    with pytest.raises(UserError) as caught:
        sources.read(ref.request, tmp_path / "set", on_progress=lambda _: None)
    assert PERSON not in str(caught.value)
