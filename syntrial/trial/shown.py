"""Images shown to one classifier: its predictions, metrics with their intervals over patients, and what qualifies them.

The steps are those of a trial (PrepareDataset, EvaluateClassifier), with the same keys, so that nothing that a trial
has done is done again. A look at a test split is on record before it is taken, as a trial's is: the report of a later
trial counts it. Called by the command line.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.metrics import METRICS
from syntrial.analysis.statistics import FEW_PATIENTS, estimate_arm
from syntrial.artifacts.store import ArtifactStore
from syntrial.counting import counted
from syntrial.documents.audit import Audit
from syntrial.documents.document import read
from syntrial.errors import SourceError, SyntrialError, UserError
from syntrial.executors.drive import drive
from syntrial.executors.executor import Event, Executor
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.plan.steps import Step
from syntrial.trial.chosen import ChosenClassifier, ChosenData, Head, own_step
from syntrial.trial.record import file_shown
from syntrial.trial.run import look_of_one_classifier
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import EvaluateClassifierRequest

SPLITS: Final = ("validation", "test", "all")
"""What may be shown of a data set; `all` is its training split too."""

_ALL: Final = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shown:
    """N images with a classifier's scores of K classes."""

    splits: tuple[str, ...]
    keys: tuple[str, ...]
    """Of the predictions, in the order of the splits."""
    classes: tuple[str, ...]
    scores_NK: NDArray[np.float64]  # noqa: N815
    labels: NDArray[Any]
    """int64 (N,), or uint8 (N, K)."""
    patients_N: NDArray[np.int64]  # noqa: N815
    patients_known: bool
    images: tuple[str, ...]
    """What each image is called: its split, and its pseudonym or its number in the split."""
    look: int | None
    """The number of this look at the test split; None where none was taken."""
    notes: tuple[str, ...]
    """Sentences that qualify the figures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A metric with its interval over patients."""

    name: str
    words: str
    value: float
    interval_95: tuple[float, float] | None


def show_images(
    classifier: ChosenClassifier,
    data: ChosenData,
    *,
    split: str | None,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> Shown:
    """Prepares the data, records the look where there is one, and predicts.

    `split` is one of `SPLITS`; None: validation of the classifier's own data set, for its test split is for verdicts;
    of other data the test split, or all where the data came without splits. Raises UserError where the data does not
    fit the classifier, and what else a step raises.
    """
    # What a trial has prepared is there, wherever its sources lie.
    run_steps((*classifier.steps, data.step), title=data.title, store=store, executor=executor, on_event=on_event)
    audit = read(Audit, store.open(MemberRef(key=data.step.key, member="audit")), "audit.json")
    splits = _chosen_splits(split, data=data, audit=audit)
    steps = [
        own_step(
            EvaluateClassifierRequest(classifier=classifier.ref, images=MemberRef(key=data.step.key, member=name)),
            label=f"evaluate {name}",
        )
        for name in splits
    ]
    sets = [read_image_set(store.open(MemberRef(key=data.step.key, member=name))) for name in splits]
    # Images that do not fit are refused by the step, and nobody has looked at them.
    is_look = "test" in splits and all(_fits(images, classifier.head) for images in sets)
    look = _record_look(classifier, data, steps=steps, store=store) if is_look else None
    file_shown(store, classifier.ref.key, keys=[data.step.key, *(step.key for step in steps)])
    run_steps(steps, title=data.title, store=store, executor=executor, on_event=on_event)
    arrays = [store.open(MemberRef(key=step.key, member="predictions")) for step in steps]
    known = all(audit.splits[name].patients_known for name in splits)
    return Shown(
        splits=splits,
        keys=tuple(step.key for step in steps),
        classes=classifier.head.classes,
        scores_NK=np.concatenate([reader.array("scores.npy") for reader in arrays]),
        labels=np.concatenate([reader.array("labels.npy") for reader in arrays]),
        patients_N=_patients(sets),
        patients_known=known,
        images=tuple(name for part, images in zip(splits, sets, strict=True) for name in _names(part, images)),
        look=look,
        notes=tuple(_notes(classifier, data, sets=sets, known=known, look=look, splits=splits, store=store)),
    )


def figures(shown: Shown) -> tuple[list[Figure], list[str]]:
    """All metrics that the images can show, and why the others cannot be.

    The interval is that of a report for one classifier: over patients alone, by the jackknife.
    """
    found, reasons = [], []
    for metric in METRICS.values():
        try:
            estimate = estimate_arm(
                shown.labels, scores=shown.scores_NK[None], clusters=shown.patients_N, metric=metric.name
            )
        except UserError as error:
            reasons.append(f"{metric.words}: {error.violations[0].rule}; received {error.violations[0].received}.")
            continue
        found.append(
            Figure(name=metric.name, words=metric.words, value=estimate.mean, interval_95=estimate.interval_95)
        )
        if estimate.excluded_classes:
            names = ", ".join(shown.classes[k] for k in estimate.excluded_classes)
            reasons.append(f"{metric.words} is without {names}: too few patients with or without.")
    return found, reasons


def rows(shown: Shown) -> Iterator[dict[str, Any]]:
    """A row for each image: its name, its patient where patients are known, its labels, and the score of each class."""
    for image, name in enumerate(shown.images):
        row: dict[str, Any] = {"image": name}
        if shown.patients_known:
            row["patient"] = int(shown.patients_N[image])
        if shown.labels.ndim == 1:
            row["label"] = shown.classes[int(shown.labels[image])]
        else:
            row |= {f"label {one}": int(shown.labels[image, k]) for k, one in enumerate(shown.classes)}
        row |= {f"score {one}": repr(float(shown.scores_NK[image, k])) for k, one in enumerate(shown.classes)}
        yield row


def _chosen_splits(split: str | None, *, data: ChosenData, audit: Audit) -> tuple[str, ...]:
    if split is None:
        if data.is_own:
            return ("validation",)
        return _ALL if audit.splits["test"].split_by == "syntrial" else ("test",)
    if split not in SPLITS:
        raise UserError(
            field="--split", rule=f"is one of {', '.join(SPLITS)}", received=split, remedy="Name one of these."
        )
    if split == "all" and data.is_own:
        raise UserError(
            field="--split",
            rule="shows a classifier no image that it was trained on",
            received="all, of the data set that it was trained on",
            remedy="Use validation or test.",
        )
    return _ALL if split == "all" else (split,)


def run_steps(
    steps: Sequence[Step],
    *,
    title: str,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None],
) -> None:
    """Runs steps outside any trial; raises what the first of them that failed raised, in words of the data's title."""
    outcome = drive(steps, store=store, executor=executor, on_event=on_event)
    for failure in outcome.failures:
        raise _of_the_data(failure.error, title=title)


