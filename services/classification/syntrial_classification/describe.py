"""The verb DescribeModel: the parts of a network, by the names that a classifier's `stages` have for them."""

from torch import nn

from syntrial.documents.document import write
from syntrial.documents.parts import ModelParts, Part
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import DescribeModelRequest
from syntrial_classification.models import build_model, head_names, model_spec

_LEVELS = 2
"""Parts and the parts of these; whoever wants less than a block of a network finds its name in the library."""


def describe_model(request: DescribeModelRequest, context: StepContext) -> None:
    """Writes the member `model`: `model.json`, the parts that have weights, in the network's order.

    Raises UserError for an unknown model, and for images that it cannot take.
    """
    spec = model_spec(request.model, classes=request.classes, channels=request.channels, side=request.side)
    model = build_model(spec, seed=0)
    found = ModelParts(
        version=1,
        model=spec.name,
        small_stem=spec.small_stem,
        weights=_weights(model),
        head=head_names(model),
        parts=tuple(
            Part(name=name, kind=type(module).__name__, weights=_weights(module))
            for name, module in model.named_modules()
            if name and name.count(".") < _LEVELS and _weights(module)
        ),
    )
    write(context.output, "model", "model.json", document=found)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
