"""What pictures must be to enter a trial: their sides, the type of their pixels, and which are grey."""

from typing import Final

import numpy as np

from syntrial.errors import SourceError, UserError
from syntrial.v1.data_preparation_pb2 import ImageFormat

MOST_PIXELS = 64_000_000
"""A picture above this is a whole slide or a mistake, and would fill the memory of a laptop."""
SMALLEST_SIDE = 4
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of grey pictures with more than 8 bits a pixel."""


def check_side(width: int, height: int, *, name: str) -> None:
    """Raises SourceError where a picture is too large or too small to be one of a trial."""
    if width * height > MOST_PIXELS or min(width, height) < SMALLEST_SIDE:
        raise SourceError(
            field=name,
            rule=f"a picture has sides of {SMALLEST_SIDE} pixels or more and at most {MOST_PIXELS // 10**6} megapixels",
            received=f"{width}×{height}",
            remedy="Cut it into tiles or reduce it first." if width * height > MOST_PIXELS else "Leave it out.",
        )


def check_dtype(dtype: np.dtype[np.generic], *, name: str) -> None:
    """Raises SourceError for pixels that are no numbers on a line."""
    if dtype.kind not in "buif":
        raise SourceError(
            field=name,
            rule="pixels are whole numbers or floating point",
            received=str(dtype),
            remedy="Save them as uint8.",
        )


def is_grey(mode: str) -> bool:
    """Whether a Pillow mode holds one channel of brightness."""
    return mode in {"1", "L", "LA", "La", "F", *SIXTEEN_BIT_MODES}


COLORS: Final = {1: "grey", 3: "rgb"}
"""What a data set's `colorMode` calls so many channels."""


def channels_of(found: int, *, mode: int, title: str, field: str = "format.color_mode") -> int:
    """Channels of a trial's images: 1 or 3.

    `found` are the source's, 0 where grey and colour are mixed; `mode` is an `ImageFormat.ColorMode`; errors call
    the source `title` and the mode `field`. Raises UserError where the source has both and no mode is chosen.
    """
    if mode == ImageFormat.COLOR_MODE_GREY:
        return 1
    if mode == ImageFormat.COLOR_MODE_RGB:
        return 3
    if found == 0:
        raise UserError(
            field=field,
            rule="is chosen where grey and colour images are mixed",
            received=f"nothing for {title}, which holds both",
            remedy="Write `colorMode: grey` or `colorMode: rgb` (with `syntrial judge`: --color-mode grey or rgb).",
        )
    return found
