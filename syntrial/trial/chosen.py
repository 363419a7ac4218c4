"""A classifier that a user names, and data to show it: what each word on the command line means, as steps.

A classifier is a trial's, by its training's label or key, or a folder with weights of any network that timm has and a
`classifier.json` that says what they are, as `syntrial export` writes it. Data is what the classifier's trial was made
of, an experiment's `dataset`, or a source by its name or path. Called by `syntrial.trial.shown`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from google.protobuf.message import Message
from pydantic import Field, TypeAdapter, ValidationError

from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import SourceError, UserError, Violation
from syntrial.experiment.dataset import SOURCES
from syntrial.experiment.file import read_experiment
from syntrial.experiment.templates import of_data_alone
from syntrial.imagesets.limits import COLORS
from syntrial.plan.planner import plan
from syntrial.plan.steps import Step, step_of
from syntrial.rpc.calls import asked, method_of
from syntrial.sources.digests import resolve_weights
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.record import find_trained
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import (
    ClassifierModel,
    FileWeights,
    ImportClassifierRequest,
    TrainClassifierRequest,
)
from syntrial.v1.data_preparation_pb2 import ImageFormat, PrepareDatasetRequest

WEIGHTS: Final = "weights.safetensors"
HEAD: Final = "classifier.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What `classifier.json` says of the network; what else stands there is not needed to use it."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    classes: int
    channels: Literal[1, 3]
    side: Annotated[int, Field(ge=8, le=1024)]
    small_stem: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Of each channel's pixels, 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What `classifier.json` says."""

    model: Network
    classes: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1)]
    task: Literal["multi-class", "multi-label"]
    normalisation: Scaling


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenClassifier:
    """A classifier that can be shown images once its steps are done."""

    title: str
    ref: MemberRef
    head: Head
    steps: tuple[Step, ...] = ()
    """What brings it into the store; none for a trial's."""
    locations: Mapping[str, Path]
    trained: TrainClassifierRequest | None = None
    """How it was trained; None where that is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenData:
    """A data set that is prepared once its step is done."""

    title: str
    step: Step
    locations: Mapping[str, Path]
    is_own: bool
    """Whether the classifier was trained on its training split."""


def own_step(request: Message, *, label: str) -> Step:
    """A step outside any trial's plan."""
    return step_of(method_of(request), request, label=label, about=label.partition(" ")[2])


def choose_classifier(word: str, *, store: ArtifactStore) -> ChosenClassifier:
    """The classifier that a word means: a folder with weights, its file, or a step of a trial in the store.

    Raises UserError for a step that no trial has or that trains no classifier, and for what is against the rules of
    `classifier.json`; SourceError for files that are missing or damaged; ArtifactMissing for a step that is not done.
    """
    path = Path(word)
    if path.suffix == ".safetensors" or path.is_dir():
        return _imported(path, title=word)
    key, _ = find_trained(
        store,
        word,
        verb="TrainClassifier",
        field="CLASSIFIER",
        rule="is the training of a classifier, or a folder with weights",
        example="train real small-cnn 1/5",
    )
    ref = MemberRef(key=key, member="classifier")
    trained = asked(store, key, TrainClassifierRequest)
    return ChosenClassifier(
        title=word, ref=ref, head=_head(store.open(ref).read(HEAD), title=HEAD), locations={}, trained=trained
    )


def _imported(path: Path, *, title: str) -> ChosenClassifier:
    folder, weights = (path, path / WEIGHTS) if path.is_dir() else (path.parent, path)
    description = folder / HEAD
    try:
        data = description.read_bytes()
    except OSError as error:
        raise SourceError(
            field=str(description),
            rule="beside weights a classifier.json says what they are",
            received=error.strerror or str(error),
            remedy="Write one (docs/classifiers.md shows what it holds), or give a folder that `syntrial export "
            "--include classifiers` wrote.",
        ) from None
    head = _head(data, title=str(description))
    digest = resolve_weights(weights, field=str(weights))
    stem = ClassifierModel.STEM_SMALL if head.model.small_stem else ClassifierModel.STEM_STANDARD
    request = ImportClassifierRequest(
        model=ClassifierModel(name=head.model.name, stem=stem, file=FileWeights(digest=digest)),
        classes=head.classes,
        several_labels=head.task == "multi-label",
        channels=head.model.channels,
        side=head.model.side,
        mean=head.normalisation.mean,
        std=head.normalisation.std,
    )
    step = own_step(request, label=f"import {folder.name}")
    return ChosenClassifier(
        title=title,
        ref=MemberRef(key=step.key, member="classifier"),
        head=head,
        steps=(step,),
        locations={digest: weights.resolve()},
    )


