"""What a trial could detect, said before anything is trained (`syntrial plan`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from syntrial.analysis.decidable import effective_number, undecidable_before
from syntrial.analysis.metrics import METRICS, Metric
from syntrial.analysis.power import PlanningAssumptions, detectable_effect_before
from syntrial.counting import counted
from syntrial.errors import listed
from syntrial.experiment.model import Experiment
from syntrial.imagesets.contents import SplitContents
from syntrial.sources.contents import foreseen
from syntrial.sources.medmnist import MEDMNIST
from syntrial.sources.named import DATASET
from syntrial.sources.resolve import Sources
from syntrial.trial.batches import training_images

MOST_CLASSES: Final = 10
"""Classes whose patients are said one by one."""
FEWEST_SCORED: Final = 2
"""Test patients of a label below which it is no part of a metric: without one of them, there is no value
(`analysis.metrics.leave_one_out`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """Whom a trial is evaluated on, as far as that is known before its data is prepared."""

    patients: int
    """Of the test split."""
    classes: tuple[str, ...]
    by_class: tuple[int, ...] | None
    """Test patients with images of each class, who may have images of several; None where only the total is known."""
    is_multi_label: bool
    training_images: int
    in_effect: tuple[tuple[float, float], ...] | None = None
    """Of each class, the effective number of test patients by their images of it, and by those that are not of it; None
    where each patient has one image."""

    def scored(self) -> list[Sequence[float]]:
        """Patients in effect by class of each problem that is scored: one, or one for each label.

        Where only the total is known, classes are taken as equally frequent.
        """
        total, count = self.patients, len(self.classes)
        if self.by_class is None:
            if self.is_multi_label:
                return [[total - total // 2, total // 2]]
            return [[total // count + (k < total % count) for k in range(count)]]
        sides = self.in_effect or tuple((positive, total - positive) for positive in self.by_class)
        if not self.is_multi_label:
            return [[positive for positive, _ in sides]]
        # Of a label that all images have, one without it is assumed.
        return [
            [max(1, rest), positive]
            for (positive, rest), patients in zip(sides, self.by_class, strict=True)
            if patients >= FEWEST_SCORED
        ] or [[max(1, total - 1), 1]]

    def unscored(self) -> list[str]:
        """Labels that too few test patients have to be a part of a metric by class."""
        if not self.is_multi_label or self.by_class is None:
            return []
        return [name for name, count in zip(self.classes, self.by_class, strict=True) if count < FEWEST_SCORED]


def detectable_words(experiment: Experiment, sources: Sources) -> str:
    """Sentences on the effect that this trial could detect, with what they assume.

    Where the size of the test split is not known before preparation, they say so.
    """
    found = evaluated(experiment, sources)
    if found is None:
        return "The effect that this trial could detect is known once the data set is prepared: it depends on its size."
    spec = experiment.spec
    metric = METRICS[spec.endpoint.metric]
    missing = listed(list(map(repr, found.unscored())), last="and") if metric.by_class and found.unscored() else ""
    left_out = f" No part of {metric.words}, for want of test patients: {missing}." if missing else ""
    low, high = metric.planned_range
    most, least = (effect(found, metric=metric, replicates=spec.replicates, value=value) for value in (low, high))
    if least is None or most is None:
        reasons = dict.fromkeys(
            reason
            for cases in found.scored()
            for reason in undecidable_before(cases, replicates=spec.replicates, by_class=metric.by_class)
        )
        return (
            f"With {_words(found)} this trial can end in no outcome but inconclusive: {'; '.join(reasons)}. "
            "More `replicates`, a larger share in `dataset.split.test`, or classes made one by `dataset.classMap` help."
            f"{left_out}"
        )
    smallest = spec.endpoint.smallest_effect
    which = "That is" if least > smallest else "The larger is"
    warning = "" if most <= smallest else f" {which} more than the smallest effect of interest, {smallest:g}."
    return (
        f"With {_words(found)} and {counted(spec.replicates, 'replicate')} this trial detects "
        f"{_size(least, metric)} in {metric.words} where the control has {high:g}, and {_size(most, metric)} where "
        f"it has {low:g} (80% power), "
        f"{PlanningAssumptions().words}.{warning}{left_out}{_between_classifiers(experiment)}"
    )


def _between_classifiers(experiment: Experiment) -> str:
    """What must be added where the primary comparison is one of two classifiers."""
    decides, other = experiment.spec.primary, experiment.spec.reference
    if other is None or other.classifier == decides.classifier:
        return ""
    return (
        " This holds between arms of one classifier: two classifiers agree less over patients, so that only larger "
        "differences between them may be detected."
    )


def effect(found: Evaluated, *, metric: Metric, replicates: int, value: float) -> float | None:
    """The difference that is expected to be detected with a control of this value; None where no outcome can come.

    Labels of one image are taken as moving together: the variance of their mean is the mean of their variances.
    """
    assumptions = replace(PlanningAssumptions(), value=value)
    effects = [
        detectable_effect_before(
            cases,
            replicates=replicates,
            metric=metric.name,
            training_cases=found.training_images,
            assumptions=assumptions,
        )
        for cases in found.scored()
    ]
    known = [effect for effect in effects if effect is not None]
    return math.sqrt(math.fsum(effect**2 for effect in known) / len(known)) if len(known) == len(effects) else None


def _size(effect: float, metric: Metric) -> str:
    worst, best = metric.range
    return f"differences of about {effect:.3f} or more" if effect < best - worst else "no difference that there can be"


def _words(found: Evaluated) -> str:
    if found.by_class is None:
        how = "each label on half of them" if found.is_multi_label else "as many of each class"
        return f"{counted(found.patients, 'test patient')} ({how} is assumed: their labels are not at hand)"
    pairs = [f"{count} {name!r}" for name, count in zip(found.classes, found.by_class, strict=True)]
    more = f" and {counted(len(pairs) - MOST_CLASSES, 'class', 'classes')} more" if len(pairs) > MOST_CLASSES else ""
    return f"{counted(found.patients, 'test patient')} ({', '.join(pairs[:MOST_CLASSES])}{more})"


def _in_effect(test: SplitContents, *, classes: int) -> tuple[tuple[float, float], ...]:
    """Of each class, the effective number of patients by their images of it, and by those that are not of it."""
    _, patient_N = np.unique(np.asarray(test.patients), return_inverse=True)
    members = [test.labels == k if test.labels.ndim == 1 else test.labels[:, k] == 1 for k in range(classes)]
    return tuple(
        (effective_number(np.bincount(patient_N[has_N])), effective_number(np.bincount(patient_N[~has_N])))
        for has_N in members
    )


def evaluated(experiment: Experiment, sources: Sources) -> Evaluated | None:
    """Whom the trial will be evaluated on; None where nothing is known before its data is prepared.

    Of a MedMNIST set that is not at hand only the size is known, and each image is a patient.
    """
    dataset = experiment.spec.dataset
    contents = sources.contents.get(DATASET)
    if contents is not None:
        prepared = foreseen(dataset, contents)
        test, train = prepared.splits["test"], prepared.splits["train"]
        return Evaluated(
            patients=len(set(test.patients)),
            classes=prepared.classes,
            by_class=test.patients_by_class(len(prepared.classes)),
            is_multi_label=test.labels.ndim == 2,
            training_images=training_images(dataset, train),
            in_effect=_in_effect(test, classes=len(prepared.classes)),
        )
    source = sources.by_name[DATASET]
    if source.WhichOneof("kind") != "medmnist" or dataset.class_map:
        return None
    row = MEDMNIST[source.medmnist.name]
    return Evaluated(
        patients=row.images[2],
        classes=row.classes,
        by_class=None,
        is_multi_label=row.task == "multi-label",
        training_images=max(1, round(row.images[0] * dataset.train_fraction)),
    )
