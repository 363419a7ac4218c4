"""Malformed folders, files, archives and addresses: each is told when a trial is planned, and nothing is written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syntrial.errors import UserError
from syntrial.sources.resolve import resolve_sources
from tests.integration.inputs.drawing import draw_classes, encoded, grey, trial, write
from tests.unit.imagesets import test_packed as packed

Make = Callable[[Path], object]
HEX = "0" * 64


def all_files(content: bytes) -> Make:
    return lambda root: draw_classes(root, save=lambda path, *_: write(path, content))


def archived(root: Path) -> None:
    draw_classes(root.with_name("made"))
    shutil.make_archive(str(root / "set"), "zip", root.with_name("made"))


def listed(content: object) -> Make:
    def make(root: Path) -> None:
        draw_classes(root)
        write(root / "dataset.json", json.dumps(content).encode())

    return make


def many_tiny(root: Path) -> None:
    draw_classes(root, size=(3, 3))


def huge(root: Path) -> None:
    draw_classes(root, count=3)
    for number in range(3):
        Image.new("1", (20_000, 20_000)).save(root / "ill" / f"s{number}.png")


def linked_to_nothing(root: Path) -> None:
    draw_classes(root)
    (root / "ill" / "gone.png").symlink_to(root / "nowhere.png")


def control_character(root: Path) -> None:
    draw_classes(root)
    write(root / "ill" / "a\nb.png", grey(0, 0))


def no_utf8(root: Path) -> None:
    draw_classes(root)
    Path(os.fsdecode(os.fsencode(root / "ill") + b"/\xff.png")).write_bytes(encoded(grey(0, 0)))


def both_forms(root: Path) -> None:
    draw_classes(root)
    for name in ("\u00fc.png", "u\u0308.png"):
        write(root / "ill" / name, grey(0, 0))


FOLDERS: dict[str, tuple[Make, str]] = {
    "an empty folder": (lambda root: root.mkdir(), "which is empty"),
    "hidden files alone": (lambda root: write(root / ".cache" / "1.png", b""), "which is empty"),
    "no pictures": (lambda root: write(root / "ill" / "1.txt", b"x"), r"1 other file \(1 \.txt\)"),
    "an archive in the folder": (lambda root: (root.mkdir(), archived(root)), "give the archive itself"),
    "masks alone": (
        lambda root: draw_classes(root / "masks", save=lambda path, *_: write(path, np.eye(9, dtype=np.uint8))),
        "beside their masks",
    ),
    "empty files": (all_files(b""), "40 of 40: 40 empty files"),
    "files of zeros": (all_files(bytes(500)), "files of zeros"),
    "web pages": (all_files(b"<!DOCTYPE html><html>"), "40 web pages"),
    "pickles": (all_files(b"\x80\x04\x95" + bytes(30)), "40 of 40"),
    "truncated pictures": (all_files(encoded(grey(0, 0))[:80]), "damaged PNG pictures"),
    "pictures of three pixels": (many_tiny, "a side of less than 4 pixels"),
    "whole slides": (huge, "more than 64 megapixels.*tiles"),
    "a link to nothing": (linked_to_nothing, "a link to a file that is not there"),
    "a control character in a name": (control_character, "no control character"),
    "a name that is no UTF-8": (no_utf8, "UTF-8"),
    "two names of one form": (both_forms, "form of their Unicode letters"),
    "one class": (lambda root: draw_classes(root, classes=("ill",)), "at least two classes"),
    "a list of labels that is cut short": (
        lambda root: (draw_classes(root), write(root / "dataset.json", b'{"labels": [["a')),
        r"dataset\.json",
    ),
    "a list of labels with several classes": (listed({"labels": [["ill/p000.png", [1, 1]]]}), "one class an image"),
    "a list of labels that are no numbers": (listed({"labels": [["ill/p000.png", "ill"]]}), "one class an image"),
    "a list of labels of other files": (listed({"labels": [["other.png", 0]]}), "in no class"),
}

ADDRESSES: dict[str, tuple[str, str]] = {
    "a path that is not there": ("reall", "Did you mean .*real"),
    "an address without its digest": ("https://example.org/x.zip", "without a digest"),
    "an address with a password": (f"https://me:pw@example.org/x.zip#sha256={HEX}", "something before an @"),
    "an unencrypted address": (f"http://example.org/x.zip#sha256={HEX}", "Write https://"),
    "another scheme": ("gs://bucket/x", "the scheme gs://"),
    "a claim on a laptop": ("claim://scans/x", "from inside its cluster"),
    "a path upwards in a bucket": ("s3://bucket/../x", r"no '\.\.'"),
    "half a digest": ("sha256:12ab", "64 lower-case"),
}


def told(folder: Path, address: str, message: str) -> None:
    before = sorted(path for path in folder.rglob("*"))
    with pytest.raises(UserError, match=message) as caught:
        resolve_sources(trial({"folder": address}), base=folder)
    for violation in caught.value.violations:
        assert violation.field
        assert violation.rule
        assert violation.remedy
    assert sorted(path for path in folder.rglob("*")) == before


@pytest.mark.parametrize("name", FOLDERS)
def test_a_malformed_folder_is_told_when_it_is_planned(name: str, tmp_path: Path) -> None:
    make, message = FOLDERS[name]
    make(tmp_path / "real")
    told(tmp_path, "real", message)


@pytest.mark.parametrize("name", packed.REFUSED)
def test_a_malformed_archive_is_told_when_it_is_planned(name: str, tmp_path: Path) -> None:
    make, message = packed.REFUSED[name]
    make(tmp_path / "set.zip")
    told(tmp_path, "set.zip", message)


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_malformed_address_is_told(name: str, tmp_path: Path) -> None:
    draw_classes(tmp_path / "real", count=2)
    told(tmp_path, *ADDRESSES[name])
