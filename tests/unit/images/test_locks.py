"""The images' locks are parts of requirements.lock, and whatever they were made from is noticed when it changes."""

import shutil
from pathlib import Path

import pytest

from images.locks import DIGEST, DISTRIBUTIONS, LOCK, ROOT, TORCH, blocks, part, problems

LOCKS = (
    TORCH,
    "images/build.lock",
    "syntrial/controller/requirements.lock",
    "services/data_prep/requirements.lock",
    "services/generation/requirements.lock",
    "services/filtering/requirements.lock",
    "services/classification/requirements.lock",
)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for path in (LOCK, DIGEST, *DISTRIBUTIONS, *LOCKS):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def held(path: str) -> set[str]:
    return set(blocks((ROOT / path).read_text()))


def test_the_locks_agree_with_their_sources(copied: Path) -> None:
    assert problems(copied) == []


def test_a_changed_dependency_is_noticed(copied: Path) -> None:
    path = copied / "services/generation/pyproject.toml"
    path.write_text(path.read_text().replace('"diffusers>=0.35"', '"diffusers>=0.36"'))
    assert problems(copied) == [
        "the images' locks are older than requirements.lock or a pyproject.toml: run `make lock`"
    ]


def test_a_new_version_in_the_whole_lock_is_noticed(copied: Path) -> None:
    path = copied / LOCK
    path.write_text(path.read_text().replace("\nnumpy==", "\nnumpy==9."))
    assert "older than" in problems(copied)[0]


def test_a_lock_edited_by_hand_is_noticed(copied: Path) -> None:
    path = copied / TORCH
    path.write_text(path.read_text().replace("torch==", "torch==0."))
    assert problems(copied) == [f"{TORCH} differs from {LOCK}: run `make lock`"]


def test_a_missing_lock_is_noticed(copied: Path) -> None:
    (copied / TORCH).unlink()
    assert problems(copied) == [f"{TORCH} is missing: run `make lock`"]


def test_a_comment_in_the_whole_lock_changes_nothing(copied: Path) -> None:
    path = copied / LOCK
    path.write_text("# a comment\n" + path.read_text())
    assert problems(copied) == []


@pytest.mark.parametrize("path", ["syntrial/controller/requirements.lock", "services/data_prep/requirements.lock"])
def test_an_image_that_trains_nothing_holds_no_torch(path: str) -> None:
    assert not held(path) & {"torch", "torchvision", "timm", "diffusers", "scikit-learn"}


@pytest.mark.parametrize(
    ("service", "others"),
    [("generation", {"timm", "scikit-learn"}), ("classification", {"diffusers"}), ("filtering", {"timm", "diffusers"})],
)
def test_a_service_holds_nothing_of_another(service: str, others: set[str]) -> None:
    assert not (held(f"services/{service}/requirements.lock") | held(TORCH)) & others


def test_nothing_lies_in_two_layers_of_one_image() -> None:
    for service in ("generation", "filtering", "classification"):
        assert not held(f"services/{service}/requirements.lock") & held(TORCH)


def test_entries_keep_their_hashes_and_markers() -> None:
    of_b = "b==2 ; x == 'y' \\\n    --hash=sha256:22\nb==3 \\\n    --hash=sha256:33\n"
    lock = "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n" + of_b
    assert part(["b"], lock=blocks(lock), what="b alone").partition("\n")[2] == of_b
