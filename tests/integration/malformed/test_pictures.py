"""Malformed pictures and DICOM files: a set of them is refused as what they are, a single one is left out and told."""

import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.errors import UserError
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.testing import FakeContext
from syntrial.sources.digests import resolve
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.data_preparation_pb2 import FolderSource, ImageFormat, PrepareDatasetRequest, Source, SplitRule
from tests.integration.inputs.drawing import draw_classes, encoded, grey, trial, write
from tests.integration.inputs.test_what_tells_too_much import FORMAT
from tests.integration.malformed.drawn_pictures import PICTURES, dicom, tiff

PERSON: Final = "meier"
SUFFIXES: Final = {"DICOM": ".dcm", "JPEG": ".jpg", "TIFF": ".tif", "GIF": ".gif", "WebP": ".webp", "PGM": ".pgm"}
NO_PIXELS: Final = "a file without pixels"
TOLD: Final = {
    "a PNG of no bytes": "40 empty files",
    "a JPEG of no bytes": "40 empty files",
    "a TIFF of no bytes": "40 empty files",
    "a PNG of 20,000 pixels a side in a few bytes": "40 pictures of more than 64 megapixels",
    "a PNG of two thousand million pixels a side": "40 pictures of more than 64 megapixels",
    "a PNG of one pixel": "40 pictures with a side of less than 4 pixels",
    "a PNG without rows": "none of 4 that were looked at, of 40",
    "a PNG whose rows are no zlib stream": "none of 4 that were looked at, of 40",
    "a PNG whose zlib stream is damaged": "none of 4 that were looked at, of 40",
    "a TIFF of a compression that there is not": "none of 4 that were looked at, of 40",
    "a PGM that breaks off": "none of 4 that were looked at, of 40",
    "a HEIC picture under another name": "40 HEIC pictures. Convert to PNG first",
    "text under a picture's name": "40 text files",
    "text under a DICOM's name": "40 text files",
    "DICOM that breaks off in its header": NO_PIXELS,
    "DICOM without pixels": NO_PIXELS,
    "DICOM without rows": NO_PIXELS,
    "DICOM with too few pixels": "300 bytes of pixels where its rows, columns and frames need 576",
    "DICOM that breaks off in its pixels": "376 bytes of pixels",
    "DICOM whose pixels are none": "0 bytes of pixels",
    "DICOM without a photometric interpretation": "photometric interpretation ''",
    "DICOM without bits allocated": "no Bits Allocated",
    "DICOM of more bits stored than allocated": "12 bits stored in 8",
    "DICOM of a palette without its tables": "PALETTE COLOR without its tables",
    "DICOM whose window has no width": "a window of width 0",
    "DICOM of a film's compression": "HEVC/H.265 Main Profile / Level 5.1, which no library at hand decodes",
    "DICOM of a transfer syntax that there is not": "transfer syntax 1.2.826.0.1.3680043.9.7, which no library",
    "DICOM of 60,000 frames in a few bytes": "576 bytes of pixels where its rows, columns and frames need 34560000",
}
"""What a plan says of a set of them; of others, that they are damaged, and how many."""
OF_THE_PIXELS: Final = frozenset(
    (
        "a PNG with too few rows",
        "DICOM whose JPEG is none",
        "DICOM whose JPEG 2000 is none",
        "DICOM whose run lengths are none",
    )
)
"""What preparation alone sees, since it decodes all."""


def suffix_of(name: str) -> str:
    return next((suffix for word, suffix in SUFFIXES.items() if word in name), ".png")


def prepared(folder: Path, *, form: ImageFormat = FORMAT) -> FakeContext:
    resolved = resolve(Source(folder=FolderSource()), folder, cache=folder.parent)
    context = FakeContext(sources={resolved.source.digest: folder})
    split = SplitRule(validation=0.15, test=0.25)
    try:
        prepare_dataset(PrepareDatasetRequest(source=resolved.source, format=form, split=split), context)
    except UserError:
        assert not context.output.members()
        raise
    return context


@pytest.mark.parametrize("name", [name for name in PICTURES if name not in OF_THE_PIXELS])
def test_a_set_of_malformed_pictures_is_told_when_it_is_planned(name: str, tmp_path: Path) -> None:
    data = PICTURES[name]()
    draw_classes(tmp_path / "real", suffix=suffix_of(name), save=lambda path, *_: write(path, data))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        resolve_sources(trial({"folder": "real"}), base=tmp_path)
    (violation,) = caught.value.violations
    assert f"ill/p000{suffix_of(name)}" in violation.field
    assert all((violation.rule, violation.received, violation.remedy))
    assert TOLD.get(name, "40 of 40: 40 damaged") in str(violation)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", sorted(OF_THE_PIXELS))
