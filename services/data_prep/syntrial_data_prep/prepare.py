"""PrepareDataset: a source becomes train, validation and test, without leaks, with an audit of what was found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syntrial.documents import document, names
from syntrial.documents.audit import Audit, Near, PairPicture, Resampling
from syntrial.errors import UserError
from syntrial.imagesets.classes import check_split, map_classes
from syntrial.imagesets.imageset import write_image_set
from syntrial.imagesets.limits import channels_of
from syntrial.imagesets.splits import SPLITS, cut, splits_to_cut, subset
from syntrial.rpc.context import StepContext
from syntrial.v1.data_preparation_pb2 import LeakPolicy, PrepareDatasetRequest, SplitRule
from syntrial_data_prep import audit, duplicates, leaks, resample, sources
from syntrial_data_prep.form import Formed, check_size, counting, form
from syntrial_data_prep.sources.raw import Raw

SIDES = (("validation", "test"), ("train", "test"), ("train", "validation"))
"""Pairs of splits: the one that loses what both have, and the one that keeps it."""


def prepare_dataset(request: PrepareDatasetRequest, context: StepContext) -> None:
    """Writes the members train, validation, test and audit. Raises UserError for a source or a rule that is wrong."""
    image_format = request.format
    check_size(image_format.size)
    _check_shares(request)
    raw = sources.read(
        request.source,
        context.source_path(request.source.digest) if request.source.digest else None,
        on_progress=lambda _: context.check_cancelled(),
    )
    mapped = map_classes(raw.classes, request.class_map)
    channels = channels_of(raw.channels, mode=image_format.color_mode, title=raw.title)
    total, done = sum(len(found.names) for found in raw.splits.values()), 0
    formed: dict[str, Formed] = {}
    for name, part in raw.splits.items():
        formed[name] = form(
            part,
            title=raw.title,
            classes=mapped,
            size=image_format.size,
            channels=channels,
            method=resample.METHODS[image_format.resize],
            scratch=context.scratch,
            on_progress=counting(context, before=done, total=total, activity="reading"),
        )
        done += len(part.names)
    whole, origins = _split(formed, rule=request.split, title=raw.title, scratch=context.scratch)
    for name in SPLITS:
        check_split(whole[name].labels, mapped.names, split=name, source=raw.title)

    activity = _activity(context, "looking for leaks", total=sum(len(part) for part in whole.values()))
    digests = {name: duplicates.hashes(part.images_NHWC) for name, part in whole.items()}
    found_leaks, near, pictures, told = _leaks(whole, digests=digests, policy=request.leaks, on_progress=activity)
    leaks.stop_if_asked(found_leaks, source=raw.title)
    kept = {
        name: part.take(leaks.keep_mask(len(part), found_leaks, split=name), scratch=context.scratch)
        for name, part in whole.items()
    }
    fraction = request.train_fraction or 1.0
    if fraction < 1 and len(kept["train"]):
        train = kept["train"]
        chosen = subset(train.labels, patients=train.identities, fraction=fraction, seed=request.train_fraction_seed)
        kept["train"] = train.take(chosen, scratch=context.scratch)
    for name in SPLITS:
        check_split(kept[name].labels, mapped.names, split=name, source=f"{raw.title} after leaks are dropped")

    source = raw.about or raw.title
    found = Audit(
        version=1,
        source=source,
        classes=mapped.names,
        splits={
            name: audit.describe_split(kept[name], mapped.names, source=source, split_by=origins[name])
            for name in SPLITS
        },
        train_fraction=fraction,
        leaks=tuple(leak.document() for leak in found_leaks),
        near=near,
        pictures=told,
        shifts=audit.shifts({name: kept[name].labels for name in SPLITS}, mapped.names),
        conflicts=audit.conflicts({name: (whole[name], digests[name]) for name in SPLITS}, mapped.names),
        ranges={name: audit.ranges(kept[name].images_NHWC) for name in SPLITS},
        unreadable=tuple(name for part in formed.values() for name in part.unreadable),
        resampling=describe_resampling(raw, size=image_format.size, channels=channels, method=image_format.resize),
        notes=tuple(raw.notes),
        warnings=(),
    )
    found = replace(found, warnings=tuple(_warnings(found, size=image_format.size)))
    for name in SPLITS:
        write_image_set(context.output, name, kept[name].image_set(mapped.names))
    document.write(context.output, "audit", "audit.json", document=found)
    if pictures is not None:
        context.output.array("audit", "pairs.npy", pictures)
    write_originals(raw, context)


def write_originals(raw: Raw, context: StepContext) -> None:
    """Writes the member that alone holds names, where the source has any."""
    if raw.originals is not None:
        document.write(context.output, names.MEMBER, "names.json", document=raw.originals)


def describe_resampling(raw: Raw, *, size: int, channels: int, method: int) -> Resampling:
    """From which sides to which, by what method, and how many images lose their margins to the central square."""
    sides = [part.sides for part in raw.splits.values()]
    smallest, largest = min(low for low, _ in sides), max(high for _, high in sides)
    return Resampling(
        sides=(smallest, largest),
        to=size,
        channels=channels,
        method="none" if smallest == largest == size else resample.METHODS[method].name.lower(),
        cropped=sum(part.oblong for part in raw.splits.values()),
    )


def _activity(context: StepContext, activity: str, *, total: int) -> Callable[[int], None]:
    return lambda count: context.progress(min(count, total), total=total, unit="images", activity=activity)


def _check_shares(request: PrepareDatasetRequest) -> None:
    rule = request.split
    if not (0 <= rule.validation < 1 and 0 <= rule.test < 1 and rule.validation + rule.test < 1):
        raise UserError(
            field="split",
            rule="validation and test are shares from 0 to below 1 that leave something for training",
            received=f"validation {rule.validation:g}, test {rule.test:g}",
            remedy="0.1 and 0.2 are usual.",
        )
    if not 0 <= request.train_fraction <= 1:
        raise UserError(
            field="train_fraction",
            rule="is a share above 0 and at most 1",
            received=request.train_fraction,
            remedy="1 uses all training images.",
        )


def _split(
    formed: Mapping[str, Formed], *, rule: SplitRule, title: str, scratch: Path
) -> tuple[dict[str, Formed], dict[str, str]]:
    """Official splits kept; those that are missing are cut from the training part, or from everything.

    Also says of each split who made it: "source" or "syntrial".
    """
    base_name, missing = splits_to_cut(formed, rule=rule, title=title)
    base = formed[base_name]
    if len(base) == 0:
        check_split(base.labels, (), split=base_name, source=title)
    whole = {name: part for name, part in formed.items() if name != base_name}
    origins = {name: "source" if name in formed and base_name == "train" else "syntrial" for name in SPLITS}
    if not missing:
        return whole | {"train": base}, origins
    places = cut(base.labels, patients=base.identities, shares=missing, rest="train", seed=rule.seed)
    for name in ("train", *(name for name, _ in missing)):
        whole[name] = base.take(places == name, scratch=scratch)
    return whole, origins


def _leaks(
    whole: Mapping[str, Formed],
    *,
    digests: Mapping[str, Sequence[str]],
    policy: LeakPolicy,
    on_progress: Callable[[int], None],
) -> tuple[list[leaks.Leak], Near, NDArray[np.uint8] | None, tuple[PairPicture, ...]]:
    """All leaks, what near means here, pictures of pairs and what they show."""
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
    shapes = {name: duplicates.features(part.images_NHWC) for name, part in whole.items()}
    codes = _codes(whole)
    threshold = duplicates.calibrate(shapes["train"], patients=codes["train"])
    for loser, keeper in SIDES:
        rows, distances = duplicates.nearest(shapes[loser], shapes[keeper], on_progress=on_progress)
        held = set(digests[keeper])
        close_rows = [
            row
            for row in np.flatnonzero(distances < threshold).tolist()
            # Exact duplicates are told of already, and so are images of a patient who stands on both sides.
            if digests[loser][row] not in held and codes[loser][row] != codes[keeper][rows[row]]
        ]
        close_rows.sort(key=lambda row: float(distances[row]))
        found.append(
            leaks.of_pairs(
                [
                    duplicates.Pair(first=row, second=int(rows[row]), distance=round(float(distances[row]), 6))
                    for row in close_rows
                ],
                kind=leaks.NEAR,
                between=(loser, keeper),
                action=close,
                names=(whole[loser].names, whole[keeper].names),
                rows=close_rows,
            )
        )
    present = [leak for leak in found if leak is not None]
    pictures, told = audit.pair_pictures(
        [
            (
                f"{leak.kind.replace('-', ' ')} in {leak.between[0]} and {leak.between[1]}",
                whole[leak.between[0]].images_NHWC,
                whole[leak.between[1]].images_NHWC,
                leak.pairs,
            )
            for leak in present
            if leak.pairs and leak.between[0] != leak.between[1]
        ]
    )
    near = Near(
        threshold=threshold,
        measure="sqrt(2 - 2 correlation) of 16x16 grey reductions",
        calibrated_on="nearest training images of different patients, robustly 4 deviations below the usual",
    )
    return present, near, pictures, told


def _codes(whole: Mapping[str, Formed]) -> dict[str, NDArray[np.int64]]:
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


def _warnings(audited: Audit, *, size: int) -> list[str]:
    found = audit.range_warnings(audited.ranges)
    if audited.conflicts is not None and audited.conflicts.count:
        found.append(
            f"Images that are equal to the pixel have different labels in the source: {audited.conflicts.count} "
            f"(for example {'; '.join(audited.conflicts.examples[0])})."
        )
    if audited.unreadable:
        found.append(f"{len(audited.unreadable)} images could not be decoded and were left out.")
    smallest, largest = audited.resampling.sides
    if smallest < size:
        found.append(f"Images from {smallest} pixels were enlarged to {size}: they hold no more detail than before.")
    if largest > 2 * smallest:
        found.append(f"Images of {smallest} to {largest} pixels are mixed: their sharpness may differ between classes.")
    return found
