"""Reads an .npz file in MedMNIST's layout: {train,val,test}_images and _labels, and _patients where it has them.

Also `images` and `labels` without splits. Images are read picture by picture out of the compressed file, so memory
does not grow with it. Nothing is unpickled.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from syntrial.artifacts.content import file_digest
from syntrial.errors import SourceError
from syntrial_data_prep import pixels
from syntrial_data_prep.sources.raw import SPLIT_NAMES, UNSPLIT, Picture, Raw, RawSplit

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)
MOST_CLASSES = 1000
"""A label above this is taken for a mistake, not for a class."""


def read(path: Path, *, digest: str, classes: tuple[str, ...], title: str = "") -> Raw:
    """Opens the file; `digest` is what its content must be, `classes` its labels' names or empty for "0", "1", …"""
    check_digest(path, digest=digest)
    title = title or path.name
    with _opened(path, title=title) as archive:
        arrays = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        prefixes = _prefixes(arrays, title=title)
        parts: dict[str, tuple[str, tuple[int, ...], np.dtype[np.generic]]] = {}
        labels: dict[str, NDArray[np.generic]] = {}
        patients: dict[str, tuple[str, ...] | None] = {}
        for prefix, split in prefixes.items():
            name = f"{prefix}images"
            shape, dtype = _image_header(archive, name, title=title)
            parts[split] = (name, shape, dtype)
            labels[split] = _labels(archive, f"{prefix}labels", count=shape[0], title=title)
            patients[split] = (
                _patients(archive, f"{prefix}patients", count=shape[0], title=title)
                if f"{prefix}patients" in arrays
                else None
            )
        _check_alike({name: (shape[1:], dtype) for name, shape, dtype in parts.values()}, title=title)
        bits = max((_bits(archive, name, dtype, title=title) for name, _, dtype in parts.values()), default=8)

    found, multi_label, notes = _classes(labels, classes=classes, title=title)
    splits: dict[str, RawSplit] = {}
    for split, (name, shape, _) in parts.items():

        def pictures(name: str = name) -> Iterator[Picture | None]:
            with _opened(path, title=title) as archive:
                for picture in _stream(archive, name, title=title):
                    yield pixels.from_array(picture, bits=bits, name=f"{title}: {name}")

        splits[split] = RawSplit(
            labels=labels[split].astype(np.uint8 if multi_label else np.int64),
            names=tuple(f"{split}/{row}" for row in range(shape[0])),
            patients=patients[split],
            pictures=pictures,
            sides=(min(shape[1:3]), max(shape[1:3])),
            oblong=shape[0] if shape[1] != shape[2] else 0,
        )
    shape = next(iter(parts.values()))[1]
    return Raw(
        title=title,
        splits=splits,
        classes=found,
        multi_label=multi_label,
        channels=3 if len(shape) == 4 and shape[3] >= 3 else 1,
        notes=notes,
    )


def check_digest(path: Path, *, digest: str) -> None:
    """Raises SourceError where the file's content is not what was planned; an empty digest is not checked."""
    found = file_digest(path, algorithm=digest.partition(":")[0]) if digest else ""
    if found != digest:
        raise SourceError(
            field=str(path),
            rule=f"the content is the one that was planned, {digest}",
            received=found,
            remedy="The file has changed since: run again. If it was downloaded, download it again.",
        )


def _wrong(title: str, array: str, rule: str, received: object, remedy: str) -> SourceError:
    return SourceError(field=f"{title}: {array}", rule=rule, received=received, remedy=remedy)


