"""DICOM's kinds of pixels, each drawn with known values and compared with what the standard makes of them (PS3.3)."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless
from syntrial_data_prep.decoding import decode
from syntrial_data_prep.samples import Samples
from syntrial_data_prep.sources import read as read_source

from syntrial.sources.digests import resolve
from syntrial.v1.data_preparation_pb2 import FolderSource, Source, TableSource
from tests.integration.malformed.drawn_pictures import GREY, SIDE, dicom

COUNTED: NDArray[np.uint8] = np.arange(SIDE * SIDE, dtype=np.uint16).astype(np.uint8).reshape(SIDE, SIDE)
"""Every grey level, in order."""


def decoded(data: bytes) -> Samples:
    return decode(io.BytesIO(data))


def tables(bits: int) -> dict[str, Any]:
    """Palettes: red falls, green rises, blue is even."""
    levels = np.arange(256, dtype=np.uint16)
    columns = {"Red": 255 - levels, "Green": levels, "Blue": np.full(256, 7, np.uint16)}
    found: dict[str, Any] = {}
    for name, column in columns.items():
        stored = column * 257 if bits == 16 else column.astype(np.uint8)
        found[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        found[f"{name}PaletteColorLookupTableData"] = stored.tobytes()
    return found


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_the_colours_of_its_tables(bits: int) -> None:
    found = decoded(dicom(PhotometricInterpretation="PALETTE COLOR", PixelData=COUNTED.tobytes(), **tables(bits)))
    expected = np.stack([255 - COUNTED, COUNTED, np.full_like(COUNTED, 7)], axis=2)
    np.testing.assert_array_equal(found.values, expected)


def of_ybr(y: NDArray[Any], cb: NDArray[Any], cr: NDArray[Any]) -> NDArray[np.float64]:
    """PS3.3 C.7.6.3.1.2, solved for red, green and blue."""
    y, cb, cr = y.astype(float), cb.astype(float) - 128, cr.astype(float) - 128
    return np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2).clip(0, 255)


def test_luminance_and_two_colour_differences_become_red_green_and_blue() -> None:
    cb, cr = np.full_like(GREY, 100), np.full_like(GREY, 170)
    stored = np.stack([GREY, cb, cr], axis=2)
    fields = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "YBR_FULL"}
    found = decoded(dicom(**fields, PixelData=stored.tobytes()))
    assert np.abs(found.values - of_ybr(GREY, cb, cr)).max() <= 1


def test_two_pixels_share_their_colour_differences_where_the_file_says_so() -> None:
    cb = np.tile(np.array([90, 90, 140, 140], np.uint8), (SIDE, SIDE // 4))
    cr = np.full_like(GREY, 150)
    stored = np.stack([GREY[:, 0::2], GREY[:, 1::2], cb[:, 0::2], cr[:, 0::2]], axis=2)
    fields = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "YBR_FULL_422"}
    found = decoded(dicom(**fields, PixelData=stored.tobytes()))
    assert np.abs(found.values - of_ybr(GREY, cb, cr)).max() <= 1


def test_run_lengths_give_the_pixels_that_they_were_made_of() -> None:
    found = pydicom.dcmread(io.BytesIO(dicom()))
    found.compress(RLELossless, encoding_plugin="pydicom")
    file = io.BytesIO()
    found.save_as(file)
    np.testing.assert_array_equal(decoded(file.getvalue()).values, GREY)


def test_eight_bits_whose_lowest_is_white_are_turned() -> None:
    np.testing.assert_array_equal(decoded(dicom(PhotometricInterpretation="MONOCHROME1")).values, 255 - GREY)


def test_a_table_of_values_of_interest_goes_before_a_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = (257 * (255 - np.arange(256, dtype=np.uint16))).tobytes()
    table["LUTData"].VR = "OW"
    found = decoded(dicom(VOILUTSequence=Sequence([table]), WindowCenter=10, WindowWidth=2))
    assert found.presented is not None
    np.testing.assert_array_equal(found.presented, 255 - GREY)


def test_of_several_frames_the_first_is_read() -> None:
    found = decoded(dicom(NumberOfFrames=3, PixelData=GREY.tobytes() + bytes(2 * GREY.size)))
    np.testing.assert_array_equal(found.values, GREY)


def exported(folder: Path) -> Path:
    """Files as archives of pictures export them: two classes of six, and the index of an export."""
    for label in ("ill", "well"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            name = f"IM{number:04d}" if number % 2 else f"1.2.840.{number}"
            pixels = np.roll(GREY, number + 7 * (label == "well"), axis=1)
            (folder / label / name).write_bytes(dicom(PixelData=pixels.tobytes(), PatientID=f"{label}{number}"))
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "LICENSE").write_text("as it is")
    return folder


@pytest.mark.parametrize("kind", ["folder", "archive", "table"])
def test_dicom_without_a_suffix_is_known_by_its_content(tmp_path: Path, kind: str) -> None:
    path, request = exported(tmp_path / "set"), Source(folder=FolderSource())
    if kind == "archive":
        path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", path))
    if kind == "table":
        names = [name for label in ("ill", "well") for name in sorted((path / label).iterdir())]
        rows = [f"{name.relative_to(path).as_posix()},{name.parent.name}" for name in names]
        (path / "labels.csv").write_text("\n".join(["path,label", *rows]))
        request = Source(table=TableSource(images=["ill", "well"]))
    source = resolve(request, path, cache=tmp_path).source
    raw = read_source(source, path, on_progress=lambda _: None)
    (split,) = raw.splits.values()
    assert raw.classes == ("ill", "well")
    assert split.labels.tolist() == [0] * 6 + [1] * 6
    assert len(set(split.patients or ())) == 12
    found = next(iter(split.pictures()))()
    assert found is not None
    # In the order of names 1.2.840.0 is the first.
    np.testing.assert_array_equal(found.values, GREY)
