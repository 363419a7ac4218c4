"""What the inputs of these tests are drawn with: pictures whose class is plain to see, in folders of any structure."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from syntrial.experiment.file import parse_experiment
from syntrial.experiment.model import Experiment

CLASSES = ("ill", "well")

Pixels = NDArray[np.generic]


def grey(
    label: int, number: int, *, size: tuple[int, int] = (24, 24), seed: int = 0, noise: float = 6
) -> NDArray[np.uint8]:
    """uint8 (H, W), of the size (H, W): a ramp with a bright disc, whose place is the class's and a little chance's."""
    random = np.random.default_rng([seed, label, number])
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    corner = np.array(((0.3, 0.3), (0.7, 0.7), (0.3, 0.7), (0.7, 0.3))[label % 4]) + random.normal(0, 0.05, 2)
    radius = 0.13 + 0.03 * random.random()
    disc = (x / width - corner[0]) ** 2 + (y / height - corner[1]) ** 2 < radius**2
    picture = 20 + 200 * (0.25 * x / width + 0.7 * disc) + random.normal(0, noise, (height, width))
    return picture.clip(0, 255).astype(np.uint8)


def mask(label: int, number: int, *, size: tuple[int, int] = (24, 24), seed: int = 0) -> NDArray[np.uint8]:
    """uint8 (H, W) of 0 and 255: where the disc of `grey` is."""
    return ((grey(label, number, size=size, seed=seed, noise=0) > 120) * 255).astype(np.uint8)


def encoded(pixels: Pixels, form: str = "PNG", **options: Any) -> bytes:
    """The picture as a file of one of Pillow's formats."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes | Pixels, form: str = "PNG", **options: Any) -> Path:
    """Writes a file, and the folders above it; pixels as a picture of the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else encoded(content, form, **options))
    return path


def draw_classes(
    folder: Path,
    *,
    classes: Sequence[str] = CLASSES,
    count: int = 20,
    suffix: str = ".png",
    save: Callable[[Path, int, int], object] | None = None,
    seed: int = 0,
    size: tuple[int, int] = (24, 24),
) -> Path:
    """A folder for each class with `count` pictures p000, p001 …; `save(path, label, number)` writes other ones."""

    def plain(path: Path, label: int, number: int) -> object:
        return write(path, grey(label, number, seed=seed, size=size))

    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (save or plain)(folder / name / f"p{number:03d}{suffix}", label, number)
    return folder


def draw_splits(
    folder: Path,
    *,
    splits: Mapping[str, int] = {"train": 16, "val": 6, "test": 8},
    classes: Sequence[str] = CLASSES,
) -> Path:
    """A folder for each split, named as given, with so many other pictures of each class."""
    for seed, (name, count) in enumerate(splits.items()):
        draw_classes(folder / name, classes=classes, count=count, seed=seed)
    return folder


def trial(
    dataset: Mapping[str, Any], *, images: Mapping[str, Any] | None = None, name: str = "drawn", **spec: Any
) -> Experiment:
    """The smallest trial of a data set, with a ready-made set where `images` gives one."""
    return parse_experiment(trial_text(dataset, images=images, name=name, **spec), name=name)


def trial_text(
    dataset: Mapping[str, Any], *, images: Mapping[str, Any] | None = None, name: str = "drawn", **spec: Any
) -> str:
    """The same as a file's text."""
    generated: dict[str, Any] = {"name": "base", "generator": {"pca": {}}}
    synthetic = generated if images is None else {"name": "given", "images": dict(images)}
    fields: dict[str, Any] = {
        "dataset": {"size": 16, **dataset},
        "synthetic": [synthetic],
        "budget": {"steps": 20},
        "replicates": 2,
        "controls": "none",
        "encoder": {"steps": 20, "batchSize": 16, "featureSize": 16},
        **spec,
    }
    head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": name}}
    return yaml.safe_dump({**head, "spec": fields}, sort_keys=False)
