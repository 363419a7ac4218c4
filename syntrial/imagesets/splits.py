"""Splits: what they are called, and how data without them is split; subsets of patients.

Both are stratified by class, grouped by patient, from nothing but a seed and names, so that a plan can say whom a test
split holds before any picture is read, and preparation makes the same one. Where an image has several labels, splits
are cut by iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, Algorithm 1) over patients, each
with its number of images of each label: libraries of it know no groups.

Each patient has a place in a fixed order, the SHA-256 of (seed, purpose, patient), so the result depends neither on
the order of the files nor on any state, and a smaller subset is a part of a larger one.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syntrial.errors import UserError
from syntrial.imagesets.classes import Labels
from syntrial.v1.data_preparation_pb2 import SplitRule

SPLITS = ("train", "validation", "test")

UNSPLIT = "all"
"""The name of the one split of a source that comes without splits."""

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What splits are called in the wild, in lower case, and here."""


def splits_to_cut(
    present: Collection[str], *, rule: SplitRule, title: str
) -> tuple[str, list[tuple[Literal["test", "validation"], float]]]:
    """Of a source with the splits `present`: the split that the missing ones are cut from, and their shares of it.

    `title` is what errors call the source. Raises UserError where there is nothing to cut from, or no share.
    """
    base = UNSPLIT if UNSPLIT in present else "train"
    if base not in present:
        raise UserError(
            field=title,
            rule="a data set has a training split",
            received=f"only {', '.join(present)}",
            remedy="Add train, or take the split folders away and let Syntrial split.",
        )
    names: tuple[Literal["test", "validation"], ...] = ("test", "validation")
    missing = [(name, float(getattr(rule, name))) for name in names if name not in present]
    for name, share in missing:
        if share == 0:
            raise UserError(
                field=f"split.{name}",
                rule="a split that the source lacks has a share",
                received=f"0, and {title} has no {name} split",
                remedy="Give it a share, for example 0.1, or add the split to the source.",
            )
    return base, missing


def cut(
    labels: Labels, *, patients: Sequence[str], shares: Sequence[tuple[str, float]], rest: str, seed: int
) -> NDArray[np.str_]:
    """The split of each image, (N,): `shares` as (name, share of the images), all others `rest`.

    With one class an image, patients of each stratum are taken in their order until the share of images is reached;
    with several labels `_stratified` takes them.
    """
    if labels.ndim == 2 and len(labels):
        return _cut_labels(labels, patients=patients, shares=shares, rest=rest, seed=seed)
    groups, strata = _strata(labels, patients)
    chosen = np.full(len(labels), rest, dtype=f"<U{max(len(rest), *(len(name) for name, _ in shares))}")
    for members in _ordered(groups, strata, seed=seed, purpose="split"):
        total, before = sum(len(groups[group]) for group in members), 0
        for group in members:
            size = len(groups[group])
            middle, reached = (before + size / 2) / total, 0.0
            for name, share in shares:
                reached += share
                if middle < reached:
                    chosen[groups[group]] = name
                    break
            before += size
    return chosen


def _cut_labels(
    labels: Labels, *, patients: Sequence[str], shares: Sequence[tuple[str, float]], rest: str, seed: int
) -> NDArray[np.str_]:
    """`cut`, for several labels an image."""
    owners, codes = np.unique(np.asarray(patients), return_inverse=True)
    member = np.concatenate([labels.astype(np.int64), ~labels.any(1, keepdims=True)], axis=1)
    counts_PL = np.zeros((len(owners), member.shape[1]), np.int64)
    np.add.at(counts_PL, codes, member)
    sizes_P = np.bincount(codes, minlength=len(owners))
    ranks = [hashlib.sha256(f"{seed}/split/{owner}".encode()).digest() for owner in owners.tolist()]
    # Large ones first, while there is room for them anywhere.
    order = np.array(sorted(range(len(owners)), key=lambda owner: (-int(sizes_P[owner]), ranks[owner])), np.int64)
    parts = [*shares, (rest, 1 - sum(share for _, share in shares))]
    found = _stratified(counts_PL, sizes_P, shares=[share for _, share in parts], order=order)
    return np.array([name for name, _ in parts])[found[codes]]


