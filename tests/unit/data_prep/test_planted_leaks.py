"""Sixteen kinds of leak, each planted in a data set of drawn chests and found; and ten clean splits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from syntrial_data_prep import duplicates
from syntrial_data_prep.audit import conflicts
from syntrial_data_prep.form import Formed
from syntrial_data_prep.leak_search import Searched, search

from syntrial.imagesets.splits import SPLITS
from syntrial.v1.data_preparation_pb2 import LeakPolicy
from tests.unit.data_prep.drawn_images import Images, altered, chests, fields

COUNTS = {"train": 150, "validation": 50, "test": 50}
PLANTED = 6


def formed(images: Images, name: str, *, patients: tuple[str, ...] | None = None) -> Formed:
    names = tuple(f"{name}/{row}" for row in range(len(images)))
    return Formed(
        images_NHWC=images,
        labels=np.arange(len(images), dtype=np.int64) % 2,
        names=names,
        patients=patients,
        identities=patients or names,
    )


def dataset(draw: Callable[..., Images] = chests, *, seed: int = 0, patients: bool = False) -> dict[str, Formed]:
    """Three splits of different images; with patients two images each, none in two splits."""
    images = draw(sum(COUNTS.values()), side=32, seed=seed)
    found, start = {}, 0
    for name, count in COUNTS.items():
        named = tuple(f"{name}-{row // 2}" for row in range(count)) if patients else None
        found[name] = formed(images[start : start + count], name, patients=named)
        start += count
    return found


def planted(splits: dict[str, Formed], where: str, images: Images, *, patient: str = "new") -> dict[str, Formed]:
    """The splits with images added to one of them, at its end."""
    part = splits[where]
    patients = part.patients and (*part.patients, *(f"{patient}-{row}" for row in range(len(images))))
    return splits | {where: formed(np.concatenate([part.images_NHWC, images]), where, patients=patients)}


def leaks_of(splits: dict[str, Formed]) -> Searched:
    digests = {name: duplicates.hashes(part.images_NHWC) for name, part in splits.items()}
    return search(splits, digests=digests, policy=LeakPolicy(), on_progress=lambda _done, _of: None)


@dataclass(frozen=True)
class Case:
    kind: str
    where: str
    source: str
    alteration: str | None


CASES = {
    "exact copies of test images in training": Case("exact-duplicate", "train", "test", None),
    "exact copies within test": Case("exact-duplicate", "test", "test", None),
    "re-encoded test images in training": Case("near-duplicate", "train", "test", "JPEG 40"),
    "mirrored test images in training": Case("near-duplicate", "train", "test", "mirrored"),
    "turned validation images in training": Case("near-duplicate", "train", "validation", "turned"),
    "cropped test images in validation": Case("near-duplicate", "validation", "test", "cropped 5% a side"),
    "brightened images within training": Case("near-duplicate", "train", "train", "brighter"),
    "test images with text within test": Case("near-duplicate", "test", "test", "text over a corner"),
    "reduced test images in training": Case("near-duplicate", "train", "test", "half the size and back"),
    "test images as negatives in training": Case("near-duplicate", "train", "test", "inverted grey"),
    "shifted test images in training": Case("near-duplicate", "train", "test", "shifted by 3%"),
    "test images that were cropped on one side in validation": Case(
        "near-duplicate", "validation", "test", "cropped 5% on one side"
    ),
    "shifted images within training": Case("near-duplicate", "train", "train", "shifted by 3% both ways"),
    "validation images in a border in training": Case("near-duplicate", "train", "validation", "in a black border"),
    "negatives within test": Case("near-duplicate", "test", "test", "inverted grey"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_planted_leak_is_found_and_nothing_else(name: str) -> None:
    case, splits = CASES[name], dataset()
    taken = splits[case.source].images_NHWC[:PLANTED]
    copies = taken if case.alteration is None else altered(taken, case.alteration)
    found = leaks_of(planted(splits, case.where, copies)).leaks
    assert [(leak.kind, leak.between, leak.count) for leak in found] == [
        (case.kind, (case.where, case.source), PLANTED)
    ]
    assert {leak.action for leak in found} == {
        "keep" if case.where == case.source else "drop" if case.alteration is None else "waive"
    }


def test_a_patient_in_two_splits_is_found_and_that_patients_images_are_no_near_duplicates() -> None:
    splits = dataset(patients=True)
    part = splits["train"]
    copies = altered(splits["test"].images_NHWC[:2], "more contrast")
    patients = (*(part.patients or ()), "test-0", "test-0")
    found = leaks_of(
        splits | {"train": formed(np.concatenate([part.images_NHWC, copies]), "train", patients=patients)}
    ).leaks
    assert [(leak.kind, leak.between, leak.count) for leak in found] == [("shared-patient", ("train", "test"), 1)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("draw", [chests, fields])
def test_ten_clean_splits_hold_no_leak(draw: Callable[..., Images], seed: int) -> None:
    assert leaks_of(dataset(draw, seed=seed, patients=bool(seed % 2))).leaks == ()


def test_near_duplicates_with_different_labels_are_conflicts() -> None:
    splits = dataset()
    copies = altered(splits["test"].images_NHWC[:2], "mirrored")
    spoilt = planted(splits, "train", copies[::-1])
    digests = {name: duplicates.hashes(part.images_NHWC) for name, part in spoilt.items()}
    found = conflicts(
        {name: (spoilt[name], digests[name]) for name in SPLITS}, ("a", "b"), found=leaks_of(spoilt).leaks
    )
    assert (found.count, found.near) == (0, 2)
    assert found.near_examples[0][0].startswith("train/15")
