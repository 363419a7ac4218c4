"""Folders of pictures, laid out by names alone."""

from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

from syntrial.errors import SourceError
from syntrial.imagesets.folders import lay_out, read_headers
from syntrial.imagesets.trees import FolderTree


def test_classes_are_the_folders_and_other_files_are_counted() -> None:
    layout = lay_out(["a/1.png", "b/deep/2.WEBP", "b/notes.txt", "overview.png"], title="set")
    assert [(picture.split, picture.label) for picture in layout.pictures] == [("all", "a"), ("all", "b")]
    assert (layout.classes, layout.strays) == (("a", "b"), 2)


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
        (["a/1.txt"], r"1 other files"),
        (["a/1.dcm"], r"DICOM files"),
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
