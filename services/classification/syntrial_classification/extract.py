"""The verb ExtractFeatures: images and a trained network to what its last layer is given of each image."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from syntrial_training import compute
from syntrial_training.compute import reproducible
from syntrial_training.tensors import from_bytes, to_bytes
from torch import Tensor, nn

from syntrial.errors import UserError
from syntrial.imagesets.features import Features, write_features
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import ExtractFeaturesRequest, TrainingRecipe
from syntrial_classification import features
from syntrial_classification.initial import initial_model
from syntrial_classification.models import SMALL_CNN, check_name, model_spec, published_side
from syntrial_classification.table import MICRO_BATCH, normalisation_of, resident

CHUNK: Final = 16 * MICRO_BATCH
"""Images that lie on the device at a time: whole micro-batches, so that it does not show in the last bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Extractor:
    """A network that features are of."""

    model: nn.Module
    size: int
    """Of an image's features."""
    network: Mapping[str, Any]
    """As `Features` has it."""
    features: Callable[[nn.Module, Tensor], Iterator[Tensor]]
    """Batches of features, float32 (B, size), by the model on its device, of images uint8 N×H×W×C there."""


@reproducible
def extract_features(request: ExtractFeaturesRequest, context: StepContext) -> None:
    """Writes the member `features`: features.npy, features.json.

    Raises UserError for an unknown model, weights that are missing or do not fit, and a network that has no linear last
    layer; Cancelled where the step is to stop.
    """
    images = read_image_set(context.open(request.images))
    extractor = (_inception if request.HasField("inception") else _trained)(request, context, images=images)
    device = compute.device()
    model = extractor.model.to(device).to(memory_format=torch.channels_last).eval()
    values_ND = np.empty((len(images), extractor.size), dtype=np.float32)
    saved = context.checkpoints.load() or {}
    done = 0
    if "features" in saved:
        before = from_bytes(saved["features"])["features"].numpy()
        done = len(before)
        values_ND[:done] = before
    while done < len(images):
        stop = min(done + CHUNK, len(images))
        chunk = resident((images.images_NHWC[done:stop],), device=device)
        for batch in extractor.features(model, chunk):
            values_ND[done : done + len(batch)] = batch.cpu().numpy()
            done += len(batch)
            context.progress(done, total=len(images), unit="images", activity="extracting features")
        if context.checkpoint_due():
            context.checkpoints.save({"features": to_bytes({"features": torch.from_numpy(values_ND[:done])})})
    write_features(context.output, "features", Features(values_ND=values_ND, network=extractor.network))


def _inception(request: ExtractFeaturesRequest, context: StepContext, *, images: ImageSet) -> _Extractor:  # noqa: ARG001
    """That of FID and KID, whatever the images."""
    # It brings torchvision with it, for which no other step of the stage waits.
    from syntrial_classification import inception

    digest = request.inception.digest
    return _Extractor(
        model=inception.load(context, digest),
        size=inception.FEATURES,
        network={**inception.NETWORK, "pretraining": {"kind": "file", "digest": digest}},
        features=inception.features,
    )


def _trained(request: ExtractFeaturesRequest, context: StepContext, *, images: ImageSet) -> _Extractor:
    """The network of the request's model, for the images."""
    measured = request.HasField("train")
    train = read_image_set(context.open(request.train)) if measured else images
    side_H, _, channels = images.images_NHWC.shape[1:]
    side = _side(request) if request.HasField("side") else side_H
    spec = model_spec(request.model, classes=len(images.classes), channels=channels, side=side)
    # A probe's last layer is fitted: what the network has there by chance is not used.
    model, pretraining = initial_model(request.model, spec, context, seed=0, images=images)
    if pretraining["kind"] == "none":
        raise UserError(
            field="model.pretraining",
            rule="features are of a network that was trained",
            received="none",
            remedy="Give weights to begin with: `pretraining: hub`, or a file.",
        )
    heads = features.linear_heads(model)
    kind = TrainingRecipe.NORMALISATION_MEASURED if measured else TrainingRecipe.NORMALISATION_IMAGENET
    constants = normalisation_of(train.images_NHWC, recipe=TrainingRecipe(normalisation=kind))
    return _Extractor(
        model=model,
        size=heads[0].in_features,
        network=features.network_of(spec, pretraining=pretraining, constants=constants),
        features=partial(features.extract, constants=constants, side=spec.side),
    )


def _side(request: ExtractFeaturesRequest) -> int:
    """To how many pixels a side images are brought, where the request says so."""
    if request.side.pixels:
        return int(request.side.pixels)
    check_name(request.model.name)
    if request.model.name == SMALL_CNN:
        raise UserError(
            field="side",
            rule="small-cnn has no published weights whose side images could be brought to",
            received="0",
            remedy="Give a number of pixels, or leave it out.",
        )
    return published_side(request.model.name)