def _head(data: bytes, *, title: str) -> Head:
    try:
        head = TypeAdapter(Head).validate_json(data)
    except ValidationError as error:
        raise UserError(
            violations=[
                Violation(
                    field=f"{title}: {'.'.join(map(str, found['loc'])) or 'the whole'}",
                    rule=found["msg"],
                    received=_received(found["input"]),
                    remedy="Correct it; docs/classifiers.md shows what the file holds.",
                )
                for found in error.errors(include_url=False)
            ]
        ) from error
    if len(head.classes) != head.model.classes:
        raise UserError(
            field=f"{title}: classes",
            rule=f"names each of the network's classes, model.classes: {head.model.classes}",
            received=f"{len(head.classes)} names: {', '.join(head.classes)}",
            remedy="Name them in the order of the network's scores.",
        )
    return head


def _received(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."


def choose_data(
    word: str | None, *, classifier: ChosenClassifier, store: ArtifactStore, data_root: Path | None
) -> ChosenData:
    """The data set that a word means; None: that of the classifier's trial.

    An experiment's file means its `dataset`, as it stands there; `medmnist:NAME`, an .npz file, and a folder or archive
    of images are prepared as the classifier's own images were: in their size and colours. Raises UserError and
    SourceError.
    """
    own = classifier.trained.train.key if classifier.trained is not None else ""
    if word is None:
        if not own:
            raise UserError(
                field="DATA",
                rule="names the images to show to a classifier whose trial is not known",
                received="nothing",
                remedy="Give an experiment's file, medmnist:NAME, an .npz file or a folder of images.",
            )
        request = asked(store, own, PrepareDatasetRequest)
        step = replace(own_step(request, label="prepare the data set"), key=own)
        return ChosenData(title="the classifier's data set", step=step, locations={}, is_own=True)
    path = Path(word)
    if path.suffix in {".yaml", ".yml"}:
        experiment, base = of_data_alone(read_experiment(path).spec.dataset), path.parent
    else:
        own_format = asked(store, own, PrepareDatasetRequest).format if own else None
        experiment, base = of_data_alone(_source(word) | _form(classifier.head, own_format)), Path()
    try:
        sources = resolve_sources(experiment, base=base, data_root=data_root, store=store)
    except SourceError as error:
        raise (error.at(word) if error.violations[0].field.startswith("spec.dataset") else error) from error
    step = plan(experiment, sources.by_name).training[0]
    return ChosenData(title=word, step=step, locations=sources.locations, is_own=step.key == own)


def _source(word: str) -> dict[str, Any]:
    prefix, colon, name = word.partition(":")
    if colon and prefix == "medmnist":
        return {"medmnist": name}
    kind = "npz" if word.endswith(SOURCES["npz"].suffix) else "folder"
    return {kind: word}


def _form(head: Head, trained: ImageFormat | None) -> dict[str, Any]:
    """How images are made those that the classifier takes: as its training images were, where that is known."""
    form: dict[str, Any] = {"size": head.model.side, "colorMode": COLORS[head.model.channels]}
    if trained is None:
        return form
    for name, kind in (("resize", ImageFormat.Resize), ("framing", ImageFormat.Framing)):
        word = kind.Name(getattr(trained, name)).rpartition("_")[2].lower()
        form[name] = word
    if trained.HasField("intensity"):
        chosen = trained.intensity.WhichOneof("rule") or ""
        values = getattr(trained.intensity, chosen)
        form["intensity"] = {chosen: [values.low, values.high]}
    return form
