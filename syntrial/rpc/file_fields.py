"""Fields of requests as an experiment's file spells them: `format.color_mode` is `spec.dataset.colorMode`.

A server names the fields of the request that it got, which is what a client script wrote. Whoever runs a step for an
experiment (the local executor, a Job) passes its errors through here first, so that records and messages of a trial
speak of the file. `[]` stands for the entry that the step's label names.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Literal

from google.protobuf.message import Message

from syntrial.artifacts.manifest import Manifest
from syntrial.errors import SourceError, UserError
from syntrial.v1.classification_pb2 import ExtractFeaturesRequest, TrainClassifierRequest
from syntrial.v1.data_preparation_pb2 import PrepareDatasetRequest, Source
from syntrial.v1.generation_pb2 import (
    ChooseTrialRequest,
    ProposeTrialsRequest,
    PruneTrialsRequest,
    SampleImagesRequest,
    TrainGeneratorRequest,
)

_SYNTHETIC: Final = "spec.synthetic[]"
_CLASSIFIER: Final = "spec.classifiers[]"
_LINK: Final = f"{_CLASSIFIER}.chain[]"
_POOL: Final = f"{_SYNTHETIC}.generator.latentDiffusion.unlabelled[]"


def _kinds(message: Any, oneof: str) -> list[str]:
    """The fields of a oneof: a further kind needs no line here."""
    return [field.name for field in message.DESCRIPTOR.oneofs_by_name[oneof].fields]


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


_EXTERNAL: Final = {
    "external.options": f"{_SYNTHETIC}.generator.external.options",
    "external": f"{_SYNTHETIC}.generator.external",
}

_FORM: Final = {"format": "spec.dataset", "leaks": "spec.dataset.leaks"}

_ADDRESSED: Final = [f"source.{kind}" for kind in _kinds(Source, "kind") if kind not in {"medmnist", "phantom"}]
"""Sources at an address: what else is asked of one stands beside that address in the file."""

_PLACES: Final[dict[str, dict[str, str]]] = {
    "PrepareDataset": _FORM
    | dict.fromkeys(_ADDRESSED, "spec.dataset")
    | {
        "source": "spec.dataset",
        "class_map": "spec.dataset.classMap",
        "split": "spec.dataset.split",
        "train_fraction": "spec.dataset.trainFraction",
    },
    "ImportImages": _FORM
    | dict.fromkeys(_ADDRESSED, f"{_SYNTHETIC}.images")
    | {
        "source": f"{_SYNTHETIC}.images",
        "class_map": f"{_SYNTHETIC}.images.classMap",
    },
    "PreparePool": _FORM | dict.fromkeys(_ADDRESSED, _POOL) | {"leaks": f"{_POOL}.leaks", "source": _POOL},
    "TrainAutoencoder": {
        "config": f"{_SYNTHETIC}.generator.latentDiffusion.autoencoder",
        "perceptual.digest": f"{_SYNTHETIC}.generator.latentDiffusion.autoencoder.perceptual.weights",
        "perceptual": f"{_SYNTHETIC}.generator.latentDiffusion.autoencoder.perceptual",
        "unlabelled": _POOL.removesuffix("[]"),
        "train": "spec.dataset",
    },
    "TrainLatentClassifier": {
        "config.conditioning": f"{_SYNTHETIC}.generator.latentDiffusion.conditioning",
        "config": f"{_SYNTHETIC}.generator.latentDiffusion.guide",
        "train": "spec.dataset",
    },
    "TrainGenerator": _EXTERNAL
    | {
        family: f"{_SYNTHETIC}.generator.{_camel(family)}"
        for family in _kinds(TrainGeneratorRequest, "generator")
        if family != "external"
    }
    | {
        "latent.unlabelled": _POOL.removesuffix("[]"),
        "initial": f"{_SYNTHETIC}.generator[].initial",
        "freeze": f"{_SYNTHETIC}.generator[].freeze",
        "generator": f"{_SYNTHETIC}.generator",
        "train": "spec.dataset",
    },
    "SampleImages": _EXTERNAL
    | {
        family: f"{_SYNTHETIC}.generator.{_camel(family)}.sampler"
        for family in _kinds(SampleImagesRequest, "sampler")
        if family != "external"
    }
    | {
        "oversample": f"{_SYNTHETIC}.oversample",
        "ratio": "spec.arms",
        "balance": f"{_SYNTHETIC}.balance",
    },
    "ProposeTrials": {"dimensions": f"{_SYNTHETIC}.tune.over", "trials": f"{_SYNTHETIC}.tune"},
    "PruneTrials": {"trials": f"{_SYNTHETIC}.tune"},
    "ChooseTrial": {"trials": f"{_SYNTHETIC}.tune"},
    "TrainEncoder": {"encoder": "spec.encoder", "train": "spec.dataset"},
    "FilterImages": {
        "filters": f"{_SYNTHETIC}.filters",
        "copies.quantile": f"{_SYNTHETIC}.copies",
        "ratio": "spec.arms",
        "balance": f"{_SYNTHETIC}.balance",
        "oversample_limit": f"{_SYNTHETIC}.oversampleLimit",
    },
    "AssessImages": {"copies.quantile": f"{_SYNTHETIC}.copies"},
    "ExtractFeatures": {
        "model.name": f"{_CLASSIFIER}.model",
        "model": _CLASSIFIER,
        "inception": "spec.inception",
        "images": "spec.dataset",
        "train": "spec.dataset",
    },
    "TrainClassifier": {
        "model.name": f"{_CLASSIFIER}.model",
        "model": _CLASSIFIER,
        "recipe": f"{_CLASSIFIER}.recipe",
        "probe": f"{_CLASSIFIER}.probe",
        "phases": "spec.arms[].phases",
        "train": "spec.dataset",
        "validation": "spec.dataset",
        "synthetic": _SYNTHETIC,
    },
    "EvaluateClassifier": {"images": "spec.dataset"},
}
"""Of each method, a request's field and where its value stands in the file; the longer first where two begin alike."""


