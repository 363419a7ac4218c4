"""A decoder of plain PNGs that lets other threads work meanwhile: libdeflate unpacks, kornia-rs undoes the filters.

kornia-rs holds the interpreter for as long as it decodes, which for most of its time is unpacking. So it is given the
same picture in stored blocks, of which nothing is left to unpack: a tenth of its time. libdeflate, which takes half of
its time for the rest, releases the interpreter.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import deflate
import numpy as np
from numpy.typing import NDArray

KINDS: Final = {(8, 0): 1, (8, 2): 3, (16, 0): 2}
"""Bytes a pixel by bits a sample and colour type (PNG specification, table 11.1): grey and RGB, and 16-bit grey."""
MOST_STORED: Final = 65535
"""Bytes of a stored block (RFC 1951, section 3.2.4)."""
MOST_ROW_BYTES: Final = 32 << 20
"""Of pictures whose rows take more, kornia-rs unpacks them too: they would lie in memory three times."""
_HEAD_BYTES: Final = 33
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"


def decoded(data: bytes, *, most_pixels: int) -> NDArray[Any] | None:
    """A grey or colour PNG of 8 bits, or a grey one of 16, without transparency or orientation: (H, W) or (H, W, 3).

    None for any other, for one of more than `most_pixels`, and where there is damage: Pillow then tells.
    """
    if len(data) < _HEAD_BYTES:
        return None
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if (bits, kind) not in KINDS or not 0 < width * height <= most_pixels:
        return None
    packed = _packed_rows(data)
    if packed is None:
        return None
    row_bytes = height * (1 + width * KINDS[bits, kind])
    if not interlaced and row_bytes <= MOST_ROW_BYTES:
        stored = _stored(packed, row_bytes=row_bytes)
        if stored is None:
            return None
        data = b"".join((data[:_HEAD_BYTES], *_chunk(b"IDAT", stored), _END))
    import kornia_rs

    decoder = kornia_rs.io.decode_image_png_u16 if bits == 16 else kornia_rs.io.decode_image_png_u8
    try:
        picture = np.asarray(decoder(data, (height, width), "rgb" if kind == 2 else "mono"))
    except Exception:  # noqa: BLE001 - it raises nothing more particular
        return None
    return picture.reshape((height, width, 3) if kind == 2 else (height, width))


def _packed_rows(data: bytes) -> bytes | None:
    """The packed rows; None where a chunk says of the pixels more than their values.

    They end in a checksum of their own, which is looked at, so that of each chunk is not.
    """
    parts, place = [], 8
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if name in {b"tRNS", b"eXIf", b"acTL"}:
            return None
        if name in {b"tEXt", b"zTXt", b"iTXt"} and data[place + 8 : place + 19] in {b"Raw profile", b"XML:com.ado"}:
            return None
        if name == b"IDAT":
            parts.append(data[place + 8 : place + 8 + length])
        place += 12 + length
    return b"".join(parts)


def _stored(packed: bytes, *, row_bytes: int) -> list[bytes | memoryview] | None:
    """Packed rows of so many bytes in all in stored blocks, as parts of a stream; None for damaged or too few ones."""
    try:
        rows = deflate.zlib_decompress(packed, row_bytes)
    except deflate.DeflateError:
        return None
    if len(rows) != row_bytes:
        return None
    whole = memoryview(rows)
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, row_bytes, MOST_STORED):
        block = whole[start : start + MOST_STORED]
        is_last = start + MOST_STORED >= row_bytes
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return [*parts, deflate.adler32(rows).to_bytes(4, "big")]


def _chunk(name: bytes, parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """A chunk of the PNG's, in parts, so that a megabyte is copied once."""
    checksum = deflate.crc32(name)
    for part in parts:
        checksum = deflate.crc32(part, checksum)
    return [sum(map(len, parts)).to_bytes(4, "big"), name, *parts, checksum.to_bytes(4, "big")]
