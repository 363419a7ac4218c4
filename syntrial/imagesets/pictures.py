"""What a picture file says of itself before its pixels are decoded: format, mode, depth, size, pages.

Read by plans and by preparation, by one rule, from an open binary file. The rule of channels: a palette that holds
greys alone is grey, whatever the pixels use of it; every other palette is colour. The rule of depth: what can be read
without being told a scale is 8 bits, unsigned 16 bits, and DICOM that brings a window of its own.
"""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Final

from PIL import Image, ImageFile, TiffImagePlugin

from syntrial.errors import SourceError
from syntrial.imagesets.facts import FileFacts, facts_of
from syntrial.imagesets.filetypes import open_picture
from syntrial.imagesets.headers import EIGHT, FLOATING, SIGNED, SIXTEEN, WIDE, Header
from syntrial.imagesets.limits import MOST_PIXELS, SIXTEEN_BIT_MODES, is_grey

UNSCALED: Final = frozenset((SIGNED, WIDE))
"""Numbers whose range no rule tells: an experiment says by `intensity` which values are black and white."""

MOST_PAGES: Final = 10_000
"""Beyond which pages are not counted."""

DICOM_HEAD: Final = 132
"""Bytes of a file that tell whether it is DICOM."""

ORIENTATION: Final = 274
_BITS, _FORMAT, _PHOTOMETRIC, _SAMPLES, _SUBFILE, _COLORMAP = 258, 339, 262, 277, 254, 320
_WIDTH, _HEIGHT = 256, 257
_COMPRESSION, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 259, 278, 284, 322, 323
_OFFSETS = (273, 324)
"""Of strips, of tiles."""
_OLD_JPEG = 6
_REDUCED_OR_MASK: Final = 0b101
"""Bits of NewSubfileType: a page that is a smaller copy of another, or its mask."""


def read_header(file: BinaryIO, *, length: int) -> Header:
    """The header of a picture in a file of `length` bytes, which is left anywhere.

    Raises one of `filetypes.UNREADABLE`, DecompressionBombError for more than `MOST_PIXELS`, and SourceError for a form
    that no file of a set can be read in.
    """
    head = file.read(DICOM_HEAD)
    file.seek(0)
    if is_dicom_head(head):
        # A library of its own, imported by those who have such files.
        from syntrial.imagesets.dicom import read_dicom_header

        return read_dicom_header(file, length=length)
    if is_tiff_head(head):
        return _tiff(file, length=length)
    with open_picture(file) as image:
        facts = facts_of(image, length=length)
        is_deep = is_png_16(image)
        return Header(
            facts=replace(facts, depth=16) if is_deep else facts,
            channels=1 if is_grey(image.mode) or (image.mode in {"P", "PA"} and has_grey_palette(image)) else 3,
            numbers=SIXTEEN if is_deep or image.mode in SIXTEEN_BIT_MODES else EIGHT,
        )


