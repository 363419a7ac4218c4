"""Generator and discriminator of Huang et al. 2024, "The GAN is dead; long live the GAN!" (R3GAN), section 4.

Both are stacks of the same residual block, an inverted bottleneck with a grouped 3×3 convolution, without any
normalisation; the initial weights follow Fix-up (Zhang et al. 2019), so that each block starts as the identity.
Resampling is bilinear, apart from the blocks. Beyond the paper, blocks of pixels can be folded into channels at both
ends: fewer and wider places, which suits a processor without a GPU. Written from the paper. Arrays are NCHW.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels of the bottleneck for each channel outside it, and channels of one group of the 3×3 convolution.
_EXPANSION = 2
_GROUP_WIDTH = 16
_SLOPE = 0.2
# Keeps the variance of normal numbers through a leaky rectifier of that slope.
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))


class Block(nn.Module):
    """1×1 to more channels, grouped 3×3, 1×1 back, added to the input."""

    def __init__(self, channels: int, *, depth: int) -> None:
        """`depth` is the number of blocks in the whole network: Fix-up scales by depth^(-1 / (2m - 2)), m = 3."""
        super().__init__()
        inner = channels * _EXPANSION
        groups = max(inner // _GROUP_WIDTH, 1)
        while inner % groups:
            groups -= 1
        self.expand = convolution(channels, inner, kernel=1, gain=_GAIN * depth ** (-1 / 4))
        self.mix = convolution(inner, inner, kernel=3, gain=_GAIN * depth ** (-1 / 4), groups=groups)
        self.contract = convolution(inner, channels, kernel=1, gain=0.0)
        self.bias_expand = nn.Parameter(torch.zeros(1, inner, 1, 1))
        self.bias_mix = nn.Parameter(torch.zeros(1, inner, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """NCHW to the same shape."""
        y = functional.leaky_relu(self.expand(x) + self.bias_expand, _SLOPE)
        y = functional.leaky_relu(self.mix(y) + self.bias_mix, _SLOPE)
        contracted: Tensor = self.contract(y)
        return x + contracted


class Generator(nn.Module):
    """Latent and label vector to an image."""

    def __init__(
        self,
        *,
        latent_size: int,
        labels: int,
        channels: tuple[int, ...],
        blocks_per_level: int,
        side: int,
        colors: int,
        fold: int,
    ) -> None:
        super().__init__()
        self._fold = fold
        base = side // (fold * 2 ** (len(channels) - 1))
        depth = len(channels) * blocks_per_level
        self.embed = linear(labels, latent_size, gain=1.0)
        # The basis: a learned image of the lowest resolution, scaled channel by channel by the latent.
        self.basis = nn.Parameter(torch.randn(1, channels[0], base, base))
        self.scale = linear(2 * latent_size, channels[0], gain=1.0)
        self.levels = nn.ModuleList()
        for number, count in enumerate(channels):
            blocks: list[nn.Module] = [Block(count, depth=depth) for _ in range(blocks_per_level)]
            if number:
                blocks.insert(0, Resample(channels[number - 1], count, factor=2.0))
            self.levels.append(nn.Sequential(*blocks))
        # 3×3 where pixels are folded: the pixels of a block see their neighbours in the next, so that no grid shows.
        self.output = convolution(channels[-1], colors * fold**2, kernel=1 if fold == 1 else 3, gain=1.0)

    def forward(self, latents: Tensor, labels_NK: Tensor) -> Tensor:
        """Latents (N, latent_size), label vectors float32 (N, K) to images NCHW, about [-1, 1], not clipped."""
        scales = self.scale(torch.cat([latents, self.embed(labels_NK)], dim=1))
        x = (self.basis * scales[:, :, None, None]).contiguous(memory_format=torch.channels_last)
        for level in self.levels:
            x = level(x)
        return functional.pixel_shuffle(self.output(x), self._fold)


class Discriminator(nn.Module):
    """Image and label vector to a score: an inner product with the label's embedding (projection)."""

    def __init__(
        self,
        *,
        labels: int,
        channels: tuple[int, ...],
        blocks_per_level: int,
        side: int,
        colors: int,
        fold: int,
        features: int,
    ) -> None:
        """`channels` are the generator's, lowest resolution first; they are used here in the other order."""
        super().__init__()
        self._fold = fold
        base = side // (fold * 2 ** (len(channels) - 1))
        depth = len(channels) * blocks_per_level
        self.input = convolution(colors * fold**2, channels[-1], kernel=1 if fold == 1 else 3, gain=1.0)
        self.levels = nn.ModuleList()
        for number in reversed(range(len(channels))):
            blocks: list[nn.Module] = [Block(channels[number], depth=depth) for _ in range(blocks_per_level)]
            if number:
                blocks.append(Resample(channels[number], channels[number - 1], factor=0.5))
            self.levels.append(nn.Sequential(*blocks))
        # A convolution without padding over the whole of the lowest resolution, one filter a channel.
        self.collect = convolution(channels[0], channels[0], kernel=base, gain=1.0, groups=channels[0], padding=0)
        self.features = linear(channels[0], features, gain=1.0)
        self.embed = linear(labels, features, gain=1 / math.sqrt(features))

    def forward(self, images: Tensor, labels_NK: Tensor) -> Tensor:
        """Images NCHW and label vectors float32 (N, K) to scores (N,)."""
        x = self.input(functional.pixel_unshuffle(images, self._fold).contiguous(memory_format=torch.channels_last))
        for level in self.levels:
            x = level(x)
        features: Tensor = self.features(self.collect(x).flatten(1))
        embedded: Tensor = self.embed(labels_NK)
        return (features * embedded).sum(dim=1)


class Resample(nn.Module):
    """Bilinear change of resolution; a 1×1 convolution where the channels change too."""

    def __init__(self, before: int, after: int, *, factor: float) -> None:
        super().__init__()
        self._factor = factor
        self.project = convolution(before, after, kernel=1, gain=1.0) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """NCHW to `factor` times the sides."""
        if self._factor < 1:
            # The mean of 2×2 pixels: bilinear interpolation at half the resolution.
            halved: Tensor = self.project(functional.avg_pool2d(x, 2))
            return halved
        return functional.interpolate(self.project(x), scale_factor=self._factor, mode="bilinear", align_corners=False)


def convolution(
    before: int, after: int, *, kernel: int, gain: float, groups: int = 1, padding: int | None = None
) -> nn.Conv2d:
    """Without bias; weights normal with standard deviation gain / sqrt(fan in)."""
    layer = nn.Conv2d(
        before, after, kernel, padding=kernel // 2 if padding is None else padding, groups=groups, bias=False
    )
    nn.init.normal_(layer.weight, std=gain / math.sqrt(before // groups * kernel**2))
    return layer


def linear(before: int, after: int, *, gain: float) -> nn.Linear:
    """Without bias; weights normal with standard deviation gain / sqrt(fan in)."""
    layer = nn.Linear(before, after, bias=False)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(before))
    return layer
