"""The verb TrainAutoencoder: a training split to a KL autoencoder, and what it loses of the images."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from syntrial_training import compute
from syntrial_training.compute import reproducible
from syntrial_training.parts import parts_of, set_gradients, side_by_side
from syntrial_training.sharing import shared
from syntrial_training.tensors import load_optimizer, optimizer_tensors, prefixed, to_bytes, under
from torch import Tensor, nn

from syntrial.documents.document import write
from syntrial.documents.reconstruction import Jpeg, Loss, Reconstruction
from syntrial.imagesets.filetypes import open_picture
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.context import StepContext
from syntrial.rpc.ranks import require_items
from syntrial.v1.generation_pb2 import AutoencoderConfig, TrainAutoencoderRequest
from syntrial_generation.autoencoder import (
    MICRO_BATCH,
    Autoencoder,
    Network,
    PatchDiscriminator,
    Scale,
    divergence,
    drawn,
    raw_moments,
)
from syntrial_generation.checks import Checks
from syntrial_generation.data import check_training_split, to_pixels, to_unit_range
from syntrial_generation.loop import AveragedTraining, train
from syntrial_generation.lpips import Lpips, read_lpips
from syntrial_generation.mixture import Joined, Mixture, Rows, check_weights, read_pools
from syntrial_generation.streams import step_generator

_GRADIENT_NORM = 1.0
_MEASURED: Final = 10_000
"""Training images, at most, that latents are scaled by."""
_COMPARED: Final = 256
"""Training images, at most, that are compared with their reconstructions."""
_SHOWN: Final = 12
"""Training images that are shown beside their reconstructions."""


@reproducible
def train_autoencoder(request: TrainAutoencoderRequest, context: StepContext) -> None:
    """Writes `autoencoder` (weights.safetensors, autoencoder.json), `curves`, and `reconstructions` (pairs.npy: uint8
    P×2×H×W×C, an image and its reconstruction; reconstruction.json).

    Sees the training split and the pools that are named beside it. Raises UserError for a configuration that does not
    fit the images and for weights of a perceptual term that are none, SourceError for a file of them that is missing or
    no safetensors, and Cancelled.
    """
    images = read_image_set(context.open(request.train))
    check_training_split(images)
    check_weights(request.unlabelled, field="unlabelled")
    pools = read_pools(request.unlabelled, images, context)
    check_autoencoder(request.config, images.images_NHWC)
    seen = Joined([images.images_NHWC, *(pool.images_NHWC for pool in pools)])
    mixture = Mixture([len(images), *map(len, pools)], [1.0, *(pool.weight for pool in request.unlabelled)])
    require_items(context.devices, batch_size=request.config.batch_size)
    _, height, width, _ = images.images_NHWC.shape
    perceptual = None
    if request.HasField("perceptual"):
        perceptual = Perceptual(
            distance=read_lpips(request.perceptual, context, height=height, width=width),
            weight=request.perceptual.weight,
        )
    with shared(context):
        if perceptual is not None:
            perceptual.distance.share()
        training = AutoencoderTraining(
            seen,
            request.config,
            shape=images.images_NHWC.shape[1:],
            mixture=mixture,
            seed=request.seed,
            perceptual=perceptual,
        )
        curves = train(training, context=context)
    if context.rank:
        return
    autoencoder = scaled(training, seen)
    context.output.write("autoencoder", "weights.safetensors", to_bytes(training.average.tensors))
    context.output.json("autoencoder", "autoencoder.json", autoencoder.description())
    write(context.output, "curves", "curves.json", document=curves.document())
    compared = images.images_NHWC[spread(len(images), most=_COMPARED)]
    again = reconstructed(autoencoder, compared)
    shown = spread(len(compared), most=_SHOWN)
    context.output.array("reconstructions", "pairs.npy", np.stack([compared[shown], again[shown]], axis=1))
    write(
        context.output,
        "reconstructions",
        "reconstruction.json",
        document=reconstruction(compared, again, network=training.network),
    )


def check_autoencoder(config: AutoencoderConfig, images_NHWC: NDArray[np.uint8]) -> None:
    """Raises UserError where an autoencoder cannot be trained so on these images."""
    checks = Checks("config")
    _, height, width, _ = images_NHWC.shape
    factor = config.factor
    is_power = factor > 1 and factor & (factor - 1) == 0
    checks.need(is_power, "factor", "must be a power of 2 from 2", factor, "Choose 2, 4 or 8.")
    if is_power:
        checks.need(
            height % factor == 0 and width % factor == 0,
            "factor",
            "must divide an image's sides",
            f"{factor}, {height}×{width} pixels",
            "Choose a smaller factor, or another image size.",
        )
        levels = factor.bit_length()
        checks.need(
            len(config.channels) == levels and all(count > 0 for count in config.channels),
            "channels",
            f"must give {levels} levels for a factor of {factor}, each above 0",
            list(config.channels),
            "Give the channels of each level, highest resolution first.",
        )
    checks.positive("layers_per_level", config.layers_per_level)
    checks.positive("latent_channels", config.latent_channels)
    checks.length(images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.at_least_zero("kl_weight", config.kl_weight)
    checks.at_least_zero("adversarial_weight", config.adversarial_weight)
    checks.need(
        config.adversarial_weight == 0 or config.discriminator_channels > 0,
        "discriminator_channels",
        "must be above 0 where there is a discriminator",
        config.discriminator_channels,
        "Leave it out for the preset's value, or set adversarial_weight to 0.",
    )
    checks.finish()


@dataclass(frozen=True, kw_only=True, slots=True)
class Perceptual:
    """A perceptual term of the loss."""

    distance: Lpips
    weight: float


class AutoencoderTraining(AveragedTraining):
    """The state of a training.

    The loss is the mean absolute error of a pixel, plus the perceptual distance times its weight where there is one,
    plus `kl_weight` times the divergence for each pixel (Rombach et al. 2022, appendix G), plus from a stated image on
    `adversarial_weight` times the negated score of the discriminator, which itself has the hinge loss (Lim and Ye
    2017).
    """

    def __init__(
        self,
        images_NHWC: Rows,
        config: AutoencoderConfig,
        *,
        shape: tuple[int, ...],
        mixture: Mixture,
        seed: int,
        perceptual: Perceptual | None = None,
    ) -> None:
        """`shape` is that of an image (height, width, channels); `mixture` says which of them a step shows."""
        self._images_NHWC, self._config, self._seed = images_NHWC, config, seed
        self._mixture, self._perceptual = mixture, perceptual
        height, width, colors = shape
        self.network = Network(
            image_channels=colors,
            height=height,
            width=width,
            factor=config.factor,
            channels=tuple(config.channels),
            layers_per_level=config.layers_per_level,
            latent_channels=config.latent_channels,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: nn.Module = self.network.build().to(compute.device()).train()
            self._discriminator = PatchDiscriminator(
                image_channels=colors, channels=config.discriminator_channels or 1
            ).to(compute.device())
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, betas=(0.5, 0.9))
        super().__init__(config, model, optimizer, family="config")
        self.modules = (model, self._discriminator)
        self._judging = torch.optim.Adam(self._discriminator.parameters(), lr=config.learning_rate, betas=(0.5, 0.9))

    def step(self, number: int) -> None:
        """One optimiser step of the autoencoder, and one of the discriminator once it has begun."""
        config, model, judge = self._config, self._model, self._discriminator
        batch = config.batch_size
        rows = self._mixture.batch(batch_size=batch, step=number, seed=self._seed)
        random = step_generator("autoencoder", seed=self._seed, step=number)
        noise = torch.randn(batch, *self.network.latent_shape, generator=random).to(self.device)
        clean = to_unit_range(self._images_NHWC[rows]).to(self.device)
        is_judged = config.adversarial_weight > 0 and number * batch >= config.adversarial_after_images
        made = torch.empty_like(clean)

        def reconstruction(part: slice) -> tuple[Tensor, Tensor]:
            moments = raw_moments(model, clean[part])
            again: Tensor = model.decode(drawn(moments, noise[part])).sample  # type: ignore[operator]
            made[part] = again.detach()
            error = (again - clean[part]).abs().mean(dim=(1, 2, 3)).sum() / batch
            far = divergence(moments).sum() / batch / clean[0].numel()
            score = judge(again).mean(dim=(1, 2, 3)).sum() / batch if is_judged else torch.zeros_like(error)
            share = error + config.kl_weight * far - config.adversarial_weight * score
            seen = torch.zeros_like(error)
            if self._perceptual is not None:
                seen = self._perceptual.distance(again, clean[part]).sum() / batch
                share = share + self._perceptual.weight * seen
            return share, torch.stack([error, far, -score, seen])

        parts = parts_of(batch, device=self.device)
        error, far, unlike, seen = set_gradients(model, reconstruction, parts)
        nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        self.advance(number)
        rate = self.rate(number)
        judged = torch.zeros_like(error)
        if is_judged:

            def hinge(part: slice) -> tuple[Tensor, Tensor]:
                real, false = judge(clean[part]), judge(made[part])
                losses = (torch.relu(1 - real) + torch.relu(1 + false)) / 2
                share = losses.mean(dim=(1, 2, 3)).sum() / batch
                return share, share

            judged = set_gradients(judge, hinge, parts)
            nn.utils.clip_grad_norm_(judge.parameters(), _GRADIENT_NORM)
            self._judging.param_groups[0]["lr"] = rate
            self._judging.step()
        figures = {"reconstruction": error, "divergence": far}
        if self._perceptual is not None:
            figures |= {"perceptual": seen}
        if config.adversarial_weight > 0:
            figures |= {"adversarial": unlike, "discriminator": judged}
        self.losses.note(number, figures, learning_rate=rate)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of both networks, the average, and the optimisers' moments."""
        return (
            super().tensors()
            | prefixed(self._discriminator.state_dict(), "discriminator/")
            | prefixed(optimizer_tensors(self._judging), "judging/")
        )

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` took."""
        super().load_tensors(tensors)
        self._discriminator.load_state_dict(under(tensors, "discriminator/"))
        load_optimizer(self._judging, under(tensors, "judging/"))


def scaled(training: AutoencoderTraining, images_NHWC: Rows) -> Autoencoder:
    """The averaged autoencoder with the scale of its latents, as measured on what it was trained on."""
    channels = training.network.latent_channels
    unscaled = Scale(mean=(0.0,) * channels, std=(1.0,) * channels)
    raw = Autoencoder(training.average.tensors, network=training.network, scale=unscaled)
    rows = spread(len(images_NHWC), most=_MEASURED)
    moments = side_by_side(lambda part: raw.raw_moments(images_NHWC[part]).cpu().numpy(), _batches(rows))
    scale = Scale.of_moments(np.concatenate(moments))
    return Autoencoder(training.average.tensors, network=training.network, scale=scale)


def spread(count: int, *, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` numbers, evenly spread and in order."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def reconstructed(autoencoder: Autoencoder, images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images decoded from the means of their latents."""

    def again(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        means = torch.from_numpy(autoencoder.moments(images_NHWC[rows])).chunk(2, dim=1)[0]
        return to_pixels(autoencoder.decode(means.to(autoencoder.device)))

    return np.concatenate(side_by_side(again, _batches(np.arange(len(images_NHWC)))))


def reconstruction(
    images_NHWC: NDArray[np.uint8], again_NHWC: NDArray[np.uint8], *, network: Network
) -> Reconstruction:
    """What is lost by the autoencoder, and by a JPEG of the same size."""
    size = 2 * int(np.prod(network.latent_shape))
    found = [_jpeg(images_NHWC, quality=quality) for quality in (1,)]
    low, high = 1, 95
    while low < high:
        quality = (low + high + 1) // 2
        tried = _jpeg(images_NHWC, quality=quality)
        if tried.bytes <= size:
            low = quality
            found.append(tried)
        else:
            high = quality - 1
    return Reconstruction(
        version=1,
        images=len(images_NHWC),
        factor=network.factor,
        latents=_lost(images_NHWC, again_NHWC, size=size),
        jpeg=found[-1],
    )


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + MICRO_BATCH] for start in range(0, len(rows), MICRO_BATCH)]


def _jpeg(images_NHWC: NDArray[np.uint8], *, quality: int) -> Jpeg:
    again, sizes = [], []
    for image in images_NHWC:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=quality)
        sizes.append(file.tell())
        with open_picture(file) as read:
            again.append(np.asarray(read).reshape(image.shape))
    lost = _lost(images_NHWC, np.stack(again), size=float(np.mean(sizes)))
    return Jpeg(l1=lost.l1, psnr=lost.psnr, bytes=lost.bytes, quality=quality)


def _lost(images_NHWC: NDArray[np.uint8], again_NHWC: NDArray[np.uint8], *, size: float) -> Loss:
    difference = images_NHWC.astype(np.float64) - again_NHWC
    squared = float((difference**2).mean())
    return Loss(
        l1=float(np.abs(difference).mean()),
        psnr=float(10 * np.log10(255**2 / squared)) if squared > 0 else None,
        bytes=float(size),
    )
