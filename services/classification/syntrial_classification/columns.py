"""3×3 convolutions of many channels over small maps, as a product of matrices: on a CPU faster than a convolution.

Called by `training` for the steps alone; predictions are of the usual convolutions. In a step of 32 images, the last
512 channels of a ResNet on maps of 4×4, oneDNN's convolution took 81 ms in bfloat16 and 187 in float32, and this 22 and
88, on an Intel Xeon. On an AMD EPYC it took 25 and 33, and this 17 and 67: MKL, which multiplies in float32, is slow
there, so in float32 this is for Intel's processors alone (docs/lab-notes.md). Of fewer channels or larger maps the
copies cost what the product gains.

Shapes: B images, C channels in and O out, maps of H×W.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHANNELS: Final = 512
"""The fewest channels in and out."""
_MAP: Final = 49
"""The most places of a map: 7×7."""


def convolve_by_columns(model: nn.Module) -> None:
    """Makes the network's convolutions those of this file where they may gain; nothing else of it changes."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_meant(module):
            # The class alone: names, weights and hooks stay.
            module.__class__ = _ColumnConv2d


def _is_meant(conv: nn.Conv2d) -> bool:
    plain = (conv.kernel_size, conv.stride, conv.dilation) == ((3, 3), (1, 1), (1, 1))
    same = conv.padding == (1, 1) and conv.padding_mode == "zeros" and conv.groups == 1 and conv.bias is None
    return plain and same and min(conv.in_channels, conv.out_channels) >= _CHANNELS


@cache
def _is_intel() -> bool:
    processor = Path("/proc/cpuinfo")
    return processor.exists() and "GenuineIntel" in processor.read_text(encoding="utf-8", errors="replace")


class _ColumnConv2d(nn.Conv2d):
    """A convolution that is a product of matrices where gradients are asked for and the map is small."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not torch.is_grad_enabled() or input.shape[2] * input.shape[3] > _MAP:
            return super().forward(input)
        weight = self.weight
        if torch.is_autocast_enabled(input.device.type):
            kind = torch.get_autocast_dtype(input.device.type)
            input, weight = input.to(kind), weight.to(kind)  # noqa: A001
        if input.dtype == torch.float32 and not _is_intel():
            return super().forward(input)
        convolved: Tensor = _Columns.apply(input, weight)
        return convolved


class _Columns(torch.autograd.Function):
    """Each place's 3×3 neighbourhood, of all channels, is a row: (B·H·W, 9·C) times (9·C, O)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        B, C, H, W = images.shape
        around = functional.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        windows = [around[:, row : row + H, column : column + W] for row in range(3) for column in range(3)]
        rows = torch.cat(windows, dim=3).view(B * H * W, 9 * C)
        # A view, of weights with their channels last.
        matrix = weight.permute(0, 2, 3, 1).reshape(len(weight), 9 * C)
        ctx.save_for_backward(rows, matrix)
        ctx.shape = (B, C, H, W)
        return (rows @ matrix.t()).view(B, H, W, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, matrix = ctx.saved_tensors
        B, C, H, W = ctx.shape
        above = gradient.permute(0, 2, 3, 1).reshape(B * H * W, len(matrix))
        images = weight = None
        if ctx.needs_input_grad[1]:
            weight = (above.t() @ rows).view(len(matrix), 3, 3, C).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[0]:
            parts = (above @ matrix).view(B, H, W, 9, C)
            around = torch.zeros(B, H + 2, W + 2, C, dtype=parts.dtype, device=parts.device)
            for place in range(9):
                row, column = divmod(place, 3)
                around[:, row : row + H, column : column + W] += parts[:, :, :, place]
            images = around[:, 1:-1, 1:-1].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return images, weight
