"""What the audit says beside leaks: balance, shift between splits, ranges, constant images, conflicting labels.

What becomes of it is `audit.json` (`syntrial.documents.audit`); its readers are the report and people.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from syntrial.counting import counted
from syntrial.documents.audit import Conflicts, GreyLevels, PairPicture, Shift, Split
from syntrial.imagesets.classes import Labels, count_classes
from syntrial.workers import in_blocks
from syntrial_data_prep.duplicates import Pair
from syntrial_data_prep.form import Formed
from syntrial_data_prep.leaks import EXACT, NEAR, Leak

DARK: Final = 32
"""A set whose brightest of 1000 pixels is darker than this was probably scaled wrongly."""
MOST_PICTURES: Final = 16
BLOCK_IMAGES: Final = 64
"""Images whose levels a thread counts before it takes the next."""


def describe_split(split: Formed, classes: Sequence[str], *, source: str, split_by: str) -> Split:
    """Count, classes, patients (images where none are named), where the split is from, and who made it."""
    return Split(
        count=len(split),
        classes=count_classes(split.labels, classes),
        patients=len(set(split.groups())),
        patients_known=split.patients is not None,
        source=source,
        split_by=split_by,
    )


def shifts(splits: Mapping[str, Labels], classes: Sequence[str]) -> tuple[Shift, ...]:
    """How class proportions differ between each two splits: total variation, and Pearson's chi-square test.

    With several labels an image each label is tested by itself (absent, present): the total variation is that of the
    label that differs most, and p is the smallest times the number of labels (Bonferroni).
    """
    found: list[Shift] = []
    for first, second in combinations(splits, 2):
        counts = [np.array(list(count_classes(splits[name], classes).values())) for name in (first, second)]
        totals = [len(splits[name]) for name in (first, second)]
        rates = [count / total for count, total in zip(counts, totals, strict=True)]
        if splits[first].ndim == 1:
            statistic, freedom, p_value = chi_square(np.stack(counts))
            variation = float(np.abs(rates[0] - rates[1]).sum() / 2)
        else:
            tests = [
                chi_square(
                    np.array([[count[k], total - count[k]] for count, total in zip(counts, totals, strict=True)])
                )
                for k in range(len(classes))
            ]
            statistic, freedom, smallest = min(tests, key=lambda test: test[2])
            p_value = min(1.0, smallest * len(classes))
            variation = float(np.abs(rates[0] - rates[1]).max())
        found.append(
            Shift(
                between=(first, second),
                total_variation=variation,
                chi_square=statistic,
                degrees_of_freedom=freedom,
                p_value=p_value,
                rates={
                    name: dict(zip(classes, map(float, rate), strict=True))
                    for name, rate in zip((first, second), rates, strict=True)
                },
            )
        )
    return tuple(found)


def chi_square(table: NDArray[np.int64]) -> tuple[float, int, float]:
    """Pearson's test of homogeneity on a table of counts (rows, columns): statistic, degrees of freedom, p-value."""
    table = table[:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if freedom == 0:
        return 0.0, 0, 1.0
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, freedom, float(chdtrc(freedom, statistic))


def ranges(images_NHWC: NDArray[np.uint8]) -> GreyLevels:
    """Smallest and largest grey level, mean and deviation, and how many images are constant."""
    histogram = np.zeros(256, np.int64)
    constant: list[int] = []

    def counted_levels(here: slice) -> tuple[NDArray[np.int64], list[int]]:
        levels = np.stack([np.bincount(np.ravel(image), minlength=256) for image in images_NHWC[here]])
        return levels.sum(0), (here.start + np.flatnonzero((levels > 0).sum(1) == 1)).tolist()

    for levels, rows in in_blocks(counted_levels, count=len(images_NHWC), size=BLOCK_IMAGES):
        histogram += levels
        constant += rows
    total = int(histogram.sum())
    every = np.arange(256)
    mean = float((histogram * every).sum() / max(total, 1))
    variance = float((histogram * (every - mean) ** 2).sum() / max(total, 1))
    present = np.flatnonzero(histogram)
    bright = int(np.searchsorted(np.cumsum(histogram), 0.999 * total)) if total else 0
    return GreyLevels(
        min=int(present[0]) if total else 0,
        max=int(present[-1]) if total else 0,
        bright=bright,
        mean=mean,
        deviation=float(np.sqrt(variance)),
        constant=len(constant),
        constant_examples=tuple(constant[:8]),
    )


def conflicts(
    splits: Mapping[str, tuple[Formed, Sequence[str]]], classes: Sequence[str], *, found: Sequence[Leak]
) -> Conflicts:
    """Images that are equal to the pixel, or near duplicates, and have different labels: how many, and examples."""
    first: dict[str, tuple[str, str]] = {}
    clashing: dict[str, list[str]] = {}
    for split, digests in splits.values():
        for row, digest in enumerate(digests):
            label = name_label(split.labels[row], classes)
            earlier = first.setdefault(digest, (label, split.names[row]))
            if earlier[0] != label:
                clashing.setdefault(digest, [f"{earlier[1]} is {earlier[0]}"]).append(f"{split.names[row]} is {label}")
    examples = tuple(tuple(told[:4]) for told in list(clashing.values())[:8])
    near: list[tuple[str, ...]] = []
    for leak in found:
        if leak.kind != NEAR:
            continue
        loser, keeper = splits[leak.between[0]][0], splits[leak.between[1]][0]
        for pair in leak.pairs:
            sides = ((loser, pair.first), (keeper, pair.second))
            labels = [name_label(part.labels[row], classes) for part, row in sides]
            if labels[0] != labels[1]:
                near.append(
                    tuple(f"{part.names[row]} is {label}" for (part, row), label in zip(sides, labels, strict=True))
                )
    return Conflicts(count=len(clashing), examples=examples, near=len(near), near_examples=tuple(near[:8]))


def name_label(label: Any, classes: Sequence[str]) -> str:
    """A label in words: its class, or its findings joined by "|"."""
    if np.ndim(label) == 0:
        return classes[int(label)]
    return "|".join(name for name, held in zip(classes, label, strict=True) if held) or "none"


def pair_pictures(
    found: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.uint8], Sequence[Pair]]],
) -> tuple[NDArray[np.uint8] | None, tuple[PairPicture, ...]]:
    """Up to 16 pairs as uint8 (P, 2, H, W, C), the losing side first, and what each shows; taken in turn by kind."""
    pictures: list[NDArray[np.uint8]] = []
    told: list[PairPicture] = []
    for turn in range(MOST_PICTURES):
        for title, first, second, pairs in found:
            if turn < len(pairs) and len(pictures) < MOST_PICTURES:
                pair = pairs[turn]
                pictures.append(np.stack([first[pair.first], second[pair.second]]))
                told.append(PairPicture(what=title, distance=pair.distance))
    return (np.stack(pictures) if pictures else None), tuple(told)


