"""Layouts: image sets as the files that other programs read, each of which a trial reads back as a source.

    png          a folder for each class, and images.csv
    npz          `images`, `labels`, `classes`, and `origin_…` of each column of origins
    medmnist     the same as MedMNIST names it: `train_images`, `train_labels`
    zip          StyleGAN's: 00000/img00000000.png … and dataset.json, beside images.csv
    imagefolder  Hugging Face's: train/metadata.csv and the images beside it

PNG and .npz lose nothing, so every layout holds the set's pixels, classes and origins. Called by export and generate.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from syntrial.errors import UserError
from syntrial.imagesets.columns import MOST_KEPT
from syntrial.imagesets.files import TABLE, class_folders, label_columns, png, table_rows, write_npz, write_pngs
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet

_A_LONG_TIME_AGO: Final = (1980, 1, 1, 0, 0, 0)
"""The time of a zip's members: the same set is the same file."""
_A_FOLDER: Final = 1000
"""Images in each of StyleGAN's folders."""
METADATA: Final = "metadata.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One form of an image set as files."""

    about: str
    suffix: str
    """Of the file, with its dot; empty: it is a folder."""
    write: Callable[[ImageSet, Path], None]
    """Writes a set to a path that does not exist."""
    source: Callable[[ImageSet, str], Mapping[str, object]]
    """What an experiment's `images` or `dataset` says to read it, given its path."""
    hub: bool = False
    """Whether Hugging Face's `datasets` reads it by its card."""


def chosen_layout(name: str) -> Layout:
    """The layout that a user names; raises UserError for another name."""
    if name not in LAYOUTS:
        raise UserError(
            field="--format", rule=f"is one of {', '.join(LAYOUTS)}", received=name, remedy="Name one of these."
        )
    return LAYOUTS[name]


def source_words(layout: Layout, images: ImageSet, path: str) -> str:
    """`source` as it stands in an experiment."""
    return yaml.safe_dump(dict(layout.source(images, path)), sort_keys=False, allow_unicode=True, width=120)


def _write_medmnist(images: ImageSet, path: Path) -> None:
    write_npz(images, path, split="train")


def _write_zip(images: ImageSet, path: Path) -> None:
    names = [f"{number // _A_FOLDER:05d}/img{number:08d}.png" for number in range(len(images))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, pixels in zip(names, images.images_NHWC, strict=True):
            _member(archive, name, png(pixels))
        labels = [[name, label] for name, label in zip(names, images.labels.tolist(), strict=True)]
        _member(archive, "dataset.json", json.dumps({"labels": labels}).encode())
        _member(archive, TABLE, _csv(table_rows(images, names, path="file")).encode())


def _member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _A_LONG_TIME_AGO), data)


def _write_imagefolder(images: ImageSet, folder: Path) -> None:
    names = [f"{number:0{len(str(max(0, len(images) - 1)))}d}.png" for number in range(len(images))]
    inside = folder / "train"
    inside.mkdir(parents=True)
    for name, pixels in zip(names, images.images_NHWC, strict=True):
        (inside / name).write_bytes(png(pixels))
    text = _csv(table_rows(images, names, path="file_name", label="label"))
    (inside / METADATA).write_text(text, newline="", encoding="utf-8")


def _csv(rows: Iterator[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _folder(images: ImageSet, path: str) -> Mapping[str, object]:
    if images.task == MULTI_LABEL:
        return _table(images, path, file=TABLE, path_column="file", label="class")
    named = dict(zip(class_folders(images), images.classes, strict=True))
    renamed = {folder: name for folder, name in named.items() if folder != name}
    return {"folder": path} | ({"classMap": named} if renamed else {})


def _npz(images: ImageSet, path: str) -> Mapping[str, object]:
    return {"npz": path, "classes": list(images.classes)} | (
        {"severalLabels": True} if images.task == MULTI_LABEL else {}
    )


def _zip(images: ImageSet, path: str) -> Mapping[str, object]:
    return _table(images, path, file=TABLE, path_column="file", label="class")


def _imagefolder(images: ImageSet, path: str) -> Mapping[str, object]:
    return _table(images, f"{path}/train", file=METADATA, path_column="file_name", label="label")


def _table(images: ImageSet, path: str, *, file: str, path_column: str, label: str) -> Mapping[str, object]:
    columns = label_columns(images, label=label)
    labels: dict[str, object] = {"column": label}
    if images.task == MULTI_LABEL:
        labels = {"columns": columns, "several": True}
    keep = [f"origin {name}" for name, column in images.origins.items() if _may_be_kept(column)]
    table = {"folder": path, "file": file, "path": path_column, "labels": labels}
    return {"table": table | ({"keep": keep} if keep else {})}


def _may_be_kept(column: Sequence[str] | Sequence[int]) -> bool:
    """Whether a table's `keep` takes a column: numbers, or few words."""
    return all(isinstance(value, int | np.integer) for value in column) or (
        len(set(column)) <= MOST_KEPT and all(column)
    )


LAYOUTS: Final[Mapping[str, Layout]] = {
    "png": Layout(about="a folder for each class, and images.csv", suffix="", write=write_pngs, source=_folder),
    "npz": Layout(about="one file of arrays", suffix=".npz", write=write_npz, source=_npz),
    "medmnist": Layout(
        about="one file of arrays, named as MedMNIST does", suffix=".npz", write=_write_medmnist, source=_npz
    ),
    "zip": Layout(about="StyleGAN's, with dataset.json", suffix=".zip", write=_write_zip, source=_zip),
    "imagefolder": Layout(
        about="Hugging Face's, with metadata.csv and a data card",
        suffix="",
        write=_write_imagefolder,
        source=_imagefolder,
        hub=True,
    ),
}
"""The layouts by the words that a user names them by."""
