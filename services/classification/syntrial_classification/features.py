"""What the last layer of a network is given of each image; and that layer alone, computed on it.

Called by `extract`, which keeps it as an artifact, by `probe`, which fits the layer, and by `evaluate`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syntrial.errors import UserError
from syntrial_classification.models import ModelSpec, head_names
from syntrial_classification.table import Normalisation, predict

_ROUNDING: Final = 1e-3
_BLOCK: Final = 8192


def scaled_by(network: Mapping[str, Any]) -> Normalisation:
    """How pixels are scaled for a network, as `network_of` notes it."""
    constants = network["normalisation"]
    return Normalisation(mean=tuple(constants["mean"]), std=tuple(constants["std"]))


def network_of(spec: ModelSpec, *, pretraining: Mapping[str, Any], constants: Normalisation) -> dict[str, Any]:
    """All that features follow from beside the images, as JSON: the network, its weights, and how pixels are scaled."""
    return {
        "model": spec.json(),
        "pretraining": dict(pretraining),
        "normalisation": {"mean": list(constants.mean), "std": list(constants.std)},
    }


def extract(
    model: nn.Module, images_NHWC: Tensor, *, constants: Normalisation, side: int | None = None
) -> Iterator[Tensor]:
    """Features, float32 (B, D), of the images in their order, computed in the batches of `predict`, at its `side`.

    Where a network has two last layers, whose scores it averages, the mean of what they are given. Raises UserError for
    a network whose scores are not what its last layer gives.
    """
    heads = linear_heads(model)
    caught: list[Tensor] = []

    def catch(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        caught.append(given[0])

    hooks = [head.register_forward_pre_hook(catch) for head in heads]
    try:
        for number, logits in enumerate(predict(model, images_NHWC, constants=constants, side=side)):
            given, caught[:] = list(caught), []
            if number == 0:
                _check_linear(heads, given, logits)
            yield torch.stack(given).mean(dim=0).float() if len(given) > 1 else given[0].float()
    finally:
        for hook in hooks:
            hook.remove()


def linear_heads(model: nn.Module) -> list[nn.Linear]:
    """The last layers of a network. Raises UserError where one is no linear layer."""
    heads = [model.get_submodule(name) for name in head_names(model)]
    if not all(isinstance(head, nn.Linear) for head in heads):
        raise _not_linear(f"it ends in {type(heads[0]).__name__}")
    return [head for head in heads if isinstance(head, nn.Linear)]


def head_logits(weights: Mapping[str, Tensor], values_ND: npt.NDArray[np.float32], *, head: str) -> Tensor:
    """Logits, float32 (N, K), of the last layer called `head`, which is all that features have still to go through."""
    parts = [
        nn.functional.linear(torch.from_numpy(np.array(values_ND[start : start + _BLOCK])), *_layer(weights, head))
        for start in range(0, len(values_ND), _BLOCK)
    ]
    return torch.cat(parts)


def _layer(weights: Mapping[str, Tensor], head: str) -> tuple[Tensor, Tensor]:
    return weights[f"{head}.weight"].detach().cpu(), weights[f"{head}.bias"].detach().cpu()


@torch.inference_mode()
def _check_linear(heads: list[nn.Linear], given: list[Tensor], logits: Tensor) -> None:
    if len(given) != len(heads) or any(one.ndim != 2 for one in given):
        raise _not_linear(f"its last layer is given {[tuple(one.shape) for one in given]}")
    scores = torch.stack([head(one).float() for head, one in zip(heads, given, strict=True)]).mean(dim=0)
    if not torch.allclose(scores, logits, rtol=_ROUNDING, atol=_ROUNDING):
        raise _not_linear("its scores are changed after its last layer")


def _not_linear(received: str) -> UserError:
    return UserError(
        field="model.name",
        rule="a probe is for networks whose scores are what a linear last layer gives",
        received=received,
        remedy="Leave `probe` out, or choose another model, such as a ResNet or a vision transformer.",
    )
