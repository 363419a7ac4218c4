import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from syntrial_data_prep import resample, samples, scales
from syntrial_data_prep.resample import Form
from syntrial_data_prep.sources import folder, npz
from syntrial_data_prep.sources.raw import Raw

from syntrial.documents.scale import Scale
from syntrial.v1.data_preparation_pb2 import ImageFormat, Intensity

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def read(path: Path, pattern: str = "") -> Raw:
    return folder.read(path, digest="", pattern=pattern, on_progress=lambda _: None)


def save(path: Path, image: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def pictures_of(raw: Raw, split: str = "all") -> list[NDArray[np.uint8] | None]:
    """Each picture in grey levels, by the set's own scale."""
    scale = scales.find_scale(raw, intensity=Intensity(), training=dict, on_progress=lambda _: None)
    found = [read() for read in raw.splits[split].pictures()]
    return [None if picture is None else scales.levels(picture, scale)[0] for picture in found]


def test_what_has_the_size_is_left_as_it_is() -> None:
    np.testing.assert_array_equal(resample.fit(RAMP, Form(size=16, channels=1))[..., 0], RAMP)


@pytest.mark.parametrize(
    "method",
    [m for m in resample.METHODS if m not in {ImageFormat.RESIZE_UNSPECIFIED, ImageFormat.RESIZE_NEAREST}],
)
def test_reduction_is_antialiased(method: int) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    reduced = resample.fit(stripes, Form(size=16, channels=1, method=resample.METHODS[method]))
    assert abs(reduced.astype(int) - 128).max() <= 12, "stripes finer than a pixel become grey, not false stripes"


def test_nearest_takes_pixels_as_they_are() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    found = resample.fit(picture, Form(size=16, channels=1, method=Image.Resampling.NEAREST))
    np.testing.assert_array_equal(found[..., 0], picture[1::3, 1::3])


def test_the_central_square_is_kept() -> None:
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 200
    assert (resample.fit(wide, Form(size=10, channels=1, method=Image.Resampling.BOX)) == 200).all()


def test_framing_adds_black_or_stretches_where_it_is_asked_to() -> None:
    wide = np.full((20, 60), 200, np.uint8)
    padded = resample.fit(wide, Form(size=12, channels=1, framing=ImageFormat.FRAMING_PAD))[..., 0]
    assert (padded[4:8] == 200).all()
    assert not padded[:4].any()
    assert not padded[8:].any()
    wide[:, :30] = 0
    stretched = resample.fit(
        wide, Form(size=12, channels=3, method=Image.Resampling.BOX, framing=ImageFormat.FRAMING_STRETCH)
    )
    assert (stretched[:, :6] == 0).all()
    assert (stretched[:, 6:] == 200).all()


def test_colour_becomes_grey_by_luma_and_grey_becomes_colour_thrice() -> None:
    green = np.zeros((16, 16, 3), np.uint8)
    green[..., 1] = 255
    assert resample.fit(green, Form(size=16, channels=1))[0, 0, 0] == 150
    grey = resample.fit(RAMP, Form(size=16, channels=3))
    np.testing.assert_array_equal(grey, np.repeat(RAMP[..., None], 3, axis=2))


def test_transparency_lies_over_black() -> None:
    rgba = np.full((4, 4, 4), 200, np.uint8)
    rgba[..., 3] = 128
    rgba[0, 0, 3] = 0
    found = npz.of_array(rgba).values
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[1, 1].tolist() == [100, 100, 100]
    np.testing.assert_array_equal(samples.of_image(Image.fromarray(rgba)).values, found)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_of_a_file_gives_the_same_grey_ramp(mode: str, tmp_path: Path) -> None:
    ramp = (RAMP > 127).astype(np.uint8) * 255 if mode == "1" else RAMP
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    suffix = "tif" if mode in {"CMYK", "YCbCr"} else "png"
    for label in "ab":
        save(tmp_path / "set" / label / f"x.{suffix}", image)
    raw = read(tmp_path / "set")
    (picture, _) = pictures_of(raw)
    assert picture is not None
    grey = resample.fit(picture, Form(size=16, channels=1))[..., 0]
    assert abs(grey.astype(int) - ramp).max() <= (2 if mode == "YCbCr" else 1)
    assert raw.channels == (1 if mode in {"1", "L", "LA", "P", "I;16"} else 3), "a palette of greys is grey"


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
    assert "Left out: 1 file that is no image." in raw.notes


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
        pictures = pictures_of(raw)
    assert not any(picture is None for picture in pictures)
    assert any(words["b/1.png"] in note for note in raw.notes)


def test_a_picture_on_its_side_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in "ab":
        save(tmp_path / "set" / label / "x.png", RAMP, exif=exif)
    (picture, _) = pictures_of(read(tmp_path / "set"))
    np.testing.assert_array_equal(picture, np.rot90(RAMP, -1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_a_picture_in_bands_is_the_picture(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (13, 11, 3), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    whole = samples.of_image(image).values
    scale = Scale(by="window", low=0, high=0.9)
    scaled = scales.levels(samples.Samples(values=values / 255), scale)[0]
    monkeypatch.setattr(samples, "BAND_PIXELS", 50)
    np.testing.assert_array_equal(samples.of_image(image).values, whole)
    np.testing.assert_array_equal(scales.levels(samples.Samples(values=values / 255), scale)[0], scaled)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_the_largest_picture_takes_less_than_a_gibibyte(mode: str, tmp_path: Path) -> None:
    save(tmp_path / "set" / "a" / "x.png", Image.new(mode, (8000, 8000)), compress_level=1)
    save(tmp_path / "set" / "b" / "x.png", Image.new(mode, (8, 8)))
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom syntrial_data_prep import scales\n"
        "from syntrial_data_prep.sources import folder\n"
        "raw = folder.read(Path(sys.argv[1]), digest='', pattern='', on_progress=lambda _: None)\n"
        "scale = scales.Scale(by='bits', low=0, high=65535)\n"
        "picture = scales.levels(next(raw.splits['all'].pictures())(), scale)[0]\n"
        "assert picture.shape[:2] == (8000, 8000)\n"
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
    for picture, image in zip(pictures_of(found), images, strict=True):
        np.testing.assert_array_equal(picture, image)