def is_tiff_head(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF or a BigTIFF."""
    return head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def is_dicom_head(head: bytes) -> bool:
    """Whether a file that begins so (132 bytes) is DICOM."""
    return head[128:132] == b"DICM"


def check_scalable(numbers: Collection[str], *, is_told: bool, title: str, field: str) -> None:
    """Raises SourceError where pixels need a scale that nothing tells; `numbers` are those of the set's headers."""
    unknown = sorted(UNSCALED & set(numbers))
    if unknown and not is_told:
        raise SourceError(
            field=field,
            rule="says which values are black and white where the pixels' depth does not",
            received=f"nothing for {title}, which holds {' and '.join(unknown)} pixels",
            remedy="Write `intensity: {window: [LOW, HIGH]}` with the values that become black and white, or "
            "`intensity: {percentiles: [0.5, 99.5]}` of the training split's pixels, or save the images as 8-bit PNG.",
        )


def is_png_16(image: ImageFile.ImageFile) -> bool:
    """Whether an opened PNG has 16 bits a channel, of which Pillow's colour modes keep 8."""
    return image.format == "PNG" and bool(image.tile) and "16B" in str(image.tile[0][3])


def has_grey_palette(image: Image.Image) -> bool:
    """Whether the palette of a picture that has one holds nothing but greys."""
    palette = image.getpalette("RGB") or []
    return bool(palette) and all(palette[k] == palette[k + 1] == palette[k + 2] for k in range(0, len(palette) - 2, 3))


def tiff_tags(file: BinaryIO) -> Iterator[TiffImagePlugin.ImageFileDirectory_v2]:
    """The tags of each page, the first at first; Pillow's reader of them knows no modes. Raises `UNREADABLE`."""
    file.seek(0)
    head = file.read(8)
    if head[2:3] == b"+" or head[3:4] == b"+":
        head += file.read(8)
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    seen: set[int] = set()
    place = directory.next
    while place and place not in seen and len(seen) < MOST_PAGES:
        seen.add(place)
        try:
            file.seek(place)
        except OverflowError:
            raise SyntaxError(f"a TIFF with a page at {place}, where no file can have one") from None
        page = TiffImagePlugin.ImageFileDirectory_v2(head)
        page.load(file)
        yield page
        place = page.next


def first(value: Any, default: int) -> int:
    """A tag's value, or the first of several."""
    return int((value[0] if isinstance(value, tuple) else value) if value not in {None, ()} else default)


def _tiff(file: BinaryIO, *, length: int) -> Header:
    pages = tiff_tags(file)
    tags = next(pages, None)
    if tags is None:
        raise SyntaxError("a TIFF without pages")
    others = sum(not first(page.get(_SUBFILE), 0) & _REDUCED_OR_MASK for page in pages)
    width, height = first(tags.get(_WIDTH), 0), first(tags.get(_HEIGHT), 0)
    if width < 1 or height < 1:
        raise SyntaxError("a TIFF without a size")
    if width * height > MOST_PIXELS:
        raise Image.DecompressionBombError(f"{width}×{height} pixels are too many")
    bits = first(tags.get(_BITS), 1)
    kind = first(tags.get(_FORMAT), 1)
    samples = first(tags.get(_SAMPLES), 1)
    photometric = first(tags.get(_PHOTOMETRIC), 1)
    _check_places(tags, width=width, height=height, bits=bits * samples, length=length)
    if kind == 3:
        numbers = FLOATING
    elif kind == 2:
        numbers = SIGNED
    elif bits > 16:
        numbers = WIDE
    else:
        numbers = SIXTEEN if bits > 8 else EIGHT
    return Header(
        facts=FileFacts(
            format="TIFF",
            mode=f"{PHOTOMETRICS.get(photometric, str(photometric))};{samples}×{'?uifu'[min(kind, 4)]}{bits}",
            depth=bits,
            width=width,
            height=height,
            bytes=length,
            frames=1 + others,
        ),
        channels=1 if photometric in {0, 1} or (photometric == 3 and _is_grey_map(tags.get(_COLORMAP))) else 3,
        numbers=numbers,
    )


def _check_places(tags: Any, *, width: int, height: int, bits: int, length: int) -> None:
    """Raises SyntaxError where a page's strips or tiles are too few, or lie outside the file: some decoders fill them
    with black. `bits` are those of a pixel.
    """
    compression = first(tags.get(_COMPRESSION), 1)
    if compression == _OLD_JPEG:
        # Its pixels may lie elsewhere.
        return
    across = first(tags.get(_TILE_WIDTH), 0)
    rows = first(tags.get(_TILE_HEIGHT if across else _ROWS_PER_STRIP), height)
    if rows < 1:
        raise SyntaxError("a TIFF whose strips have no rows")
    expected = -(-height // rows) * (-(-width // across) if across else 1)
    expected *= first(tags.get(_SAMPLES), 1) if first(tags.get(_PLANAR), 1) == 2 else 1
    places = tags.get(_OFFSETS[bool(across)], ())
    places = places if isinstance(places, tuple) else (places,)
    if len(places) < expected:
        raise SyntaxError(f"a TIFF with {len(places)} of {expected} strips or tiles")
    if max(places) >= length or (compression == 1 and not across and height * (width * bits // 8) > length):
        raise SyntaxError("a TIFF whose pixels lie outside the file")


PHOTOMETRICS: Final = {
    0: "MinIsWhite",
    1: "MinIsBlack",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "LAB",
}
"""TIFF's photometric interpretations by their numbers."""


def _is_grey_map(colors: Any) -> bool:
    third = len(colors or ()) // 3
    return bool(third) and all(
        red == green == blue
        for red, green, blue in itertools.islice(
            zip(colors[:third], colors[third : 2 * third], colors[2 * third :], strict=False), third
        )
    )
