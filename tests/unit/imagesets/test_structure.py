"""Folders of pictures, laid out by names alone."""

from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

from syntrial.errors import SourceError
from syntrial.imagesets.companions import MASK, NO_PICTURE
from syntrial.imagesets.folders import read_headers
from syntrial.imagesets.outer import check_outer
from syntrial.imagesets.split_words import split_word
from syntrial.imagesets.structure import lay_out, told
from syntrial.imagesets.trees import FolderTree


def test_classes_are_the_folders_and_other_files_are_counted() -> None:
    layout = lay_out(["a/1.png", "b/deep/2.WEBP", "b/notes.txt", "overview.png"], title="set")
    assert [(picture.split, picture.label) for picture in layout.pictures] == [("all", "a"), ("all", "b")]
    assert (layout.classes, len(layout.left_out)) == (("a", "b"), 2)


def test_usual_words_for_splits_are_known_in_any_case() -> None:
    layout = lay_out([f"{split}/{label}/1.png" for split in ("Train", "DEV", "test") for label in "ab"], title="set")
    assert layout.splits == ("test", "train", "validation")
    assert layout.classes == ("a", "b")


def test_a_jpeg_of_a_browser_is_an_image() -> None:
    assert len(lay_out(["a/1.jfif", "b/2.jpe"], title="set").pictures) == 2


def test_a_class_may_be_called_like_a_split_where_it_holds_images_itself() -> None:
    assert lay_out(["test/1.png", "control/1.png"], title="set").classes == ("control", "test")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/a/1.png", "test/b/1.png", "chest_xray/train/a/1.png"],
            r"the splits 'test', 'train' beside 'chest_xray'",
        ),
        (["train/a/1.png", "test/1.png"], r"images of 'test' in no class"),
        (["1.png", "2.png"], r"1.png and 1 more in no class"),
        (["train/1.png", "test/2.png"], r"train/1.png and 1 more in no class"),
        (["a/1.txt"], r"1 other file\b"),
        ([], r"0 other files"),
    ],
)
def test_a_folder_that_cannot_be_a_data_set_is_refused_by_its_names(names: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        lay_out(names, title="set")


def test_postscript_called_a_picture_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / label / "1.png", "EPS")
    tree = FolderTree(tmp_path)
    assert read_headers(lay_out(tree.names(), title="set").pictures, tree=tree) == ([], ["a/1.png", "b/1.png"])


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("TRAIN", "train"),
        ("train_set", "train"),
        ("Training-Images", "train"),
        ("1_train", "train"),
        ("trainData", "train"),
        ("trainval", "train"),
        ("dev", "validation"),
        ("valid", "validation"),
        ("val2017", "validation"),
        ("Validation Set", "validation"),
        ("test-images", "test"),
        ("holdout", "test"),
        ("testset", "test"),
        ("TEST_SIMPLE", None),
        ("stress", None),
        ("contrast", None),
        ("attest", None),
        ("train_test", None),
        ("normal", None),
    ],
)
def test_folders_are_splits_by_any_usual_word_and_affix(text: str, split: str | None) -> None:
    assert split_word(text) == split
    assert split_word("TEST_SIMPLE", strictly=False) == "test"