@contextlib.contextmanager
def _opened(path: Path, *, title: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGED as error:
        raise SourceError(
            field=title,
            rule="an .npz file is a whole zip archive of arrays",
            received=f"{path}: {error}",
            remedy="Copy or download it again.",
        ) from None
    with archive:
        yield archive


@contextlib.contextmanager
def _member(archive: zipfile.ZipFile, name: str, *, title: str) -> Iterator[IO[bytes]]:
    """An array's file; whatever breaks while it is read is the file's damage."""
    try:
        with archive.open(f"{name}.npy") as file:
            yield file
    except SourceError:
        raise
    except KeyError:
        raise _wrong(title, name, "every images array has its labels", "no such array", "Add it.") from None
    except DAMAGED as error:
        raise _wrong(
            title, name, "the array can be read to its end", str(error), "Copy, download or write the file again."
        ) from None


def _header(file: IO[bytes], name: str, *, title: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
    if header[2].hasobject:
        raise _wrong(
            title,
            name,
            "arrays hold numbers of one size; Python objects (pickles, images of mixed size) are never opened",
            "an array of Python objects",
            "Give every image the same size, and save with numpy.savez_compressed without allow_pickle.",
        )
    return header


def _prefixes(arrays: set[str], *, title: str) -> dict[str, str]:
    found = {f"{name}_": split for name, split in SPLIT_NAMES.items() if f"{name}_images" in arrays}
    if len(set(found.values())) < len(found):
        raise _wrong(title, "arrays", "each split has one images array", sorted(found), "Leave one of them out.")
    if found:
        return found
    if "images" in arrays:
        return {"": UNSPLIT}
    raise _wrong(
        title,
        "arrays",
        "the file holds train_images, val_images and test_images with their _labels, or images and labels",
        sorted(arrays)[:12] or "no arrays",
        "Rename the arrays.",
    )


def _image_header(archive: zipfile.ZipFile, name: str, *, title: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    with _member(archive, name, title=title) as file:
        shape, _, dtype = _header(file, name, title=title)
    if len(shape) == 4 and shape[1] in {1, 3} and shape[3] not in {1, 3, 4}:
        raise _wrong(title, name, "channels come last, (N, H, W, C)", shape, "Save images.transpose(0, 2, 3, 1).")
    if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] not in {1, 3, 4}):
        raise _wrong(
            title, name, "images are (N, H, W), or (N, H, W, C) with 1, 3 or 4 channels", shape, "Reshape them."
        )
    if shape[0] == 0:
        raise _wrong(title, name, "every split holds images", "none", "Leave the split out or fill it.")
    pixels.check_side(shape[2], shape[1], name=f"{title}: {name}")
    pixels.check_dtype(dtype, name=f"{title}: {name}")
    return shape, dtype


def _stream(archive: zipfile.ZipFile, name: str, *, title: str) -> Iterator[NDArray[np.generic]]:
    """The images of one array, each read as it is needed."""
    with _member(archive, name, title=title) as file:
        shape, fortran, dtype = _header(file, name, title=title)
        if fortran and len(shape) > 1:
            # Written column by column: there is no reading it in parts.
            flat = np.frombuffer(_exactly(file, int(np.prod(shape)) * dtype.itemsize), dtype=dtype)
            yield from flat.reshape(shape, order="F")
            return
        size = int(np.prod(shape[1:])) * dtype.itemsize
        for _ in range(shape[0]):
            yield np.frombuffer(_exactly(file, size), dtype=dtype).reshape(shape[1:])


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{size} bytes expected, {len(data)} came")
    return data


def _array(archive: zipfile.ZipFile, name: str, *, title: str) -> NDArray[np.generic]:
    with _member(archive, name, title=title) as file:
        _header(file, name, title=title)
    with _member(archive, name, title=title) as file:
        array: NDArray[np.generic] = npy.read_array(file, allow_pickle=False)
        return array


def _bits(archive: zipfile.ZipFile, name: str, dtype: np.dtype[np.generic], *, title: str) -> int:
    """How many bits the images use: 16-bit files often hold 10 or 12."""
    if dtype != np.uint16:
        return 8
    return pixels.bits_of(max(int(picture.max()) for picture in _stream(archive, name, title=title)))


def _labels(archive: zipfile.ZipFile, name: str, *, count: int, title: str) -> NDArray[np.generic]:
    """Labels as (N,) or (N, K); (N, 1) becomes (N,)."""
    labels = _array(archive, name, title=title)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in {1, 2} or labels.dtype.kind not in "iub":
        raise _wrong(
            title,
            name,
            "labels are whole numbers of shape (N,), (N, 1) or, for several labels an image, (N, K)",
            f"{labels.dtype} of shape {labels.shape}",
            "Save them as int64.",
        )
    if len(labels) != count:
        raise _wrong(title, name, f"there is a label for each of the {count} images", len(labels), "Check the file.")
    return labels


def _patients(archive: zipfile.ZipFile, name: str, *, count: int, title: str) -> tuple[str, ...]:
    patients = _array(archive, name, title=title).reshape(-1)
    if len(patients) != count or patients.dtype.kind not in "iuUS":
        raise _wrong(
            title,
            name,
            f"patients are whole numbers or text, one for each of the {count} images",
            f"{patients.dtype} of {len(patients)}",
            "Save them with numpy.asarray(patients, dtype=str).",
        )
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in patients.tolist())


def _check_alike(headers: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]], *, title: str) -> None:
    """Images of one size beside larger ones would pass through another resampling: a shortcut for a classifier."""
    if len(set(headers.values())) > 1:
        raise _wrong(
            title,
            "images",
            "all splits hold images of one size, channel count and type",
            "; ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in headers.items()),
            "Save them alike, or as a folder of images.",
        )


def _classes(
    labels: dict[str, NDArray[np.generic]], *, classes: tuple[str, ...], title: str
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """The names of the classes, whether an image may have several, and what is odd about it."""
    shapes = {array.shape[1:] for array in labels.values()}
    if len(shapes) > 1:
        raise _wrong(title, "labels", "all splits have labels of one kind", sorted(shapes), "Save them alike.")
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
            raise _wrong(
                title,
                f"labels of {split}",
                f"labels are from 0 to {highest}" + (f", for the classes {', '.join(classes[:8])}" if classes else ""),
                f"{array[row].tolist()} at image {row}",
                "Mend the label or name all classes in order.",
            )
    if multi_label and count != next(iter(shapes))[0]:
        raise _wrong(title, "labels", f"there is a column for each of {count} classes", next(iter(shapes))[0], "Match.")
    notes: list[str] = []
    if multi_label and all((array.sum(1) == 1).all() for array in labels.values()):
        notes.append(
            "Every image has exactly one of several labels; if they are one-hot codes of classes, store them as (N,)."
        )
    return classes or tuple(str(label) for label in range(count)), multi_label, tuple(notes)
