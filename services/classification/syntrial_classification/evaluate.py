"""The verb EvaluateClassifier: a classifier and a split to predictions and metrics."""

from typing import Any

import torch
from syntrial_training import compute
from syntrial_training.compute import reproducible
from torch import nn

from syntrial.artifacts.store import MemberReader
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import EvaluateClassifierRequest
from syntrial_classification import split_metrics
from syntrial_classification.losses import probabilities
from syntrial_classification.models import ModelSpec, build_model
from syntrial_classification.table import Normalisation, load_images, predict
from syntrial_classification.weights import read_safetensors


@reproducible
def evaluate_classifier(request: EvaluateClassifierRequest, context: StepContext) -> None:
    """Predicts a split; writes the member `predictions`: scores.npy, labels.npy, patients.npy, metrics.json.

    Raises UserError where the images are not of the classifier's classes and shape.
    """
    reader = context.open(request.classifier)
    images = read_image_set(context.open(request.images))
    device = compute.device()
    model, head = load_classifier(reader, device=device)
    _check_fit(head, images)
    constants = Normalisation(mean=tuple(head["normalisation"]["mean"]), std=tuple(head["normalisation"]["std"]))
    logits = []
    for batch in predict(model, load_images(images, device=device), constants=constants):
        logits.append(batch)
        done = sum(len(part) for part in logits)
        context.progress(done, total=len(images), unit="images", activity="predicting")
    scores_NK = probabilities(torch.cat(logits), multi_label=images.task == MULTI_LABEL).cpu().numpy()
    output = context.output
    output.array("predictions", "scores.npy", scores_NK)
    output.array("predictions", "labels.npy", images.labels)
    output.array("predictions", "patients.npy", images.patients)
    output.json("predictions", "metrics.json", split_metrics.compute(scores_NK, images.labels, classes=images.classes))


def load_classifier(reader: MemberReader, *, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a `classifier` member with its weights, and its classifier.json."""
    head: dict[str, Any] = reader.json("classifier.json")
    model = build_model(ModelSpec(**head["model"]), seed=0)
    model.load_state_dict(read_safetensors(reader.path("weights.safetensors")))
    return model.to(device).to(memory_format=torch.channels_last).eval(), head


def _check_fit(head: dict[str, Any], images: ImageSet) -> None:
    side, channels = head["model"]["side"], head["model"]["channels"]
    expected = (head["classes"], head["task"], (side, side, channels))
    found = ([*images.classes], images.task, images.images_NHWC.shape[1:])
    if not len(images) or expected != found:
        raise UserError(
            field="images",
            rule=f"a split to predict has images of the classifier's classes, task and shape {expected}",
            received=f"{len(images)} images, {found}",
            remedy="Prepare the split together with the training data.",
        )
