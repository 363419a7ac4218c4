"""The KL autoencoder of Rombach et al. 2022 ("Latent Diffusion Models"): images to latents of a smaller side, and back.

The network is diffusers' `AutoencoderKL`. What leaves this module as latents is scaled to mean 0 and the deviation
`SIGMA_DATA` in each channel, as measured on the training images: noise levels mean the same for each autoencoder.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from syntrial_training import compute
from torch import Tensor, nn

from syntrial_generation.data import to_unit_range
from syntrial_generation.unet import norm_groups

SIGMA_DATA: Final = 0.5
"""The latents' standard deviation (Karras et al. 2024, EDM2: noise levels of training are stated for it)."""

MICRO_BATCH: Final = 64
"""Images encoded or decoded at a time; shows in the last bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What an `AutoencoderKL` is built from; written into `autoencoder.json`."""

    image_channels: int
    height: int
    width: int
    factor: int
    channels: tuple[int, ...]
    layers_per_level: int
    latent_channels: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Network":
        """The network of `autoencoder.json`."""
        return cls(**{**settings, "channels": tuple(settings["channels"])})

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image's latents."""
        return self.latent_channels, self.height // self.factor, self.width // self.factor

    def build(self) -> Any:
        """The network with initial weights from torch's global generator."""
        # Imported late: diffusers takes seconds, and not every family needs it.
        from diffusers import AutoencoderKL

        levels = len(self.channels)
        # Types know the stand-in that diffusers has where torch is missing.
        kind: Any = AutoencoderKL
        network = kind(
            in_channels=self.image_channels,
            out_channels=self.image_channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.channels,
            layers_per_block=self.layers_per_level,
            latent_channels=self.latent_channels,
            norm_num_groups=norm_groups(self.channels),
            sample_size=self.height,
        )
        return network.to(memory_format=torch.channels_last)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How raw latents become scaled ones, by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_moments(cls, moments_NCHW: NDArray[np.float32]) -> "Scale":
        """Of draws from raw moments N×2C×h×w: the deviation is that of means and of noise together."""
        mean, log_variance = np.split(moments_NCHW.astype(np.float64), 2, axis=1)
        places = (0, 2, 3)
        std = np.sqrt(mean.var(axis=places) + np.exp(log_variance).mean(axis=places))
        return cls(mean=tuple(mean.mean(axis=places).tolist()), std=tuple(np.maximum(std, 1e-6).tolist()))

    @property
    def _factors(self) -> Tensor:
        return SIGMA_DATA / torch.tensor(self.std)[:, None, None]

    @property
    def _centre(self) -> Tensor:
        return torch.tensor(self.mean)[:, None, None]

    def moments(self, raw_NCHW: Tensor) -> Tensor:
        """Moments of scaled latents: means, then logarithms of variances."""
        mean, log_variance = raw_NCHW.chunk(2, dim=1)
        factors = self._factors.to(raw_NCHW.device)
        scaled = (mean - self._centre.to(raw_NCHW.device)) * factors
        return torch.cat([scaled, log_variance + 2 * factors.log()], dim=1)

    def raw(self, latents_NCHW: Tensor) -> Tensor:
        """Latents as the decoder takes them."""
        return latents_NCHW / self._factors.to(latents_NCHW.device) + self._centre.to(latents_NCHW.device)


def raw_moments(network: Any, images_NCHW: Tensor) -> Tensor:
    """N×2C×h×w: means and logarithms of variances of the posterior, these within what float32's exponential bears."""
    mean, log_variance = network.quant_conv(network.encoder(images_NCHW)).chunk(2, dim=1)
    return torch.cat([mean, log_variance.clamp(-30.0, 20.0)], dim=1)


def drawn(moments_NCHW: Tensor, noise_NCHW: Tensor) -> Tensor:
    """Latents N×C×h×w: mean and deviation times standard normal noise."""
    mean, log_variance = moments_NCHW.chunk(2, dim=1)
    return mean + (log_variance / 2).exp() * noise_NCHW


def divergence(moments_NCHW: Tensor) -> Tensor:
    """(N,): the Kullback-Leibler divergence of each image's posterior from a standard normal, in nats.

    Kingma and Welling 2014, appendix B.
    """
    mean, log_variance = moments_NCHW.chunk(2, dim=1)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=(1, 2, 3))


class PatchDiscriminator(nn.Module):
    """Tells real patches of some 20 pixels from reconstructed ones (Isola et al. 2017, PatchGAN)."""

    def __init__(self, *, image_channels: int, channels: int) -> None:
        super().__init__()
        groups = norm_groups((channels,))
        self.layers = nn.Sequential(
            nn.Conv2d(image_channels, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.GroupNorm(groups, 2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1),
            nn.GroupNorm(groups, 2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 1, 3, padding=1),
        )

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """A score for each patch, N×1×h×w: high for real ones."""
        scores: Tensor = self.layers(images_NCHW)
        return scores


class Autoencoder:
    """A trained autoencoder: encodes images to moments of scaled latents, and decodes such latents."""

    def __init__(self, weights: Mapping[str, Tensor], *, network: Network, scale: Scale) -> None:
        self.network, self.scale = network, scale
        self.device = compute.device()
        self._model = network.build()
        self._model.load_state_dict(weights)
        self._model.to(self.device).eval()

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], description: Mapping[str, Any]) -> "Autoencoder":
        """The autoencoder of `autoencoder.json`."""
        scale = Scale(mean=tuple(description["mean"]), std=tuple(description["std"]))
        return cls(weights, network=Network.of(description["network"]), scale=scale)

    @staticmethod
    def latent_shape(description: Mapping[str, Any]) -> tuple[int, int, int]:
        """Channels, height and width of latents, of `autoencoder.json`."""
        return Network.of(description["network"]).latent_shape

    def description(self) -> dict[str, Any]:
        """The content of `autoencoder.json`."""
        return {"network": asdict(self.network), **asdict(self.scale)}

    @torch.inference_mode()
    def raw_moments(self, images_NHWC: NDArray[np.uint8]) -> Tensor:
        """float32 N×2C×h×w, before scaling."""
        # A copy: a part of a memory-mapped set cannot be written to, which torch wants of what it holds.
        return raw_moments(self._model, to_unit_range(np.array(images_NHWC)).to(self.device))

    @torch.inference_mode()
    def moments(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 N×2C×h×w: means of scaled latents, then logarithms of their variances."""
        moments: NDArray[np.float32] = self.scale.moments(self.raw_moments(images_NHWC)).cpu().numpy()
        return moments

    @torch.inference_mode()
    def decode(self, latents_NCHW: Tensor) -> Tensor:
        """float32 NCHW about [-1, 1]."""
        pixels: Tensor = self._model.decode(self.scale.raw(latents_NCHW)).sample
        return pixels
