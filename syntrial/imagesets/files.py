"""Image sets as files for people, and back: a PNG for each image in a folder for each class, or one .npz.

A trial reads both forms as a source; what is read here is for scripts that ask a stage about images of their own.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import UNREADABLE, is_picture, open_picture
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet

ANY_CLASS = "all"
"""The folder of images that have several labels each; images.csv has the labels."""


def write_pngs(images: ImageSet, folder: Path) -> None:
    """Writes a PNG for each image, and images.csv with each file's class or labels and its origin.

    A class's folder is called after it, as far as file systems allow (`file_name`). PNG is lossless.
    """
    several = images.task == MULTI_LABEL
    names = [file_name(name) for name in images.classes]
    if len(set(names)) < len(names):
        # Two classes that differ only in what a file system refuses.
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    for name in (ANY_CLASS,) if several else names:
        (folder / name).mkdir(parents=True)
    digits = len(str(max(0, len(images) - 1)))
    columns = ["file", *(images.classes if several else ("class",)), *(f"origin {name}" for name in images.origins)]
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number, pixels in enumerate(images.images_NHWC):
            place = ANY_CLASS if several else names[int(images.labels[number])]
            name = f"{place}/{number:0{digits}d}.png"
            Image.fromarray(np.squeeze(pixels, axis=2) if pixels.shape[2] == 1 else pixels).save(folder / name)
            labels = images.labels[number].tolist() if several else [images.classes[int(images.labels[number])]]
            writer.writerow([name, *labels, *(column[number] for column in images.origins.values())])


def file_name(text: str) -> str:
    """`text` as the name of a file or folder: what file systems refuse becomes '-'."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]+', "-", text).strip(" .") or "-"


def write_npz(images: ImageSet, path: Path) -> None:
    """Writes `images` uint8 (N, H, W) or (N, H, W, 3), `labels` (N, 1) or (N, K), `classes`, and each origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = images.images_NHWC
    arrays: dict[str, Any] = {
        "images": pixels[..., 0] if pixels.shape[3] == 1 else pixels,
        "labels": images.labels[:, None] if images.labels.ndim == 1 else images.labels,
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
