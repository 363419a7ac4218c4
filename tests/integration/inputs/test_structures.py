"""Folders of any structure, as people have them: read right by the plan and by data preparation alike, or refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.documents import document
from syntrial.documents.audit import Audit
from syntrial.errors import UserError
from syntrial.imagesets.contents import Contents
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.testing import FakeContext
from syntrial.sources.contents import foreseen
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.detectable_effect import detectable_words
from syntrial.trial.run import draft
from tests.integration.inputs.drawing import draw_classes, draw_splits, encoded, grey, mask, trial, write

HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(200)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def looked_at(folder: Path, fields: dict[str, Any], images: dict[str, Any] | None = None) -> dict[str, Contents]:
    """What a plan sees of the sources."""
    return dict(resolve_sources(trial(fields, images=images), base=folder).contents)


def counted(found: Contents) -> dict[str, list[int]]:
    """Images of each class by split."""
    return {
        name: np.bincount(split.labels, minlength=len(found.classes)).tolist() for name, split in found.splits.items()
    }


def splits_below(root: Path) -> None:
    for split, count in (("train", 12), ("val", 5), ("test", 6)):
        draw_classes(root / split, count=count)
        for name in ("ill", "well"):
            (root / name).mkdir(exist_ok=True)
            (root / split / name).rename(root / name / split)
        (root / split).rmdir()


def images_and_masks(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        write(path.parent / "images" / path.name, grey(label, number))
        write(path.parent / "masks" / path.name, mask(label, number))

    draw_classes(root, save=save)


def masks_of_another_name(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        write(path.parent / "scans" / path.name, grey(label, number))
        write(path.parent / "outlines" / path.name, mask(label, number))

    draw_classes(root, save=save)


def thumbnails(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        write(path, grey(label, number))
        write(path.parent / "@eaDir" / path.name / "THUMB_M.jpg", grey(label, number, size=(8, 8)), "JPEG")

    draw_classes(root, save=save)


def smaller_copies(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        write(path, grey(label, number))
        write(path.parent / "small" / path.name, grey(label, number, size=(8, 8)))

    draw_classes(root, save=save)


def named_after_images(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        write(path, grey(label, number))
        write(path.with_name(f"{path.stem}_heatmap.png"), grey(label, number, noise=0))

    draw_classes(root, save=save)


def sheet(root: Path) -> None:
    draw_classes(root)
    write(root / "ill" / "overview.png", np.tile(grey(0, 0), (4, 4)))


def one_huge_and_one_stray(root: Path) -> None:
    draw_classes(root, count=40)
    Image.new("1", (9000, 9000)).save(root / "ill" / "slide.png")
    write(root / "well" / "dot.png", np.zeros((2, 2), np.uint8))
    write(root / "well" / "notes.txt", b"seen by two readers")
    write(root / ".hidden" / "1.png", grey(0, 0))


def a_few_pointers(root: Path) -> None:
    draw_classes(root, count=40)
    for number in range(3):
        write(root / "well" / f"q{number}.png", POINTER)


def generator(root: Path) -> None:
    labels = []
    for number in range(40):
        name = f"{number // 20:05d}/img{number:08d}.png"
        write(root / name, grey(number % 2, number))
        labels.append([name, number % 2])
    write(root / "dataset.json", json.dumps({"labels": labels}).encode())


def browsers(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        if label and number > 9:
            write(path.with_suffix(".jfif"), np.repeat(grey(label, number)[..., None], 3, axis=2), "JPEG")
        else:
            write(path.with_suffix(".webp"), grey(label, number), "WEBP", lossless=True)

    draw_classes(root, save=save)


def flat_with_table(root: Path) -> None:
    for number in range(40):
        write(root / f"IMG_{number}.png", grey(number % 2, number))
    rows = [f"IMG_{number}.png,{('ill', 'well')[number % 2]}" for number in range(40)]
    write(root / "labels.csv", "\n".join(["image,label", *rows]).encode())


def wrapped(root: Path) -> None:
    draw_splits(root / "chest_xray" / "chest_xray", splits={"TRAIN": 12, "dev": 5, "Test_Images": 6})


Make = Callable[[Path], object]


def initials(root: Path) -> None:
    """Patients in folders of their own, by initials and numbers."""
    draw_classes(root, save=lambda p, k, n: write(p.parent / f"{'ABCD'[n % 2]}K{n % 2 + 7}" / p.name, grey(k, n)))


def called_labels(root: Path) -> None:
    """Classes that are called so: no image has a label of its name."""
    draw_classes(root, classes=("labels", "tags"))


READ: dict[str, tuple[Make, dict[str, list[int]], str]] = {
    "a split called dev": (
        lambda root: draw_splits(root, splits={"train": 12, "dev": 5, "test": 6}),
        {"train": [12, 12], "validation": [5, 5], "test": [6, 6]},
        "",
    ),
    "splits below classes": (splits_below, {"train": [12, 12], "validation": [5, 5], "test": [6, 6]}, ""),
    "splits of a year each": (
        lambda root: draw_splits(root, splits={"train_2019": 12, "test_2020": 6}),
        {"train": [12, 12], "test": [6, 6]},
        "",
    ),
    "splits in two folders that wrap them": (wrapped, {"train": [12, 12], "validation": [5, 5], "test": [6, 6]}, ""),
    "images and masks": (images_and_masks, {"all": [20, 20]}, r"40 masks .*'ill': 20, 'well': 20"),
    "masks of another name": (masks_of_another_name, {"all": [20, 20]}, "40 masks"),
    "thumbnails in subfolders": (thumbnails, {"all": [20, 20]}, "40 thumbnails"),
    "smaller copies in subfolders": (smaller_copies, {"all": [20, 20]}, "40 thumbnails"),
    "heat maps named after images": (named_after_images, {"all": [20, 20]}, "40 masks or other drawings"),
    "a sheet of samples": (sheet, {"all": [20, 20]}, "1 sheet of samples"),
    "one huge, one tiny and one stray file": (one_huge_and_one_stray, {"all": [40, 40]}, "1 file that is no image"),
    "a few pointers": (
        a_few_pointers,
        {"all": [40, 40]},
        r"3 images that cannot be read \('well': 3\): 3 Git LFS pointers",
    ),
    "a generator's list of labels": (generator, {"all": [20, 20]}, "1 file that is no image"),
    "half of a class as JFIF, the rest WebP": (browsers, {"all": [20, 20]}, ""),
    "patients by initials": (initials, {"all": [20, 20]}, ""),
    "a class called labels": (called_labels, {"all": [20, 20]}, ""),
    "a flat folder with a table in it": (flat_with_table, {"all": [20, 20]}, ""),
}


@pytest.mark.parametrize("name", READ)
def test_a_folder_is_read_for_what_it_is_and_what_is_left_out_is_told(name: str, tmp_path: Path) -> None:
    make, expected, note = READ[name]
    make(tmp_path / "real")
    found = looked_at(tmp_path, {"folder": "real"})["dataset"]
    assert counted(found) == expected
    if note:
        assert any(re.search(note, told) for told in found.notes), found.notes
    else:
        assert found.notes == ()


@pytest.mark.parametrize(
    "name",
    ["images and masks", "smaller copies in subfolders", "a sheet of samples", "one huge, one tiny and one stray file"],
)
@pytest.mark.parametrize("packed", ["", "zip", "gztar"])
def test_preparation_reads_what_was_planned_from_a_folder_and_from_archives(
    name: str, packed: str, tmp_path: Path
) -> None:
    READ[name][0](tmp_path / "real")
    folder = "real"
    if packed:
        folder = Path(shutil.make_archive(str(tmp_path / "packed"), packed, tmp_path / "real")).name
    experiment = trial({"folder": folder, "leaks": {"exactDuplicates": "waive"}})
    sources = resolve_sources(experiment, base=tmp_path)
    planned = foreseen(experiment.spec.dataset, sources.contents["dataset"])
    context = FakeContext(sources=dict(sources.locations))
    prepare_dataset(draft(experiment, sources).plan.training[0].request, context)
    for split in ("train", "validation", "test"):
        assert read_image_set(context.result(split)).class_counts.tolist() == counted(planned)[split]
    audit = document.read(Audit, context.result("audit"), "audit.json")
    assert any(note.startswith("Left out") for note in audit.notes)
    assert not any("p000" in note or "overview" in note or "slide" in note for note in audit.notes)


def refused_set(root: Path) -> None:
    draw_classes(root)
    draw_classes(root / "synthetic", seed=9)


def mixture(root: Path) -> None:
    draw_splits(root)
    draw_splits(root / "chest_xray")


def no_classes_in_test(root: Path) -> None:
    draw_classes(root / "train")
    for number in range(8):
        write(root / "test" / f"{number}.png", grey(number % 2, number, seed=5))


def other_type(root: Path) -> None:
    draw_classes(root, save=lambda p, k, n: write(p, HEIC if n % 8 == 7 else grey(k, n)))


def truncated(root: Path) -> None:
    def save(path: Path, label: int, number: int) -> None:
        data = encoded(grey(label, number, noise=30))
        write(path, data[: len(data) // 2] if label and number % 2 else data)

    draw_classes(root, save=save)


def beside_labels(suffix: str, content: bytes, *, above: str = "") -> Make:
    """`images/` beside `labels/`, with a file for each image."""

    def make(root: Path) -> None:
        for number in range(12):
            write(root / above / "images" / f"{number}.png", grey(number % 2, number))
            write(root / above / "labels" / f"{number}{suffix}", content)

    return make


def beside_masks(root: Path) -> None:
    for number in range(12):
        write(root / "images" / "train" / f"{number}.png", grey(number % 2, number))
        write(root / "labels" / "train" / f"{number}.png", mask(number % 2, number))


def beside_a_table(root: Path) -> None:
    for number in range(12):
        write(root / "images" / f"{number}.png", grey(number % 2, number))
    write(root / "labels" / "train.csv", b"image,label\n0.png,ill\n")


def organs(root: Path) -> None:
    """As LC25000: which of two levels the classes are, nothing says."""
    for seed, organ in enumerate(("colon", "lung")):
        draw_classes(root / f"{organ}_image_sets", classes=(f"{organ}_aca", f"{organ}_n"), count=10, seed=seed)


def larger_beside_tiles(root: Path) -> None:
    """As Kather's texture set: tiles in their classes, and a folder of whole images."""
    draw_classes(root / "tiles_5000", classes=("01_TUMOR", "02_STROMA", "03_EMPTY"), count=10)
    for number in range(10):
        write(root / "larger_10" / f"{number}.png", grey(0, number, size=(64, 64)))


