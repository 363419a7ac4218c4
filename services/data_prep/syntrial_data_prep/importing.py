"""ImportImages: ready-made synthetic images enter the trial, in its form and classes, searched for copies of real ones.

What made them is unknown, so nothing proves that it never saw the test images; this search is what can be done.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted
from syntrial.documents import document
from syntrial.documents.audit import Audit, Near, PairPicture
from syntrial.errors import UserError
from syntrial.imagesets.classes import count_classes, map_classes
from syntrial.imagesets.facts import of_text
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set, write_image_set
from syntrial.imagesets.near.likeness import coefficients, evened
from syntrial.rpc.context import StepContext
from syntrial.v1.data_preparation_pb2 import AuditPolicy, ImportImagesRequest, LeakPolicy
from syntrial_data_prep import audit, duplicates, findings, leaks, scales
from syntrial_data_prep.entering import enter
from syntrial_data_prep.form import Formed, counting, join
from syntrial_data_prep.leak_search import Side, calibrated, copies_between, near_of
from syntrial_data_prep.prepare import describe_resampling, write_originals

REAL = ("validation", "test", "train")
"""What imported images are searched against; copies of training images are counted, not dropped."""
IMPORTED = "imported"


def import_images(request: ImportImagesRequest, context: StepContext) -> None:
    """Writes the members images and audit. Raises UserError for a source, a class or a size that does not fit."""
    real = {name: read_image_set(context.open(getattr(request, name))) for name in REAL}
    train = real["train"]
    entered = enter(
        request,
        context,
        train=train,
        size_rule="imported images have the data set's size",
        classes=lambda raw: map_classes(raw.classes, request.class_map, into=train.classes, task=request.task),
    )
    raw = entered.raw
    images = _fit_task(join(entered.parts, scratch=context.scratch), train=train, title=raw.title)

    digests = duplicates.hashes(images.images_NHWC)
    near, found_leaks, pictures, told = _copies(images, digests=digests, real=real, request=request, context=context)
    leaks.stop_if_asked(found_leaks, source=raw.title)
    stays = leaks.keep_mask(len(images), found_leaks, split=IMPORTED)
    kept = images.take(stays, scratch=context.scratch)
    if len(kept) == 0:
        raise UserError(
            field=raw.title,
            rule="an imported set holds images that are no copies of validation or test images",
            received=f"{counted(len(images), 'image')}, none of which may stay",
            remedy="These are images of the data set itself: import others.",
        )
    of_train = [leak for leak in found_leaks if leak.kind == leaks.EXACT and leak.between[1] == "train"]
    copies = {row for leak in of_train for row in leak.rows}
    if not request.allow_copies and copies.issuperset(np.flatnonzero(stays).tolist()):
        raise UserError(
            field=raw.title,
            rule="an imported set holds images that are no copies of real ones",
            received=f"{counted(len(kept), 'image')} that may stay, each equal to a training image, pixel for pixel",
            remedy="These are images of the data set itself: import others, or take copies by `copies: 0` of the set.",
        )
    betrays = findings.of_imported(
        kept, train=_formed(train), validation=_formed(real["validation"]), classes=train.classes
    )
    if request.audit == AuditPolicy.AUDIT_POLICY_STOP:
        findings.stop_if_asked(betrays, source=raw.title)
    graded, shown = findings.pictures(betrays, {IMPORTED: kept.images_NHWC, "train": train.images_NHWC})
    source = raw.about or raw.title
    audited = Audit(
        version=1,
        source=source,
        classes=train.classes,
        splits={IMPORTED: audit.describe_split(kept, train.classes, source=source, split_by="source")},
        leaks=tuple(leak.document() for leak in found_leaks),
        near=near,
        pictures=told,
        shifts=audit.shifts({"train": train.labels, IMPORTED: kept.labels}, train.classes),
        ranges={
            IMPORTED: audit.ranges(kept.images_NHWC),
            "train": audit.ranges(train.images_NHWC),
        },
        unreadable=tuple(images.unreadable),
        resampling=describe_resampling(raw, shape=entered.shape),
        notes=(*raw.notes, *scales.told(entered.scale)),
        warnings=(),
        findings=graded,
    )
    of_levels = entered.warnings(clipped=images.clipped, what="the imported images", intensity=request.format.intensity)
    audited = replace(audited, warnings=(*_warnings(audited, kept=kept, train=train), *of_levels))
    write_image_set(context.output, "images", kept.image_set(train.classes))
    document.write(context.output, "audit", "audit.json", document=audited)
    if pictures is not None:
        context.output.array("audit", "pairs.npy", pictures)
    if shown is not None:
        context.output.array("audit", "findings.npy", shown)
    write_originals(raw, context)


def _formed(real: ImageSet) -> Formed:
    """A split of the data set as findings take it: with its files' facts, and no patient."""
    stored = real.origins.get("stored")
    names = tuple(map(str, range(len(real))))
    return Formed(
        images_NHWC=real.images_NHWC,
        labels=real.labels,
        names=names,
        patients=None,
        identities=names,
        files=tuple(of_text(str(text)) for text in stored) if stored is not None else None,
    )


