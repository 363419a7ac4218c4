"""Image sets as files for people: a PNG for each image in a folder for each class, or one .npz.

Both are forms that a trial can read again as a source.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from syntrial.artifacts.imagesets import MULTI_LABEL, ImageSet

ANY_CLASS = "all"
"""The folder of images that have several labels each; images.csv has the labels."""


def write_pngs(images: ImageSet, folder: Path, *, class_folder: Callable[[str], str]) -> None:
    """Writes a PNG for each image, and images.csv with each file's class or labels and its origin.

    `class_folder` gives the name of a class's folder. PNG is lossless: the pixels are those of the artifact.
    """
    several = images.task == MULTI_LABEL
    names = [class_folder(name) for name in images.classes]
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