def test_a_set_whose_pixels_alone_are_malformed_is_told_by_preparation_without_a_name(
    name: str, tmp_path: Path
) -> None:
    data = PICTURES[name]()
    folder = tmp_path / "real"
    draw_classes(folder, suffix=suffix_of(name), save=lambda path, *_: write(path.with_stem(PERSON + path.stem), data))
    with pytest.raises(UserError, match=r"at most 5% of the images cannot be decoded; received 40 of 40") as caught:
        prepared(folder)
    assert PERSON not in str(caught.value)


@pytest.mark.parametrize("name", PICTURES)
def test_one_malformed_picture_among_others_is_left_out_and_told_by_its_pseudonym(name: str, tmp_path: Path) -> None:
    folder = draw_classes(tmp_path / "real", count=15)
    write(folder / "ill" / f"{PERSON}{suffix_of(name)}", PICTURES[name]())
    resolve_sources(trial({"folder": "real"}), base=tmp_path)
    audit: dict[str, Any] = prepared(folder).result("audit").json("audit.json")
    assert sum(split["count"] for split in audit["splits"].values()) == 30
    told = [
        *audit["unreadable"],
        *(note for note in audit["notes"] if "1 image that could not be read" in note),
    ]
    assert len(told) == 1
    # In the order of names, meier stands before p000.
    assert "ill/0-" in told[0]
    assert PERSON not in json.dumps(audit)


def test_more_than_a_few_damaged_pixels_are_no_longer_left_out(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path / "real", count=15)
    for number in range(3):
        write(folder / "ill" / f"{PERSON}{number}.png", PICTURES["a PNG whose zlib stream is damaged"]())
    with pytest.raises(UserError, match=r"received 3 of 33, whose headers are sound and whose pixels are damaged"):
        prepared(folder)


ODD: Final = {
    "a suffix of another format": lambda: encoded(grey(0, 0), "JPEG"),
    "CMYK": lambda: _saved(Image.fromarray(grey(0, 0)).convert("CMYK"), "TIFF"),
    "one bit a pixel": lambda: _saved(Image.fromarray(grey(0, 0)).convert("1"), "PNG"),
    "a film of three frames": lambda: _saved(
        Image.fromarray(grey(0, 0)),
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(grey(0, number)) for number in (1, 2)],
    ),
    "a WebP of three frames": lambda: _saved(
        Image.fromarray(grey(0, 0)).convert("RGB"),
        "WEBP",
        save_all=True,
        append_images=[Image.fromarray(grey(0, number)).convert("RGB") for number in (1, 2)],
    ),
    "DICOM of another suffix": dicom,
    "DICOM of three frames": lambda: dicom(NumberOfFrames=3, PixelData=dicom_frames()),
}
"""Odd, but whole: each is read as what it is, whatever its suffix says."""


def dicom_frames() -> bytes:
    return b"".join(grey(0, number).tobytes() for number in range(3))


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ODD)
def test_an_odd_but_whole_picture_is_read_as_what_it_is(name: str, tmp_path: Path) -> None:
    folder = draw_classes(tmp_path / "real", count=15)
    write(folder / "ill" / "p9.png", ODD[name]())
    experiment = trial({"folder": "real", "colorMode": "grey"})
    resolve_sources(experiment, base=tmp_path)
    grey_form = ImageFormat(size=32, color_mode=ImageFormat.COLOR_MODE_GREY, resize=ImageFormat.RESIZE_BICUBIC)
    context = prepared(folder, form=grey_form)
    audit = context.result("audit").json("audit.json")
    assert audit["unreadable"] == []
    assert (
        sum(split["count"] for split in audit["splits"].values()) + sum(leak["dropped"] for leak in audit["leaks"])
        == 31
    )
    assert any("2 pages or frames after the first" in note for note in audit["notes"]) == ("three frames" in name)
    images = np.concatenate(
        [read_image_set(context.result(split)).images_NHWC for split in ("train", "validation", "test")]
    )
    assert images.max() > 200


def test_pictures_that_hold_all_in_their_transparency_are_refused_as_blank_ones(tmp_path: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        shape = grey(label, number)
        colourless = np.zeros((*shape.shape, 4), np.uint8)
        colourless[..., 3] = shape
        write(path, encoded(colourless, "PNG"))

    folder = draw_classes(tmp_path / "real", suffix=".png", save=save)
    with pytest.raises(UserError, match=r"the same to the pixel.*transparency"):
        prepared(folder)


def test_no_numbers_in_a_floating_point_picture_are_refused_without_a_scale(tmp_path: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        values = grey(label, number).astype(np.float32) / 255
        values[0, 0] = np.nan
        write(path, tiff(values))

    folder = draw_classes(tmp_path / "real", suffix=".tif", save=save)
    with pytest.raises(UserError, match=r"values that are no numbers.*intensity: \{window"):
        prepared(folder)