_OF_A_LINK: Final[dict[str, dict[str, str]]] = {
    "PrepareDataset": {
        "format.intensity": f"{_LINK}.dataset.intensity",
        "format": "spec.dataset",
        "leaks": f"{_LINK}.dataset.leaks",
    }
    | dict.fromkeys(_ADDRESSED, f"{_LINK}.dataset")
    | {
        "source": f"{_LINK}.dataset",
        "class_map": f"{_LINK}.dataset.classMap",
        "split": f"{_LINK}.dataset.split",
        "train_fraction": f"{_LINK}.dataset.trainFraction",
    },
    "TrainClassifier": {
        "model.name": f"{_CLASSIFIER}.model",
        "model.learning_rate": f"{_LINK}.learningRate",
        "model": _CLASSIFIER,
        "recipe": f"{_LINK}.recipe",
        "phases": f"{_LINK}.stages",
        "train": f"{_LINK}.dataset",
        "validation": f"{_LINK}.dataset",
    },
}
"""Likewise of the steps that make a link of a chain of pretraining."""

_OF_A_CLASSIFIERS_SEARCH: Final[dict[str, dict[str, str]]] = {
    "ProposeTrials": {"dimensions": f"{_CLASSIFIER}.tune.over", "trials": f"{_CLASSIFIER}.tune"},
    "PruneTrials": {"trials": f"{_CLASSIFIER}.tune"},
    "ChooseTrial": {"trials": f"{_CLASSIFIER}.tune"},
}
"""Likewise of the steps that decide between trials of a classifier."""

_OF_THE_ENCODER: Final[dict[str, dict[str, str]]] = {
    "ExtractFeatures": {
        "model.name": "spec.encoder.model",
        "side.pixels": "spec.encoder.size",
        "side": "spec.encoder.size",
        "model": "spec.encoder",
        "images": "spec.dataset",
        "train": "spec.dataset",
    },
}
"""Likewise of the steps that an encoder's model is given features by."""

Part = Literal["trial", "link", "encoder", "classifier"]
"""For what a step is made, where its method alone does not say so."""

_TABLES: Final[dict[Part, dict[str, dict[str, str]]]] = {
    "trial": _PLACES,
    "link": _OF_A_LINK,
    "encoder": _OF_THE_ENCODER,
    "classifier": _OF_A_CLASSIFIERS_SEARCH,
}

_OF_A_STAGE: Final = re.compile(r"phases\[\d+\]\.(train|start)")
"""What phases have of a classifier's stages alone: each phase of an arm is made of all of them."""


def part_of(request: Message, manifest: Callable[[str], Manifest | None]) -> Part:
    """For what a step is made: a link of a chain, whose data was prepared beside what the trial holds out; the encoder,
    which alone names the side that its network is shown; a classifier's search, whose trials have replicates; or the
    trial.

    `manifest` gives that of a finished step by its key.
    """
    if isinstance(request, ExtractFeaturesRequest):
        return "encoder" if request.HasField("side") else "trial"
    if isinstance(request, PrepareDatasetRequest):
        return "link" if request.HasField("held_out") else "trial"
    if isinstance(request, ProposeTrialsRequest | PruneTrialsRequest | ChooseTrialRequest):
        return "classifier" if any(trial.replicates for trial in request.trials) else "trial"
    if not isinstance(request, TrainClassifierRequest):
        return "trial"
    prepared = manifest(request.train.key)
    return "link" if prepared is not None and "heldOut" in prepared.request else "trial"


def in_file_words(error: UserError, *, method: str, part: Part = "trial") -> UserError:
    """The error with the fields that an experiment's file has.

    `method` is that of the step, for example "syntrial.v1.ClassificationService/TrainClassifier"; `part` as `part_of`
    says.
    """
    violations = [replace(found, field=file_field(found.field, method=method, part=part)) for found in error.violations]
    kind = SourceError if isinstance(error, SourceError) else UserError
    return kind(violations=violations)


def file_field(field: str, *, method: str, part: Part = "trial") -> str:
    """A request's field as the file spells it; what is no field of the request (a file's name) is returned as it is."""
    if part == "trial" and (found := _OF_A_STAGE.fullmatch(field)):
        return f"{_CLASSIFIER}.stages[].{'begin' if found[1] == 'start' else found[1]}"
    for name, place in _TABLES[part].get(method.rpartition("/")[2], {}).items():
        if field == name or field.startswith((f"{name}.", f"{name}[")):
            inner = field.removeprefix(name)
            # Options keep the names that their program gave them.
            is_own = name == "external.options"
            return place + (inner if is_own else _camel(inner))
    return field
