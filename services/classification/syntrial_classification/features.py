"""Features: what the last layer of a network is given of each image; and that layer alone, computed on them.

Called by `extract`, which keeps them as an artifact, by `probe`, which fits the layer, and by `evaluate`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syntrial.artifacts.members import MemberReader
from syntrial.errors import DataLoss, UserError
from syntrial_classification.models import ModelSpec, head_names
from syntrial_classification.table import Normalisation, predict

_BLOB: Final = "features.npy"
_HEAD: Final = "features.json"
_ROUNDING: Final = 1e-3
_BLOCK: Final = 8192


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """The features of a set of images, and the network that they are of."""

    values_ND: npt.NDArray[np.float32]  # noqa: N815
    """Memory-mapped and read-only."""
    network: Mapping[str, Any]
    """See `network_of`."""

    @property
    def normalisation(self) -> Normalisation:
        """How pixels were scaled."""
        constants = self.network["normalisation"]
        return Normalisation(mean=tuple(constants["mean"]), std=tuple(constants["std"]))


def network_of(spec: ModelSpec, *, pretraining: Mapping[str, Any], constants: Normalisation) -> dict[str, Any]:
    """All that features follow from beside the images, as JSON: the network, its weights, and how pixels are scaled."""
    return {
        "model": spec.json(),
        "pretraining": dict(pretraining),
        "normalisation": {"mean": list(constants.mean), "std": list(constants.std)},
    }


def write_features(output: Any, values_ND: npt.NDArray[np.float32], *, network: Mapping[str, Any]) -> None:
    """Writes the member `features`."""
    output.array("features", _BLOB, values_ND)
    output.json("features", _HEAD, {"schema": 1, "network": dict(network)})


def read_features(reader: MemberReader, *, count: int) -> Features:
    """The features of `count` images. Raises DataLoss where the member has another number of them."""
    values_ND = reader.array(_BLOB)
    if values_ND.dtype != np.float32 or values_ND.ndim != 2 or len(values_ND) != count:
        raise DataLoss(f"features of {count} images are {values_ND.dtype} {values_ND.shape}", key=reader.key)
    return Features(values_ND=values_ND, network=reader.json(_HEAD)["network"])


def extract(model: nn.Module, images_NHWC: Tensor, *, constants: Normalisation) -> Iterator[Tensor]:
    """Features, float32 (B, D), of the images in their order, computed in the batches of `predict`.

    Where a network has two last layers, whose scores it averages, the mean of what they are given. Raises UserError for
    a network whose scores are not what its last layer gives.
    """
    heads = linear_heads(model)
    caught: list[Tensor] = []

    def catch(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        caught.append(given[0])

    hooks = [head.register_forward_pre_hook(catch) for head in heads]
    try:
        for number, logits in enumerate(predict(model, images_NHWC, constants=constants)):
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


def require_same(found: Mapping[str, Any], *, expected: Mapping[str, Any], field: str) -> None:
    """Raises UserError where features are of another network, other weights, or pixels that are scaled otherwise."""
    differing = sorted(name for name in expected if found.get(name) != expected[name])
    if differing:
        raise UserError(
            field=field,
            rule="features are of the network that is fitted to them",
            received=f"another {' and '.join(differing)}",
            remedy="Extract them with the same model, weights and training images.",
        )


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
