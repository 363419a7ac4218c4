"""Batches that are larger than what they are drawn from, found before anything runs.

Only a batch size that the experiment states is refused: that of a family of models may be larger than a small data set,
whose images then stand in a batch more than once. What leaks leave out of the training images is known once they are
prepared; a batch that is too large only then is refused by the step (`syntrial_classification.phases`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from syntrial.counting import counted
from syntrial.errors import UserError, Violation
from syntrial.experiment.arms import REAL, Arm, Phase
from syntrial.experiment.dataset import Dataset
from syntrial.experiment.model import Classifier, Experiment, Spec
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.splits import cap
from syntrial.plan.outline import is_primary, outline, real_contests, rivals
from syntrial.sources.contents import foreseen
from syntrial.sources.medmnist import MEDMNIST
from syntrial.sources.named import DATASET, chain_name
from syntrial.sources.resolve import Sources
from syntrial.v1.data_preparation_pb2 import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawn:
    """The training images of a data set, as far as they are known before it is prepared."""

    images: int
    classes: int
    by_class: tuple[int, ...] | None
    """None where their labels are not at hand, or an image has several."""


def check_batches(experiment: Experiment, sources: Sources) -> None:
    """Raises UserError, with every violation, where a stated batch is larger than what a phase or a link draws from."""
    spec = experiment.spec
    violations: list[Violation] = []
    own = _drawn(spec.dataset, DATASET, sources, title="spec.dataset")
    for number, classifier in enumerate(spec.classifiers):
        field = f"spec.classifiers[{number}]"
        if own is not None:
            stated = getattr(classifier.recipe, "batch_size", None)
            pools = [
                (_pool(own, phase, classifier.recipe), f"arm {arm.name!r}") for arm, phase in _phases(spec, classifier)
            ]
            violations += _too_large(stated, pools, field=f"{field}.recipe.batchSize")
        for step, link in enumerate(classifier.chain):
            place = f"{field}.chain[{step}]"
            linked = _drawn(link.dataset, chain_name(classifier, step), sources, title=f"{place}.dataset")
            if linked is not None:
                pools = [(_pool(linked, Phase(real=1.0), link.recipe), "the link's data")]
                stated = getattr(link.recipe, "batch_size", None)
                violations += _too_large(stated, pools, field=f"{place}.recipe.batchSize")
    if violations:
        raise UserError(violations=violations)


def training_images(dataset: Dataset, train: SplitContents, *, of_a_pass: bool = False) -> int:
    """How many images of the training split the trial uses, or a pass of a training shows, but for leaks."""
    count = min(round(len(train.labels) * dataset.train_fraction), dataset.train_count or len(train.labels))
    if dataset.cap_per_label is not None and (of_a_pass or not dataset.redraws):
        names = [str(row) for row in range(len(train.labels))]
        capped = cap(train.labels, names=names, most=dataset.cap_per_label, seed=0)
        count = min(count, int(capped.sum()))
    return max(1, count)


def _drawn(dataset: Dataset, name: str, sources: Sources, *, title: str) -> _Drawn | None:
    contents: Mapping[str, Contents] = sources.contents
    if name in contents:
        prepared = foreseen(dataset, contents[name], title=title, has_own_form=name == DATASET)
        train, classes = prepared.splits["train"], len(prepared.classes)
        images = training_images(dataset, train, of_a_pass=True)
        is_counted = train.labels.ndim == 1 and images == len(train.labels)
        by_class = tuple(np.bincount(train.labels).tolist()) if is_counted else None
        return _Drawn(images=images, classes=classes, by_class=by_class)
    source: Source = sources.by_name[name]
    if source.WhichOneof("kind") != "medmnist" or dataset.class_map or dataset.cap_per_label:
        return None
    row = MEDMNIST[source.medmnist.name]
    count = row.images[0]
    images = max(1, min(round(count * dataset.train_fraction), dataset.train_count or count))
    return _Drawn(images=images, classes=len(row.classes), by_class=None)


def _phases(spec: Spec, classifier: Classifier) -> Iterator[tuple[Arm, Phase]]:
    """The phases of all that is trained of a classifier."""
    arms = [REAL]
    for contest in real_contests(spec):
        arms += [contest.arm, contest.control]
    for item in outline(spec):
        for contest in item.wanted(spec, primary=is_primary(spec, classifier)):
            arms += [contest.arm, contest.control]
    if spec.reference is not None:
        sides = (spec.primary, spec.reference, *rivals(spec))
        arms += [side.arm for side in sides if side.classifier.title == classifier.title]
    for arm in dict.fromkeys(arms):
        for phase in arm.phases:
            yield arm, phase


def _pool(drawn: _Drawn, phase: Phase, recipe: object) -> int | None:
    """The images of a phase's pool at most; None where that is not known. Those that a set lacks are counted too."""
    images = sum(round(share * drawn.images) for share in (phase.real, phase.synthetic, phase.duplicated))
    if phase.synthetic % 1:
        # Quotas of classes are rounded each.
        images += drawn.classes
    if getattr(recipe, "sampling", None) != "balanced":
        return images
    if drawn.by_class is None:
        return None
    # Images are repeated until each class has as many as the largest.
    share = images / max(1, drawn.images)
    return sum(count > 0 for count in drawn.by_class) * int(np.ceil(share * max(drawn.by_class)))


def _too_large(stated: int | None, pools: list[tuple[int | None, str]], *, field: str) -> Iterator[Violation]:
    known = [(count, words) for count, words in pools if count is not None]
    if stated is None or not known:
        return
    least, words = min(known, key=lambda pair: pair[0])
    if stated > least:
        yield Violation(
            field=field,
            rule="a batch is at most as large as what it is drawn from",
            received=f"{stated:,}, where {words} has {counted(least, 'training image')}",
            remedy=f"Set it to {least:,} or less" + (", or train with more images." if least > 1 else "."),
        )
