"""Samples of a picture, whose meaning is known, and how Pillow gives them.

8-bit files come out as uint8 grey or colour, ready for use; deeper ones keep their own values, for a scale is the data
set's and not a file's (`scales`). docs/reading.md has the table of what is read how, which a test draws file by file.
"""

import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps

from syntrial.imagesets.filetypes import open_picture
from syntrial.imagesets.limits import SIXTEEN_BIT_MODES
from syntrial.imagesets.pictures import has_grey_palette, is_png_16

BAND_PIXELS: Final = 1 << 22
"""Large pictures are converted a band of rows at a time: steps between the depths would each copy all of one."""
LARGE_PIXELS: Final = 16_000_000
"""Pictures above this are decoded one at a time, however many threads there are: memory has a bound."""
_LARGE = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """A decoded picture, upright."""

    values: NDArray[Any]
    """(H, W) grey or (H, W, 3) colour. uint8: grey levels, transparency laid over black already. Any other type: the
    file's own values, black the lowest."""
    alpha: NDArray[Any] | None = None
    """(H, W): opacity of deep samples, of the same type as they."""
    inverted: bool = False
    """Whether of deep samples the lowest value is white."""
    presented: NDArray[np.uint8] | None = None
    """The picture as a window of the file's own shows it, where it brings one (DICOM)."""

    @property
    def is_deep(self) -> bool:
        """Whether the values need a scale."""
        return self.values.dtype != np.uint8


def of_pillow(file: BinaryIO) -> Samples:
    """A picture by Pillow's decoders."""
    with open_picture(file) as image:
        if image.width * image.height > LARGE_PIXELS:
            with _LARGE:
                return _of_image(image)
        return _of_image(image)


def _of_image(image: ImageFile.ImageFile) -> Samples:
    if is_png_16(image) and image.mode in {"RGB", "RGBA"}:
        return _deep_png(image)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return of_image(image)


def of_image(image: Image.Image) -> Samples:
    """A decoded Pillow image of any mode."""
    if image.mode in {*SIXTEEN_BIT_MODES, "F"}:
        values = np.asarray(image)
        if image.mode == "I":
            # PGM: Pillow spreads what its header states to 16 bits.
            values = values.clip(0, 65535).astype(np.uint16)
        clear = image.info.get("transparency")
        if isinstance(clear, int) and image.mode != "F":
            values = np.where(values == clear, values.dtype.type(0), values)
        return Samples(values=values)
    width, height = image.size
    return Samples(values=by_bands(height, width, lambda top, end: _band(image.crop((0, top, width, end)))))


def by_bands(height: int, width: int, convert: Callable[[int, int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
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


def over_black(picture_rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) to (H, W, 3): black is the background of a radiograph."""
    alpha = picture_rgba[:, :, 3:].astype(np.uint16)
    return ((picture_rgba[:, :, :3] * alpha + 127) // 255).astype(np.uint8)


_GREY_MODES: Final = frozenset(("1", "L", "LA", "La"))


def _band(image: Image.Image) -> NDArray[np.uint8]:
    has_alpha = image.mode in {"LA", "La", "RGBA", "RGBa", "PA"} or "transparency" in image.info
    is_grey = image.mode in _GREY_MODES or (image.mode in {"P", "PA"} and has_grey_palette(image))
    if has_alpha:
        picture = over_black(np.asarray(_straight(image).convert("RGBA")))
        return picture[:, :, 0].copy() if is_grey else picture
    if image.mode == "LAB":
        return np.asarray(_from_lab(image))
    picture = np.asarray(image.convert("RGB" if image.mode in {"P", "PA"} or not is_grey else "L"))
    return picture[:, :, 0].copy() if is_grey and picture.ndim == 3 else picture


def _straight(image: Image.Image) -> Image.Image:
    """Colours that were multiplied by their opacity, as they were before."""
    return image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode]) if image.mode in {"La", "RGBa"} else image


def _from_lab(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def has_all_rows(data: bytes) -> bool:
    """Whether a PNG's packed rows are as many as its header says: Pillow leaves those that are missing black.

    Raises zlib.error for damage.
    """
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced:
        return True
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    needed = height * (1 + -(-width * bits * samples // 8))
    unpacker, place = zlib.decompressobj(), 8
    while place + 8 <= len(data) and needed > 0:
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        rest = data[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        while rest and needed > 0:
            needed -= len(unpacker.decompress(rest, BAND_PIXELS))
            rest = unpacker.unconsumed_tail
        place += 12 + length
    return bool(needed <= 0)


def _deep_png(image: ImageFile.ImageFile) -> Samples:
    """A PNG of 16 bits a channel in colour or with opacity, of which Pillow's modes keep the upper 8: decoded twice."""
    tile = image.tile[0]
    raw = str(tile[3])
    if raw == "LA;16B":
        # Four bytes a pixel, as they stand in the file.
        image._mode = "RGBA"
        image.tile = [tile._replace(args="RGBA")]
        image.load()
        parts = _upright(image, np.asarray(image).astype(np.uint16))
        return Samples(values=parts[:, :, 0] << 8 | parts[:, :, 1], alpha=parts[:, :, 2] << 8 | parts[:, :, 3])
    file: Any = image.fp
    image.load()
    upper = np.asarray(image).astype(np.uint16)
    file.seek(0)
    with open_picture(file) as again:
        again.tile = [again.tile[0]._replace(args=raw.replace("16B", "16L"))]
        again.load()
        lower = np.asarray(again)
    values = _upright(image, upper << 8 | lower)
    if values.shape[2] == 4:
        return Samples(values=values[:, :, :3], alpha=values[:, :, 3])
    return Samples(values=values)


def _upright(image: Image.Image, values: NDArray[Any]) -> NDArray[Any]:
    return upright(values, image.getexif().get(274, 1))


def upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W, …) turned as the EXIF or TIFF tag says (TIFF 6.0, section 8: the 0th row and column)."""
    turned = {
        2: lambda v: v[:, ::-1],
        3: lambda v: v[::-1, ::-1],
        4: lambda v: v[::-1],
        5: lambda v: v.swapaxes(0, 1),
        6: lambda v: v.swapaxes(0, 1)[:, ::-1],
        7: lambda v: v.swapaxes(0, 1)[::-1, ::-1],
        8: lambda v: v.swapaxes(0, 1)[::-1],
    }
    return np.ascontiguousarray(turned[orientation](values)) if orientation in turned else values