LAID_OUT: dict[str, tuple[list[str], set[tuple[str, str]], int]] = {
    "splits below classes": (
        [f"{label}/{split}/{number}.png" for label in "ab" for split in ("train", "test") for number in range(2)],
        {("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")},
        0,
    ),
    "a folder that wraps all": (["set/a/1.png", "set/b/1.png", "set/readme.txt"], {("all", "a"), ("all", "b")}, 1),
    "two folders that wrap splits": (
        ["set/images/TRAIN/a/1.png", "set/images/TRAIN/b/1.png", "set/images/TEST/a/1.png"],
        {("train", "a"), ("train", "b"), ("test", "a")},
        0,
    ),
    "splits of one stem within themselves": (
        [f"seg_{s}/seg_{s}/{label}/1.jpg" for s in ("train", "test") for label in "ab"],
        {("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")},
        0,
    ),
    "segmentations of splits": (
        [f"{top}/{label}/1.png" for top in ("train", "test", "seg_train", "seg_test") for label in "ab"],
        {("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")},
        4,
    ),
    "a split within itself": (
        ["train/train/a/1.png", "train/train/b/1.png", "test/test/a/1.png", "test/test/b/2.png"],
        {("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")},
        0,
    ),
    "images and masks": (
        ["a/images/1.png", "a/masks/1.png", "b/images/2.png", "b/masks/2.png"],
        {("all", "a"), ("all", "b")},
        2,
    ),
    "masks beside images": (
        ["a/x (1).png", "a/x (1)_mask.png", "a/x (1)_mask_1.png", "b/y.jpg", "b/y_seg.png", "b/mask_y.png"],
        {("all", "a"), ("all", "b")},
        4,
    ),
    "masks above classes": (["images/a/1.png", "images/b/1.png", "masks/a/1.png"], {("all", "a"), ("all", "b")}, 1),
    "masks of a split": (
        ["train/a/1.png", "train/b/1.png", "train_masks/a/1.png", "test/a/1.png"],
        {("train", "a"), ("train", "b"), ("test", "a")},
        1,
    ),
    "classes with and without masks": (
        ["with_mask/1.png", "without_mask/1.png"],
        {("all", "with_mask"), ("all", "without_mask")},
        0,
    ),
    "thumbnails of a file server": (
        ["a/1.png", "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "b/2.png", "b/Thumbs/2.png", "b/2_thumb.jpg"],
        {("all", "a"), ("all", "b")},
        3,
    ),
    "a sheet of samples": (
        [
            *(f"{label}/{number}.png" for label in "ab" for number in range(20)),
            "a/grid.png",
            "b/samples.txt",
            "reals.png",
        ],
        {("all", "a"), ("all", "b")},
        3,
    ),
    "patients that are folders": (
        [f"{label}/p{number}/{number}.png" for label in "ab" for number in range(40)],
        {("all", "a"), ("all", "b")},
        0,
    ),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_the_structure_of_names_is_recognised(name: str) -> None:
    names, expected, left = LAID_OUT[name]
    layout = lay_out(names, title="set")
    assert {(picture.split, picture.label) for picture in layout.pictures} == expected
    assert len(layout.left_out) == left
    assert len(layout.pictures) + left == len(names)


def test_what_is_left_out_has_its_class_and_split_and_is_told() -> None:
    layout = lay_out(
        ["train/a/1.png", "train/a/1_mask.png", "train/b/2.png", "test/a/x.txt", "test/a/3.png"], title="s"
    )
    assert [(item.reason, item.split, item.label) for item in layout.left_out] == [
        (MASK, "train", "a"),
        (NO_PICTURE, "test", "a"),
    ]
    assert told(layout.left_out) == [
        "Left out: 1 mask or other drawing beside an image ('a': 1).",
        "Left out: 1 file that is no image ('a': 1).",
    ]


AMBIGUOUS: dict[str, tuple[list[str], str]] = {
    "studies called by what was found, below body parts and patients": (
        [
            f"MURA-v1.1/{split}/XR_{part}/patient{number:05d}/study1_{found}/image1.png"
            for split in ("train", "valid")
            for part in ("ELBOW", "WRIST")
            for number, found in enumerate(("positive", "negative", "negative"))
        ],
        r"'XR_ELBOW', 'XR_WRIST', where 'XR_ELBOW' holds folders of images called by 'negative' and 'positive'",
    ),
    "the same of one body part": (
        [f"train/XR_HAND/patient{n}/study1_{found}/1.png" for n, found in enumerate(("positive", "negative"))],
        r"'XR_HAND' holds folders of images called by 'negative' and 'positive'",
    ),
    "findings within sites": (
        [f"site{n}/p{k}/{found}/1.png" for n in "ab" for k, found in enumerate(("Normal", "ABNORMAL"))],
        r"'sitea' holds folders of images called by 'abnormal' and 'normal'",
    ),
    "two folders for a split": (
        [f"{top}/{label}/1.png" for top in ("TRAIN", "TEST", "TEST_SIMPLE") for label in "abcd"],
        "'TEST', 'TEST_SIMPLE' for test",
    ),
    "a set within a class": (
        ["normal/1.png", "tumor/1.png", "synthetic/normal/1.png", "synthetic/tumor/1.png"],
        "'synthetic' beside 'normal', 'tumor'",
    ),
    "a set of another name within a class": (
        ["normal/1.png", "tumor/1.png", "made/Normal/1.png", "made/tumor/1.png"],
        "'made', which holds a folder 'Normal'",
    ),
    "the same once more within a class": (["a/1.png", "a/a/1.png", "b/1.png"], "'a', which holds a folder 'a'"),
    "splits below some classes": (
        ["a/train/1.png", "a/test/1.png", "b/1.png"],
        "'a/test', 'a/train' beside images in 'b'",
    ),
    "sites taken for classes": (
        [f"{site}/{label}/1.png" for site in ("Berlin", "Paris") for label in ("ill", "well")],
        "'Berlin', 'Paris', each of which holds 'ill', 'well'",
    ),
    "folds": ([f"fold{n}/{label}/1.png" for n in range(5) for label in ("ill", "well")], "each of which holds"),
    "parts of a download": (
        [f"HAM10000_images_part_{n}/ISIC_{k}.jpg" for n in (1, 2) for k in range(30)],
        "'HAM10000_images_part_2', which look like parts of one set",
    ),
    "parts by a letter": ([f"batch_{n}/{k}.jpg" for n in "abc" for k in range(30)], "look like parts of one set"),
    "sites without classes": ([f"site{n}/{k}.jpg" for n in (1, 2) for k in range(30)], "look like parts of one set"),
    "splits of one stem beside another folder": (
        [f"seg_{s}/seg_{s}/{label}/1.jpg" for s in ("train", "test") for label in "ab"] + ["seg_pred/seg_pred/1.jpg"],
        "'seg_test', 'seg_train' beside 'seg_pred'",
    ),
    "images without labels beside classes": (["a/1.png", "b/1.png", "Unlabelled/1.png"], "'Unlabelled' beside 'a'"),
    "slides": ([f"slide_{n}/{k}.png" for n in range(9) for k in range(5)], "look like patients"),
    "a generator's counters": ([f"0000{n}/img0000{n}000.png" for n in range(3)], "a generator counts"),
    "counters by thousands": ([f"00{n}000/00{n}001.png" for n in range(3)], "a generator counts"),
    "patients alone": ([f"patient{n:03d}/{k}.png" for n in range(40) for k in range(5)], "look like patients"),
    "a dozen patients": ([f"patient_{n:03d}/{k}.png" for n in range(15) for k in range(50)], "15 folders called alike"),
    "two patients": ([f"Patient {n}/{k}.png" for n in (1, 2) for k in range(5)], "'Patient 1', 'Patient 2' …, which"),
    "subjects": ([f"sub-{n:02d}/{k}.png" for n in range(9) for k in range(5)], "look like patients"),
    "patients by a letter": ([f"p{n:02d}/{k}.png" for n in range(12) for k in range(5)], "look like patients"),
    "patients by their numbers": ([f"{10000 + 37 * n}/{k}.png" for n in range(9) for k in range(5)], "like patients"),
    "patients with their classes": (
        [f"patient{n}/{label}/1.png" for n in range(9) for label in ("ill", "well")],
        "folder for each class, with the patients' folders",
    ),
    "patients beside a class": (
        [f"case{n}/1.png" for n in range(9)] + ["normal/1.png", "normal/2.png"],
        "look like patients, beside 'normal'",
    ),
    "splits of sites": (["train/x/train/1.png", "test/x/1.png"], "within 'x'"),
    "images and masks of no class": (["images/1.png", "masks/1.png"], "in no class"),
    "augmented images beside classes": (["a/1.png", "b/1.png", "augmented/1.png"], "'augmented' beside 'a', 'b'"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_with_the_names(name: str) -> None:
    names, message = AMBIGUOUS[name]
    with pytest.raises(SourceError, match=message) as caught:
        check_outer(lay_out(names, title="set"), title="set")
    assert all(violation.remedy for violation in caught.value.violations)


@pytest.mark.parametrize(
    "names",
    [
        [
            f"{label}/p{n}/study1_{found}/1.png"
            for label, found in (("COVID", "positive"), ("well", "negative"))
            for n in range(2)
        ],
        [
            f"{label}/p{n}/study1_{view}/1.png"
            for label in ("ill", "well")
            for n in range(3)
            for view in ("frontal", "side")
        ],
        [f"{label}/abnormality{n}/1.png" for label in ("ill", "well") for n in range(3)],
    ],
    ids=["the class once more", "views", "a longer word"],
)
def test_words_within_classes_that_tell_no_labels_apart_are_read(names: list[str]) -> None:
    layout = lay_out(names, title="set")
    check_outer(layout, title="set", has_patients=True)
    assert len(layout.classes) == 2


def test_findings_within_classes_are_refused_where_patients_are_found_in_the_path_too() -> None:
    names = [f"XR_{part}/patient{n}/study1_{found}/1.png" for part in "AB" for n, found in enumerate(("pos", "neg"))]
    with pytest.raises(SourceError, match="'neg' and 'pos'"):
        check_outer(lay_out(names, title="set"), title="set", has_patients=True)


def test_a_list_of_labels_gives_the_classes() -> None:
    names = ["00000/img0.png", "00000/img1.png", "00000/img2.png", "dataset.json"]
    layout = lay_out(names, title="set", labels={"00000/img0.png": "0", "00000/img1.png": "1"})
    assert [(picture.name, picture.label) for picture in layout.pictures] == [
        ("00000/img0.png", "0"),
        ("00000/img1.png", "1"),
    ]
    assert len(layout.left_out) == 2


NUMBERED = {
    "classes": [f"class_{n}" for n in range(15)],
    "padded classes": [f"class_{n:02d}" for n in range(15)],
    "grades": [f"grade{n}" for n in range(1, 6)],
    "digits": [str(n) for n in range(10)],
    "digits from 1": [f"{n:02d}" for n in range(1, 8)],
    "stages": ["Stage I", "Stage II", "Stage III"],
    "BI-RADS": [f"BIRADS {n}" for n in range(6)],
    "WordNet": [f"n0{1440764 + 3001 * n}" for n in range(20)],
    "types": ["type1", "type2", "type3"],
    "scans by what they are": ["ct_scan", "mri_scan"],
    "patients and controls": ["patients", "controls"],
}


@pytest.mark.parametrize("name", NUMBERED)
def test_numbered_classes_are_classes(name: str) -> None:
    tops = NUMBERED[name]
    assert set(lay_out([f"{top}/{k}.png" for top in tops for k in range(5)], title="set").classes) == set(tops)
