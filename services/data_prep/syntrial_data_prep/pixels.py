"""Pixels of any depth and mode become uint8, grey (H, W) or colour (H, W, 3).

16-bit greys are scaled by the number of bits that their source uses (8, 10, 12, 14 or 16), the same for all its
images, so that exposure stays comparable. Transparency is laid over black, the background of a radiograph.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from syntrial.errors import SourceError
from syntrial.imagesets.limits import SIXTEEN_BIT_MODES

BAND_PIXELS: Final = 1 << 22
"""Large pictures are converted a band of rows at a time: steps between the depths would each copy all of one."""
DEPTHS = (8, 10, 12, 14, 16)


def bits_of(highest: int) -> int:
    """The smallest usual depth, in bits, that holds `highest`."""
    return next(bits for bits in DEPTHS if highest < 2**bits or bits == DEPTHS[-1])


def from_array(picture: NDArray[np.generic], *, bits: int, name: str) -> NDArray[np.uint8]:
    """uint8, uint16, bool, or floating point in [0, 1], of shape (H, W) or (H, W, 1, 3 or 4), to uint8."""
    if picture.dtype.kind == "f":
        low, high = float(picture.min()), float(picture.max())
        if not (low >= 0 and high <= 1):
            raise SourceError(
                field=name,
                rule="floating-point pixels are from 0 to 1",
                received=f"{low:g} to {high:g}",
                remedy="Scale them, or save them as uint8.",
            )
    height, width = picture.shape[:2]
    return _by_bands(height, width, lambda top, end: _array_band(picture[top:end], bits=bits))


def from_image(image: Image.Image, *, bits: int, name: str) -> NDArray[np.uint8]:
    """A decoded Pillow image of any mode to uint8, (H, W) or (H, W, 3). Raises SourceError for floating point."""
    if image.mode == "F":
        raise SourceError(
            field=name,
            rule="files hold 8- or 16-bit pixels",
            received="floating point, of unknown range",
            remedy="Scale them and save them as 8-bit PNG.",
        )
    width, height = image.size
    return _by_bands(height, width, lambda top, end: _image_band(image.crop((0, top, width, end)), bits=bits))


def _by_bands(height: int, width: int, convert: Callable[[int, int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """What `convert` makes of the rows from one to before another, as one picture."""
    rows = max(1, BAND_PIXELS // width)
    first = convert(0, min(rows, height))
    if rows >= height:
        return first
    whole = np.empty((height, *first.shape[1:]), np.uint8)
    whole[:rows] = first
    for top in range(rows, height, rows):
        whole[top : top + rows] = convert(top, min(top + rows, height))
    return whole


def _array_band(picture: NDArray[np.generic], *, bits: int) -> NDArray[np.uint8]:
    if picture.dtype == np.uint16:
        scaled = _scaled(picture, bits=bits)
    elif picture.dtype == np.bool_:
        scaled = picture.astype(np.uint8) * np.uint8(255)
    elif picture.dtype.kind == "f":
        scaled = np.rint(picture.astype(np.float64) * 255).astype(np.uint8)
    else:
        scaled = np.asarray(picture, dtype=np.uint8)
    if scaled.ndim == 3 and scaled.shape[2] == 1:
        return scaled[:, :, 0]
    if scaled.ndim == 3 and scaled.shape[2] == 4:
        return _over_black(scaled)
    return scaled


def _image_band(image: Image.Image, *, bits: int) -> NDArray[np.uint8]:
    if image.mode in SIXTEEN_BIT_MODES:
        return _scaled(np.asarray(image), bits=bits)
    if image.mode in {"1", "L"}:
        return np.asarray(image.convert("L"))
    if image.mode in {"LA", "La"}:
        return _over_black(np.asarray(image.convert("RGBA")))[:, :, 0].copy()
    if image.mode in {"RGBA", "RGBa", "PA"} or (image.mode == "P" and "transparency" in image.info):
        return _over_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _scaled(picture: NDArray[np.generic], *, bits: int) -> NDArray[np.uint8]:
    values = picture.astype(np.float64).clip(0, None)
    scaled: NDArray[np.uint8] = np.rint(np.minimum(values * (255 / (2**bits - 1)), 255)).astype(np.uint8)
    return scaled


def _over_black(picture_rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = picture_rgba[:, :, 3:].astype(np.uint16)
    return ((picture_rgba[:, :, :3] * alpha + 127) // 255).astype(np.uint8)
