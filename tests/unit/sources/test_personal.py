"""Signs of persons in data that is about to be uploaded: found where they are, and not where they are not."""

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from syntrial.sources.personal import personal_signs, sign_in_name


@pytest.mark.parametrize(
    "name",
    [
        "ill/MUELLER_Anna_born1957.png",
        "ill/MÜLLER_Jürgen.png",
        "MUELLER_Anna/scan 1.png",
        "a/SMITH, John.png",
        "a/Smith^John.png",
        "a/x_born1957.png",
        "a/patient7-dob-19570302.png",
        "a/geb1957_3.png",
        "a/scan 1957-03-02.png",
        "a/02.03.1957 left.png",
    ],
)
def test_names_and_dates_of_persons_are_seen(name: str) -> None:
    assert sign_in_name(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "train/NORMAL/IM-0001-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "train/PNEUMONIA/BACTERIA-1008087-0001.jpeg",
        "COVID/COVID-1.png",
        "COVID_Positive/COVID_Positive_1.png",
        "NIH_Chest/00000013_005.png",
        "nv/ISIC_0024306.jpg",
        "malignant/SOB_M_DC-14-2523-40-001.png",
        "no/1 no.jpeg",
        "Te-gl_0010.jpg",
        "a/p12_3.png",
        "a/20200317_112233.png",
        "a/reborn2000.png",
        "a/MRI_brain_axial_2.png",
        "TUM_Tumour/x1957.png",
        "test/left ventricle/7.png",
    ],
)
def test_names_of_public_data_sets_are_no_persons(name: str) -> None:
    assert sign_in_name(name) is None


def test_dicom_and_its_tags_in_pictures_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("PatientName", "x")
    Image.new("L", (8, 8)).save(tmp_path / "b.png", pnginfo=texts)
    Image.new("L", (8, 8)).save(tmp_path / "c.png")
    assert [(sign.example, sign.count) for sign in personal_signs(tmp_path)] == [("a.dcm", 1), ("b.png", 1)]
    assert personal_signs(tmp_path / "c.png") == ()
