"""Image sets as files for people, and back: a PNG for each image in a folder for each class, or one .npz.

A trial reads both forms as a source; what is read here is for scripts that ask a stage about images of their own.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import UNREADABLE, is_picture, open_picture
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet

ANY_CLASS = "all"
"""The folder of images that have several labels each; images.csv has the labels."""


TABLE: Final = "images.csv"
"""The table beside pictures: each one's file, class or labels, and origins."""


def write_pngs(images: ImageSet, folder: Path) -> None:
    """Writes a PNG for each image, and images.csv with each file's class or labels and its origin.

    A class's folder is called after it, as far as file systems allow (`class_folders`). PNG is lossless.
    """
    folders = class_folders(images)
    for name in folders:
        (folder / name).mkdir(parents=True)
    digits = len(str(max(0, len(images) - 1)))
    several = images.task == MULTI_LABEL
    names = [
        f"{folders[0 if several else int(images.labels[number])]}/{number:0{digits}d}.png"
        for number in range(len(images))
    ]
    for name, pixels in zip(names, images.images_NHWC, strict=True):
        (folder / name).write_bytes(png(pixels))
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table_rows(images, names, path="file"))


def class_folders(images: ImageSet) -> tuple[str, ...]:
    """The name of each class's folder, or `ANY_CLASS` alone where images have several labels."""
    if images.task == MULTI_LABEL:
        return (ANY_CLASS,)
    names = tuple(file_name(name) for name in images.classes)
    if len({name.casefold() for name in names}) < len(names):
        # Two classes that differ only in what a file system refuses.
        return tuple(f"{number}-{name}" for number, name in enumerate(names))
    return names


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image, uint8 (H, W, 1 or 3), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def label_columns(images: ImageSet, *, label: str) -> list[str]:
    """The headings of the columns of labels: `label`, or a class each where images have several."""
    return [*images.classes] if images.task == MULTI_LABEL else [label]


def table_rows(images: ImageSet, files: Sequence[str], *, path: str, label: str = "class") -> Iterator[list[str]]:
    """A table of the set: a row of headings, then one for each of `files`, with its labels and its origins."""
    yield [path, *label_columns(images, label=label), *(f"origin {name}" for name in images.origins)]
    for number, file in enumerate(files):
        own = images.labels[number]
        labels = [*map(str, own.tolist())] if images.task == MULTI_LABEL else [images.classes[int(own)]]
        yield [file, *labels, *(str(column[number]) for column in images.origins.values())]


def file_name(text: str) -> str:
    """`text` as the name of a file or folder: what file systems refuse becomes '-'."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]+', "-", text).strip(" .") or "-"


def write_npz(images: ImageSet, path: Path, *, split: str = "") -> None:
    """Writes `images` uint8 (N, H, W) or (N, H, W, 3), `labels` (N, 1) or (N, K), `classes`, and each origin.

    With a `split` the first two are named as MedMNIST names those of a split: `train_images`, `train_labels`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = images.images_NHWC
    arrays: dict[str, Any] = {
        f"{split}_images" if split else "images": pixels[..., 0] if pixels.shape[3] == 1 else pixels,
        f"{split}_labels" if split else "labels": images.labels[:, None] if images.labels.ndim == 1 else images.labels,
        "classes": np.array(images.classes),
    }
    arrays |= {f"origin_{name}": np.asarray(column) for name, column in images.origins.items()}
    np.savez_compressed(path, **arrays)


def read_pictures(files: Sequence[Path], *, labels: Sequence[int], like: ImageSet) -> ImageSet:
    """Image files as a set of the classes, the size and the colours of `like`; `labels` index its classes.

    The set's origins number the files in their order: a file's name may be a person's, and sets travel.

    Raises SourceError for a file that cannot be read as an image.
    """
    _, height, width, channels = like.images_NHWC.shape
    images = np.empty((len(files), height, width, channels), np.uint8)
    for number, file in enumerate(files):
        try:
            with file.open("rb") as binary, open_picture(binary) as opened:
                sized = opened.convert("L" if channels == 1 else "RGB").resize(
                    (width, height), Image.Resampling.BICUBIC
                )
        except UNREADABLE as error:
            raise SourceError(
                field=str(file),
                rule="is a readable image",
                received=str(error),
                remedy="Leave it out, or copy it again.",
            ) from None
        images[number] = np.asarray(sized).reshape(height, width, channels)
    several = like.task == MULTI_LABEL
    indices = np.array(labels, np.int64)
    return ImageSet(
        images_NHWC=images,
        labels=np.eye(len(like.classes), dtype=np.uint8)[indices] if several else indices,
        classes=like.classes,
        task=like.task,
        origins={"file": [str(number) for number in range(len(files))]},
    )


def read_class_folders(folder: Path, *, like: ImageSet) -> ImageSet:
    """The images in a folder for each class; raises SourceError for a class that `like` does not have."""
    files = sorted(file for file in folder.glob("*/*") if is_picture(file.name))
    strange = sorted({file.parent.name for file in files} - set(like.classes))
    if strange or not files:
        raise SourceError(
            field=str(folder),
            rule=f"holds images in folders named {', '.join(like.classes)}",
            received=", ".join(strange) or "no images",
            remedy="Rename the folders.",
        )
    return read_pictures(files, labels=[like.classes.index(file.parent.name) for file in files], like=like)
