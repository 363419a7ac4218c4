"""The network that a training or an extraction begins with."""

from typing import Any

from syntrial_training.weights import weights_path
from torch import nn

from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import ClassifierModel
from syntrial_classification.models import ModelSpec, build_model
from syntrial_classification.weights import load_trained, load_weights_file


def initial_model(
    model: ClassifierModel, spec: ModelSpec, context: StepContext, *, seed: int, images: ImageSet
) -> tuple[nn.Module, dict[str, Any]]:
    """The network with the weights that training on `images` starts from, and a record of where they are from."""
    network = build_model(spec, seed=seed)
    if model.HasField("trained"):
        reader = context.open(model.trained)
        replaced = load_trained(network, reader, spec=spec, classes=images.classes, task=images.task)
        return network, {"kind": "trained", "key": model.trained.key, "heads_replaced": replaced}
    if not model.HasField("file"):
        return network, {"kind": "none"}
    digest = model.file.digest
    remedy = "Give its path as the classifier's `pretraining`."
    path = weights_path(context, digest, field="model.pretraining", remedy=remedy)
    replaced = load_weights_file(network, path, spec=spec, digest=digest)
    return network, {"kind": "file", "digest": digest, "heads_replaced": replaced}
