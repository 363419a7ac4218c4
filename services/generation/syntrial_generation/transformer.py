"""The diffusion model's network as a transformer of patches: DiT with adaLN-Zero blocks (Peebles and Xie 2023), of
diffusers' parts.

diffusers' own `DiTTransformer2DModel` is told one class of a table, in each block anew, and withholds it by torch's
global generator; here the network is told a vector of conditions, withheld by the step's own numbers, by one embedding.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from syntrial_generation.unet import NOISE_SCALE

_FREQUENCIES = 256
"""Numbers of the sine embedding of the noise level, as in the paper's code."""


class PatchTransformer(nn.Module):
    """Patches of fold × fold pixels as tokens, through blocks of self-attention and two linear layers, which the noise
    level and the conditions shift, scale and gate.

    Initial weights are those of the paper's code: each block begins as the identity, and the output at zero.
    """

    def __init__(
        self,
        *,
        image_channels: int,
        image_height: int,
        image_width: int,
        conditions: int,
        fold: int,
        width: int,
        layers: int,
        attention_head_width: int,
        dropout: float,
    ) -> None:
        """`width` of a token is a multiple of 4 and of `attention_head_width`; `fold` divides the image's sides."""
        super().__init__()
        # Imported late: diffusers takes seconds, and only this family needs it.
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_2d_sincos_pos_embed
        from diffusers.models.normalization import AdaLayerNormContinuous

        self.fold = fold
        folded = image_channels * fold**2
        places = image_height // fold, image_width // fold
        self.embed = nn.Linear(folded, width)
        positions = get_2d_sincos_pos_embed(width, places, base_size=places[0])
        self.register_buffer("positions", positions.float(), persistent=False)
        self.frequencies: nn.Module = Timesteps(_FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        noise: Any = TimestepEmbedding(_FREQUENCIES, width)
        self.noise: nn.Module = noise
        self.condition = nn.Sequential(nn.Linear(conditions, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            _Block(width, head_width=attention_head_width, dropout=dropout) for _ in range(layers)
        )
        self.norm: nn.Module = AdaLayerNormContinuous(width, width, elementwise_affine=False, eps=1e-6)
        self.output = nn.Linear(width, folded)
        self._initialise()

    def forward(self, x_NCHW: Tensor, noise: Tensor, conditions_NK: Tensor) -> Tensor:
        """NCHW in and out; `noise` is c_noise (N,), `conditions_NK` float32."""
        folded = functional.pixel_unshuffle(x_NCHW, self.fold)
        tokens = self.embed(folded.flatten(2).transpose(1, 2)) + self.positions
        told = self.noise(self.frequencies(noise * NOISE_SCALE)) + self.condition(conditions_NK)
        for block in self.blocks:
            tokens = block(tokens, told)
        output = self.output(self.norm(tokens, told))
        return functional.pixel_shuffle(output.transpose(1, 2).reshape(folded.shape), self.fold)

    def _initialise(self) -> None:
        """As `initialize_weights` of the paper's code."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for name in ("linear_1", "linear_2"):
            nn.init.normal_(self.noise.get_submodule(name).get_parameter("weight"), std=0.02)
        for last in (*(block.get_submodule("modulated.linear") for block in self.blocks), self.output):
            nn.init.zeros_(last.get_parameter("weight"))
        nn.init.zeros_(self.norm.get_submodule("linear").get_parameter("weight"))


class _Block(nn.Module):
    """Figure 3 of the paper, "DiT block with adaLN-Zero"."""

    def __init__(self, width: int, *, head_width: int, dropout: float) -> None:
        super().__init__()
        from diffusers.models.attention import FeedForward
        from diffusers.models.attention_processor import Attention
        from diffusers.models.normalization import AdaLayerNormZero

        self.modulated: nn.Module = AdaLayerNormZero(width)
        heads = width // head_width
        attention: Any = Attention(query_dim=width, heads=heads, dim_head=head_width, bias=True, dropout=dropout)
        self.attention: nn.Module = attention
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.feed_forward: nn.Module = FeedForward(width, activation_fn="gelu-approximate", dropout=dropout)

    def forward(self, tokens_NLD: Tensor, told_ND: Tensor) -> Tensor:
        """N×L×D in and out."""
        normed, gate, shift, scale, second_gate = self.modulated(tokens_NLD, emb=told_ND)
        tokens = tokens_NLD + gate[:, None] * self.attention(normed)
        normed = self.norm(tokens) * (1 + scale[:, None]) + shift[:, None]
        result: Tensor = tokens + second_gate[:, None] * self.feed_forward(normed)
        return result
