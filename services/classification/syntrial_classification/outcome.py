"""What a training ends in, of whichever kind it is, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syntrial_training.tensors import to_bytes
from torch import Tensor

from syntrial.artifacts.members import ArtifactWriter
from syntrial.documents.document import write
from syntrial.documents.training import ClassifierTraining
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial_classification import split_metrics
from syntrial_classification.losses import probabilities
from syntrial_classification.models import ModelSpec
from syntrial_classification.table import Normalisation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """A classifier, and how it came about."""

    weights: Mapping[str, Tensor]
    """Of the whole network."""
    logits_NK: Tensor  # noqa: N815
    """Of the validation split, float32 (N, K)."""
    constants: Normalisation
    record: ClassifierTraining
    extra: Mapping[str, Any] | None = None
    """What else `classifier.json` says, as JSON."""


def write_outcome(
    output: ArtifactWriter,
    outcome: Outcome,
    *,
    spec: ModelSpec,
    pretraining: Mapping[str, Any],
    seed: int,
    validation: ImageSet,
) -> None:
    """Writes the members `classifier`, `training` and `validation`."""
    output.write("classifier", "weights.safetensors", to_bytes(outcome.weights))
    output.json(
        "classifier",
        "classifier.json",
        {
            "schema": 1,
            "model": spec.json(),
            "classes": list(validation.classes),
            "task": validation.task,
            "normalisation": {"mean": list(outcome.constants.mean), "std": list(outcome.constants.std)},
            "pretraining": dict(pretraining),
            "seed": seed,
            **(outcome.extra or {}),
        },
    )
    write(output, "training", "training.json", document=outcome.record)
    scores_NK = probabilities(outcome.logits_NK, multi_label=validation.task == MULTI_LABEL).cpu().numpy()
    output.array("validation", "scores.npy", scores_NK)
    output.array("validation", "labels.npy", validation.labels)
    output.array("validation", "patients.npy", validation.patients)
    metrics = split_metrics.compute(scores_NK, validation.labels, classes=validation.classes)
    output.json("validation", "metrics.json", metrics)
