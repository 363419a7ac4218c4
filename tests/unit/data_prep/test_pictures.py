import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep import pixels, resample
from syntrial_data_prep.sources import folder, npz
from syntrial_data_prep.sources.raw import Raw

from syntrial.v1.data_preparation_pb2 import ImageFormat

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
BICUBIC = Image.Resampling.BICUBIC


def read(path: Path, pattern: str = "") -> Raw:
    return folder.read(path, digest="", pattern=pattern, on_progress=lambda _: None)


def save(path: Path, image: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def test_what_has_the_size_is_left_as_it_is() -> None:
    np.testing.assert_array_equal(resample.fit(RAMP, size=16, channels=1, method=BICUBIC)[..., 0], RAMP)


@pytest.mark.parametrize("method", [m for m in resample.METHODS if m != ImageFormat.RESIZE_UNSPECIFIED])
def test_reduction_is_antialiased(method: int) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    reduced = resample.fit(stripes, size=16, channels=1, method=resample.METHODS[method])
    assert abs(reduced.astype(int) - 128).max() <= 12, "stripes finer than a pixel become grey, not false stripes"


def test_the_central_square_is_kept() -> None:
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 200
    assert (resample.fit(wide, size=10, channels=1, method=Image.Resampling.BOX) == 200).all()


def test_colour_becomes_grey_by_luma_and_grey_becomes_colour_thrice() -> None:
    green = np.zeros((16, 16, 3), np.uint8)
    green[..., 1] = 255
    assert resample.fit(green, size=16, channels=1, method=BICUBIC)[0, 0, 0] == 150
    grey = resample.fit(RAMP, size=16, channels=3, method=BICUBIC)
    np.testing.assert_array_equal(grey, np.repeat(RAMP[..., None], 3, axis=2))


def test_transparency_lies_over_black() -> None:
    rgba = np.full((4, 4, 4), 200, np.uint8)
    rgba[..., 3] = 128
    rgba[0, 0, 3] = 0
    found = pixels.from_array(rgba, bits=8, name="x")
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[1, 1].tolist() == [100, 100, 100]
    np.testing.assert_array_equal(pixels.from_image(Image.fromarray(rgba), bits=8, name="x"), found)


@pytest.mark.parametrize(("highest", "bits"), [(200, 8), (1000, 10), (4095, 12), (4096, 14), (65535, 16), (99999, 16)])
def test_sixteen_bit_greys_are_scaled_by_the_bits_that_they_use(highest: int, bits: int) -> None:
    assert pixels.bits_of(highest) == bits
    ramp = np.array([[0, 2**bits - 1]], np.uint16)
    assert pixels.from_array(ramp, bits=bits, name="x").tolist() == [[0, 255]]


def test_floating_point_from_0_to_1_and_masks_are_scaled() -> None:
    assert pixels.from_array(np.array([[0.0, 0.5, 1.0]]), bits=8, name="x").tolist() == [[0, 128, 255]]
    assert pixels.from_array(np.array([[True, False]]), bits=8, name="x").tolist() == [[255, 0]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_of_a_file_gives_the_same_grey_ramp(mode: str, tmp_path: Path) -> None:
    ramp = (RAMP > 127).astype(np.uint8) * 255 if mode == "1" else RAMP
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    suffix = "tif" if mode in {"CMYK", "YCbCr"} else "png"
    for label in "ab":
        save(tmp_path / "set" / label / f"x.{suffix}", image)
    raw = read(tmp_path / "set")
    (picture, _) = raw.splits["all"].pictures()
    assert picture is not None
    grey = resample.fit(picture, size=16, channels=1, method=BICUBIC)[..., 0]
    assert abs(grey.astype(int) - ramp).max() <= (2 if mode == "YCbCr" else 1)
    assert raw.channels == (1 if mode in {"1", "L", "LA", "I;16"} else 3)


def test_twelve_bit_files_use_their_range_and_the_audit_says_so(tmp_path: Path) -> None:
    for label in "ab":
        save(tmp_path / "set" / label / "x.png", np.array([[0, 4095] * 4] * 8, np.uint16))
    raw = read(tmp_path / "set")
    (picture, _) = raw.splits["all"].pictures()
    assert picture is not None
    assert picture.max() == 255
    assert any("12 bits" in note for note in raw.notes)


def test_splits_classes_and_patients_come_from_folders_and_names(tmp_path: Path) -> None:
    for split, count in (("Training", 3), ("val", 2), ("test", 2)):
        for label in ("b", "a"):
            for number in range(count):
                save(tmp_path / "set" / split / label / "deep" / f"p{number}_1.PNG", RAMP)
    (tmp_path / "set" / "readme.txt").write_text("not an image")
    raw = read(tmp_path / "set", r"(p\d)_")
    assert set(raw.splits) == {"train", "validation", "test"}
    assert raw.classes == ("a", "b")
    assert raw.splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    train = raw.splits["train"]
    assert train.identities == ("p0", "p1", "p2") * 2
    assert raw.originals is not None
    assert [raw.originals.patients[word] for word in train.patients or ()] == list(train.identities)
    assert raw.originals.files[train.names[0]] == "Training/a/deep/p0_1.PNG"
    assert "Left out: 1 files that are no images." in raw.notes


def test_a_few_unreadable_files_are_left_out_and_named(tmp_path: Path) -> None:
    for label in "ab":
        for number in range(20):
            save(tmp_path / "set" / label / f"{number}.png", RAMP)
    (tmp_path / "set" / "a" / "0.png").write_bytes(b"no image")
    cut = tmp_path / "set" / "b" / "1.png"
    save(cut, np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8))
    cut.write_bytes(cut.read_bytes()[:150])
    raw = read(tmp_path / "set")
    assert raw.originals is not None
    words = {name: word for word, name in raw.originals.files.items()}
    assert any(words["a/0.png"] in note for note in raw.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = list(raw.splits["all"].pictures())
    assert not any(picture is None for picture in pictures)
    assert any(words["b/1.png"] in note for note in raw.notes)


def test_a_picture_on_its_side_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in "ab":
        save(tmp_path / "set" / label / "x.png", RAMP, exif=exif)
    (picture, _) = read(tmp_path / "set").splits["all"].pictures()
    np.testing.assert_array_equal(picture, np.rot90(RAMP, -1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_picture_in_bands_is_the_picture(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (13, 11, 3), dtype=np.uint8)
    image = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(values)
    image = image if mode == "I;16" else image.convert(mode)
    whole = pixels.from_image(image, bits=16, name="x")
    arrays = [values, values[..., 0], values / 255, values.astype(np.uint16), values > 127]
    wholes = [pixels.from_array(array, bits=10, name="x") for array in arrays]
    monkeypatch.setattr(pixels, "BAND_PIXELS", 50)
    np.testing.assert_array_equal(pixels.from_image(image, bits=16, name="x"), whole)
    for array, expected in zip(arrays, wholes, strict=True):
        np.testing.assert_array_equal(pixels.from_array(array, bits=10, name="x"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_the_largest_picture_takes_less_than_a_gibibyte(mode: str, tmp_path: Path) -> None:
    save(tmp_path / "set" / "a" / "x.png", Image.new(mode, (8000, 8000)), compress_level=1)
    save(tmp_path / "set" / "b" / "x.png", Image.new(mode, (8, 8)))
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom syntrial_data_prep.sources import folder\n"
        "raw = folder.read(Path(sys.argv[1]), digest='', pattern='', on_progress=lambda _: None)\n"
        "assert next(raw.splits['all'].pictures()).shape[:2] == (8000, 8000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(found.stdout) < 900 << 10


def test_columns_before_rows_are_unpacked_beside_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    images = np.asfortranarray(np.random.default_rng(0).integers(0, 256, (6, 9, 9), dtype=np.uint8))
    np.savez_compressed(path, images=images, labels=np.arange(6) % 2)
    found = npz.read(path, digest="", classes=())
    for picture, image in zip(found.splits["all"].pictures(), images, strict=True):
        np.testing.assert_array_equal(picture, image)
