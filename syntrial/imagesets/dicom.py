"""The header of a DICOM file: what its pixels are, whose they are, and whether text is burnt in (pydicom, MIT)."""

from collections.abc import Callable
from typing import Any, BinaryIO, Final, TypeVar

from PIL import Image

from syntrial.errors import SourceError, UserError
from syntrial.imagesets.facts import FileFacts
from syntrial.imagesets.headers import EIGHT, FLOATING, SIGNED, SIXTEEN, WIDE, WINDOWED, Header
from syntrial.imagesets.limits import MOST_PIXELS

_PIXELS: Final = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009))
_AGAIN: Final = "Copy or export it again."
_MODALITIES_WITH_TEXT: Final = frozenset(("US", "IVUS", "OT", "ES", "XC"))
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_GREY: Final = frozenset(("MONOCHROME1", "MONOCHROME2"))
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
"""The transfer syntax of which the whole file but its head is packed."""
_UNDEFINED: Final = 0xFFFFFFFF
"""The length of an element whose content is in fragments."""
_TABLES: Final = tuple(
    f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")
)
_COLOR: Final = frozenset(("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"))

T = TypeVar("T")


def guarded(read: Callable[[], T]) -> T:
    """What `read` gives; whatever pydicom and its codecs raise for a damaged file becomes ValueError."""
    try:
        return read()
    except (UserError, Image.DecompressionBombError):
        raise
    except Exception as error:  # noqa: BLE001 - each codec raises errors of its own
        raise ValueError(str(error)) from None


def read_dicom_header(file: BinaryIO, *, length: int) -> Header:
    """The header, without the pixels. Raises ValueError for damage, SourceError for what is whole and no picture."""
    try:
        import pydicom
    except ModuleNotFoundError:
        raise SourceError(
            field="a DICOM file",
            rule="DICOM is read with the `pydicom` package",
            received="it is not installed",
            remedy="Install syntrial[local].",
        ) from None
    return guarded(lambda: _header(pydicom.dcmread(file, stop_before_pixels=True), file, length=length))


def _header(found: Any, file: BinaryIO, *, length: int) -> Header:
    interpretation = str(found.get("PhotometricInterpretation", ""))
    width, height = int(found.get("Columns") or 0), int(found.get("Rows") or 0)
    syntax = found.file_meta.get("TransferSyntaxUID")
    is_deflated = syntax == _DEFLATED
    if not width or not height or (not is_deflated and _next_tag(found, file) not in _PIXELS):
        raise _no_picture("a file without pixels", "Leave out reports, plans and other objects without pixels.")
    if interpretation not in _GREY | _COLOR:
        raise _no_picture(
            f"photometric interpretation {interpretation[:32]!r}", "Convert the images to MONOCHROME2 or RGB."
        )
    if width * height > MOST_PIXELS:
        raise Image.DecompressionBombError(f"{width}×{height} pixels are too many")
    check_codec(syntax)
    _check_form(found)
    if not is_deflated:
        _check_length(found, file, pixels=width * height, length=length)
    return Header(
        facts=FileFacts(
            format="DICOM",
            mode=interpretation,
            depth=int(found.get("BitsStored") or found.get("BitsAllocated") or 8),
            width=width,
            height=height,
            bytes=length,
            frames=int(found.get("NumberOfFrames") or 1),
        ),
        channels=1 if interpretation in _GREY else 3,
        numbers=_numbers(found, is_grey=interpretation in _GREY),
        patient=str(found.get("PatientID") or "").strip(),
        burnt_in=_is_burnt_in(found),
    )


