"""What is wrong with sources is told before anything runs, from names, headers and labels."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from syntrial.errors import UserError
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.sources.contents import foreseen, look_into
from syntrial.sources.resolve import local_paths

Draw = Callable[[Path], dict[str, Any]]
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def experiment(dataset: dict[str, Any], images: dict[str, Any] | None = None) -> Experiment:
    given = {"name": "given", "images": images} if images else {"name": "base", "generator": {"pca": {}}}
    spec = {"dataset": dataset, "synthetic": [given]}
    return validate(
        {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": spec}
    )


def look(given: Experiment, base: Path) -> Any:
    return look_into(given, local_paths(given, base=base, data_root=None))


def draw(folder: Path, *, classes: tuple[str, ...] = ("normal", "tumor"), count: int = 12) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(GREY + number).save(folder / name / f"p{number:02d}.png")


def split_beside(folder: Path) -> Experiment:
    for top in ("train", "test", "copy/train"):
        draw(folder / "real" / top)
    return experiment({"folder": "real"})


def split_without_classes(folder: Path) -> Experiment:
    draw(folder / "real" / "train")
    (folder / "real" / "test").mkdir()
    Image.fromarray(GREY).save(folder / "real" / "test" / "1.png")
    return experiment({"folder": "real"})


def flat(folder: Path) -> Experiment:
    draw(folder / "a")
    (folder / "a" / "normal").rename(folder / "real")
    return experiment({"folder": "real"})


def mixed(folder: Path) -> Experiment:
    draw(folder / "real")
    Image.fromarray(np.dstack([GREY] * 3)).save(folder / "real" / "tumor" / "p03.png")
    return experiment({"folder": "real"})


def other_types(folder: Path) -> Experiment:
    draw(folder / "real")
    for number in range(4):
        (folder / "real" / "tumor" / f"p{number:02d}.png").write_bytes(
            b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(99)
        )
    return experiment({"folder": "real"})


def pointers(folder: Path) -> Experiment:
    draw(folder / "real")
    for number in range(4):
        (folder / "real" / "tumor" / f"q{number}.png").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    return experiment({"folder": "real"})


def letters(folder: Path) -> Experiment:
    draw(folder / "real", classes=("Normal", "normal", "tumor"))
    return experiment({"folder": "real"})


def one_class(folder: Path) -> Experiment:
    draw(folder / "real", classes=("tumor",))
    return experiment({"folder": "real"})


def few(folder: Path) -> Experiment:
    draw(folder / "real", classes=("tumor", "other"))
    draw(folder / "real", classes=("normal",), count=1)
    return experiment({"folder": "real"})


def named_otherwise(folder: Path) -> Experiment:
    draw(folder / "real")
    draw(folder / "made", classes=("0_normal", "1_tumor"))
    return experiment({"folder": "real"}, {"folder": "made"})


def inside(folder: Path) -> Experiment:
    draw(folder / "real")
    draw(folder / "real" / "synthetic")
    return experiment({"folder": "real"}, {"folder": "real/synthetic"})


def zipped(folder: Path) -> Experiment:
    draw(folder / "set")
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        for path in (folder / "set").rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    return experiment({"npz": "data.npz"})


def one_array(folder: Path) -> Experiment:
    np.save(folder / "data.npy", np.zeros((4, 8, 8), np.uint8))
    return experiment({"npz": "data.npy"})


def wrong_map(folder: Path) -> Experiment:
    draw(folder / "real")
    return experiment({"folder": "real", "classMap": {"tumour": "normal"}})


def wrong_pattern(folder: Path) -> Experiment:
    draw(folder / "real")
    return experiment({"folder": "real", "patientPattern": r"q(\d+)"})


CASES: dict[str, tuple[Callable[[Path], Experiment], str]] = {
    "splits beside another folder": (split_beside, r"spec\.dataset \(real\).*the splits 'test', 'train' beside 'copy'"),
    "a split's images in no class": (split_without_classes, r"images of 'test' in no class"),
    "a folder without classes": (flat, r"a folder for each class.*11 more in no class"),
    "grey and colour": (mixed, r"spec\.dataset\.colorMode.*`colorMode: grey`.*--color-mode"),
    "pictures of a telephone": (other_types, r"4 of 24: 4 HEIC pictures\. Convert"),
    "pointers of a large-file store": (pointers, r"4 of 28: 4 Git LFS pointers\. Fetch.*git lfs pull"),
    "classes told apart by capitals": (
        letters,
        r"spec\.dataset\.classMap.*'Normal', 'normal'.*--class-map normal=Normal",
    ),
    "one class": (one_class, r"spec\.dataset: a trial has at least two classes; received 'tumor'"),
    "a class too small to split": (few, r"spec\.dataset: \w+: every class has images.*none of 'normal'.*`split`"),
    "synthetic classes of other names": (
        named_otherwise,
        r"spec\.synthetic\[0\]\.images\.classMap.*'0_normal': 'normal'.*--class-map 1_tumor=tumor",
    ),
    "synthetic images among the real ones": (
        inside,
        r"spec\.synthetic\[0\]\.images.*inside.*\(spec\.dataset\)\. Move it out, `mv .*`folder: ",
    ),
    "zipped pictures as arrays": (zipped, r"no arrays: this is a zip archive of pictures\. Give it as `folder:`"),
    "one array": (one_array, r"a single NumPy array.*savez_compressed"),
    "a class map of another class": (wrong_map, r"spec\.dataset\.classMap.*'tumour'\. Did you mean 'tumor'"),
    "a pattern that misses": (wrong_pattern, r"spec\.dataset\.patientPattern: matches the name of every image"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_names_headers_and_labels_show_is_told_at_once(name: str, tmp_path: Path) -> None:
    make, message = CASES[name]
    given = make(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        look(given, tmp_path)
    assert all(found.field and found.remedy and found.received for found in caught.value.violations)


def test_what_the_message_says_to_write_is_what_helps(tmp_path: Path) -> None:
    named_otherwise(tmp_path)
    renamed = {"folder": "made", "classMap": {"0_normal": "normal", "1_tumor": "tumor"}}
    assert look(experiment({"folder": "real"}, renamed), tmp_path)["synthetic/given"].classes == ("0_normal", "1_tumor")
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / "real" / "tumor" / "p03.png")
    look(experiment({"folder": "real", "colorMode": "grey"}, renamed), tmp_path)


def test_several_sources_that_are_wrong_are_told_together(tmp_path: Path) -> None:
    flat(tmp_path)
    one_array(tmp_path)
    with pytest.raises(UserError) as caught:
        look(experiment({"folder": "real"}, {"npz": "data.npy"}), tmp_path)
    assert [found.field.partition(" ")[0] for found in caught.value.violations] == [
        "spec.dataset",
        "spec.synthetic[0].images",
    ]


def test_what_is_not_on_this_machine_is_not_looked_for(tmp_path: Path) -> None:
    given = experiment({"medmnist": "breastmnist"}, {"folder": "s3://bucket/images"})
    assert look(given, tmp_path) == {}


def test_a_folder_that_is_right_has_three_splits_without_a_shared_patient(tmp_path: Path) -> None:
    draw(tmp_path / "real", count=40)
    given = experiment({"folder": "real", "patientPattern": r"p(\d)"})
    prepared = foreseen(given.spec.dataset, look(given, tmp_path)["dataset"])
    patients = {name: set(split.patients) for name, split in prepared.splits.items()}
    assert {name for name, found in patients.items() if found} == {"train", "validation", "test"}
    assert sum(len(found) for found in patients.values()) == len(set().union(*patients.values()))
