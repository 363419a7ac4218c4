"""PrepareDataset: a source becomes train, validation and test, without leaks, with an audit of what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted
from syntrial.documents import document, names
from syntrial.documents import scale as scale_document
from syntrial.documents.audit import Audit, Resampling
from syntrial.errors import UserError, listed
from syntrial.imagesets.classes import Classes, Labels, check_split, map_classes, relabel, unscored
from syntrial.imagesets.imageset import ImageSet, read_image_set, write_image_set
from syntrial.imagesets.limits import channels_of
from syntrial.imagesets.splits import SPLITS, cap, cut, splits_to_cut, subset, subset_of
from syntrial.rpc.context import StepContext
from syntrial.v1.data_preparation_pb2 import AuditPolicy, PrepareDatasetRequest, SplitRule
from syntrial_data_prep import audit, duplicates, findings, held_out, leak_search, leaks, scales, sources
from syntrial_data_prep.form import Formed, check_size, form_all
from syntrial_data_prep.resample import Form
from syntrial_data_prep.scales import Clipped
from syntrial_data_prep.shards import Shards
from syntrial_data_prep.sources.raw import Raw


def prepare_dataset(request: PrepareDatasetRequest, context: StepContext) -> None:
    """Writes the members train, validation, test and audit. Raises UserError for a source or a rule that is wrong."""
    image_format = request.format
    check_size(image_format.size)
    _check_shares(request)
    raw = sources.read(
        request.source,
        context.source_path(request.source.digest) if request.source.digest else None,
        scratch=context.scratch,
        on_progress=lambda _: context.check_cancelled(),
    )
    mapped = map_classes(raw.classes, request.class_map, task=request.task)
    held = _held_out(request, context)
    channels = _channels(raw, request=request, held=held)
    shards = Shards(context)
    scale = shards.scale() or scales.find_scale(
        raw,
        intensity=image_format.intensity,
        training=lambda: _training(raw, mapped, rule=request.split),
        on_progress=lambda count: context.progress(count, total=0, unit="images", activity="finding the scale"),
    )
    shards.keep_scale(scale)
    shape = Form.of(image_format, size=image_format.size, channels=channels)
    formed = form_all(raw, classes=mapped, shape=shape, scale=scale, shards=shards, context=context)
    whole, origins = _split(formed, rule=request.split, title=raw.title, scratch=context.scratch)
    for name in SPLITS:
        check_split(whole[name].labels, mapped.names, split=name, source=raw.title)

    digests = {name: duplicates.hashes(part.images_NHWC) for name, part in whole.items()}
    duplicates.require_different(digests.values(), title=raw.title)
    searched = leak_search.search(
        whole,
        digests=digests,
        policy=request.leaks,
        on_progress=lambda done, of: context.progress(done, total=of, unit="pairs", activity="looking for leaks"),
    )
    from_trial = held_out.search_held_out(
        whole,
        held,
        digests=digests,
        searched=searched,
        policy=request.leaks,
        same_source=request.held_out.same_source,
        on_progress=lambda done, of: context.progress(
            done, total=of, unit="images", activity="looking for the trial's images"
        ),
    )
    found_leaks = (*searched.leaks, *from_trial)
    pixels = {name: part.images_NHWC for name, part in whole.items()}
    pixels |= {title: images.images_NHWC for title, images in held.items()}
    pictures, told = audit.leak_pictures(found_leaks, pixels)
    leaks.stop_if_asked(found_leaks, source=raw.title)
    held_out.require_others(whole, from_trial, title=raw.title)
    kept = {
        name: part.take(leaks.keep_mask(len(part), found_leaks, split=name), scratch=context.scratch)
        for name, part in whole.items()
    }
    kept["train"] = _limited(kept["train"], request=request, scratch=context.scratch)
    for name in SPLITS:
        check_split(kept[name].labels, mapped.names, split=name, source=f"{raw.title} after leaks are dropped")

    betrays = findings.of_dataset(kept, mapped.names, lost={name: part.lost for name, part in formed.items()})
    if request.audit == AuditPolicy.AUDIT_POLICY_STOP:
        findings.stop_if_asked(betrays, source=raw.title)
    graded, shown = findings.pictures(betrays, {name: part.images_NHWC for name, part in kept.items()})
    source = raw.about or raw.title
    found = Audit(
        version=1,
        source=source,
        classes=mapped.names,
        splits={
            name: audit.describe_split(kept[name], mapped.names, source=source, split_by=origins[name])
            for name in SPLITS
        },
        train_fraction=request.train_fraction or 1.0,
        leaks=tuple(leak.document() for leak in found_leaks),
        near=searched.near,
        pictures=told,
        shifts=audit.shifts({name: kept[name].labels for name in SPLITS}, mapped.names),
        conflicts=audit.conflicts(
            {name: (whole[name], digests[name]) for name in SPLITS}, mapped.names, found=searched.leaks
        ),
        ranges={name: audit.ranges(kept[name].images_NHWC) for name in SPLITS},
        unreadable=tuple(name for part in formed.values() for name in part.unreadable),
        resampling=describe_resampling(raw, shape=shape),
        notes=(*raw.notes, *scales.told(scale)),
        warnings=(),
        findings=graded,
    )
    clipped = sum((part.clipped for part in formed.values()), Clipped())
    saturated = scales.saturation(clipped, scale, what="the images", shares=scales.asked(image_format.intensity))
    left_out = [text for name in SPLITS for text in _unscored(kept[name].labels, mapped.names, split=name)]
    found = replace(found, warnings=(*_warnings(found, size=image_format.size), *left_out, *saturated))
    for name in SPLITS:
        write_image_set(context.output, name, kept[name].image_set(mapped.names))
    document.write(context.output, "audit", "audit.json", document=found)
    document.write(context.output, scale_document.MEMBER, scale_document.NAME, document=scale)
    if pictures is not None:
        context.output.array("audit", "pairs.npy", pictures)
    if shown is not None:
        context.output.array("audit", "findings.npy", shown)
    write_originals(raw, context)


def _held_out(request: PrepareDatasetRequest, context: StepContext) -> dict[str, ImageSet]:
    """The trial's splits that the data set must not hold, by their titles; none for the trial's own data set."""
    if not request.HasField("held_out"):
        return {}
    refs = {"validation": request.held_out.validation, "test": request.held_out.test}
    found = {held_out.title_of(name): read_image_set(context.open(ref)) for name, ref in refs.items()}
    side = next(iter(found.values())).images_NHWC.shape[1]
    if request.format.size != side:
        raise UserError(
            field="format.size",
            rule="a data set for pretraining has the size of the trial's images",
            received=request.format.size,
            remedy=f"Use {side}.",
        )
    return found


def _channels(raw: Raw, *, request: PrepareDatasetRequest, held: Mapping[str, ImageSet]) -> int:
    """Of the trial's images where there are any, else of the source's own."""
    if held:
        return int(next(iter(held.values())).images_NHWC.shape[3])
    return channels_of(raw.channels, mode=request.format.color_mode, title=raw.title)


def write_originals(raw: Raw, context: StepContext) -> None:
    """Writes the member that alone holds names, where the source has any."""
    if raw.originals is not None:
        document.write(context.output, names.MEMBER, "names.json", document=raw.originals)


def describe_resampling(raw: Raw, *, shape: Form) -> Resampling:
    """From which sides to which, by what method, and how many images lose their margins to the central square."""
    sides = [part.sides for part in raw.splits.values()]
    smallest, largest = min(low for low, _ in sides), max(high for _, high in sides)
    return Resampling(
        sides=(smallest, largest),
        to=shape.size,
        channels=shape.channels,
        method="none" if smallest == largest == shape.size else shape.method.name.lower(),
        cropped=sum(part.oblong for part in raw.splits.values()) if shape.is_cropped else 0,
    )


def _limited(train: Formed, *, request: PrepareDatasetRequest, scratch: Path) -> Formed:
    """The part of the training split that the trial uses: a share, a count, and at most so many of a class."""
    seed = request.train_fraction_seed
    if 0 < request.train_fraction < 1 and len(train):
        chosen = subset(train.labels, patients=train.identities, fraction=request.train_fraction, seed=seed)
        train = train.take(chosen, scratch=scratch)
    if request.train_count and len(train):
        chosen = subset_of(train.labels, patients=train.identities, count=request.train_count, seed=seed)
        train = train.take(chosen, scratch=scratch)
    if request.cap_per_label and len(train):
        chosen = cap(train.labels, names=train.names, most=request.cap_per_label, seed=seed)
        train = train.take(chosen, scratch=scratch)
    return train


def _training(raw: Raw, classes: Classes, *, rule: SplitRule) -> dict[str, NDArray[np.bool_]]:
    """Which rows of which split of the source are the training split's, before files turn out to be unreadable."""
    base_name, missing = splits_to_cut(raw.splits, rule=rule, title=raw.title)
    base = raw.splits[base_name]
    labels, wanted = relabel(base.labels, classes)
    training = wanted.copy()
    if missing and wanted.any():
        rows = np.flatnonzero(wanted)
        patients = [base.identities[row] for row in rows.tolist()]
        places = cut(labels[rows], patients=patients, shares=missing, rest="train", seed=rule.seed)
        training[rows] = places == "train"
    return {base_name: training}


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


