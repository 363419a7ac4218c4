"""The decoder of plain PNGs: the same pixels as Pillow's, nothing for what it does not read, and room for others."""

import io
import struct
import sys
import threading
import zlib
from itertools import pairwise
from typing import Any

import deflate
import kornia_rs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from syntrial_data_prep import plain_png

MOST = 1 << 24


def picture(side: int, *, bits: int = 8, channels: int = 1, seed: int = 0) -> NDArray[Any]:
    """Smooth and noisy parts, so that a writer takes every filter."""
    random = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(side), 2 * np.arange(side))[..., None] % 2**bits
    noise = random.integers(0, 2**bits, (side, side, channels))
    values = np.where(np.arange(side)[:, None, None] % 3 == 0, noise, slope + noise // 64)
    found = (values % 2**bits).astype(np.uint8 if bits == 8 else np.uint16)
    return found[:, :, 0] if channels == 1 else found


def file_of(values: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", **options)
    return file.getvalue()


def written(values: NDArray[Any], *, filters: int, parts: int = 1, wrong: str = "") -> bytes:
    """A PNG by hand, all of whose rows have one filter's number, in `parts` chunks, with something `wrong` of it."""
    height, width = values.shape[:2]
    step = values.itemsize * (values.shape[2] if values.ndim == 3 else 1)
    plain = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8).astype(int)
    up = np.vstack([np.zeros_like(plain[:1]), plain[:-1]])
    left, corner = (np.hstack([np.zeros((height, step), int), rows[:, :-step]]) for rows in (plain, up))
    guess = left + up - corner
    a, b, c = (np.abs(guess - part) for part in (left, up, corner))
    paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
    predicted = (np.zeros_like(plain), left, up, (left + up) // 2, paeth)[filters]
    rows = np.hstack([np.full((height, 1), filters), (plain - predicted) % 256]).astype(np.uint8).tobytes()
    if wrong == "too few rows":
        rows = rows[: -len(rows) // height]
    packed = bytearray(zlib.compress(rows + (b"more" if wrong == "more than its rows" else b"")))
    if wrong == "checksum":
        packed[-1] ^= 1
    if wrong == "cut short":
        del packed[len(packed) // 2 :]
    edges = [len(packed) * part // parts for part in range(parts + 1)]
    chunks = [bytes(packed[start:stop]) for start, stop in pairwise(edges)]
    head = struct.pack(">IIBBBBB", width, height, 8 * values.itemsize, 2 if values.ndim == 3 else 0, 0, 0, 0)
    named = [(b"IHDR", head), *((b"IDAT", chunk) for chunk in chunks), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in named
    )


@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (8, 3), (16, 1)])
@pytest.mark.parametrize("side", [4, 97, 300])
def test_pixels_are_those_of_pillow(side: int, bits: int, channels: int) -> None:
    values = picture(side, bits=bits, channels=channels)
    for level in (0, 1, 9):
        data = file_of(values, compress_level=level)
        found = plain_png.decoded(data, most_pixels=MOST)
        assert found is not None
        assert found.dtype == values.dtype
        assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize("filters", range(5))
@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (8, 3), (16, 1)])
def test_every_filter_is_undone(filters: int, parts: int, bits: int, channels: int) -> None:
    values = picture(33, bits=bits, channels=channels)
    found = plain_png.decoded(written(values, filters=filters, parts=parts), most_pixels=MOST)
    assert found is not None
    assert np.array_equal(found, values)


def test_pictures_whose_rows_are_many_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    values = picture(64)
    monkeypatch.setattr(plain_png, "MOST_ROW_BYTES", 64 * 64)
    found = plain_png.decoded(file_of(values), most_pixels=MOST)
    assert found is not None
    assert np.array_equal(found, values)


@pytest.mark.parametrize("wrong", ["too few rows", "more than its rows", "checksum", "cut short"])
def test_what_is_damaged_is_left_to_another_decoder(wrong: str) -> None:
    assert plain_png.decoded(written(picture(40), filters=0), most_pixels=MOST) is not None
    assert plain_png.decoded(written(picture(40), filters=0, wrong=wrong), most_pixels=MOST) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        file_of(picture(8), transparency=3),
        file_of(picture(8, channels=3), transparency=(1, 2, 3)),
        file_of(picture(8, channels=4)),
        file_of(picture(8) > 100),
    ],
    ids=["empty", "no header", "a clear grey", "a clear colour", "opacity", "one bit"],
)
def test_what_is_not_plain_is_left_to_another_decoder(data: bytes) -> None:
    assert plain_png.decoded(data, most_pixels=MOST) is None


def test_more_pixels_than_are_allowed_are_not_unpacked() -> None:
    data = file_of(picture(32))
    assert plain_png.decoded(data, most_pixels=32 * 32) is not None
    assert plain_png.decoded(data, most_pixels=32 * 32 - 1) is None


def test_the_decoder_that_holds_the_interpreter_has_nothing_to_unpack(monkeypatch: pytest.MonkeyPatch) -> None:
    values, given = picture(300), list[bytes]()
    decode = kornia_rs.io.decode_image_png_u8

    def noted(data: bytes, *further: Any) -> Any:
        given.append(data)
        return decode(data, *further)

    monkeypatch.setattr(kornia_rs.io, "decode_image_png_u8", noted)
    assert plain_png.decoded(file_of(values, compress_level=9), most_pixels=MOST) is not None
    # Lengths, names and checksums of three chunks, the stream's own, and five bytes for each stored block.
    assert len(given[0]) == 8 + 3 * 12 + 13 + 6 + 2 * 5 + 300 * 301


def test_other_threads_work_while_a_picture_is_unpacked() -> None:
    packed, wanted, came = zlib.compress(picture(1000).tobytes()), threading.Event(), threading.Event()

    def come() -> None:
        wanted.wait()
        came.set()

    watcher = threading.Thread(target=come)
    usual = sys.getswitchinterval()
    watcher.start()
    try:
        # From here on the interpreter changes hands only where this thread lets it go.
        sys.setswitchinterval(600)
        wanted.set()
        for _ in range(200):
            if came.is_set():
                break
            deflate.zlib_decompress(packed, 1000 * 1000)
        has_come = came.is_set()
    finally:
        sys.setswitchinterval(usual)
        watcher.join()
    assert has_come
