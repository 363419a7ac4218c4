"""TIFF in every depth: Pillow reads 8-bit pictures and what is compressed, tifffile (BSD) the deeper ones.

Pillow has no modes for deep colour, for signed 8 bits, for 32-bit unsigned and 64-bit numbers, and inverts no 16 bits.
"""

import io
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import open_picture
from syntrial.imagesets.pictures import ORIENTATION, PHOTOMETRICS, first, tiff_tags
from syntrial_data_prep.samples import Samples, of_pillow, upright

_EXTRA, _COMPRESSION, _FILL_ORDER, _PREDICTOR = 338, 259, 266, 317
_OWN_CODECS: Final = frozenset((1, 8, 32946, 32773))
"""None, deflate and packed bits: what tifffile reads by itself."""
_CONVERT: Final = "Save the images as 8- or 16-bit PNG, or as TIFF without compression."


def decode(file: BinaryIO) -> Samples:
    """The first page. Raises one of `filetypes.UNREADABLE`, or SourceError for a form that nothing here reads."""
    tags = next(tiff_tags(file), None)
    if tags is None:
        raise SyntaxError("a TIFF without pages")
    file.seek(0)
    bits, kind = first(tags.get(258), 1), first(tags.get(339), 1)
    photometric = first(tags.get(262), 1)
    if bits <= 8 and kind in {1, 4}:
        return of_pillow(file)
    if photometric not in {0, 1, 2}:
        raise _refused(f"{bits} bits in {PHOTOMETRICS.get(photometric, f'photometric interpretation {photometric}')}")
    samples = first(tags.get(277), 1)
    values = _stored(file, tags, bits=bits, samples=samples)
    grey = photometric in {0, 1}
    if values.ndim not in {2, 3} or (values.ndim == 3 and values.shape[2] != samples):
        raise _refused(f"pages of shape {values.shape}")
    if values.ndim == 2:
        values = values[:, :, None]
    colors = 1 if grey else 3
    if samples < colors:
        raise _refused(f"{samples} samples a pixel in {PHOTOMETRICS[photometric]}")
    extra = tags.get(_EXTRA, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    if samples > colors and extra[:1] == (1,):
        raise _refused("colours that are multiplied by their opacity, in more than 8 bits")
    return Samples(
        values=values[:, :, 0] if grey else np.ascontiguousarray(values[:, :, :3]),
        # Samples beyond the colours are opacity where the file says so, else something else.
        alpha=values[:, :, colors] if samples > colors and extra[:1] == (2,) else None,
        inverted=photometric == 0,
    )


def _stored(file: BinaryIO, tags: Any, *, bits: int, samples: int) -> NDArray[Any]:
    """The stored values of the first page, upright, in the machine's order of bytes."""
    compression = first(tags.get(_COMPRESSION), 1)
    if compression in _OWN_CODECS and bits in {8, 16, 32, 64} and first(tags.get(_PREDICTOR), 1) in {1, 2}:
        import tifffile

        data = io.BytesIO(file.read())
        try:
            with tifffile.TiffFile(data) as opened:
                page: Any = opened.pages[0]
                values = np.asarray(page.asarray())
                if page.planarconfig == 2 and values.ndim == 3:
                    values = np.moveaxis(values, 0, 2)
        except (tifffile.TiffFileError, AssertionError, AttributeError, MemoryError, RuntimeError) as error:
            raise ValueError(str(error)) from None
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return upright(values, first(tags.get(ORIENTATION), 1))
    return _by_pillow(file, bits=bits, samples=samples)


def _by_pillow(file: BinaryIO, *, bits: int, samples: int) -> NDArray[Any]:
    """What tifffile has no codec for; of 16-bit colour, upper and lower bytes one after the other."""
    with open_picture(file) as image:
        raw = str(image.tile[0][3][0] if isinstance(image.tile[0][3], tuple) else image.tile[0][3])
        if image.mode in {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}:
            image.load()
            return np.asarray(image)
        if bits != 16 or image.mode not in {"RGB", "RGBA"} or not raw.endswith(("16L", "16B", "16N")):
            raise _refused(f"{bits} bits in {samples} samples a pixel, compressed")
        native = raw[:-1] + ("L" if raw.endswith("N") else raw[-1])
        image.load()
        upper = np.asarray(image).astype(np.uint16)
    file.seek(0)
    with open_picture(file) as image:
        swapped = native[:-1] + ("B" if native.endswith("L") else "L")
        image.tile = [tile._replace(args=_with_raw(tile[3], swapped)) for tile in image.tile]
        image.load()
        deep: NDArray[np.uint16] = upper << 8 | np.asarray(image)
        return deep


def _with_raw(arguments: Any, raw: str) -> Any:
    return (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw


def _refused(what: str) -> SourceError:
    return SourceError(
        field="a TIFF",
        rule="is grey or colour of 1 to 64 bits a sample, and beyond 16-bit grey uncompressed or deflated",
        received=what,
        remedy=_CONVERT,
    )