def competition(root: Path) -> None:
    """As APTOS: a folder for each split, and tables."""
    for number in range(20):
        write(root / "train_images" / f"{number}.png", grey(number % 2, number))
    for name in ("sample.csv", "train.csv"):
        write(root / name, b"id_code,diagnosis\n")


def others(suffix: str) -> Make:
    def make(root: Path) -> None:
        for label in ("ill", "well"):
            for number in range(5):
                write(root / label / f"{number}{suffix}", bytes(348))

    return make


REFUSED: dict[str, tuple[Make, str]] = {
    "classes in two groups": (
        organs,
        "'colon_image_sets', which holds 2 folders of images.*'lung_image_sets'",
    ),
    "classes beside whole images": (larger_beside_tiles, "'tiles_5000', which holds 3 folders.*beside 'larger_10'"),
    "a competition's folder": (competition, r"table: \{folder: …, file: train.csv\}` \(or sample.csv"),
    "volumes": (others(".nii.gz"), "Volumes are not read: save the slices"),
    "slides": (others(".svs"), "cut tiles"),
    "arrays, one a file": (others(".npy"), r"numpy.savez\(.*by `npz:`"),
    "a program's files": (others(".mat"), r"numpy.savez\(.*by `npz:`"),
    "videos": (others(".mp4"), "save the frames"),
    "images beside boxes": (
        beside_labels(".txt", b"0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.1 0.1\n", above="train"),
        "12 images in 'train/images' beside 'train/labels', which holds 12 .txt files of boxes, as YOLO.*as several",
    ),
    "images beside a word each": (
        beside_labels(".txt", b"ill\n"),
        "'labels', which holds 12 .txt files, one for each image.*a row for each image",
    ),
    "images beside outlines": (beside_labels(".json", b"{}"), "12 .json files, as of COCO.*by `table:`"),
    "images beside masks called labels": (beside_masks, "12 .png files: masks of regions.*by `table:`"),
    "images beside a folder with a table": (
        beside_a_table,
        "which holds the table 'labels/train.csv'.*file: labels/train.csv",
    ),
    "splits beside another folder": (mixture, "the splits 'test', 'train', 'val' beside 'chest_xray'"),
    "a test folder without classes": (no_classes_in_test, "images of 'test' in no class"),
    "a synthetic folder inside the real one": (refused_set, "'synthetic' beside 'ill', 'well'"),
    "splits and classes in one name": (
        lambda root: [draw_classes(root, classes=(f"{split}A", f"{split}B"), count=8) for split in ("train", "test")],
        "'testA', 'testB', 'trainA', 'trainB', each called by a split and more",
    ),
    "two test folders": (
        lambda root: draw_splits(root, splits={"TRAIN": 8, "TEST": 4, "TEST_SIMPLE": 4}),
        "'TEST', 'TEST_SIMPLE' for test",
    ),
    "classes equal but for case": (
        lambda root: draw_classes(root, classes=("Ill", "ill", "well")),
        r"classMap: \{'ill': 'Ill'\}.*--class-map ill=Ill",
    ),
    "another type under the suffix": (other_type, "4 of 40: 4 HEIC pictures"),
    "half of a class truncated": (truncated, "10 of 40: 10 damaged PNG pictures"),
    "one image of a class": (
        lambda root: (draw_classes(root, classes=("well",), count=40), write(root / "ill" / "1.png", grey(0, 1))),
        "none of 'ill'.*`classMap`.*`split`",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_could_be_misread_is_refused_when_it_is_planned(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    make(tmp_path / "real")
    with pytest.raises(UserError, match=message) as caught:
        looked_at(tmp_path, {"folder": "real"})
    assert all(violation.remedy for violation in caught.value.violations)


def test_a_synthetic_archive_and_its_other_names_for_classes(tmp_path: Path) -> None:
    draw_classes(tmp_path / "real")
    draw_classes(tmp_path / "made", classes=("0_ill", "1_well"), seed=9)
    shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path, "made")
    words = r"classMap: \{'0_ill': 'ill', '1_well': 'well'\}.*--class-map 0_ill=ill --class-map 1_well=well"
    with pytest.raises(UserError, match=words):
        looked_at(tmp_path, {"folder": "real"}, {"folder": "made.zip"})
    named = {"folder": "made.zip", "classMap": {"0_ill": "ill", "1_well": "well"}}
    assert counted(looked_at(tmp_path, {"folder": "real"}, named)["synthetic/given"]) == {"all": [20, 20]}


def test_patients_that_are_folders_are_found_in_the_path(tmp_path: Path) -> None:
    draw_classes(tmp_path / "real", save=lambda p, k, n: write(p.parent / f"pat{n // 2}" / p.name, grey(k, n)))
    found = looked_at(tmp_path, {"folder": "real", "patientPattern": r"/(pat\d+)/"})["dataset"]
    assert len(set(found.splits["all"].patients)) == 10


def test_patients_that_are_folders_called_by_names_are_patients_where_the_pattern_says_so(tmp_path: Path) -> None:
    names = ("Miller", "Baker", "Cooper", "Mason", "Taylor", "Smith")

    def save(path: Path, label: int, number: int) -> None:
        write(path.parent / f"{names[number % 6]}{label}" / path.name, grey(label, number))

    draw_classes(tmp_path / "real", count=48, save=save)
    with pytest.raises(UserError, match="patientPattern") as caught:
        looked_at(tmp_path, {"folder": "real"})
    assert "Miller" not in str(caught.value)
    found = looked_at(tmp_path, {"folder": "real", "patientPattern": "/([^/]+)/[^/]+$"})["dataset"]
    assert (found.classes, len(set(found.splits["all"].patients))) == (("ill", "well"), 12)


def test_synthetic_images_are_read_in_any_format_of_the_real_ones(tmp_path: Path) -> None:
    for seed, name in enumerate(("real", "made")):

        def save(path: Path, label: int, number: int, seed: int = seed) -> object:
            return write(path, encoded(grey(label, number, seed=seed), "WEBP", lossless=True))

        draw_classes(tmp_path / name, suffix=".webp", save=save)
    found = looked_at(tmp_path, {"folder": "real"}, {"folder": "made"})
    assert {name: counted(contents) for name, contents in found.items()} == {
        "dataset": {"all": [20, 20]},
        "synthetic/given": {"all": [20, 20]},
    }


def test_few_images_of_one_class_are_told_with_the_fields_that_help_before_anything_is_trained(tmp_path: Path) -> None:
    draw_classes(tmp_path / "real", classes=("well",), count=100)
    draw_classes(tmp_path / "real", classes=("ill",), count=6)
    experiment = trial({"folder": "real"})
    words = detectable_words(experiment, resolve_sources(experiment, base=tmp_path))
    assert "(1 'ill', 25 'well')" in words
    assert "no outcome but inconclusive: a scored class has 1 test patient, and 10 are needed" in words
    assert "`dataset.split.test`" in words
    assert "`dataset.classMap`" in words
