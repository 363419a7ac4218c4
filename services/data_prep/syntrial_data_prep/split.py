"""Splits and subsets: stratified by class, grouped by patient, from nothing but a seed and names.

Each patient has a place in a fixed order, the SHA-256 of (seed, purpose, patient), so the result depends neither on
the order of the files nor on any state, and a smaller subset is a part of a larger one.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from syntrial_data_prep.classes import Labels


def split(
    labels: Labels, *, patients: Sequence[str], shares: Sequence[tuple[str, float]], rest: str, seed: int
) -> NDArray[np.str_]:
    """The split of each image, (N,): `shares` as (name, share of the images), all others `rest`.

    Within each stratum patients are taken in their order until the share of images is reached.
    """
    groups, strata = _strata(labels, patients)
    chosen = np.full(len(labels), rest, dtype=f"<U{max(len(rest), *(len(name) for name, _ in shares))}")
    for stratum in np.unique(strata):
        members = _ordered(
            [group for group, place in zip(groups, strata, strict=True) if place == stratum], seed, "split"
        )
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


def subset(labels: Labels, *, patients: Sequence[str], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which images belong to the share `fraction` of the patients, (N,): at least one patient of each stratum.

    The subset of a smaller fraction with the same seed is a part of that of a larger one.
    """
    groups, strata = _strata(labels, patients)
    kept = np.zeros(len(labels), dtype=bool)
    for stratum in np.unique(strata):
        members = _ordered(
            [group for group, place in zip(groups, strata, strict=True) if place == stratum], seed, "subset"
        )
        for group in members[: max(1, round(fraction * len(members)))]:
            kept[groups[group]] = True
    return kept


def _strata(labels: Labels, patients: Sequence[str]) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]:
    """The images of each patient, and each patient's stratum: the rarest class among its images.

    The rarest, so that rare classes are spread evenly though their patients have images of common ones too.
    """
    if labels.ndim == 1:
        member = np.zeros((len(labels), int(labels.max()) + 1 if len(labels) else 1), dtype=bool)
        member[np.arange(len(labels)), labels] = True
    else:
        member = np.concatenate([labels.astype(bool), ~labels.any(1, keepdims=True)], axis=1)
    by_rarity = np.argsort(member.sum(0), kind="stable")
    rows: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        rows.setdefault(patient, []).append(row)
    groups = {patient: np.array(found) for patient, found in rows.items()}
    strata = [int(by_rarity[np.flatnonzero(member[found].any(0)[by_rarity])[0]]) for found in groups.values()]
    return groups, np.array(strata, dtype=np.int64)


def _ordered(patients: Sequence[str], seed: int, purpose: str) -> list[str]:
    return sorted(patients, key=lambda patient: hashlib.sha256(f"{seed}/{purpose}/{patient}".encode()).digest())
