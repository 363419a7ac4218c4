"""DICOM's pixels (pydicom, MIT; codecs of GDCM, BSD, and OpenJPEG, MIT): modality values, and the file's own window.

The order of PS3.3 C.7.6.3 and C.11: stored bits, modality table or rescale, then the values of interest (VOI).
"""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.dicom import first_of, guarded, has_window, voi_function
from syntrial_data_prep.samples import Samples


def decode(file: BinaryIO) -> Samples:
    """The first frame. Raises ValueError for damage."""
    import pydicom

    return guarded(lambda: _samples(pydicom.dcmread(file)))


def _samples(found: Any) -> Samples:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    stored = pixel_array(found, index=0)
    interpretation = str(found.PhotometricInterpretation)
    if interpretation == "PALETTE COLOR":
        bits = int(found.RedPaletteColorLookupTableDescriptor[2])
        colors = np.asarray(apply_color_lut(stored, found))
        return Samples(values=colors.astype(np.uint8) if bits <= 8 or colors.dtype == np.uint8 else _upper(colors))
    if not interpretation.startswith("MONOCHROME"):
        return Samples(values=stored)
    values = _of_stored_bits(stored, found)
    padding = _padding(values, found)
    values = np.asarray(apply_modality_lut(values, found))
    inverted = interpretation == "MONOCHROME1"
    if padding is not None and padding.any() and not padding.all():
        # What pads a picture is no part of it, and black.
        kept = values[~padding]
        values = np.where(padding, kept.max() if inverted else kept.min(), values)
    if has_window(found):
        presented = _presented(values, found)
        deep = values.astype(np.uint16) if values.dtype == np.uint8 else values
        return Samples(values=deep, inverted=inverted, presented=255 - presented if inverted else presented)
    if values.dtype != np.uint8:
        return Samples(values=values, inverted=inverted)
    bits = int(found.get("BitsStored") or 8)
    if bits < 8:
        values = np.rint(values * (255 / (2**bits - 1))).astype(np.uint8)
    return Samples(values=255 - values if inverted else values)


def _upper(colors: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(colors >> 8).astype(np.uint8)


def _of_stored_bits(stored: NDArray[Any], found: Any) -> NDArray[Any]:
    """The stored bits alone: others may hold overlays; the sign is that of the stored bits (PS3.5 section 8.1.1)."""
    if stored.dtype.kind == "f" or not found.get("BitsStored"):
        return stored
    bits, allocated = int(found.BitsStored), stored.dtype.itemsize * 8
    if not 0 < bits <= allocated:
        raise ValueError(f"{bits} bits stored in {allocated}")
    shift = max(0, int(found.get("HighBit", bits - 1)) - bits + 1) if not _is_compressed(found) else 0
    spare = allocated - bits
    if shift > spare:
        raise ValueError(f"high bit {found.HighBit} of {allocated}")
    # Shifts to the right keep a signed number's sign.
    return (stored << (spare - shift)) >> spare if spare else stored


def _is_compressed(found: Any) -> bool:
    return bool(found.file_meta.TransferSyntaxUID.is_compressed)


def _padding(values: NDArray[Any], found: Any) -> NDArray[np.bool_] | None:
    value = found.get("PixelPaddingValue")
    if value is None or not isinstance(value, int):
        return None
    limit = found.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    return (values >= low) & (values <= high)


def _presented(values: NDArray[Any], found: Any) -> NDArray[np.uint8]:
    """0 to 255 by the file's table of values of interest, else by its first window."""
    if found.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        bits = int(found.VOILUTSequence[0].LUTDescriptor[2])
        shown = np.asarray(apply_voi(values, found, index=0)).astype(np.float64) / (2**bits - 1)
        return _levels(shown)
    center, width = first_of(found.WindowCenter), first_of(found.WindowWidth)
    function = voi_function(found)
    real = values.astype(np.float64)
    if function == "SIGMOID":
        return _levels(1 / (1 + np.exp(-4 * (real - center) / width)))
    if function == "LINEAR_EXACT":
        return _levels((real - center) / width + 0.5)
    if width == 1:
        return _levels((real > center - 0.5).astype(np.float64))
    # PS3.3 C.11.2.1.2.1
    return _levels((real - (center - 0.5)) / (width - 1) + 0.5)


def _levels(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
    return levels