def check_codec(syntax: Any) -> None:
    """Raises SourceError where no library at hand decodes the compression."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        is_known = bool(get_decoder(syntax).is_available)
    except (NotImplementedError, AttributeError, ValueError):
        is_known = False
    if not is_known:
        raise _no_picture(
            f"transfer syntax {getattr(syntax, 'name', syntax) or 'not stated'}, which no library at hand decodes",
            "Decompress the files first, for example with `gdcmconv --raw`, or install python-gdcm.",
        )


def _check_form(found: Any) -> None:
    """Raises SourceError where what a decoder needs to know is missing, or contradicts itself."""
    allocated, stored = int(found.get("BitsAllocated") or 0), int(found.get("BitsStored") or 0)
    if not allocated:
        raise _no_picture("no Bits Allocated", _AGAIN)
    if stored > allocated:
        raise _no_picture(f"{stored} bits stored in {allocated}", _AGAIN)
    if found.PhotometricInterpretation == "PALETTE COLOR" and any(found.get(name) is None for name in _TABLES):
        raise _no_picture("PALETTE COLOR without its tables", "Convert the images to RGB.")
    if found.get("VOILUTSequence") or found.get("WindowCenter") is None:
        return
    width = first_of(found.get("WindowWidth") or 0)
    if not width > 0 or (voi_function(found) == "LINEAR" and width < 1):
        raise _no_picture(f"a window of width {width:g}", "Mend the window, or take its two elements out.")


def first_of(value: Any) -> float:
    """A number, or the first of several."""
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def voi_function(found: Any) -> str:
    """How a window is applied: LINEAR where the file does not say (PS3.3 C.11.2.1.3)."""
    return str(found.get("VOILUTFunction") or "LINEAR").upper()


def _check_length(found: Any, file: BinaryIO, *, pixels: int, length: int) -> None:
    """Raises SourceError where fewer bytes of pixels are there than rows and columns need; `file` is past their tag."""
    is_implicit, is_little = found.original_encoding
    head = file.read(4 if is_implicit else 8)[-4:]
    stated = int.from_bytes(head, "big" if is_little is False else "little")
    if stated == _UNDEFINED:
        return
    bits = pixels * int(found.get("SamplesPerPixel") or 1) * int(found.BitsAllocated)
    if found.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits * 2 // 3
    needed = int(found.get("NumberOfFrames") or 1) * bits // 8
    held = min(stated, length - file.tell())
    if held < needed:
        raise _no_picture(f"{held} bytes of pixels where its rows, columns and frames need {needed}", _AGAIN)


def has_window(found: Any) -> bool:
    """Whether a file brings a window or a table that says how it is shown."""
    return found.get("VOILUTSequence") is not None or found.get("WindowCenter") is not None


def _numbers(found: Any, *, is_grey: bool) -> str:
    bits = int(found.get("BitsStored") or found.get("BitsAllocated") or 8)
    if found.get("BitsAllocated") in {32, 64} and not found.get("BitsStored"):
        return FLOATING
    if not is_grey:
        return EIGHT if bits <= 8 or "PALETTE" in str(found.PhotometricInterpretation) else SIXTEEN
    if has_window(found):
        return WINDOWED
    if found.get("ModalityLUTSequence") is not None:
        return SIXTEEN
    if int(found.get("PixelRepresentation") or 0) or float(found.get("RescaleIntercept") or 0) < 0:
        return SIGNED
    if bits > 16:
        return WIDE
    slope, intercept = float(found.get("RescaleSlope") or 1), float(found.get("RescaleIntercept") or 0)
    return EIGHT if bits <= 8 and (slope, intercept) == (1, 0) else SIXTEEN


def _is_burnt_in(found: Any) -> bool:
    said = str(found.get("BurnedInAnnotation") or "").upper()
    if said:
        return said == "YES"
    kind = str(found.get("SOPClassUID") or "")
    return found.get("Modality") in _MODALITIES_WITH_TEXT or kind.startswith(_SECONDARY_CAPTURE)


def _next_tag(found: Any, file: BinaryIO) -> int:
    """The tag before which reading stopped."""
    head = file.read(4)
    order = "little" if found.original_encoding[1] in {True, None} else "big"
    return int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)  # type: ignore[arg-type]


def _no_picture(received: str, remedy: str) -> SourceError:
    return SourceError(
        field="a DICOM file",
        rule="holds one grey or colour picture in a compression that is read",
        received=received,
        remedy=remedy,
    )
