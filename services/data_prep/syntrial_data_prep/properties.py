"""Properties of images that should say nothing of their labels: of their files, of their edges, of their extremes."""

import io
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from syntrial.imagesets.facts import FileFacts
from syntrial.workers import in_blocks

MARK_CONTRAST: Final = 90
"""Grey levels by which a mark stands out from its corner."""
MARK_LEVEL: Final = 235
LENGTH: Final = "bytes over what pixels need"
NEEDED_ROWS: Final = 32
"""So many rows in the middle of an image tell how many bytes it needs."""
CORNER: Final = 5
"""A corner is this part of a side."""
BLOCK_IMAGES: Final = 32
"""Images that a thread looks at before it takes the next."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Column:
    """One property of N images."""

    name: str
    of: str
    """file, length, edge or levels: what it is a property of, by which its strength is judged."""
    values: NDArray[Any]
    """(N,): texts or numbers."""


def of_files(files: Sequence[FileFacts], images_NHWC: NDArray[np.uint8]) -> list[Column]:
    """Properties that headers tell; those that are the same for all images are there too.

    How long a file is hangs on what it shows: a picture of more detail is longer. So its length is taken over what the
    pixels themselves need (`needed_bytes`), and is then the program's and its settings'.
    """
    area = np.array([facts.width * facts.height for facts in files], float)
    sizes = np.array([f"{facts.width}×{facts.height}" for facts in files])
    columns: dict[str, NDArray[Any]] = {
        "format": np.array([facts.format for facts in files]),
        "mode": np.array([facts.mode for facts in files]),
        "bits a channel": np.array([str(facts.depth) for facts in files]),
        "frames": np.array([str(facts.frames) for facts in files]),
        # Many sizes are a number, few are values of their own.
        "size": sizes if len(np.unique(sizes)) <= 8 else area,
        "aspect": np.array([round(facts.width / facts.height, 2) for facts in files]),
        LENGTH: np.array([facts.bytes for facts in files]) / np.maximum(area, 1) / needed_bytes(images_NHWC),
        "JPEG coarseness": np.array([0.0 if facts.coarseness is None else facts.coarseness for facts in files]),
    }
    return [
        Column(name=name, of="length" if name == LENGTH else "file", values=values) for name, values in columns.items()
    ]


def needed_bytes(images_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N,): bytes a pixel that the middle of each image needs without loss, as a PNG."""
    height = images_NHWC.shape[1]
    top = max(0, (height - NEEDED_ROWS) // 2)

    def needed(here: slice) -> list[float]:
        found = []
        for image in images_NHWC[here]:
            middle = np.ascontiguousarray(image[top : top + NEEDED_ROWS])
            file = io.BytesIO()
            Image.fromarray(middle[:, :, 0] if middle.shape[2] == 1 else middle).save(file, "PNG")
            found.append(float(file.tell() / (middle.shape[0] * middle.shape[1])))
        return found

    blocks = in_blocks(needed, count=len(images_NHWC), size=BLOCK_IMAGES)
    return np.array(list(chain.from_iterable(blocks)))


def of_pixels(images_NHWC: NDArray[np.uint8]) -> list[Column]:
    """Properties that the images' pixels tell without what they show."""
    count, channels = len(images_NHWC), images_NHWC.shape[3]
    borders, marks = np.zeros(count, np.int64), np.zeros(count, np.int64)
    black, white, cast = np.zeros(count), np.zeros(count), np.zeros(count)

    def measure(here: slice) -> None:
        for row in range(here.start, here.stop):
            image = np.asarray(images_NHWC[row])
            grey = image.max(2) if channels > 1 else image[:, :, 0]
            borders[row] = _flat_border(grey)
            marks[row] = _marked_corners(grey)
            black[row], white[row] = (np.count_nonzero(image == level) / image.size for level in (0, 255))
            if channels == 3:
                cast[row] = float(image[:, :, 0].mean()) - float(image[:, :, 2].mean())

    deque(in_blocks(measure, count=count, size=BLOCK_IMAGES), maxlen=0)
    found = [
        Column(name="even border", of="edge", values=borders),
        Column(name="marks in corners", of="edge", values=np.array([str(number) for number in marks])),
        Column(name="share of black pixels", of="levels", values=np.round(black, 3)),
        Column(name="share of white pixels", of="levels", values=np.round(white, 3)),
    ]
    if channels == 3:
        found.append(Column(name="red minus blue", of="levels", values=np.round(cast, 1)))
    return found


def _flat_border(grey: NDArray[np.uint8]) -> int:
    """The widest strip of one level along a side, in 16ths of it; up to a third."""
    widest = 0
    for side in (grey, grey[::-1], grey.T, grey.T[::-1]):
        most = len(side) // 3
        spread = side[:most].max(1).astype(int) - side[:most].min(1)
        flat = spread <= 2
        depth = most if flat.all() else int(flat.argmin())
        widest = max(widest, 16 * depth // len(side) + (1 if depth else 0))
    return widest


def _marked_corners(grey: NDArray[np.uint8]) -> int:
    """In how many corners something small and bright stands out: text, an arrow, a letter."""
    height, width = (max(4, side // CORNER) for side in grey.shape)
    found = 0
    for corner in (grey[:height, :width], grey[:height, -width:], grey[-height:, :width], grey[-height:, -width:]):
        if corner.max() < MARK_LEVEL:
            continue
        bright = (corner >= MARK_LEVEL) & (corner >= np.median(corner) + MARK_CONTRAST)
        found += bool(max(2, corner.size // 50) <= bright.sum() <= corner.size // 2)
    return found
