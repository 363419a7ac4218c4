"""What an .npz file in MedMNIST's layout holds: {train,val,test}_images and _labels, and _patients where it has them.

Also `images` and `labels` without splits. Labels and patients are read once their headers are found right, of the
images their headers alone: what is wrong with a file is told in a second, when a trial is planned as when its data is
prepared.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.archives import array_header, member, opened, read_whole, wrong
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.filetypes import kind_of_zip
from syntrial.imagesets.limits import check_dtype, check_side
from syntrial.imagesets.splits import SPLIT_NAMES, UNSPLIT
from syntrial.v1.data_preparation_pb2 import Source

MOST_CLASSES: Final = 1000
"""A label above this is taken for a mistake, not for a class."""
MOST_IMAGES: Final = 5_000_000
"""Of one split: what is read of each image but its pixels is held in memory."""
MOST_PICTURE_BYTES: Final = 256 << 20
"""One image as the file has it: pixels, channels and the type's size."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitArrays:
    """One split of the file."""

    images: str
    """The name of the array that holds its images."""
    shape: tuple[int, ...]
    """Of the images: (N, H, W) or (N, H, W, C)."""
    dtype: np.dtype[np.generic]
    labels: NDArray[np.int64] | NDArray[np.uint8]
    """int64 (N,), or uint8 (N, K) of 0 and 1 for several labels an image."""
    patients: tuple[str, ...] | None
    """Each image's patient; None where the file does not say."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Arrays:
    """What the file holds."""

    splits: dict[str, SplitArrays]
    """train, validation, test (not always all), or UNSPLIT alone."""
    classes: tuple[str, ...]
    multi_label: bool
    notes: tuple[str, ...]
    """What is odd about it, as sentences."""

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        shape = next(iter(self.splits.values())).shape
        return 3 if len(shape) == 4 and shape[3] >= 3 else 1


def contents(source: Source, path: Path, field: str) -> Contents:
    """What the file that an experiment names in `field` holds; raises SourceError as `read_arrays`."""
    return contents_named(path, classes=tuple(source.npz.classes), field=field)


def contents_named(path: Path, *, classes: Sequence[str], field: str) -> Contents:
    """What the file holds, whose labels have the names `classes`."""
    found = read_arrays(path, classes=classes, title=f"{field} ({path.name})")
    return Contents(
        classes=found.classes,
        channels=found.channels,
        splits={
            split: SplitContents(
                labels=part.labels,
                patients=part.patients or tuple(f"{split}/{row}" for row in range(len(part.labels))),
            )
            for split, part in found.splits.items()
        },
    )


def read_arrays(path: Path, *, classes: Sequence[str], title: str) -> Arrays:
    """Reads labels, patients and the headers of the images.

    `classes` are the names of the labels, or empty for "0", "1" and so on; `title` is what errors call the file. Raises
    SourceError for what is no whole .npz file, and for arrays that are against a rule.
    """
    with opened(path, title=title) as archive:
        arrays = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        headers: dict[str, tuple[str, tuple[int, ...], np.dtype[np.generic]]] = {}
        labels: dict[str, NDArray[Any]] = {}
        patients: dict[str, tuple[str, ...] | None] = {}
        for prefix, split in _prefixes(arrays, archive=archive, title=title).items():
            name = f"{prefix}images"
            shape, dtype = _image_header(archive, name, title=title)
            headers[split] = (name, shape, dtype)
            labels[split] = _labels(archive, f"{prefix}labels", count=shape[0], title=title)
            patients[split] = (
                _patients(archive, f"{prefix}patients", count=shape[0], title=title)
                if f"{prefix}patients" in arrays
                else None
            )
    _check_alike({name: (shape[1:], dtype) for name, shape, dtype in headers.values()}, title=title)
    found, multi_label, notes = _classes(labels, classes=tuple(classes), title=title)
    return Arrays(
        splits={
            split: SplitArrays(
                images=name,
                shape=shape,
                dtype=dtype,
                labels=labels[split].astype(np.uint8) if multi_label else labels[split].astype(np.int64),
                patients=patients[split],
            )
            for split, (name, shape, dtype) in headers.items()
        },
        classes=found,
        multi_label=multi_label,
        notes=notes,
    )


def _prefixes(arrays: set[str], *, archive: zipfile.ZipFile, title: str) -> dict[str, str]:
    """What stands before `images` and `labels` in the names of each split's arrays."""
    found = {f"{name}_": split for name, split in SPLIT_NAMES.items() if f"{name}_images" in arrays}
    if len(set(found.values())) < len(found):
        raise wrong(title, "arrays", "each split has one images array", sorted(found), "Leave one of them out.")
    if found:
        return found
    if "images" in arrays:
        return {"": UNSPLIT}
    rule = "the file holds train_images, val_images and test_images with their _labels, or images and labels"
    if not arrays:
        kind = kind_of_zip(archive.namelist())
        raise wrong(title, "arrays", rule, f"no arrays: this is {kind.one}", kind.remedy)
    # Names that Keras' data sets made usual.
    usual = {
        f"{letter}_{name}": f"{split}_{what}"
        for letter, what in (("x", "images"), ("y", "labels"))
        for name, split in (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "test"))
    }
    renamed = [f"{usual[name]}=arrays['{name}']" for name in sorted(arrays & usual.keys())]
    raise wrong(
        title,
        "arrays",
        rule,
        ", ".join(sorted(arrays)[:12]),
        f"Save them again: numpy.savez_compressed('data.npz', {', '.join(renamed)})."
        if renamed
        else "Rename the arrays.",
    )


