"""The encoder's network: a small convolutional classifier whose penultimate layer gives the features.

Used by `encoder` alone. Shapes: images_NHWC uint8, inputs_NCHW float32, features_NF float32, logits_NK float32.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_SIDE: Final = 64
"""Side in pixels to which larger images are reduced (box filter) before the network: it bounds the work at any size."""

GRID: Final = 4
"""The features see the last layer pooled to this many cells a side, so that they know where something is."""

THUMBNAIL: Final = 8
"""Side of the thumbnail that the features must also predict (see `EncoderNetwork`)."""

_CHANNELS: Final = (24, 48, 96)


def averaging_matrix(cells: int, length: int) -> Tensor:
    """The matrix (cells, length) float32 that averages `length` values into `cells` equal, fractional bins."""
    edges = np.linspace(0.0, length, cells + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    positions = np.arange(length)[None, :]
    overlap = np.clip(np.minimum(ends, positions + 1) - np.maximum(starts, positions), 0.0, None)
    return torch.from_numpy((overlap / (ends - starts)).astype(np.float32))


def pool(values_NCHW: Tensor, *, cells: int) -> Tensor:
    """Mean over `cells` × `cells` equal parts of each channel: (N, C, H, W) to (N, C, cells, cells).

    Two matrix products: unlike adaptive pooling its gradient is deterministic on every device.
    """
    height, width = values_NCHW.shape[-2:]
    rows = averaging_matrix(cells, height).to(values_NCHW.device)
    columns = averaging_matrix(cells, width).to(values_NCHW.device)
    return rows @ values_NCHW @ columns.T


def to_inputs(images_NHWC: np.ndarray, *, device: torch.device) -> Tensor:
    """Images uint8 (N, H, W, C) as float32 (N, C, h, w) in [-1, 1], with h = w = min(side, LARGEST_SIDE)."""
    # A copy: torch does not take arrays that are mapped read-only.
    inputs_NCHW = torch.from_numpy(np.array(images_NHWC)).to(device).permute(0, 3, 1, 2).float()
    if max(inputs_NCHW.shape[-2:]) > LARGEST_SIDE:
        inputs_NCHW = pool(inputs_NCHW, cells=LARGEST_SIDE)
    return (inputs_NCHW / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def shift_at_random(inputs_NCHW: Tensor, *, rng: np.random.Generator) -> Tensor:
    """Each image moved by up to a fourteenth of its side along both axes; the border's pixels fill what appears."""
    count, _, height, width = inputs_NCHW.shape
    reach = max(1, round(height / 14))
    offsets = torch.from_numpy(rng.integers(-reach, reach + 1, size=(2, count))).to(inputs_NCHW.device)
    rows = (torch.arange(height, device=inputs_NCHW.device)[None, :] + offsets[0][:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=inputs_NCHW.device)[None, :] + offsets[1][:, None]).clamp(0, width - 1)
    items = torch.arange(count, device=inputs_NCHW.device)[:, None, None]
    moved_NHWC = inputs_NCHW.permute(0, 2, 3, 1)[items, rows[:, :, None], columns[:, None, :]]
    return moved_NHWC.permute(0, 3, 1, 2)


def _block(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class EncoderNetwork(nn.Module):
    """Convolutions, a pooled grid, features, and two linear heads on them.

    The first head classifies. The second predicts the image's thumbnail: features that only serve to tell a few
    classes apart collapse onto as many points (Papyan et al. 2020, neural collapse), and would be blind to whatever
    else is wrong with a synthetic image.
    """

    def __init__(self, *, channels: int, outputs: int, feature_size: int) -> None:
        super().__init__()
        small, middle, large = _CHANNELS
        self.convolutions = nn.Sequential(
            _block(channels, small, stride=2),
            _block(small, middle, stride=1),
            _block(middle, large, stride=2),
            _block(large, large, stride=1),
        )
        self.features = nn.Linear(large * GRID * GRID, feature_size)
        self.classify = nn.Linear(feature_size, outputs)
        self.thumbnail = nn.Linear(feature_size, channels * THUMBNAIL * THUMBNAIL)
        # Standardisation of the features by the real training images; part of the weights.
        self.feature_mean: Tensor
        self.feature_deviation: Tensor
        self.register_buffer("feature_mean", torch.zeros(feature_size))
        self.register_buffer("feature_deviation", torch.ones(feature_size))

    def raw_features(self, inputs_NCHW: Tensor) -> Tensor:
        """Features (N, F) before standardisation."""
        maps_NCHW = self.convolutions(inputs_NCHW)
        flat: Tensor = self.features(pool(maps_NCHW, cells=GRID).flatten(1))
        return functional.silu(flat)

    def forward(self, inputs_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the predicted thumbnail (N, C × 64)."""
        features_NF = self.raw_features(inputs_NCHW)
        return self.classify(features_NF), self.thumbnail(features_NF)

    def encode(self, inputs_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised features (N, F) and logits (N, K)."""
        features_NF = self.raw_features(inputs_NCHW)
        return (features_NF - self.feature_mean) / self.feature_deviation, self.classify(features_NF)
