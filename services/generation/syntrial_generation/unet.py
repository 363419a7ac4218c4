"""The diffusion model's network: a U-Net on diffusers' parts over pixels folded into channels."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Spreads ln(sigma) / 4, a range of about 2.5, over the sine embedding's frequencies, of which the highest is 1.
NOISE_SCALE = 10.0


class FoldedUNet(nn.Module):
    """diffusers' `UNet2DModel`, told of the noise level and of a vector of conditions.

    Pixels are folded: a block of fold × fold pixels becomes one place with fold² times the channels, which spends the
    computation on fewer and wider places.
    """

    def __init__(
        self,
        *,
        image_channels: int,
        image_size: int,
        conditions: int,
        fold: int,
        channels: tuple[int, ...],
        layers_per_level: int,
        attention_head_width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        # Imported late: diffusers takes seconds, and only this family needs it.
        from diffusers import UNet2DModel

        self.fold = fold
        folded = image_channels * fold**2
        plain = len(channels) - 1
        attentive = attention_head_width > 0
        embedding = channels[0] * 4
        # Types know the stand-in that diffusers has where torch is missing.
        network: Any = UNet2DModel(
            sample_size=image_size // fold,
            in_channels=folded,
            out_channels=folded,
            block_out_channels=channels,
            layers_per_block=layers_per_level,
            down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D" if attentive else "DownBlock2D",),
            up_block_types=("AttnUpBlock2D" if attentive else "UpBlock2D",) + ("UpBlock2D",) * plain,
            add_attention=attentive,
            attention_head_dim=attention_head_width or None,
            norm_num_groups=norm_groups(channels),
            dropout=dropout,
            class_embed_type="identity",
        )
        self.unet: nn.Module = network
        self.condition = nn.Sequential(nn.Linear(conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self._start_as_identity()

    def forward(self, x_NCHW: Tensor, noise: Tensor, conditions_NK: Tensor) -> Tensor:
        """NCHW in and out; `noise` is c_noise (N,), `conditions_NK` float32."""
        folded = functional.pixel_unshuffle(x_NCHW, self.fold).contiguous(memory_format=torch.channels_last)
        output = self.unet(folded, noise * NOISE_SCALE, class_labels=self.condition(conditions_NK)).sample
        return functional.pixel_shuffle(output, self.fold)

    def _start_as_identity(self) -> None:
        """Zeroes each residual branch's last layer and the output's, so that training starts from the skip alone."""
        for module in self.unet.modules():
            if type(module).__name__ == "ResnetBlock2D":
                _zero(module.get_submodule("conv2"))
            elif type(module).__name__ == "Attention":
                _zero(module.get_submodule("to_out.0"))
        _zero(self.unet.get_submodule("conv_out"))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def norm_groups(channels: tuple[int, ...]) -> int:
    """Groups of the group norms: the most, up to 16, that divide the channels of every level."""
    return next(groups for groups in (16, 8, 4, 2, 1) if all(count % groups == 0 for count in channels))
