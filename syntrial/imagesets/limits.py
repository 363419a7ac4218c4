"""What pictures must be to enter a trial: their sides and the type of their pixels."""

import numpy as np

from syntrial.errors import SourceError

MOST_PIXELS = 64_000_000
"""A picture above this is a whole slide or a mistake, and would fill the memory of a laptop."""
SMALLEST_SIDE = 4


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
    """Raises SourceError for pixels of a type whose range is not known."""
    if dtype not in (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool)) and dtype.kind != "f":
        raise SourceError(
            field=name,
            rule="pixels are uint8, uint16, or floating point from 0 to 1",
            received=str(dtype),
            remedy="Scale them and save them as uint8.",
        )
