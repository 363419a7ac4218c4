"""Looks for leaks in a data set that is split: exact and near duplicates and patients, within splits and across."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syntrial.documents.audit import LeakAction, Near
from syntrial.imagesets.near.calibration import Calibration, calibrate
from syntrial.imagesets.near.displaced import displaced, merged
from syntrial.imagesets.near.likeness import Likeness, Scale, coefficients, evened, scale_of
from syntrial.imagesets.near.neighbours import Codes, Found, within
from syntrial.imagesets.splits import SPLITS
from syntrial.v1.data_preparation_pb2 import LeakPolicy
from syntrial_data_prep import duplicates, leaks
from syntrial_data_prep.form import Formed

SIDES: Final = (("validation", "test"), ("train", "test"), ("train", "validation"))
"""Pairs of splits: the one that loses what both have, and the one that keeps it."""
MEASURE: Final = (
    "distance of low spatial frequencies, evened out, in any of eight positions, inverted or displaced (likeness.py)"
)
CALIBRATED: Final = "far neighbours of different patients in train, and re-encoded images of it (calibration.py)"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Searched:
    """What was found."""

    leaks: tuple[leaks.Leak, ...]
    near: Near
    likeness: Mapping[str, Likeness]
    """What the images of each split are compared by."""
    scale: Scale
    calibration: Calibration


def calibrated(images_NHWC: NDArray[np.uint8], *, patients: Codes) -> tuple[Likeness, Scale, Calibration]:
    """A training split made ready: what its images are compared by, by which scale, and what near means."""
    found = coefficients(images_NHWC)
    scale = scale_of(found)
    likeness = evened(found, scale)
    return likeness, scale, calibrate(images_NHWC, likeness, scale=scale, patients=patients)


def near_of(calibration: Calibration) -> Near:
    """As the audit holds it."""
    return Near(
        threshold=calibration.threshold,
        measure=MEASURE,
        calibrated_on=CALIBRATED,
        recall={name: round(share, 4) for name, share in calibration.recall.items()},
    )


def near_pairs(found: Found, *, told: Callable[[int], bool] = lambda _row: False) -> list[duplicates.Pair]:
    """What was found as pairs, the nearest first, without the queries that are `told` of already."""
    pairs = [
        duplicates.Pair(
            first=row,
            second=int(found.rows[row]),
            distance=float(found.distances[row]),
            position=int(found.positions[row]),
        )
        for row in np.flatnonzero(found.rows >= 0).tolist()
        if not told(row)
    ]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first))


def search(
    whole: Mapping[str, Formed],
    *,
    digests: Mapping[str, Sequence[str]],
    policy: LeakPolicy,
    on_progress: Callable[[int, int], None],
) -> Searched:
    """All leaks between train, validation and test, and within each; `on_progress` gets pairs done, and of how many."""
    exact = leaks.action_of(policy.exact_duplicates, default=LeakPolicy.ACTION_DROP)
    shared = leaks.action_of(policy.shared_patients, default=LeakPolicy.ACTION_DROP)
    close = leaks.action_of(policy.near_duplicates, default=LeakPolicy.ACTION_WAIVE)
    found: list[leaks.Leak | None] = []
    for name in SPLITS:
        repeated = duplicates.repeats(digests[name])
        found.append(
            leaks.of_pairs(
                repeated,
                kind=leaks.EXACT,
                between=(name, name),
                action="keep",
                names=(whole[name].names, whole[name].names),
                rows=[pair.second for pair in repeated],
            )
        )
    for loser, keeper in SIDES:
        held = set(digests[keeper])
        found.append(
            leaks.of_pairs(
                duplicates.same(digests[loser], digests[keeper]),
                kind=leaks.EXACT,
                between=(loser, keeper),
                action=exact,
                names=(whole[loser].names, whole[keeper].names),
                rows=[row for row, digest in enumerate(digests[loser]) if digest in held],
            )
        )
        first, second = whole[loser].patients, whole[keeper].patients
        if first is not None and second is not None:
            found.append(
                leaks.of_patients(first, second, between=(loser, keeper), action=shared, names=whole[loser].names)
            )
    codes = patient_codes(whole)
    train, scale, calibration = calibrated(whole["train"].images_NHWC, patients=codes["train"])
    likeness = {
        name: train if name == "train" else evened(coefficients(part.images_NHWC), scale)
        for name, part in whole.items()
    }
    pairs = [*((name, name) for name in SPLITS), *SIDES]
    work = [len(whole[loser]) * (len(whole[keeper]) + 1) for loser, keeper in pairs]
    for number, (loser, keeper) in enumerate(pairs):
        alone = loser == keeper
        # Exact duplicates are told of already; images of one patient are no near duplicates, but that patient's.
        held = set() if alone else set(digests[keeper])
        repeated_rows = {pair.second for pair in duplicates.repeats(digests[loser])} if alone else set()
        done, here = sum(work[:number]), work[number]

        def told(count: int, *, done: int = done, here: int = here, of: int = len(whole[loser])) -> None:
            on_progress(done + here * count // max(of, 1), sum(work))

        nearest = within(
            likeness[loser],
            None if alone else likeness[keeper],
            threshold=calibration.threshold,
            apart=(codes[loser], codes[keeper]),
            on_progress=told,
        )
        nearest = merged(
            nearest,
            displaced(
                likeness[loser],
                None if alone else likeness[keeper],
                threshold=calibration.moved,
                reach=calibration.reach,
                apart=(codes[loser], codes[keeper]),
            ),
        )

        def known(row: int, *, held: set[str] = held, repeated: set[int] = repeated_rows, loser: str = loser) -> bool:
            return row in repeated or digests[loser][row] in held

        close_pairs = near_pairs(nearest, told=known)
        found.append(
            leaks.of_pairs(
                close_pairs,
                kind=leaks.NEAR,
                between=(loser, keeper),
                action="keep" if alone else close,
                names=(whole[loser].names, whole[keeper].names),
                rows=[pair.first for pair in close_pairs],
            )
        )
    return Searched(
        leaks=tuple(leak for leak in found if leak is not None),
        near=near_of(calibration),
        likeness=likeness,
        scale=scale,
        calibration=calibration,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Side:
    """Images that are looked for copies, or looked through."""

    title: str
    """What leaks call them."""
    names: Sequence[str]
    digests: Sequence[str]
    likeness: Likeness


def copies_between(
    loser: Side,
    keeper: Side,
    *,
    calibration: Calibration,
    apart: tuple[Codes, Codes] | None = None,
    exact: LeakAction,
    near: LeakAction,
    on_progress: Callable[[int], None],
) -> list[leaks.Leak]:
    """Images of `loser` that are images of `keeper`, exactly or nearly; each with what is done about it.

    `apart` has the numbers of both sides' patients, whose images are no near duplicates of each other; None: all pairs
    count.
    """
    held = set(keeper.digests)
    strangers = (np.full(len(loser.names), -1, np.int64), np.zeros(len(keeper.names), np.int64))
    sides, apart = (loser.likeness, keeper.likeness), apart or strangers
    found = merged(
        within(*sides, threshold=calibration.threshold, apart=apart, on_progress=on_progress),
        displaced(*sides, threshold=calibration.moved, reach=calibration.reach, apart=apart),
    )
    same = [row for row, digest in enumerate(loser.digests) if digest in held]
    places = {digest: row for row, digest in reversed(list(enumerate(keeper.digests)))}
    equal = [duplicates.Pair(first=row, second=places[loser.digests[row]], distance=0.0) for row in same]
    close = near_pairs(found, told=lambda row: loser.digests[row] in held)
    made = (
        leaks.of_pairs(
            pairs,
            kind=kind,
            between=(loser.title, keeper.title),
            action=action,
            names=(loser.names, keeper.names),
            rows=[pair.first for pair in pairs],
        )
        for kind, action, pairs in ((leaks.EXACT, exact, equal), (leaks.NEAR, near, close))
    )
    return [leak for leak in made if leak is not None]


def patient_codes(whole: Mapping[str, Formed]) -> dict[str, Codes]:
    """A number for each patient, the same in all splits; an image without patient is its own."""
    numbers: dict[tuple[str, str], int] = {}
    return {
        name: np.array(
            [
                numbers.setdefault(("", group) if part.patients is not None else (name, group), len(numbers))
                for group in part.groups()
            ],
            dtype=np.int64,
        )
        for name, part in whole.items()
    }
