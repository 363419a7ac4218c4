"""The verb EvaluateClassifier: a classifier and a split to predictions and metrics."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from syntrial_training import compute
from syntrial_training.compute import reproducible
from syntrial_training.weights import read_safetensors
from torch import Tensor, nn

from syntrial.artifacts.store import MemberReader
from syntrial.errors import UserError, Violation
from syntrial.imagesets.features import read_features, require_same
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.imagesets.limits import COLORS
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import EvaluateClassifierRequest
from syntrial_classification import features, split_metrics
from syntrial_classification.losses import probabilities
from syntrial_classification.models import ModelSpec, build_model
from syntrial_classification.table import Normalisation, load_images, predict


@reproducible
def evaluate_classifier(request: EvaluateClassifierRequest, context: StepContext) -> None:
    """Predicts a split; writes the member `predictions`: scores.npy, labels.npy, patients.npy, metrics.json.

    Raises UserError where the images are not of the classifier's classes, task and shape.
    """
    reader = context.open(request.classifier)
    images = as_the_classifier_names(read_image_set(context.open(request.images)), reader.json("classifier.json"))
    if request.HasField("features"):
        logits = _from_features(reader, context.open(request.features), count=len(images))
    else:
        logits = _from_images(reader, images, context=context)
    scores_NK = probabilities(logits, multi_label=images.task == MULTI_LABEL).cpu().numpy()
    output = context.output
    output.array("predictions", "scores.npy", scores_NK)
    output.array("predictions", "labels.npy", images.labels)
    output.array("predictions", "patients.npy", images.patients)
    output.json("predictions", "metrics.json", split_metrics.compute(scores_NK, images.labels, classes=images.classes))


def _from_images(reader: MemberReader, images: ImageSet, *, context: StepContext) -> Tensor:
    """Logits, float32 (N, K), by the whole network."""
    device = compute.device()
    model, head = load_classifier(reader, device=device)
    constants = Normalisation(mean=tuple(head["normalisation"]["mean"]), std=tuple(head["normalisation"]["std"]))
    logits = []
    for batch in predict(model, load_images(images, device=device), constants=constants):
        logits.append(batch)
        done = sum(len(part) for part in logits)
        context.progress(done, total=len(images), unit="images", activity="predicting")
    return torch.cat(logits)


def _from_features(reader: MemberReader, at_hand: MemberReader, *, count: int) -> Tensor:
    """Logits, float32 (N, K), by the last layer of a probe."""
    head: dict[str, Any] = reader.json("classifier.json")
    found = read_features(at_hand, count=count)
    if "probe" not in head:
        raise UserError(
            field="features",
            rule="features of images stand for them where a probe is evaluated",
            received="a classifier of which all may have been trained",
            remedy="Leave `features` out.",
        )
    expected = {name: head[name] for name in ("model", "pretraining", "normalisation")}
    require_same(found.network, expected=expected, field="features")
    weights = read_safetensors(reader.path("weights.safetensors"))
    return features.head_logits(weights, found.values_ND, head=head["probe"]["head"])


def load_classifier(reader: MemberReader, *, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a `classifier` member with its weights, and its classifier.json."""
    head: dict[str, Any] = reader.json("classifier.json")
    model = build_model(ModelSpec(**head["model"]), seed=0)
    model.load_state_dict(read_safetensors(reader.path("weights.safetensors")))
    return model.to(device).to(memory_format=torch.channels_last).eval(), head


def as_the_classifier_names(images: ImageSet, head: dict[str, Any]) -> ImageSet:
    """The images with their labels in the order of the classifier's classes.

    A set may lack some of the classes where an image has one of them: it then has no image of those. Raises UserError,
    with all that is wrong, where its classes, its task or its shape are others.
    """
    classes, several = tuple(head["classes"]), images.task == MULTI_LABEL
    side, channels = head["model"]["side"], head["model"]["channels"]
    violations = []
    strange = [name for name in images.classes if name not in classes]
    missing = [name for name in classes if name not in images.classes]
    if strange or (several and missing):
        violations.append(
            Violation(
                field="images.classes",
                rule=f"images to predict have the classifier's classes: {', '.join(classes)}",
                received=", ".join(images.classes),
                remedy="Rename them by the data set's `classMap`, or leave the others out with it.",
            )
        )
    if head["task"] != images.task:
        violations.append(
            Violation(
                field="images.task",
                rule=f"images to predict have the classifier's task, {head['task']}",
                received=images.task,
                remedy="Give the data set the task by which the classifier was trained.",
            )
        )
    found_H, found_W, found_C = images.images_NHWC.shape[1:]
    if (side, side, channels) != (found_H, found_W, found_C):
        violations.append(
            Violation(
                field="images.format",
                rule=f"images to predict are of the classifier's size and colours: {_shape(side, side, channels)}",
                received=_shape(found_H, found_W, found_C),
                remedy=f"Set the data set's `size` to {side} and its `colorMode` to {COLORS[channels]}.",
            )
        )
    if not len(images):
        violations.append(
            Violation(field="images", rule="there are images to predict", received="none", remedy="Add some.")
        )
    if violations:
        raise UserError(violations=violations)
    if images.classes == classes:
        return images
    place = [classes.index(name) for name in images.classes]
    labels = np.empty_like(images.labels) if several else np.array(place, np.int64)[images.labels]
    if several:
        labels[:, place] = images.labels
    return replace(images, labels=labels, classes=classes)


def _shape(height: int, width: int, channels: int) -> str:
    return f"{height}×{width} pixels, {COLORS[channels]}"
