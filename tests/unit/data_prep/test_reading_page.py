"""The page on what is read how says what the decoder does: each row of its first table is drawn and read."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from syntrial_data_prep.decoding import decode

from syntrial.imagesets.pictures import read_header

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reading.md"
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def pillow(form: str, mode: str) -> Callable[[], bytes]:
    def draw() -> bytes:
        file = io.BytesIO()
        image = Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
        image.save(file, form)
        return file.getvalue()

    return draw


def palette(form: str, last: tuple[int, int, int]) -> Callable[[], bytes]:
    def draw() -> bytes:
        file = io.BytesIO()
        image = Image.new("P", (16, 16), 0)
        image.putpalette([7, 7, 7, *last])
        image.save(file, form)
        return file.getvalue()

    return draw


def tiff(dtype: str, **options: Any) -> Callable[[], bytes]:
    def draw() -> bytes:
        file = io.BytesIO()
        values = (GREY // 2).astype(dtype)
        in_colour = options.get("photometric") == "rgb"
        stored = np.stack([values] * 3, axis=-1) if in_colour else values
        tifffile.imwrite(file, stored, **{"photometric": "minisblack", **options})
        return file.getvalue()

    return draw


DRAWN: dict[str, Callable[[], bytes]] = {
    **{f"PNG {mode}": pillow("PNG", mode) for mode in ("L", "RGB", "LA", "RGBA", "I;16")},
    "PNG P, a palette of greys": palette("PNG", (9, 9, 9)),
    "PNG P, a palette of colours": palette("PNG", (9, 0, 0)),
    "GIF P, a palette of greys": palette("GIF", (9, 9, 9)),
    "JPEG L": pillow("JPEG", "L"),
    "JPEG CMYK": pillow("JPEG", "CMYK"),
    "WebP RGB": pillow("WEBP", "RGB"),
    "TIFF uint8, white is zero": tiff("uint8", photometric="miniswhite"),
    "TIFF uint16, white is zero": tiff("uint16", photometric="miniswhite"),
    "TIFF uint16 in colour": tiff("uint16", photometric="rgb"),
    **{
        f"TIFF {dtype}": tiff(dtype)
        for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
    },
}


def rows() -> list[tuple[str, ...]]:
    table = PAGE.read_text().partition("## Kinds of numbers")[2].partition("\n## ")[0]
    found = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in re.findall(r"^\|.*\|$", table, re.MULTILINE)
    ]
    return found[2:]


def test_the_page_has_a_row_for_each_kind_that_is_drawn() -> None:
    assert {row[0] for row in rows()} == set(DRAWN)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_of_the_page_holds(row: tuple[str, ...]) -> None:
    name, channels, numbers, how = row
    data = DRAWN[name]()
    header = read_header(io.BytesIO(data), length=len(data))
    assert (str(header.channels), header.numbers) == (channels, numbers)
    found = decode(io.BytesIO(data))
    assert found.is_deep == how.startswith("by the set")
    assert (found.values.ndim == 3) == (channels == "3")
    if how.startswith("turned"):
        assert found.values[0, 0] == 255
    assert found.inverted == how.endswith("then turned")
