"""The Inception of FID and KID: TensorFlow's network of 2015-12-05, as torch-fidelity ported it.

Heusel et al. 2017 and Bińkowski et al. 2018 define both figures by this network, with its own way of bringing images to
299 px (TensorFlow 1's bilinear), its poolings and its scale of pixels: other weights, or torchvision's network, give
figures that compare with no one's. Called by `extract`.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from syntrial_training.weights import read_safetensors, weights_path
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from syntrial.errors import UserError
from syntrial.rpc.context import StepContext
from syntrial_classification.weights import misfit_words, misfits_of

FEATURES: Final = 2048
"""What the last layer is given: the features that both figures are defined on."""

BATCH: Final = 64
"""Images computed at a time: a constant, since it shows in the last bits."""

NETWORK: Final = {
    "model": {"name": "inception-v3 of 2015-12-05", "side": FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE},
    "normalisation": {"mean": [128.0], "std": [128.0]},
}
"""All that features follow from beside images and weights, as `syntrial.imagesets.features.Features` has it."""


class Inception(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """The network, with weights as they are drawn until it is given others."""

    def __init__(self) -> None:
        """Neither downloads nor reads weights, as torch-fidelity's own does by unpickling: it gets no tensor here."""
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        with torch.random.fork_rng(devices=[]):
            super().__init__("inception", [str(FEATURES)], feature_extractor_weights_path=nothing)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = False, assign: bool = False) -> Any:
        """As torch's; which tensors there have to be is for `load`, that says so in words."""
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def load(context: StepContext, digest: str) -> Inception:
    """The network with the weights in the safetensors file of this digest.

    Raises UserError for a file that is not on this machine, and for weights of another network; SourceError for a file
    that is damaged or not safetensors.
    """
    path = weights_path(context, digest, field="inception", remedy="Give its path as `inception`.")
    tensors = read_safetensors(path, digest=digest)
    network = Inception()
    if found := misfits_of(network.state_dict(), tensors):
        raise UserError(
            field="inception",
            rule="weights are those of the Inception that FID is defined by, tensor for tensor",
            received=misfit_words(found),
            remedy="Convert the published file as docs/filters.md has it; torchvision's inception_v3 is another one.",
        )
    network.load_state_dict(tensors)
    return network


@torch.inference_mode()
def features(network: nn.Module, images_NHWC: Tensor) -> Iterator[Tensor]:
    """Features, float32 (B, 2048), of uint8 images of 1 or 3 channels, in their order; grey as three equal channels."""
    for start in range(0, len(images_NHWC), BATCH):
        batch_NCHW = images_NHWC[start : start + BATCH].permute(0, 3, 1, 2)
        yield network(batch_NCHW.expand(-1, 3, -1, -1))[0]