def _image_header(archive: zipfile.ZipFile, name: str, *, title: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    with member(archive, name, title=title) as file:
        header = array_header(file, archive, name, title=title)
    shape, dtype = header.shape, header.dtype
    if len(shape) == 4 and shape[1] in {1, 3} and shape[3] not in {1, 3, 4}:
        raise wrong(title, name, "channels come last, (N, H, W, C)", shape, "Save images.transpose(0, 2, 3, 1).")
    if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] not in {1, 3, 4}):
        raise wrong(
            title, name, "images are (N, H, W), or (N, H, W, C) with 1, 3 or 4 channels", shape, "Reshape them."
        )
    if shape[0] == 0:
        raise wrong(title, name, "every split holds images", "none", "Leave the split out or fill it.")
    if shape[0] > MOST_IMAGES:
        raise wrong(title, name, f"a split holds at most {MOST_IMAGES:,} images", shape[0], "Give a part of them.")
    check_side(shape[2], shape[1], name=f"{title}: {name}")
    check_dtype(dtype, name=f"{title}: {name}")
    if header.bytes // shape[0] > MOST_PICTURE_BYTES:
        raise wrong(
            title,
            name,
            f"one image has at most {MOST_PICTURE_BYTES >> 20} MiB",
            f"{header.bytes // shape[0]} bytes, {dtype} of shape {shape[1:]}",
            "Scale the pixels and save them as uint8, or reduce the images.",
        )
    return shape, dtype


def _labels(archive: zipfile.ZipFile, name: str, *, count: int, title: str) -> NDArray[Any]:
    """Labels as (N,) or (N, K); (N, 1) becomes (N,)."""
    with member(archive, name, title=title) as file:
        header = array_header(file, archive, name, title=title)
        shape = header.shape
        if len(shape) not in {1, 2} or header.dtype.kind not in "iub" or shape[1:] > (MOST_CLASSES,):
            raise wrong(
                title,
                name,
                f"labels are whole numbers of shape (N,), (N, 1) or, for up to {MOST_CLASSES} labels an image, (N, K)",
                f"{header.dtype} of shape {shape}",
                "Save them as int64.",
            )
        if shape[0] != count:
            raise wrong(title, name, f"there is a label for each of the {count} images", shape[0], "Check the file.")
        labels = read_whole(file, header, archive, name, title=title)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _patients(archive: zipfile.ZipFile, name: str, *, count: int, title: str) -> tuple[str, ...]:
    with member(archive, name, title=title) as file:
        header = array_header(file, archive, name, title=title)
        if header.size != count or header.dtype.kind not in "iuUS":
            raise wrong(
                title,
                name,
                f"patients are whole numbers or text, one for each of the {count} images",
                f"{header.dtype} of {header.size}",
                "Save them with numpy.asarray(patients, dtype=str).",
            )
        values = read_whole(file, header, archive, name, title=title).reshape(-1)
    is_text = True
    if values.dtype.kind == "U":
        # NumPy makes strings of them unseen.
        codes = np.frombuffer(values.tobytes(), f"{values.dtype.str[0]}u4")
        is_text = not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any()
    try:
        if not is_text:
            raise ValueError("numbers that stand for no character")
        return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist())
    except ValueError as error:
        remedy = "Save them with numpy.asarray(patients, dtype=str)."
        raise wrong(title, name, "patients are text in Unicode", str(error), remedy) from None


def _check_alike(headers: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]], *, title: str) -> None:
    """Images of one size beside larger ones would pass through another resampling: a shortcut for a classifier."""
    if len(set(headers.values())) > 1:
        raise wrong(
            title,
            "images",
            "all splits hold images of one size, channel count and type",
            "; ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in headers.items()),
            "Save them alike, or as a folder of images.",
        )


def _classes(
    labels: dict[str, NDArray[Any]], *, classes: tuple[str, ...], title: str
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """The names of the classes, whether an image may have several, and what is odd about it."""
    shapes = {array.shape[1:] for array in labels.values()}
    if len(shapes) > 1:
        raise wrong(title, "labels", "all splits have labels of one kind", sorted(shapes), "Save them alike.")
    multi_label = bool(next(iter(shapes)))
    count = len(classes)
    if multi_label:
        count = count or next(iter(shapes))[0]
    else:
        count = count or min(int(max(array.max() for array in labels.values())) + 1, MOST_CLASSES)
    for split, array in labels.items():
        highest = 1 if multi_label else count - 1
        outside = np.flatnonzero(
            (array < 0).reshape(len(array), -1).any(1) | (array > highest).reshape(len(array), -1).any(1)
        )
        if len(outside):
            row = int(outside[0])
            raise wrong(
                title,
                f"labels of {split}",
                f"labels are from 0 to {highest}" + (f", for the classes {', '.join(classes[:8])}" if classes else ""),
                f"{array[row].tolist()} at image {row}",
                "Mend the label or name all classes in order.",
            )
    if multi_label and count != next(iter(shapes))[0]:
        raise wrong(title, "labels", f"there is a column for each of {count} classes", next(iter(shapes))[0], "Match.")
    notes: list[str] = []
    if multi_label and all((array.sum(1) == 1).all() for array in labels.values()):
        notes.append(
            "Every image has exactly one of several labels; if they are one-hot codes of classes, store them as (N,)."
        )
    return classes or tuple(str(label) for label in range(count)), multi_label, tuple(notes)
