"""A table of images as a data set: the part of an Experiment that says what its columns hold."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from syntrial.experiment.base import Model, OneOrSeveral, PatientPattern, wrong
from syntrial.experiment.presets.tables import TABLES
from syntrial.v1.data_preparation_pb2 import TableFile, TableLabels, TableLists, TableSource

Heading = Annotated[str, Field(min_length=1, max_length=256)]
Unsure = Literal["zeros", "ones", "ignore"]
UNSURE: Final[Mapping[str | None, str]] = {
    None: "UNSURE_UNSPECIFIED",
    "zeros": "UNSURE_ZEROS",
    "ones": "UNSURE_ONES",
    "ignore": "UNSURE_IGNORE",
}


def _inside(name: str) -> str:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or ".." in parts or name.startswith("/") or any(ord(letter) < 32 for letter in name):
        raise ValueError("is a name within `folder`: relative, without '..'")
    return "/".join(parts)


FileName = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_inside)]


class LabelColumns(Model):
    """Where a table holds the labels."""

    column: Heading | None = Field(
        None,
        description="Column of the class, or of several labels that `separator` joins. Default: the one that is called "
        "label, class, diagnosis, target or the like.",
    )
    separator: str | None = Field(
        None, min_length=1, max_length=8, description="What stands between several labels. Default: one class an image."
    )
    none: str | None = Field(
        None, max_length=256, description="Word for an image that has none of several labels. Default: no such word."
    )
    columns: tuple[Heading, ...] | None = Field(
        None,
        max_length=1000,
        description="A column for each label, of 0 and 1. Where each row has exactly one 1, they are classes.",
    )
    several: bool | None = Field(
        None, description="Columns are labels of which an image may have several, in any case. Default: false."
    )
    uncertain: Unsure | None = Field(
        None,
        description="What -1 in `columns` stands for: zeros, ones, or ignore (the image is left out). Default: "
        "refused.",
    )
    blank: Unsure | None = Field(
        None,
        description="What an empty cell stands for: zeros, ones, or ignore (the image is left out). Default: refused.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.columns and (self.column or self.separator):
            raise wrong("columns", "labels are in one column or in several", [*self.columns], "Give one of them.")
        return self


class TableSplits(Model):
    """Where a table's splits are written."""

    column: Heading | None = Field(None, description="Column of the splits. Default: the one called split or subset.")
    train: FileName | None = Field(None, description="File that names the images for training, a line each.")
    validation: FileName | None = Field(None, description="File that names the images for validation, a line each.")
    test: FileName | None = Field(None, description="File that names the images for the test, a line each.")
    trainval: FileName | None = Field(
        None, description="File that names images for training, of which validation is cut by `split.validation`."
    )

    ignore: bool | None = Field(
        None,
        description="Syntrial splits by `split`, whatever the table, its lists or its preset say. Default: false.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        lists = [name for name in ("train", "validation", "test", "trainval") if getattr(self, name)]
        if self.column and lists:
            raise wrong("column", "splits are in a column or in lists", lists, "Give one of them.")
        if self.trainval and (self.train or self.validation):
            raise wrong("trainval", "holds both training and validation", lists, "Give it or the two.")
        if self.ignore and (self.column or lists):
            raise wrong("ignore", "splits that are named are not ignored", True, "Leave them, or `ignore`, out.")
        return self


class TableFiles(Model):
    """A table for each split."""

    train: FileName | None = Field(None, description="Table of the images for training.")
    validation: FileName | None = Field(None, description="Table of the images for validation.")
    test: FileName | None = Field(None, description="Table of the images for the test.")


class Table(Model):
    """A folder of images with a table: a row for each, with its label or labels, and what else is known of it."""

    preset: Literal[tuple(TABLES)] | None = Field(  # type: ignore[valid-type]
        None, description="A public data set as it is downloaded; other fields count in place of the preset's."
    )
    folder: str = Field(
        ".",
        min_length=1,
        max_length=2048,
        description="Address of the folder with the table, its lists and the images, written as for npz. Default: the "
        "folder of the experiment's file.",
    )
    file: FileName | None = Field(
        None,
        description="The table within the folder: CSV or TSV, gzipped or not, Parquet, or a list of `path label` "
        "lines. Default: the only table at the folder's top.",
    )
    files: TableFiles | None = Field(None, description="In place of `file`, a table for each split.")
    metadata: FileName | None = Field(None, description="A table with further columns of the same images.")
    images: OneOrSeveral[FileName] | None = Field(
        None,
        description="Folder or archive within the folder in which the images lie, or several of them; * stands for any "
        "letters of a name. Default: every picture in the folder.",
    )
    columns: tuple[Heading, ...] | None = Field(
        None, max_length=1000, description="Names of the columns of a table whose first line is an image already."
    )
    path: Heading | None = Field(
        None,
        description="Column of the images' paths or names. Default: the one called path, file_name, image or the like.",
    )
    labels: LabelColumns = Field(LabelColumns(), description="Where the labels are.")
    patient: Heading | None = Field(
        None,
        description="Column of the patients, so that none stands on both sides of a split. Default: the one called "
        "patient, patient_id, subject or the like; else patients are not known.",
    )
    patient_pattern: PatientPattern | None = Field(
        None,
        description="A regular expression with one group that finds the patient in the column `patient`, or in the "
        "path where no column is named. RE2's syntax. Default: all of the cell.",
    )
    empty_patients: Literal["stop", "own"] | None = Field(
        None, description="What an empty cell of the patient is: an error, or a patient of its own. Default: stop."
    )
    splits: TableSplits = Field(TableSplits(), description="Where the splits are. Default: Syntrial splits.")
    keep: tuple[Heading, ...] | None = Field(
        None, max_length=20, description="Columns to keep with each image for subgroups, as age, sex or view."
    )
    partial: bool | None = Field(
        None, description="The folder may hold a part of the table's images alone. Default: false."
    )
    encoding: str | None = Field(
        None,
        max_length=32,
        description="Of the text. Default: by its first bytes, else UTF-8, else Windows-1252 with a note.",
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Between cells. Default: as the first lines have it."
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.file and self.files:
            raise wrong("", "a table is one file, or one for each split", self.file, "Give `file` or `files`.")
        return self


def table_source(table: Table) -> TableSource:
    """The table as data preparation is asked for it, its preset expanded."""
    given = table.model_dump(exclude={"preset", "folder"}, exclude_none=True)
    if table.preset:
        preset = dict(TABLES[table.preset])
        if "file" in given or "files" in given:
            preset = {name: value for name, value in preset.items() if name not in {"file", "files"}}
        given = preset | {name: value for name, value in given.items() if value}
        given["labels"] = {**preset["labels"], **table.labels.model_dump(exclude_none=True)}
    files = [
        TableFile(names=_names(name), split=split) for split, name in (given.get("files") or {}).items() if name
    ] or ([TableFile(names=_names(given["file"]))] if given.get("file") else [])
    labels, splits = given.get("labels", {}), dict(given.get("splits", {}))
    is_ignored = splits.pop("ignore", False)
    return TableSource(
        files=files,
        metadata=_names(given.get("metadata")),
        images=given.get("images") or (),
        columns=given.get("columns") or (),
        path=given.get("path") or "",
        labels=TableLabels(
            column=labels.get("column") or "",
            separator=labels.get("separator") or "",
            none=labels.get("none") or "",
            columns=labels.get("columns") or (),
            several=labels.get("several", False),
            uncertain=UNSURE[labels.get("uncertain")],
            blank=UNSURE[labels.get("blank")],
        ),
        patient=given.get("patient") or "",
        patient_pattern=given.get("patient_pattern") or "",
        own_patients=given.get("empty_patients") == "own",
        split=splits.get("column") or "",
        lists=TableLists(**{name: value for name, value in splits.items() if name != "column" and value}),
        ignore_splits=is_ignored,
        keep=given.get("keep") or (),
        partial=given.get("partial", False),
        encoding=given.get("encoding") or "",
        delimiter=given.get("delimiter") or "",
    )


def _names(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if not value else (value,) if isinstance(value, str) else tuple(value)
