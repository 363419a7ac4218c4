"""PreparePool: unlabelled images become a pool that generators are trained on beside the training split, in its form.

What the trial's verdict is read from is not among them: copies of validation and test images, and images of their
patients, stop the step or are left out, as the request says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from syntrial.counting import counted
from syntrial.documents import document
from syntrial.documents.audit import Audit
from syntrial.errors import SourceError, UserError
from syntrial.imagesets.classes import Classes
from syntrial.imagesets.imageset import ImageSet, read_image_set, write_image_set
from syntrial.imagesets.near.likeness import coefficients, evened
from syntrial.imagesets.splits import UNSPLIT
from syntrial.imagesets.structure import UNLABELLED
from syntrial.rpc.context import StepContext
from syntrial.v1.data_preparation_pb2 import PreparePoolRequest
from syntrial_data_prep import audit, duplicates, leaks, scales
from syntrial_data_prep.entering import enter
from syntrial_data_prep.form import Formed
from syntrial_data_prep.held_out import search_held_out, title_of
from syntrial_data_prep.leak_search import Searched, calibrated, near_of
from syntrial_data_prep.prepare import describe_resampling, write_originals
from syntrial_data_prep.sources.raw import Raw

HELD: Final = ("validation", "test")


def prepare_pool(request: PreparePoolRequest, context: StepContext) -> None:
    """Writes the members images and audit. Raises UserError for a source without images for training, and for one that
    holds images of the trial's validation or test split where the policy is to stop.
    """
    train = read_image_set(context.open(request.train))
    held = {title_of(name): read_image_set(context.open(getattr(request.held_out, name))) for name in HELD}
    entered = enter(
        request,
        context,
        train=train,
        size_rule="a pool has the size of the trial's images",
        classes=lambda _: Classes(names=(UNLABELLED,), targets=(0,)),
        only=_for_training,
    )
    raw, (whole,) = entered.raw, entered.parts

    searched, found = _of_trial(whole, train=train, held=held, request=request, context=context)
    pixels = {UNLABELLED: whole.images_NHWC} | {title: images.images_NHWC for title, images in held.items()}
    pictures, told = audit.leak_pictures(found, pixels)
    _stop_if_asked(found)
    kept = whole.take(leaks.keep_mask(len(whole), found, split=UNLABELLED), scratch=context.scratch)
    if len(kept) == 0:
        raise UserError(
            field="source",
            rule="a pool holds images that are none of the trial's validation and test images",
            received=f"{counted(len(whole), 'image')}, of which each is one of these, like one, or of their patients",
            remedy="Name another source.",
        )
    source = raw.about or raw.title
    audited = Audit(
        version=1,
        source=source,
        classes=(UNLABELLED,),
        splits={UNLABELLED: audit.describe_split(kept, (UNLABELLED,), source=source, split_by="source")},
        leaks=tuple(leak.document() for leak in found),
        near=searched.near,
        pictures=told,
        shifts=(),
        ranges={UNLABELLED: audit.ranges(kept.images_NHWC), "train": audit.ranges(train.images_NHWC)},
        unreadable=tuple(whole.unreadable),
        resampling=describe_resampling(raw, shape=entered.shape),
        notes=(*raw.notes, *scales.told(entered.scale)),
        warnings=(),
        findings=(),
    )
    of_levels = entered.warnings(clipped=whole.clipped, what="the pool", intensity=request.format.intensity)
    audited = replace(audited, warnings=(*audit.range_warnings({UNLABELLED: audited.ranges[UNLABELLED]}), *of_levels))
    write_image_set(context.output, "images", kept.image_set((UNLABELLED,)))
    document.write(context.output, "audit", "audit.json", document=audited)
    if pictures is not None:
        context.output.array("audit", "pairs.npy", pictures)
    write_originals(raw, context)


def _for_training(raw: Raw) -> Raw:
    """The source with the one split that is trained on, without labels; raises SourceError where it has none."""
    name = UNSPLIT if UNSPLIT in raw.splits else "train"
    if name not in raw.splits or not raw.splits[name].names:
        raise SourceError(
            field="source",
            rule="a pool holds images for training: all of a source without splits, else its training split",
            received=f"{raw.title}, with no image for training",
            remedy="Name the folder of the images themselves, or a source that has such a split.",
        )
    part = raw.splits[name]
    unlabelled = replace(part, labels=np.zeros(len(part.names), np.int64), lost=())
    return replace(raw, splits={name: unlabelled}, classes=(UNLABELLED,), multi_label=False)


def _of_trial(
    whole: Formed,
    *,
    train: ImageSet,
    held: Mapping[str, ImageSet],
    request: PreparePoolRequest,
    context: StepContext,
) -> tuple[Searched, list[leaks.Leak]]:
    """What near means, by the trial's training split, and what the pool has in common with what is held out."""
    _, scale, calibration = calibrated(train.images_NHWC, patients=train.patients)
    searched = Searched(
        leaks=(),
        near=near_of(calibration),
        likeness={UNLABELLED: evened(coefficients(whole.images_NHWC), scale)},
        scale=scale,
        calibration=calibration,
    )
    found = search_held_out(
        {UNLABELLED: whole},
        held,
        digests={UNLABELLED: duplicates.hashes(whole.images_NHWC)},
        searched=searched,
        policy=request.leaks,
        same_source=request.held_out.same_source,
        on_progress=lambda done, of: context.progress(
            done, total=of, unit="images", activity="looking for the trial's images"
        ),
    )
    return searched, found


def _stop_if_asked(found: Sequence[leaks.Leak]) -> None:
    """Raises UserError that names the images of all leaks whose policy is to stop."""
    stopping = [leak for leak in found if leak.action == "stop"]
    if not stopping:
        return
    parts = [
        f"{counted(len(leak.rows), 'image')} by {leak.kind.replace('-', ' ')}s with {leak.between[1]}"
        for leak in stopping
    ]
    # Of the last the most is said: messages are short, and its split is the one that a verdict is read from.
    shown = "; ".join(" = ".join(example) for example in stopping[-1].examples[:2])
    raise UserError(
        field="source",
        rule="a pool of unlabelled images holds none of the trial's validation and test images",
        received=f"{', '.join(parts)} ({shown})",
        remedy="Take them out of the source, or write `leaks: drop` beside it, which leaves them out.",
    )