def _of_the_data(error: SyntrialError, *, title: str) -> SyntrialError:
    """The error as somebody reads it who wrote no experiment's file: its fields are the data's."""
    if not isinstance(error, UserError) or isinstance(error, SourceError):
        return error
    return UserError(
        violations=[
            replace(found, field=f"{title}{found.field.removeprefix('spec.dataset').replace('.', ': ', 1)}")
            if found.field.startswith("spec.dataset")
            else found
            for found in error.violations
        ]
    )


def _record_look(classifier: ChosenClassifier, data: ChosenData, *, steps: Sequence[Step], store: ArtifactStore) -> int:
    """Puts the look on record; returns its number."""
    split = store.open(MemberRef(key=data.step.key, member="test")).digest
    entry = look_of_one_classifier(
        classifier.ref.key, title=f"evaluate {classifier.title}", evaluations=[step.key for step in steps]
    )
    number, _ = store.append_look(split, entry)
    return number


def _fits(images: ImageSet, head: Head) -> bool:
    network = head.model
    shape = (network.side, network.side, network.channels)
    return (images.task, images.images_NHWC.shape[1:]) == (head.task, shape) and set(images.classes) <= set(
        head.classes
    )


def _patients(sets: Sequence[ImageSet]) -> NDArray[np.int64]:
    """int64 (N,): preparation leaves no patient in two splits, so each split's numbers follow those before."""
    parts, first = [], 0
    for images in sets:
        parts.append(images.patients + first)
        first += int(images.patients.max(initial=-1)) + 1
    return np.concatenate(parts)


def _names(split: str, images: ImageSet) -> list[str]:
    column = images.origins.get("file") or images.origins.get("index") or range(len(images))
    return [str(name) if str(name).startswith(f"{split}/") else f"{split}/{name}" for name in column]


def _notes(
    classifier: ChosenClassifier,
    data: ChosenData,
    *,
    sets: Sequence[ImageSet],
    known: bool,
    look: int | None,
    splits: Sequence[str],
    store: ArtifactStore,
) -> Iterator[str]:
    if data.is_own and look is None:
        yield (
            "The validation split may have chosen this classifier's weights or its recipe: take its figures as the "
            "best case."
        )
    if look is not None:
        yield (
            f"This is look {look} at the test split, and on record: a trial on it counts it. A classifier that is "
            "chosen by its test figures has none left to be judged by."
        )
    count = sum(map(len, sets))
    if not data.is_own:
        if classifier.trained is None:
            yield "Whether the classifier was trained on some of these images is not known."
        elif equal := _seen_in_training(classifier, sets, store=store):
            yield f"{equal:,} of {count:,} images are equal to the pixel to images that the classifier was trained on."
    if not known:
        yield (
            "The data set does not say which images are of one patient, so each counts as a patient of its own: where "
            "patients have several images, the true interval is wider."
        )
    patients = sum(len(np.unique(images.patients)) for images in sets)
    if patients < FEW_PATIENTS:
        yield f"{counted(patients, 'patient')} in {', '.join(splits)}: too few for the intervals to be trusted."


def _seen_in_training(classifier: ChosenClassifier, sets: Sequence[ImageSet], *, store: ArtifactStore) -> int:
    assert classifier.trained is not None
    trained = read_image_set(store.open(classifier.trained.train))
    before = {hashlib.sha256(image.tobytes()).digest() for image in trained.images_NHWC}
    return sum(hashlib.sha256(image.tobytes()).digest() in before for images in sets for image in images.images_NHWC)
