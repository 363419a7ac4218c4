"""What people and programs do to an image before it comes back under another name: the kinds of near duplicates.

Each kind alters an image uint8 (H, W, C) and keeps its shape. The search for near duplicates states its recall for
each, measured on images of the data set itself; docs/audit.md shows what it is on known data.
"""

import io
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]
Alter = Callable[[Pixels, np.random.Generator], Pixels]


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _pixels(picture: Image.Image) -> Pixels:
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _jpeg(quality: int) -> Alter:
    def alter(image: Pixels, _: np.random.Generator) -> Pixels:
        file = io.BytesIO()
        _picture(image).save(file, "JPEG", quality=quality)
        with Image.open(file, formats=("JPEG",)) as stored:  # noqa: TID251 - what was written a line above
            return _pixels(stored)

    return alter


def _resized(factor: float) -> Alter:
    def alter(image: Pixels, _: np.random.Generator) -> Pixels:
        height, width = image.shape[:2]
        smaller = (max(4, round(width * factor)), max(4, round(height * factor)))
        resized = _picture(image).resize(smaller, Image.Resampling.BICUBIC)
        return _pixels(resized.resize((width, height), Image.Resampling.BICUBIC))

    return alter


def _cropped(margin: float, *, sides: int = 4) -> Alter:
    """Without a margin on each side; `sides` 1 or 2: on the left, or on the left and at the top, alone."""

    def alter(image: Pixels, _: np.random.Generator) -> Pixels:
        height, width = image.shape[:2]
        left, top, end = margin, margin if sides > 1 else 0.0, margin if sides > 2 else 0.0
        box = (width * left, height * top, width * (1 - end), height * (1 - end))
        return _pixels(_picture(image).resize((width, height), Image.Resampling.BICUBIC, box=box))

    return alter


def _levels(gain: float, offset: float) -> Alter:
    def alter(image: Pixels, _: np.random.Generator) -> Pixels:
        moved = (image.astype(np.float32) - 128) * gain + 128 + offset
        return np.asarray(np.clip(np.rint(moved), 0, 255), dtype=np.uint8)

    return alter


def _gamma(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray(np.rint(255 * (image / 255) ** 0.7), dtype=np.uint8)


def _noise(image: Pixels, random: np.random.Generator) -> Pixels:
    return np.asarray(np.clip(np.rint(image + random.normal(0, 8, image.shape)), 0, 255), dtype=np.uint8)


def _overlay(image: Pixels, _: np.random.Generator) -> Pixels:
    """A white bar on black in the upper left, as large as a line of text: a tenth of the height, a quarter wide."""
    picture = _picture(image)
    height, width = image.shape[:2]
    right, bottom = max(4, round(width * 0.25)), max(3, round(height * 0.1))
    draw = ImageDraw.Draw(picture)
    white = 255 if picture.mode == "L" else (255, 255, 255)
    draw.rectangle((0, 0, right, bottom), fill=0)
    draw.rectangle((1, 1, right - 1, bottom - 1), fill=white)
    return _pixels(picture)


def _mirrored(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(image[:, ::-1])


def _turned(image: Pixels, random: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(np.rot90(image, int(random.integers(1, 4))))


def _mirrored_jpeg(image: Pixels, random: np.random.Generator) -> Pixels:
    return _jpeg(60)(_mirrored(image, random), random)


def _shifted(across: float, down: float) -> Alter:
    """Moved by shares of the sides, by a pixel at least where they are not 0; what comes in is as the edge was."""

    def alter(image: Pixels, _: np.random.Generator) -> Pixels:
        height, width = image.shape[:2]
        steps = [round(side * share) or (1 if share else 0) for side, share in ((height, down), (width, across))]
        padded = np.pad(image, ((steps[0], 0), (steps[1], 0), (0, 0)), mode="edge")
        return np.ascontiguousarray(padded[:height, :width])

    return alter


def _inverted(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray(255 - image, dtype=np.uint8)


def _bordered(image: Pixels, _: np.random.Generator) -> Pixels:
    """Smaller, in a black border of 3% of the sides."""
    picture = _picture(image)
    height, width = image.shape[:2]
    across, down = max(1, round(width * 0.03)), max(1, round(height * 0.03))
    bordered = Image.new(picture.mode, picture.size)
    inner = picture.resize((width - 2 * across, height - 2 * down), Image.Resampling.BICUBIC)
    bordered.paste(inner, (across, down))
    return _pixels(bordered)


KINDS: Final[Mapping[str, Alter]] = {
    "JPEG 90": _jpeg(90),
    "JPEG 60": _jpeg(60),
    "JPEG 40": _jpeg(40),
    "half the size and back": _resized(0.5),
    "cropped 2% a side": _cropped(0.02),
    "cropped 5% a side": _cropped(0.05),
    "cropped 5% on one side": _cropped(0.05, sides=1),
    "cropped 5% at a corner": _cropped(0.05, sides=2),
    "shifted by 3%": _shifted(0.03, 0),
    "shifted by 3% both ways": _shifted(0.03, 0.03),
    "in a black border": _bordered,
    "inverted grey": _inverted,
    "brighter": _levels(1, 30),
    "more contrast": _levels(1.3, 0),
    "less contrast": _levels(0.6, 0),
    "gamma 0.7": _gamma,
    "noise of 8 levels": _noise,
    "text over a corner": _overlay,
    "mirrored": _mirrored,
    "turned": _turned,
    "mirrored, JPEG 60": _mirrored_jpeg,
}
"""By what the audit calls them."""

ENCODINGS: Final = ("JPEG 90", "JPEG 60", "JPEG 40", "half the size and back", "brighter", "less contrast")
"""What every program may do to an image that nobody means to change."""