def _unscored(labels: Labels, names: Sequence[str], *, split: str) -> list[str]:
    """A warning where a split cannot score all of several labels: known before anything is trained or evaluated."""
    missing = unscored(labels, names)
    if not missing:
        return []
    which = listed(list(map(repr, missing)), last="and")
    return [
        f"In {split} these labels can't be scored, since none of its images has them or each does: {which}. They are "
        f"no part of the metrics there; AUROC is the mean over the other {len(names) - len(missing)}."
    ]


def _warnings(audited: Audit, *, size: int) -> list[str]:
    found = audit.range_warnings(audited.ranges)
    if audited.conflicts is not None and audited.conflicts.count:
        found.append(
            f"Images that are equal to the pixel have different labels in the source: {audited.conflicts.count} "
            f"(for example {'; '.join(audited.conflicts.examples[0])})."
        )
    if audited.conflicts is not None and audited.conflicts.near:
        found.append(
            f"Near duplicates have different labels: {counted(audited.conflicts.near, 'pair')} "
            f"(for example {'; '.join(audited.conflicts.near_examples[0])})."
        )
    if audited.unreadable:
        found.append(f"Left out: {counted(len(audited.unreadable), 'image')} that could not be decoded.")
    smallest, largest = audited.resampling.sides
    if smallest < size:
        found.append(f"Images from {smallest} pixels were enlarged to {size}: they hold no more detail than before.")
    if largest > 2 * smallest:
        found.append(f"Images of {smallest} to {largest} pixels are mixed: their sharpness may differ between classes.")
    return found