def _stratified(
    counts_PL: NDArray[np.int64], sizes_P: NDArray[np.int64], *, shares: Sequence[float], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The part of each patient, (P,): Algorithm 1 of Sechidis et al. 2011, with patients in place of examples.

    `counts_PL` are each patient's images of each label, `sizes_P` of any; patients are considered in `order`.
    """
    found = np.full(len(sizes_P), -1, np.int64)
    # How many images each part still asks for, of each label and in all.
    wanted_JL = np.outer(shares, counts_PL.sum(axis=0)).astype(np.float64)
    wanted_J = np.asarray(shares, np.float64) * float(sizes_P.sum())
    left_L = counts_PL.sum(axis=0)
    while (present := np.flatnonzero(left_L > 0)).size:
        label = int(present[np.argmin(left_L[present])])
        for patient in order[(found[order] < 0) & (counts_PL[order, label] > 0)].tolist():
            part = max(range(len(shares)), key=lambda number: (wanted_JL[number, label], wanted_J[number]))
            found[patient] = part
            wanted_JL[part] -= counts_PL[patient]
            wanted_J[part] -= sizes_P[patient]
            left_L -= counts_PL[patient]
    return found


def subset(labels: Labels, *, patients: Sequence[str], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which images belong to the share `fraction` of the patients, (N,): at least one patient of each stratum.

    The subset of a smaller fraction with the same seed is a part of that of a larger one.
    """
    groups, strata = _strata(labels, patients)
    kept = np.zeros(len(labels), dtype=bool)
    for members in _ordered(groups, strata, seed=seed, purpose="subset"):
        for group in members[: max(1, round(fraction * len(members)))]:
            kept[groups[group]] = True
    return kept


def subset_of(labels: Labels, *, patients: Sequence[str], count: int, seed: int) -> NDArray[np.bool_]:
    """Which images belong to about `count` of them, (N,): whole patients, at least one of each stratum.

    Patients come in turn from all strata, by how far each is through its own, until the next would lead further away
    from `count`. The subset of a smaller count with the same seed is a part of that of a larger one.
    """
    groups, strata = _strata(labels, patients)
    ranked = [
        (place / len(members), number, group)
        for number, members in enumerate(_ordered(groups, strata, seed=seed, purpose="subset"))
        for place, group in enumerate(members)
    ]
    kept, taken = np.zeros(len(labels), dtype=bool), 0
    for share, _, group in sorted(ranked):
        size = len(groups[group])
        if share > 0 and taken + size / 2 > count:
            break
        kept[groups[group]] = True
        taken += size
    return kept


def cap(labels: Labels, *, names: Sequence[str], most: int, seed: int) -> NDArray[np.bool_]:
    """Which images stay where each class or label has at most `most`, (N,), drawn by the images' names.

    With several labels the rarest is drawn first, and each further one only as far as images that are there already
    leave room, so that a common label may have more beside rare ones; images without labels count as a label.
    """
    ranks = [hashlib.sha256(f"{seed}/cap/{name}".encode()).digest() for name in names]
    return capped(labels, order=np.array(sorted(range(len(names)), key=ranks.__getitem__), np.int64), most=most)


def capped(labels: Labels, *, order: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """As `cap`, of images that are drawn in a given order."""
    member = _members(labels)
    kept = np.zeros(len(labels), dtype=bool)
    for column in np.argsort(member.sum(0), kind="stable").tolist():
        room = max(0, most - int((kept & member[:, column]).sum()))
        kept[order[member[order, column] & ~kept[order]][:room]] = True
    return kept


def _members(labels: Labels) -> NDArray[np.bool_]:
    """(N, K): which images are of each class; with several labels the last column is of images without any."""
    if labels.ndim == 1:
        member = np.zeros((len(labels), int(labels.max()) + 1 if len(labels) else 1), dtype=bool)
        member[np.arange(len(labels)), labels] = True
        return member
    return np.concatenate([labels.astype(bool), ~labels.any(1, keepdims=True)], axis=1)


def _strata(labels: Labels, patients: Sequence[str]) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]:
    """The images of each patient, and each patient's stratum: the rarest class among its images.

    The rarest, so that rare classes are spread evenly though their patients have images of common ones too.
    """
    member = _members(labels)
    by_rarity = np.argsort(member.sum(0), kind="stable")
    # Each image's rarest class, as its place in that order.
    rarest = member[:, by_rarity].argmax(1).tolist()
    rows: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        rows.setdefault(patient, []).append(row)
    groups = {patient: np.array(found) for patient, found in rows.items()}
    strata = by_rarity[[min(rarest[row] for row in found) for found in rows.values()]]
    return groups, strata.astype(np.int64)


def _ordered(
    groups: Mapping[str, NDArray[np.int64]], strata: NDArray[np.int64], *, seed: int, purpose: str
) -> list[list[str]]:
    """The patients of each stratum, in their fixed order."""
    members: dict[int, list[str]] = {int(stratum): [] for stratum in np.unique(strata)}
    for patient, stratum in zip(groups, strata.tolist(), strict=True):
        members[stratum].append(patient)
    return [
        sorted(patients, key=lambda patient: hashlib.sha256(f"{seed}/{purpose}/{patient}".encode()).digest())
        for patients in members.values()
    ]
