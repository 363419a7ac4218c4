"""Experiments that need no file."""

from pathlib import Path
from typing import Any

import pytest

from syntrial.errors import UserError
from syntrial.experiment.model import Experiment
from syntrial.experiment.templates import judging_experiment


def fill(folder: Path, counts: dict[str, int], *, suffix: str = "png") -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.{suffix}").touch()
    return folder


def judging(real: Path, synthetic: Path, **options: Any) -> Experiment:
    usual: dict[str, Any] = {"name": "x", "size": 16, "classifier": "small-cnn", "replicates": 2, "steps": None}
    return judging_experiment(real=real, synthetic=synthetic, patient_pattern=None, **usual, **options)


@pytest.mark.parametrize("suffix", ["webp", "jfif", "PGM", "tiff"])
def test_every_picture_that_is_read_counts(suffix: str, tmp_path: Path) -> None:
    real, made = fill(tmp_path / "real", {"a": 20, "b": 20}), fill(tmp_path / "made", {"a": 5, "b": 5}, suffix=suffix)
    assert judging(real, made).spec.arms == ("augment-25",)


def test_classes_are_renamed_in_the_folder_that_has_them_and_the_colour_mode_is_given_on(tmp_path: Path) -> None:
    real = fill(tmp_path / "real", {"Normal": 10, "normal": 10, "ill": 20})
    made = fill(tmp_path / "made", {"0_normal": 20, "ill": 10, "unclear": 10})
    spec = judging(
        real, made, color_mode="grey", class_map=["Normal=normal", "0_normal=normal", "unclear=", "ill=ill"]
    ).spec
    assert spec.dataset.class_map == {"Normal": "normal", "ill": "ill"}
    assert spec.synthetic[0].images is not None
    assert spec.synthetic[0].images.class_map == {"0_normal": "normal", "unclear": None, "ill": "ill"}
    assert spec.dataset.color_mode == "grey"
    assert spec.arms == ("augment-75",)


@pytest.mark.parametrize(
    ("pair", "message"),
    [("0_normal:normal", "OTHER=NAME.*'0_normal:normal'"), ("tumour=x", "Did you mean tumor=x"), ("=x", "Known: ")],
)
def test_a_map_that_names_no_class_is_told_with_the_right_one(pair: str, message: str, tmp_path: Path) -> None:
    real, made = fill(tmp_path / "real", {"a": 1, "tumor": 1}), fill(tmp_path / "made", {"a": 1, "tumor": 1})
    with pytest.raises(UserError, match=message):
        judging(real, made, class_map=[pair])


def test_another_colour_mode_is_refused_with_the_right_ones(tmp_path: Path) -> None:
    real, made = fill(tmp_path / "real", {"a": 1, "b": 1}), fill(tmp_path / "made", {"a": 1, "b": 1})
    with pytest.raises(UserError, match=r"dataset\.colorMode.*'grey'"):
        judging(real, made, color_mode="gray")


def test_a_folder_that_is_none_is_told_by_its_option(tmp_path: Path) -> None:
    real = fill(tmp_path / "real", {"a": 1, "b": 1})
    (tmp_path / "made.zip").touch()
    for made, message in (("made.zip", "an empty file"), ("nowhere", "no such folder")):
        with pytest.raises(UserError, match=f"--synthetic.*{message}"):
            judging(real, tmp_path / made)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"--real.*the folder holds images"):
        judging(tmp_path / "empty", real)
