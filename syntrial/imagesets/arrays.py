"""What an .npz file in MedMNIST's layout holds: {train,val,test}_images and _labels, and _patients where it has them.

Also `images` and `labels` without splits. Labels and patients are read once their headers are found right, of the
images their headers alone: what is wrong with a file is told in a second, when a trial is planned as when its data is
prepared.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.archives import array_header, member, opened, read_whole, wrong
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.filetypes import kind_of_zip
from syntrial.imagesets.headers import EIGHT, FLOATING, SIGNED, SIXTEEN, WIDE
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
    def numbers(self) -> set[str]:
        """What kinds of numbers the pixels are."""
        return {numbers_of(part.dtype) for part in self.splits.values()}

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        shape = next(iter(self.splits.values())).shape
        return 3 if len(shape) == 4 and shape[3] >= 3 else 1


def contents(source: Source, path: Path, field: str) -> Contents:
    """What the file that an experiment names in `field` holds; raises SourceError as `read_arrays`."""
    npz = source.npz
    return contents_named(path, classes=tuple(npz.classes), several_labels=npz.several_labels, field=field)


def contents_named(path: Path, *, classes: Sequence[str], field: str, several_labels: bool = False) -> Contents:
    """What the file holds, whose labels have the names `classes`; of `several_labels` see `read_arrays`."""
    found = read_arrays(path, classes=classes, several_labels=several_labels, title=f"{field} ({path.name})")
    return Contents(
        classes=found.classes,
        channels=found.channels,
        numbers=frozenset(found.numbers),
        splits={
            split: SplitContents(
                labels=part.labels,
                patients=part.patients or tuple(f"{split}/{row}" for row in range(len(part.labels))),
            )
            for split, part in found.splits.items()
        },
    )


def numbers_of(dtype: np.dtype[np.generic]) -> str:
    """What kind of numbers pixels of this type are, as `syntrial.imagesets.pictures` names them."""
    if dtype.kind == "f":
        return FLOATING
    if dtype.kind == "i":
        return SIGNED
    return {1: EIGHT, 2: SIXTEEN}.get(dtype.itemsize, WIDE)


def read_arrays(path: Path, *, classes: Sequence[str], title: str, several_labels: bool = False) -> Arrays:
    """Reads labels, patients and the headers of the images.

    `classes` are the names of the labels, or empty for "0", "1" and so on; `title` is what errors call the file. Rows
    of labels that each sum to one are one-hot codes of one class, unless there are `several_labels` an image. Raises
    SourceError for what is no whole .npz file, and for arrays that are against a rule.
    """
    with opened(path, title=title) as archive:
        arrays = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        headers: dict[str, tuple[str, tuple[int, ...], np.dtype[np.generic]]] = {}
        labels: dict[str, NDArray[Any]] = {}
        patients: dict[str, tuple[str, ...] | None] = {}
        for split, named in _named(arrays, archive=archive, title=title).items():
            shape, dtype = _image_header(archive, named.images, title=title)
            headers[split] = (named.images, shape, dtype)
            labels[split] = _labels(archive, named.labels, count=shape[0], title=title)
            patients[split] = (
                _patients(archive, named.patients, count=shape[0], title=title) if named.patients in arrays else None
            )
    _check_alike({name: (shape[1:], dtype) for name, shape, dtype in headers.values()}, title=title)
    notes = []
    if not several_labels and _is_one_hot(labels):
        labels = {split: array.argmax(1) for split, array in labels.items()}
        notes.append(
            "Labels are one-hot codes, read as one class an image (`severalLabels: true` where they are several)."
        )
    found, labels, multi_label = _classes(labels, classes=tuple(classes), title=title)
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
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Named:
    """What the arrays of a split are called."""

    images: str
    labels: str
    patients: str

    def called(self, own: Mapping[str, str]) -> "_Named":
        """As the file calls them; `own` gives its names by those in small letters."""
        return _Named(**{part: own.get(name, name) for part, name in asdict(self).items()})


def _named(arrays: set[str], *, archive: zipfile.ZipFile, title: str) -> dict[str, _Named]:
    """The names of each split's arrays: MedMNIST's, or those that Keras' data sets made usual (x_train, y_train).

    In small letters or capitals (X_train), as long as no two differ by these alone.
    """
    own = {name.casefold(): name for name in sorted(arrays, reverse=True)}
    found: dict[str, list[_Named]] = {}
    for name, split in SPLIT_NAMES.items():
        for named in (
            _Named(images=f"{name}_images", labels=f"{name}_labels", patients=f"{name}_patients"),
            _Named(images=f"x_{name}", labels=f"y_{name}", patients=f"patients_{name}"),
        ):
            if named.images in own:
                found.setdefault(split, []).append(named.called(own))
    doubled = sorted(named.images for several in found.values() if len(several) > 1 for named in several)
    if doubled:
        raise wrong(title, "arrays", "each split has one images array", doubled, "Leave one of them out.")
    if found:
        return {split: several[0] for split, several in found.items()}
    for images, labels in (("images", "labels"), ("x", "y")):
        if images in own:
            return {UNSPLIT: _Named(images=images, labels=labels, patients="patients").called(own)}
    rule = "the file holds train_images, val_images and test_images with their _labels, or images and labels"
    if not arrays:
        kind = kind_of_zip(archive.namelist())
        raise wrong(title, "arrays", rule, f"no arrays: this is {kind.one}", kind.remedy)
    raise wrong(title, "arrays", rule, ", ".join(sorted(arrays)[:12]), "Rename the arrays.")


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


def _is_one_hot(labels: dict[str, NDArray[Any]]) -> bool:
    """Whether all rows of all splits are 0 but for one 1, in two columns or more."""
    return all(
        array.ndim == 2
        and array.shape[1] > 1
        and bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())
        for array in labels.values()
    )


def _classes(
    labels: dict[str, NDArray[Any]], *, classes: tuple[str, ...], title: str
) -> tuple[tuple[str, ...], dict[str, NDArray[Any]], bool]:
    """The names of the classes, the labels as indices into them, and whether an image may have several.

    Without names, classes are called by their labels, in the order of these: they may begin anywhere and have gaps.
    """
    shapes = {array.shape[1:] for array in labels.values()}
    if len(shapes) > 1:
        raise wrong(title, "labels", "all splits have labels of one kind", sorted(shapes), "Save them alike.")
    multi_label = bool(next(iter(shapes)))
    if not classes and not multi_label:
        values = np.unique(np.concatenate([np.unique(array) for array in labels.values()]).astype(np.int64))
        highest = MOST_CLASSES - 1
        _check_labels(labels, highest=highest, rule=f"labels are from 0 to {highest}", title=title)
        ranked = {split: np.searchsorted(values, array) for split, array in labels.items()}
        return tuple(str(value) for value in values.tolist()), ranked, False
    count = len(classes) or next(iter(shapes))[0]
    highest = 1 if multi_label else count - 1
    named = f", for the classes {', '.join(classes[:8])}" if classes else ""
    _check_labels(labels, highest=highest, rule=f"labels are from 0 to {highest}{named}", title=title)
    if multi_label and count != next(iter(shapes))[0]:
        raise wrong(title, "labels", f"there is a column for each of {count} classes", next(iter(shapes))[0], "Match.")
    return classes or tuple(str(label) for label in range(count)), labels, multi_label


def _check_labels(labels: dict[str, NDArray[Any]], *, highest: int, rule: str, title: str) -> None:
    lowest = min(int(array.min()) for array in labels.values() if array.size)
    for split, array in labels.items():
        rows = array.reshape(len(array), -1)
        outside = np.flatnonzero((rows < 0).any(1) | (rows > highest).any(1))
        if len(outside):
            row = int(outside[0])
            remedy = "Mend the label or name all classes in order."
            if lowest == 1 and array.ndim == 1:
                remedy = (
                    "The labels begin at 1: save them less 1, or leave `classes` out to call classes by their labels."
                )
            raise wrong(title, f"labels of {split}", rule, f"{array[row].tolist()} at image {row}", remedy)
