"""Malformed pictures and DICOM files, as bytes: each kind drawn from a sound file by what damages it."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pydicom
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from tests.integration.inputs.drawing import encoded, grey

SIDE: Final = 24
GREY: Final = grey(0, 0, size=(SIDE, SIDE))
DEEP: Final = GREY.astype(np.uint16)
UNKNOWN: Final = "1.2.826.0.1.3680043.9.7"
HEVC: Final = "1.2.840.10008.1.2.4.107"
"""A film's compression, which no library at hand decodes."""

Draw = Callable[[], bytes]


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*, width: int = SIDE, height: int = SIDE, bits: int = 8, kind: int = 0, data: bytes | None = None) -> bytes:
    """A grey PNG whose header says what it is told, whatever `data`, the packed rows, hold."""
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY)) if data is None else data
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(values: Any = GREY, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", **options})
    return file.getvalue()


def tiff_with(tag: int, value: int, **options: Any) -> bytes:
    """A TIFF of which one tag, of a single value, is overwritten."""
    data = bytearray(tiff(**options))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        found = opened.pages[0].tags[tag]  # type: ignore[union-attr]
        place, kind = found.offset + 8, found.dtype
    data[place : place + 4] = struct.pack("<HH" if kind == 3 else "<I", *((value, 0) if kind == 3 else (value,)))
    return bytes(data)


def dicom(*, syntax: str = ExplicitVRLittleEndian, without: tuple[str, ...] = (), **fields: Any) -> bytes:
    """A DICOM file of 24×24 grey pixels of 8 bits; `fields` are further ones or others, by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    found = Dataset()
    found.file_meta = meta
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    defaults: dict[str, Any] = {
        "Modality": "DX",
        "PatientID": "meier",
        "Rows": SIDE,
        "Columns": SIDE,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": GREY.tobytes(),
    }
    for name, value in (defaults | fields).items():
        if name not in without:
            setattr(found, name, value)
    if "PixelData" in found:
        found["PixelData"].VR = "OB" if syntax != ExplicitVRLittleEndian else "OW"
        found["PixelData"].is_undefined_length = syntax != ExplicitVRLittleEndian
    file = io.BytesIO()
    pydicom.dcmwrite(file, found, enforce_file_format=True)
    return file.getvalue()


def unknown_syntax() -> bytes:
    data = dicom(syntax=HEVC, PixelData=encapsulate([bytes(32)]))
    return data.replace(HEVC.encode(), UNKNOWN.encode())


def broken_rows() -> bytes:
    """Packed rows of which a part in the middle is overwritten."""
    rows = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY)))
    rows[40:80] = bytes(40)
    return bytes(rows)


PICTURES: Final[Mapping[str, Draw]] = {
    "a PNG of no bytes": lambda: b"",
    "a PNG that breaks off in its header": lambda: encoded(GREY)[:20],
    "a PNG that breaks off in its rows": lambda: encoded(GREY)[:200],
    "a PNG without rows": lambda: encoded(GREY)[:33] + chunk(b"IEND", b""),
    "a PNG whose rows are no zlib stream": lambda: png(data=bytes(range(200))),
    "a PNG whose zlib stream is damaged": lambda: png(data=broken_rows()),
    "a PNG with too few rows": lambda: png(height=4 * SIDE),
    "a PNG of no width": lambda: png(width=0),
    "a PNG of a bit depth that there is not": lambda: png(bits=5),
    "a PNG of 20,000 pixels a side in a few bytes": lambda: png(width=20_000, height=20_000),
    "a PNG of two thousand million pixels a side": lambda: png(width=2**31 - 1, height=2**31 - 1),
    "a PNG of one pixel": lambda: encoded(GREY[:1, :1]),
    "a JPEG of no bytes": lambda: b"",
    "a JPEG that breaks off in its tables": lambda: encoded(GREY, "JPEG")[:60],
    "a JPEG that breaks off in its scan": lambda: encoded(GREY, "JPEG")[:-150],
    "a JPEG of no height": lambda: encoded(GREY, "JPEG").replace(b"\x08\0\x18\0\x18", b"\x08\0\0\0\x18", 1),
    "a TIFF of no bytes": lambda: b"",
    "a TIFF that breaks off in its tags": lambda: tiff()[:40],
    "a TIFF without pages": lambda: b"II*\0\0\0\0\0",
    "a TIFF whose strips lie outside the file": lambda: tiff_with(273, 10**6),
    "a 16-bit TIFF whose strips lie outside the file": lambda: tiff_with(273, 10**6, values=DEEP),
    "a TIFF of 20,000 pixels a side in a few bytes": lambda: tiff_with(256, 2_000_000),
    "a deflated TIFF that unpacks to more": lambda: tiff_with(257, 60_000, values=DEEP, compression=8),
    "a TIFF of a compression that there is not": lambda: tiff_with(259, 999),
    "a 16-bit TIFF with too few strips": lambda: tiff_with(257, 2400, values=DEEP),
    "a GIF that breaks off": lambda: encoded(GREY, "GIF")[:60],
    "a WebP that breaks off": lambda: encoded(GREY, "WEBP")[:60],
    "a BMP that breaks off": lambda: encoded(GREY, "BMP")[:60],
    "a PGM that breaks off": lambda: b"P5 24 24 255\n" + GREY.tobytes()[:100],
    "a HEIC picture under another name": lambda: b"\0\0\0\x18ftypheic" + bytes(200),
    "text under a picture's name": lambda: b"not a picture at all",
    "text under a DICOM's name": lambda: b"not a picture at all",
    "DICOM that breaks off in its header": lambda: dicom()[:200],
    "DICOM without pixels": lambda: dicom(without=("PixelData",)),
    "DICOM without rows": lambda: dicom(without=("Rows",)),
    "DICOM with too few pixels": lambda: dicom(PixelData=GREY.tobytes()[:300]),
    "DICOM that breaks off in its pixels": lambda: dicom()[:-200],
    "DICOM whose pixels are none": lambda: dicom(PixelData=b""),
    "DICOM without a photometric interpretation": lambda: dicom(without=("PhotometricInterpretation",)),
    "DICOM without bits allocated": lambda: dicom(without=("BitsAllocated", "BitsStored", "HighBit")),
    "DICOM of more bits stored than allocated": lambda: dicom(BitsStored=12, HighBit=11),
    "DICOM of a palette without its tables": lambda: dicom(PhotometricInterpretation="PALETTE COLOR"),
    "DICOM whose window has no width": lambda: dicom(WindowCenter=100, WindowWidth=0),
    "DICOM of a film's compression": lambda: dicom(syntax=HEVC, PixelData=encapsulate([b"\0\0\0\1" * 8])),
    "DICOM of a transfer syntax that there is not": unknown_syntax,
    "DICOM whose JPEG is none": lambda: dicom(syntax=JPEGBaseline8Bit, PixelData=encapsulate([bytes(range(200))])),
    "DICOM whose JPEG 2000 is none": lambda: dicom(syntax=JPEG2000Lossless, PixelData=encapsulate([bytes(200)])),
    "DICOM whose run lengths are none": lambda: dicom(syntax=RLELossless, PixelData=encapsulate([bytes(64)])),
    "DICOM of 20,000 pixels a side in a few bytes": lambda: dicom(Rows=20_000, Columns=20_000),
    "DICOM of 60,000 frames in a few bytes": lambda: dicom(NumberOfFrames=60_000),
}
"""By what they are."""
