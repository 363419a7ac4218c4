"""Every depth, sign, photometry and orientation, drawn, read by the one decoder and compared with the truth."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom.data import get_testdata_file
from syntrial_data_prep.decoding import decode
from syntrial_data_prep.samples import Samples
from syntrial_data_prep.scales import levels

from syntrial.documents.scale import Scale
from syntrial.errors import SourceError
from syntrial.imagesets.headers import EIGHT, FLOATING, SIGNED, SIXTEEN, WIDE, WINDOWED, Header
from syntrial.imagesets.pictures import read_header

H, W = 11, 7
RANDOM = np.random.default_rng(0)


def drawn(dtype: str, channels: int = 1) -> NDArray[Any]:
    kind = np.dtype(dtype)
    shape = (H, W) if channels == 1 else (H, W, channels)
    if kind.kind == "f":
        return RANDOM.normal(0, 50, shape).astype(kind)
    return RANDOM.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, dtype=kind)


def read(file: io.BytesIO) -> tuple[Header, Samples]:
    file.seek(0)
    header = read_header(file, length=len(file.getvalue()))
    file.seek(0)
    return header, decode(file)


def tiff(values: NDArray[Any], **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", **options})
    return file


NUMBERS = {
    **{"u1": EIGHT, "u2": SIXTEEN, "u4": WIDE, "u8": WIDE, "i1": SIGNED, "i2": SIGNED, "i4": SIGNED},
    **{"f2": FLOATING, "f4": FLOATING, "f8": FLOATING},
}


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_grey_tiff_of_any_numbers_is_read_to_its_values(dtype: str, order: str, compression: str | None) -> None:
    values = drawn(dtype)
    header, found = read(tiff(values, byteorder=order, compression=compression))
    np.testing.assert_array_equal(found.values, values)
    assert (header.numbers, header.channels, found.inverted) == (NUMBERS[dtype], 1, False)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_where_white_is_zero_the_lowest_value_is_white(dtype: str) -> None:
    values = drawn(dtype)
    _, found = read(tiff(values, photometric="miniswhite"))
    np.testing.assert_array_equal(found.values, 255 - values if dtype == "u1" else values)
    assert found.inverted == (dtype == "u2"), "of deep pixels the scale comes first"


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colour_tiffs_keep_all_their_bits(dtype: str, planar: str) -> None:
    values = drawn(dtype, 3)
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    header, found = read(tiff(stored, photometric="rgb", planarconfig=planar))
    np.testing.assert_array_equal(found.values, values)
    assert header.channels == 3


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    across = values.swapaxes(0, 1)
    return {
        1: values,
        2: values[:, ::-1],
        3: np.rot90(values, 2),
        4: values[::-1],
        5: across,
        6: np.rot90(values, -1),
        7: np.rot90(across, 2),
        8: np.rot90(values, 1),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["tiff u1", "tiff u2", "tiff i2", "tiff lzw", "png L", "png I;16", "png RGB"])
def test_pictures_stand_upright(form: str, orientation: int) -> None:
    kind, _, what = form.partition(" ")
    if kind == "tiff" and what != "lzw":
        values = drawn(what)
        file = tiff(values, extratags=[(274, 3, 1, orientation, True)])
    else:
        values = drawn("u1", 3) if what == "RGB" else drawn("u1" if what == "L" else "u2")
        exif = Image.Exif()
        exif[274] = orientation
        file = io.BytesIO()
        options: dict[str, Any] = {"exif": exif} if kind == "png" else {"tiffinfo": {274: orientation}}
        Image.fromarray(values).save(file, kind, **options, **({"compression": "tiff_lzw"} if what == "lzw" else {}))
    np.testing.assert_array_equal(read(file)[1].values, turned(values, orientation))


def test_uncompressed_grey_tiffs_on_disk_are_not_garbled(tmp_path: Path) -> None:
    values = drawn("u1")
    (tmp_path / "x.tif").write_bytes(tiff(values, extratags=[(274, 3, 1, 6, True)]).getvalue())
    with (tmp_path / "x.tif").open("rb") as file:
        np.testing.assert_array_equal(decode(file).values, turned(values, 6))


def test_a_palette_of_greys_is_grey_whatever_the_pixels_use_of_it() -> None:
    for palette, channels in (([7, 7, 7, 200, 200, 200], 1), ([7, 7, 7, 200, 0, 0], 3)):
        image = Image.new("P", (W, H), 0)
        image.putpalette(palette)
        for form in ("GIF", "PNG", "TIFF"):
            file = io.BytesIO()
            image.save(file, form)
            header, found = read(file)
            assert header.channels == channels, form
            assert found.values.shape == ((H, W) if channels == 1 else (H, W, 3))
            assert (found.values == 7).all()


def test_pages_and_frames_are_counted_and_the_first_is_read() -> None:
    pages = np.stack([drawn("u1") for _ in range(5)])
    header, found = read(tiff(pages))
    assert header.facts.frames == 5
    np.testing.assert_array_equal(found.values, pages[0])
    file = io.BytesIO()
    frames = [Image.fromarray(page) for page in pages]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert read(file)[0].facts.frames == 5


def test_deep_colour_in_a_form_that_nothing_reads_is_refused_with_what_to_do() -> None:
    file = tiff(drawn("u2", 4), photometric="separated")
    file.seek(0)
    with pytest.raises(SourceError, match=r"16 bits in CMYK.*Save the images as"):
        decode(file)


DICOM = {
    # Of pydicom's bundled files: (name, numbers, channels, frames).
    "CT by a window of its own, or by the set's": ("CT_small.dcm", SIGNED, 1, 1),
    "MR with a window": ("MR_small.dcm", WINDOWED, 1, 1),
    "colour by planes": ("SC_rgb_small_odd.dcm", EIGHT, 3, 1),
    "JPEG 2000, signed": ("JPEG2000.dcm", SIGNED, 1, 1),
    "JPEG-LS": ("MR_small_jpeg_ls_lossless.dcm", WINDOWED, 1, 1),
    "run lengths": ("MR_small_RLE.dcm", WINDOWED, 1, 1),
    "big-endian": ("MR_small_bigendian.dcm", WINDOWED, 1, 1),
}


@pytest.mark.parametrize("name", DICOM)
def test_dicom_is_read_by_its_header(name: str) -> None:
    file, numbers, channels, frames = DICOM[name]
    path = get_testdata_file(file, download=False)
    if path is None:
        pytest.skip(f"{file} is not among the files that come with pydicom")
    header, found = read(io.BytesIO(Path(str(path)).read_bytes()))
    assert (header.numbers, header.channels, header.facts.frames) == (numbers, channels, frames)
    assert header.facts.format == "DICOM"
    assert found.values.shape[:2] == (header.facts.height, header.facts.width)
    assert (found.presented is not None) == (numbers == WINDOWED)


def dicom(values: NDArray[Any], **tags: Any) -> io.BytesIO:
    found = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    for tag in (
        "WindowCenter",
        "WindowWidth",
        "PixelPaddingValue",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
    ):
        if tag in found:
            del found[tag]
    found.Rows, found.Columns = values.shape
    found.BitsAllocated = values.dtype.itemsize * 8
    found.BitsStored, found.HighBit = found.BitsAllocated, found.BitsAllocated - 1
    found.PixelRepresentation = int(values.dtype.kind == "i")
    found.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    if "PixelPaddingValue" in tags:
        found.add_new("PixelPaddingValue", "SS", tags.pop("PixelPaddingValue"))
    for tag, value in tags.items():
        setattr(found, tag, value)
    file = io.BytesIO()
    found.save_as(file)
    return file


def test_dicom_is_rescaled_windowed_and_turned_white_to_black() -> None:
    values = np.arange(H * W, dtype=np.int16).reshape(H, W)
    header, found = read(dicom(values, RescaleSlope=2, RescaleIntercept=-50, WindowCenter=10.5, WindowWidth=21))
    np.testing.assert_array_equal(found.values, values * 2.0 - 50)
    # PS3.3 C.11.2.1.2.1: from centre - 0.5 - (width - 1) / 2 to centre - 0.5 + (width - 1) / 2.
    expected = np.rint(((values * 2.0 - 50 - 10) / 20 + 0.5).clip(0, 1) * 255)
    np.testing.assert_array_equal(found.presented, expected)
    assert header.numbers == WINDOWED
    _, white = read(dicom(values, WindowCenter=10.5, WindowWidth=21, PhotometricInterpretation="MONOCHROME1"))
    assert white.inverted
    assert white.presented is not None
    assert white.presented[0, 0] == 255


def test_bits_beyond_those_stored_are_no_part_of_a_value() -> None:
    values = np.array([[0x1FFF, 0xF801]], np.uint16)
    _, found = read(dicom(values, BitsStored=12, HighBit=11))
    assert found.values.tolist() == [[0xFFF, 0x801]]
    _, found = read(dicom(values.view(np.int16), BitsStored=12, HighBit=11, PixelRepresentation=1))
    assert found.values.tolist() == [[-1, -2047]]


def test_padding_is_black_and_no_part_of_the_range() -> None:
    values = np.full((H, W), 300, np.int16)
    values[0] = -2000
    values[1] = 100
    _, found = read(dicom(values, PixelPaddingValue=-2000))
    assert found.values.min() == 100


@pytest.mark.parametrize(
    ("tags", "burnt"),
    [
        ({"BurnedInAnnotation": "YES"}, True),
        ({"Modality": "US"}, True),
        ({"BurnedInAnnotation": "NO", "Modality": "US"}, False),
    ],
)
def test_text_in_the_pixels_is_warned_of(tags: dict[str, str], burnt: bool) -> None:
    assert read(dicom(drawn("u2"), **tags))[0].burnt_in == burnt


def test_dicom_without_pixels_or_with_an_absent_codec_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    del found.PixelData
    file = io.BytesIO()
    found.save_as(file)
    file.seek(0)
    with pytest.raises(SourceError, match=r"without pixels.*Leave out"):
        read_header(file, length=1)
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    file = dicom(drawn("u2"))
    file.seek(0)
    with pytest.raises(SourceError, match=r"no library at hand decodes.*Decompress"):
        read_header(file, length=1)


def test_lab_becomes_the_colours_that_it_stands_for() -> None:
    colours = np.array([[[200, 50, 50], [30, 120, 220]], [[255, 255, 255], [0, 0, 0]]], np.uint8).repeat(4, 0)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    file = io.BytesIO()
    lab = ImageCms.applyTransform(Image.fromarray(colours), transform)
    assert lab is not None
    lab.save(file, "TIFF")
    header, samples = read(file)
    assert header.channels == 3
    # 8 bits of lightness and of two axes hold colours to within a few levels.
    assert np.abs(samples.values.astype(int) - colours).max() <= 3


@pytest.mark.parametrize("channels", [2, 4], ids=["grey and alpha", "colour and alpha"])
def test_deep_pixels_with_alpha_are_laid_over_black_at_their_own_depth(channels: int) -> None:
    values = RANDOM.integers(0, 4096, (H, W, channels), dtype=np.uint16)
    values[..., -1] = 65535
    values[0, :, -1] = 0
    photometric = "minisblack" if channels == 2 else "rgb"
    header, samples = read(tiff(values, photometric=photometric, extrasamples=["unassalpha"]))
    assert (header.numbers, header.channels) == (SIXTEEN, 1 if channels == 2 else 3)
    laid = levels(samples, Scale(by="bits", low=0, high=4095, opaque=65535))[0]
    assert not laid[0].any()
    expected = np.rint(values[1:, :, :-1] * (255 / 4095)).squeeze()
    assert np.abs(laid[1:] - expected).max() <= 1