def _fit_task(images: Formed, *, train: ImageSet, title: str) -> Formed:
    """One label an image fits a data set with several; the reverse does not."""
    if train.task == MULTI_LABEL and images.labels.ndim == 1:
        several = np.zeros((len(images), len(train.classes)), np.uint8)
        several[np.arange(len(images)), images.labels] = 1
        return replace(images, labels=several)
    if train.task != MULTI_LABEL and images.labels.ndim == 2:
        raise UserError(
            field=title,
            rule="each image has one class, as in the data set",
            received="several labels an image",
            remedy="Store the labels as (N,).",
        )
    return images


def _copies(
    images: Formed,
    *,
    digests: list[str],
    real: Mapping[str, ImageSet],
    request: ImportImagesRequest,
    context: StepContext,
) -> tuple[Near, list[leaks.Leak], NDArray[np.uint8] | None, tuple[PairPicture, ...]]:
    """Copies of real images, exact and near: what near means, the leaks, pictures of pairs and what they show."""
    exact = leaks.action_of(request.leaks.exact_duplicates, default=LeakPolicy.ACTION_DROP)
    close = leaks.action_of(request.leaks.near_duplicates, default=LeakPolicy.ACTION_WAIVE)
    train_likeness, scale, calibration = calibrated(real["train"].images_NHWC, patients=real["train"].patients)
    likeness = evened(coefficients(images.images_NHWC), scale)
    imported = Side(title=IMPORTED, names=images.names, digests=digests, likeness=likeness)
    found: list[leaks.Leak] = []
    for number, (name, image_set) in enumerate(real.items()):
        keeper = Side(
            title=name,
            names=[f"{name}/{file}" for file in image_set.origins.get("file", range(len(image_set)))],
            digests=duplicates.hashes(image_set.images_NHWC),
            likeness=train_likeness if name == "train" else evened(coefficients(image_set.images_NHWC), scale),
        )
        # Nothing imported is of a patient of the data set, as far as is known: all pairs count.
        found += copies_between(
            imported,
            keeper,
            calibration=calibration,
            exact="keep" if name == "train" else exact,
            near="keep" if name == "train" else close,
            on_progress=counting(
                context, before=number * len(images), total=len(real) * len(images), activity="looking for copies"
            ),
        )
    pictures, told = audit.leak_pictures(
        found, {IMPORTED: images.images_NHWC} | {name: image_set.images_NHWC for name, image_set in real.items()}
    )
    return near_of(calibration), found, pictures, told


def _warnings(audited: Audit, *, kept: Formed, train: ImageSet) -> list[str]:
    imported, real = audited.ranges[IMPORTED], audited.ranges["train"]
    found = audit.range_warnings({IMPORTED: imported})
    smallest, _ = audited.resampling.sides
    size = audited.resampling.to
    if smallest < size:
        found.append(
            f"Images from {smallest} pixels were enlarged to the data set's {size}: blur that real images lack is a "
            "shortcut for a classifier."
        )
    counts = count_classes(kept.labels, train.classes)
    absent = [name for name, count in counts.items() if count == 0]
    if absent:
        present = [name for name, count in counts.items() if count]
        found.append(
            f"All imported images are of {' and '.join(present)}; none are of {', '.join(absent)}: being synthetic "
            "then tells the class, which is a shortcut."
        )
    for leak in audited.leaks:
        if leak.between[1] == "train":
            kind = leak.kind.replace("-", " ").capitalize()
            found.append(f"{kind}s of training images: {counted(leak.count, 'imported image')}.")
    if audited.unreadable:
        found.append(f"Left out: {counted(len(audited.unreadable), 'image')} that could not be decoded.")
    if abs(imported.mean - real.mean) > real.deviation / 2:
        found.append(
            f"Imported images have a mean grey level of {imported.mean:.0f} where the training images have "
            f"{real.mean:.0f}: brightness alone tells them apart."
        )
    return found
