"""LPIPS, version 0.1 (Zhang et al. 2018, arXiv:1801.03924): how unlike two images are to VGG-16.

The perceptual term of an autoencoder's loss (Johnson et al. 2016, Rombach et al. 2022). Nothing is downloaded: the
weights are a file of the user's. They are used as functions of images, so that nothing of the network is trained or
kept with a training.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import torch
from syntrial_training import compute
from syntrial_training.sharing import add_up
from syntrial_training.weights import read_safetensors, weights_path
from torch import Tensor, nn

from syntrial.documents.lpips import BLOCKS, SHAPES, check_shapes, check_side
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import Perceptual
from syntrial_generation.checks import Checks

_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)
"""ImageNet's mean and deviation for images in [-1, 1], as LPIPS has them."""


class Lpips:
    """The distance of two images by given weights."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """`weights` are those in `SHAPES`; others are left."""
        device = compute.device()
        self._weights = {name: weights[name].float().to(device) for name in SHAPES}
        self._shift, self._scale = (torch.tensor(numbers, device=device)[:, None, None] for numbers in (_SHIFT, _SCALE))

    def share(self) -> None:
        """Gives all ranks of a shared step the weights of rank 0."""
        add_up(list(self._weights.values()))

    def __call__(self, images_NCHW: Tensor, others_NCHW: Tensor) -> Tensor:
        """(N,): distances of images in [-1, 1], grey or of three colours; no gradient goes to `others_NCHW`."""
        with torch.no_grad():
            others = list(self._features(others_NCHW))
        distance = torch.zeros(len(images_NCHW), device=images_NCHW.device)
        for number, (features, other) in enumerate(zip(self._features(images_NCHW), others, strict=True)):
            unlike = nn.functional.conv2d((features - other).square(), self._weights[f"lin{number}.model.1.weight"])
            distance = distance + unlike.mean(dim=(1, 2, 3))
        return distance

    def _features(self, images_NCHW: Tensor) -> Iterator[Tensor]:
        """What each block gives, at each place of length 1."""
        # A grey image is one of three equal colours.
        values = (images_NCHW.expand(-1, 3, -1, -1) - self._shift) / self._scale
        place = 0
        for number, block in enumerate(BLOCKS):
            if number:
                values = nn.functional.max_pool2d(values, 2)
                place += 1
            for _ in block:
                weight, bias = (self._weights[f"features.{place}.{part}"] for part in ("weight", "bias"))
                values = nn.functional.conv2d(values, weight, bias, padding=1).relu()
                place += 2
            yield nn.functional.normalize(values, dim=1, eps=1e-10)


def read_lpips(term: Perceptual, context: StepContext, *, height: int, width: int) -> Lpips:
    """The distance by the weights that the term names, for images of these sides in pixels; before the step is shared.

    Rank 0 alone is told where a source lies: the others' have no weights until `Lpips.share`.

    Raises UserError for images that are too small, no weight and weights of another network, SourceError for a file
    that is missing, changed, damaged or not safetensors.
    """
    check_side(min(height, width), field="perceptual")
    checks = Checks("perceptual")
    checks.positive("weight", term.weight)
    checks.finish()
    if context.rank:
        return Lpips({name: torch.zeros(shape) for name, shape in SHAPES.items()})
    path = weights_path(context, term.digest, field="perceptual.digest", remedy="Give its path.")
    weights = read_safetensors(path, digest=term.digest)
    check_shapes({name: tuple(tensor.shape) for name, tensor in weights.items()}, field="perceptual.digest")
    return Lpips(weights)
