"""What the audit finds of what is planted, and what it says of clean splits: the figures of docs/audit.md.

    python -m benchmarks.audit_matrix [--data ../shared/data] [--images 1200]

For each data set: recall of near duplicates by kind of alteration; then, by kind of processing of one class alone, what
is a warning that is none without it. Beside what is drawn, real data sets are used where they are at hand.
"""

import argparse
import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from syntrial_data_prep import findings
from syntrial_data_prep.form import Formed
from syntrial_data_prep.leak_search import calibrated

from syntrial.imagesets.filetypes import open_picture
from syntrial.imagesets.near.alterations import KINDS
from syntrial.imagesets.splits import cut
from tests.unit.data_prep.drawn_images import chests, fields

Images = NDArray[np.uint8]
Process = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Set:
    """Images, their classes, and their patients."""

    images: Images
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]

    def some(self, count: int, *, seed: int) -> "Set":
        """At most so many, drawn."""
        rows = np.random.default_rng(seed).permutation(len(self.images))[:count]
        return Set(self.images[rows], self.labels[rows], self.patients[rows])


def data_sets(root: Path) -> Iterator[tuple[str, Set]]:
    """By name: drawn ones, and those that lie below `root`."""
    for name, draw, side in (("drawn chests, 64", chests, 64), ("drawn fields, 28", fields, 28)):
        images = draw(1200, side=side)
        labels = np.arange(1200) % 2
        if draw is chests:
            middle = slice(side * 2 // 5, side * 3 // 5)
            marked = images[labels == 1][:, middle, middle].astype(int) + 25
            changed = images[labels == 1]
            changed[:, middle, middle] = np.clip(marked, 0, 255)
            images[labels == 1] = changed
        yield name, Set(images, labels, np.arange(1200))
    for name in ("medmnist/pneumoniamnist", "medmnist/breastmnist", "pathmnist-test/pathmnist"):
        path = root / f"{name}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as file:
                parts = [part for part in ("train", "val", "test") if len(file.get(f"{part}_images", ()))]
                images = np.concatenate([file[f"{part}_images"] for part in parts])
                labels = np.concatenate([file[f"{part}_labels"] for part in parts])[:, 0].astype(np.int64)
            yield path.stem, Set(images.reshape(*images.shape[:3], -1), labels, np.arange(len(images)))
    table = root / "nih-sample" / "Data_Entry_sample.csv"
    if table.exists():
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        images = np.stack([grey(table.parent / "images" / row["Image Index"]) for row in rows])
        patients = np.unique([row["Patient ID"] for row in rows], return_inverse=True)[1]
        for finding in ("Effusion", "No Finding"):
            labels = np.array([finding in row["Finding Labels"] for row in rows]).astype(np.int64)
            yield f"NIH sample, {finding}", Set(images[..., None], labels, patients)


def grey(path: Path) -> Images:
    """A picture file as grey levels (H, W)."""
    with path.open("rb") as file, open_picture(file) as picture:
        return np.asarray(picture.convert("L"))


def stored(picture: Image.Image) -> Image.Image:
    """As JPEG of quality 40, and read again."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=40)
    return Image.open(file, formats=("JPEG",)).copy()  # noqa: TID251 - what was written a line above


def noisy(deviation: float) -> Process:
    """Adds noise that hangs on the picture alone."""

    def process(picture: Image.Image) -> Image.Image:
        pixels = np.asarray(picture)
        noise = np.random.default_rng(int(pixels.sum())).normal(0, deviation, pixels.shape)
        return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))

    return process


def half(picture: Image.Image) -> Image.Image:
    """Half the size and back."""
    width, height = picture.size
    return picture.resize((width // 2, height // 2), Image.Resampling.BICUBIC).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def by_level(curve: Callable[[float], float]) -> Process:
    """Each grey level by a curve."""
    table = [round(min(255, max(0, curve(level)))) for level in range(256)]
    return lambda picture: picture.point(table * len(picture.getbands()))


def framed(width: int, level: int) -> Process:
    """An even border over the edge."""

    def process(picture: Image.Image) -> Image.Image:
        inner = picture.crop((width, width, picture.width - width, picture.height - width))
        return ImageOps.expand(inner, width, fill=level if picture.mode == "L" else (level,) * 3)

    return process


def marked(picture: Image.Image) -> Image.Image:
    """A bright letter in the upper left."""
    side = max(4, picture.width // 8)
    found = picture.copy()
    white = 255 if picture.mode == "L" else (255, 255, 255)
    found.paste(white, (1, 1, 2 + side // 6, side))
    found.paste(white, (1, side - 1 - side // 6, side, side))
    return found


PROCESSES: Mapping[str, Process] = {
    "nothing": lambda picture: picture,
    "black border": framed(2, 0),
    "bright mark": marked,
    "noise of 4 levels": noisy(4),
    "noise of 8 levels": noisy(8),
    "blur of half a pixel": lambda picture: picture.filter(ImageFilter.GaussianBlur(0.5)),
    "blur of a pixel": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "gamma 0.8": by_level(lambda level: 255 * (level / 255) ** 0.8),
    "gamma 1.25": by_level(lambda level: 255 * (level / 255) ** 1.25),
    "brighter by 8": by_level(lambda level: level + 8),
    "brighter by 25": by_level(lambda level: level + 25),
    "contrast 1.3": by_level(lambda level: (level - 128) * 1.3 + 128),
    "contrast 0.75": by_level(lambda level: level * 0.75),
    "half the resolution": half,
    "32 grey levels": by_level(lambda level: level // 8 * 8),
    "JPEG 40, as PNG": stored,
    "inverted grey": by_level(lambda level: 255 - level),
    "mirrored": ImageOps.mirror,
}


def processed(images: Images, process: Process) -> Images:
    """Each of the images (N, H, W, C)."""
    found = [np.asarray(process(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image))) for image in images]
    return np.stack(found).reshape(images.shape)


def split(part: Set, *, seed: int) -> dict[str, Formed]:
    """By patient, 70:15:15."""
    shares = [("validation", 0.15), ("test", 0.15)]
    places = cut(part.labels, patients=[str(p) for p in part.patients], shares=shares, rest="train", seed=seed)
    found = {}
    for name in ("train", "validation", "test"):
        rows = np.flatnonzero(places == name)
        names = tuple(map(str, rows))
        found[name] = Formed(
            images_NHWC=part.images[rows],
            labels=part.labels[rows],
            names=names,
            patients=tuple(str(part.patients[row]) for row in rows),
            identities=names,
        )
    return found


def told(part: Set, *, seed: int) -> dict[str, str]:
    """What is no pass against the class."""
    classes = [str(k) for k in range(int(part.labels.max()) + 1)]
    found = [pictured.finding for pictured in findings.of_dataset(split(part, seed=seed), classes, lost={})]
    return {finding.about: finding.grade for finding in found if finding.grade != "pass" and finding.against == "class"}


def main() -> None:
    """Prints both tables, a data set at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=int, default=1200, help="at most so many of each data set")
    parser.add_argument("--seeds", type=int, default=3, help="so many clean splits of each data set")
    parser.add_argument("--only", default="", help="data sets whose names hold this")
    options = parser.parse_args()
    for name, whole in data_sets(options.data):
        if options.only not in name:
            continue
        part = whole.some(options.images, seed=0)
        _, _, calibration = calibrated(part.images, patients=part.patients)
        print(f"== {name}: {len(part.images)} images")
        recall = {kind: calibration.recall[kind] for kind in KINDS}
        print("recall  " + "; ".join(f"{kind} {share:.0%}" for kind, share in recall.items()))
        clean: dict[str, int] = {}
        for seed in range(options.seeds):
            for about, grade in told(whole.some(options.images, seed=seed), seed=seed).items():
                clean[f"{grade} {about}"] = clean.get(f"{grade} {about}", 0) + 1
        print(f"clean   {options.seeds} splits: {clean or 'nothing'}", flush=True)
        usual: dict[str, Any] = told(part, seed=0)
        chosen = int(np.bincount(part.labels).argmax()) if part.labels.max() > 1 else 1
        for kind, process in PROCESSES.items():
            images = part.images.copy()
            images[part.labels == chosen] = processed(images[part.labels == chosen], process)
            found = told(Set(images, part.labels, part.patients), seed=0)
            new = [f"{grade} {about}" for about, grade in found.items() if usual.get(about) != grade]
            print(f"planted {kind}: {', '.join(new) or '-'}", flush=True)


if __name__ == "__main__":
    main()
