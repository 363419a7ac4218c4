"""The verb ImportClassifier: weights that were trained elsewhere become a classifier that can be evaluated.

Unlike weights to begin with (`weights.py`), these are taken as they are: no head is replaced, no channel summed.
"""

from syntrial_training.tensors import to_bytes
from syntrial_training.weights import read_safetensors, weights_path
from torch import Tensor, nn

from syntrial.errors import UserError, Violation, listed
from syntrial.imagesets.imageset import MULTI_CLASS, MULTI_LABEL
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import ImportClassifierRequest
from syntrial_classification.models import build_model, head_names, model_spec

_LISTED = 4


def import_classifier(request: ImportClassifierRequest, context: StepContext) -> None:
    """Writes the member `classifier`: weights.safetensors, classifier.json.

    Raises UserError for a model that nobody has, one that takes no such images, and weights that are not its own;
    SourceError for a file that is missing, changed or no safetensors file.
    """
    _check_request(request)
    spec = model_spec(request.model, classes=len(request.classes), channels=request.channels, side=request.side)
    model = build_model(spec, seed=0)
    digest = request.model.file.digest
    path = weights_path(context, digest, field="model.file", remedy="Give its path.")
    tensors = read_safetensors(path, digest=digest)
    _check_weights(tensors, model)
    model.load_state_dict({**model.state_dict(), **tensors})
    context.output.write("classifier", "weights.safetensors", to_bytes(model.state_dict()))
    context.output.json(
        "classifier",
        "classifier.json",
        {
            "schema": 1,
            "model": spec.json(),
            "classes": list(request.classes),
            "task": MULTI_LABEL if request.several_labels else MULTI_CLASS,
            "normalisation": {"mean": list(request.mean), "std": list(request.std)},
            "pretraining": {"kind": "imported", "digest": digest},
        },
    )


def _check_request(request: ImportClassifierRequest) -> None:
    classes, channels = list(request.classes), request.channels
    least = 1 if request.several_labels else 2
    rules = (
        ("classes", f"names {least} or more classes, each once", classes, len(set(classes)) == len(classes) >= least),
        ("channels", "is 1 (grey) or 3 (rgb)", channels, channels in {1, 3}),
        ("side", "is in [8, 1024]", request.side, 8 <= request.side <= 1024),
        ("mean", "has a number for each channel", list(request.mean), len(request.mean) == channels),
        (
            "std",
            "has a number above 0 for each channel",
            list(request.std),
            len(request.std) == channels and all(value > 0 for value in request.std),
        ),
    )
    violations = [
        Violation(field=name, rule=rule, received=str(received), remedy="Correct it in classifier.json.")
        for name, rule, received, holds in rules
        if not holds
    ]
    if violations:
        raise UserError(violations=violations)


def _check_weights(tensors: dict[str, Tensor], model: nn.Module) -> None:
    """Raises UserError that says what is wrong, the plainest reading first: the head, the colours, the network."""
    own = model.state_dict()
    heads = tuple(f"{name}." for name in head_names(model))
    shapes = {name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape}
    missing = sorted(name for name in own.keys() - tensors.keys() if not name.endswith("num_batches_tracked"))
    unknown = sorted(tensors.keys() - own.keys())
    if not shapes and not missing and not unknown:
        return
    field, remedy = "weights.safetensors", "Give the weights of the model that classifier.json names, under its names."
    if not missing and not unknown and all(name.startswith(heads) for name in shapes):
        name = next(name for name in sorted(shapes) if name.endswith("weight"))
        raise UserError(
            field=field,
            rule=f"the network's last layer scores the classes of classifier.json: {len(own[name])}",
            received=f"{len(tensors[name])} classes ({name})",
            remedy="Name all classes in classifier.json, in the order of the scores.",
        )
    if not missing and not unknown and len(shapes) == 1 and tensors[(one := next(iter(shapes)))].ndim == 4:
        raise UserError(
            field=field,
            rule=f"the first convolution takes the channels and the stem of classifier.json: {tuple(own[one].shape)}",
            received=f"{tuple(tensors[one].shape)} ({one})",
            remedy="Correct `channels` or `small_stem` in classifier.json; weights for colours take colour images.",
        )
    parts = {"missing": missing, "unknown": unknown, "of another shape": sorted(shapes)}
    raise UserError(
        field=field,
        rule=f"the weights are those of the network, in every tensor: {len(own)}",
        received="; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts.items() if names),
        remedy=remedy,
    )


def _some(names: list[str]) -> str:
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return listed([*names[:_LISTED], *more], last="and")