def leak_pictures(
    found: Sequence[Leak], images: Mapping[str, NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8] | None, tuple[PairPicture, ...]]:
    """Pictures of the leaks' pairs (`pair_pictures`), exact ones within a split left out: they show one image twice."""
    titled: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8], Sequence[Pair]]] = []
    for leak in found:
        first, second = leak.between
        if leak.kind == EXACT and first == second:
            continue
        where = f"within {first}" if first == second else f"in {first} and {second}"
        sides = (images[first], images[second])
        upright = [pair for pair in leak.pairs if pair.position == 0]
        moved = [pair for pair in leak.pairs if pair.position]
        titled.append((f"{leak.kind.replace('-', ' ')} {where}", *sides, upright))
        titled.append((f"{leak.kind.replace('-', ' ')} {where}, mirrored, turned, inverted or moved", *sides, moved))
    return pair_pictures(titled)


def range_warnings(found: Mapping[str, GreyLevels]) -> list[str]:
    """Sentences on images that hold nothing, and on sets that are nearly black."""
    warnings: list[str] = []
    for split, levels in found.items():
        if levels.constant:
            warnings.append(f"Of one grey level throughout: {counted(levels.constant, 'image')} of {split}.")
        if levels.bright < DARK:
            warnings.append(
                f"The images of {split} are nearly black (999 of 1000 pixels are below {DARK} of 255): "
                "check their scaling."
            )
    return warnings
