"""The feature encoder: fitted to real training images alone, it gives every other file here its features.

Called by the verbs. Images are uint8 (N, H, W, C); labels int64 (N,) or, with several labels an image, uint8 (N, K).
Results depend on the seed, the images and the number of threads, never on when a run was interrupted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from syntrial_training import compute
from syntrial_training.divergence import Losses
from syntrial_training.tensors import from_bytes, load_optimizer, optimizer_tensors, prefixed, to_bytes, under
from torch import Tensor, nn
from torch.nn import functional

from syntrial.counting import counted
from syntrial.errors import UserError
from syntrial_filtering.network import THUMBNAIL, EncoderNetwork, pool, shift_at_random, to_inputs

FORMAT: Final = 1
"""Version of `encoder.json`."""

EMBED_BATCH: Final = 256
"""Images embedded at a time. A constant, since sums depend on it in the last bits."""

_PEAK_LEARNING_RATE: Final = 3e-3
_WARMUP_SHARE: Final = 0.2
_WEIGHT_DECAY: Final = 0.05
_THUMBNAIL_WEIGHT: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """What the encoder is trained with."""

    seed: int
    steps: int
    """Optimiser steps."""
    batch_size: int
    feature_size: int
    """Width of the features."""

    def __post_init__(self) -> None:
        for field in ("steps", "batch_size", "feature_size"):
            if getattr(self, field) < 1:
                raise UserError(
                    field=f"encoder.{field}",
                    rule="must be at least 1",
                    received=getattr(self, field),
                    remedy="Give a positive whole number.",
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A trained encoder and what its use needs to know."""

    network: EncoderNetwork
    image_shape: tuple[int, int, int]
    """Height, width and channels of the images that it was trained on."""
    classes: tuple[str, ...]
    multi_label: bool
    training: Mapping[str, Any]
    """What it was trained with and how it fared; written to `encoder.json`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """What the encoder says of N images."""

    features_NF: np.ndarray  # noqa: N815
    """float32, standardised by the mean and the deviation of the real training images."""
    probabilities_NK: np.ndarray  # noqa: N815
    """float64: softmax over the classes, or a sigmoid for each label where there are several."""


def require_images(count: int) -> None:
    """Raises UserError for fewer training images than an encoder can be fitted to."""
    if count < 2:
        raise UserError(
            field="train",
            rule="an encoder needs at least two training images",
            received=counted(count, "image"),
            remedy="Use a larger training split.",
        )


def _batch_indices(images: int, *, settings: EncoderSettings, step: int) -> np.ndarray:
    """The images of one step. Depends on (seed, step) alone, so that a resumed run sees the same ones."""
    batch = min(settings.batch_size, images)
    batches = images // batch
    epoch, position = divmod(step, batches)
    order = np.random.default_rng([settings.seed, 1, epoch]).permutation(images)
    return np.sort(order[position * batch : (position + 1) * batch])


def _learning_rate(step: int, *, steps: int) -> float:
    """One cycle: a linear rise, then half a cosine down to 0."""
    warmup = max(1, round(_WARMUP_SHARE * steps))
    if step < warmup:
        return _PEAK_LEARNING_RATE * (step + 1) / warmup
    return float(_PEAK_LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))


def _loss(network: EncoderNetwork, inputs_NCHW: Tensor, labels: Tensor, *, multi_label: bool) -> tuple[Tensor, Tensor]:
    logits_NK, thumbnail = network(inputs_NCHW)
    if multi_label:
        label_loss = functional.binary_cross_entropy_with_logits(logits_NK, labels.float())
    else:
        label_loss = functional.cross_entropy(logits_NK, labels)
    target = pool(inputs_NCHW, cells=THUMBNAIL).flatten(1)
    # The share of the batch's variance that the thumbnail leaves unexplained: of one scale for all data sets.
    unexplained = functional.mse_loss(thumbnail, target) / (target.var() + 1e-3)
    return label_loss + _THUMBNAIL_WEIGHT * unexplained, label_loss


class EncoderTraining:
    """A training under way, see `syntrial_training.loop.Trainee`."""

    def __init__(
        self,
        images_NHWC: np.ndarray,
        labels: np.ndarray,
        *,
        classes: tuple[str, ...],
        settings: EncoderSettings,
        device: torch.device | None = None,
    ) -> None:
        """Draws the first weights from the seed.

        Raises UserError where there are fewer than two images.
        """
        require_images(len(images_NHWC))
        self.images_NHWC = images_NHWC
        self.labels = labels
        self.classes = classes
        self.multi_label = labels.ndim == 2
        self.settings = settings
        self.device = device or compute.device()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = EncoderNetwork(
                channels=images_NHWC.shape[3], outputs=len(classes), feature_size=settings.feature_size
            )
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        decayed = [weight for weight in network.parameters() if weight.ndim > 1]
        plain = [weight for weight in network.parameters() if weight.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
            lr=_PEAK_LEARNING_RATE,
        )
        self.steps = settings.steps
        self.last_loss = float("nan")
        self.losses = Losses(
            steps=settings.steps,
            field="encoder",
            remedy="Its learning rate is fixed: look at the images and labels, or raise `encoder.batchSize`.",
            device=self.device,
            on_read=self._keep,
        )
        self.network.train()

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The encoder's network."""
        return (self.network,)

    def _keep(self, _number: int, figures: Mapping[str, float]) -> None:
        self.last_loss = figures["loss"]

    def step(self, number: int) -> None:
        """One optimiser step, counted from 0."""
        chosen = _batch_indices(len(self.images_NHWC), settings=self.settings, step=number)
        inputs_NCHW = to_inputs(self.images_NHWC[chosen], device=self.device)
        rng = np.random.default_rng([self.settings.seed, 2, number])
        inputs_NCHW = shift_at_random(inputs_NCHW, rng=rng)
        labels = torch.from_numpy(self.labels[chosen]).to(self.device)
        rate = _learning_rate(number, steps=self.settings.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total, label_loss = _loss(self.network, inputs_NCHW, labels, multi_label=self.multi_label)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.losses.note(number, {"loss": label_loss, "loss with the thumbnail's": total}, learning_rate=rate)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimiser's moments."""
        return prefixed(self.network.state_dict(), "network/") | prefixed(
            optimizer_tensors(self.optimizer), "optimizer/"
        )

    def notes(self) -> dict[str, Any]:
        """The last loss of the labels."""
        return {"last_loss": self.last_loss}

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Puts back what `tensors` and `notes` took."""
        self.network.load_state_dict(under(tensors, "network/"))
        load_optimizer(self.optimizer, under(tensors, "optimizer/"))
        self.last_loss = float(notes["last_loss"])

    def finish(self) -> Encoder:
        """The encoder after its last step, its features standardised by the training images."""
        self.network.eval()
        height, width, channels = self.images_NHWC.shape[1:]
        encoder = Encoder(
            network=self.network,
            image_shape=(height, width, channels),
            classes=self.classes,
            multi_label=self.multi_label,
            training={},
        )
        embedding = embed(encoder, self.images_NHWC)
        deviation = embedding.features_NF.std(axis=0, dtype=np.float64)
        # A feature that never varies carries nothing: it is left unscaled instead of dividing by 0.
        deviation[deviation < 1e-4] = 1.0
        mean = embedding.features_NF.mean(axis=0, dtype=np.float64)
        self.network.feature_mean.copy_(torch.from_numpy(mean.astype(np.float32)))
        self.network.feature_deviation.copy_(torch.from_numpy(deviation.astype(np.float32)))
        if self.multi_label:
            accuracy = float(((embedding.probabilities_NK >= 0.5) == self.labels).mean())
        else:
            accuracy = float((embedding.probabilities_NK.argmax(axis=1) == self.labels).mean())
        training = {
            "seed": self.settings.seed,
            "steps": self.settings.steps,
            "batch_size": self.settings.batch_size,
            "images": len(self.images_NHWC),
            "images_seen": self.settings.steps * min(self.settings.batch_size, len(self.images_NHWC)),
            "last_loss": round(self.last_loss, 6),
            "training_accuracy": round(accuracy, 6),
        }
        return Encoder(
            network=self.network,
            image_shape=(height, width, channels),
            classes=self.classes,
            multi_label=self.multi_label,
            training=training,
        )


def embed(
    encoder: Encoder, images_NHWC: np.ndarray, *, report: Callable[[int], None] | None = None, field: str = "images"
) -> Embedding:
    """Features and probabilities of images (N, H, W, C); `report` is called with the images done.

    Raises UserError where the images have another shape than those that the encoder was trained on.
    """
    if tuple(images_NHWC.shape[1:]) != encoder.image_shape:
        raise UserError(
            field=field,
            rule=f"images must have the encoder's height, width and channels, {encoder.image_shape}",
            received=tuple(images_NHWC.shape[1:]),
            remedy="Give both the same size and colour mode, for example by `format` of the data set.",
        )
    device = next(encoder.network.parameters()).device
    features = np.empty((len(images_NHWC), encoder.network.feature_mean.numel()), dtype=np.float32)
    probabilities = np.empty((len(images_NHWC), len(encoder.classes)), dtype=np.float64)
    with torch.inference_mode():
        for start in range(0, len(images_NHWC), EMBED_BATCH):
            stop = min(start + EMBED_BATCH, len(images_NHWC))
            features_NF, logits_NK = encoder.network.encode(to_inputs(images_NHWC[start:stop], device=device))
            features[start:stop] = features_NF.cpu().numpy()
            scaled = logits_NK.double()
            chances = torch.sigmoid(scaled) if encoder.multi_label else torch.softmax(scaled, dim=1)
            probabilities[start:stop] = chances.cpu().numpy()
            if report is not None:
                report(stop)
    return Embedding(features_NF=features, probabilities_NK=probabilities)


def dump(encoder: Encoder) -> tuple[bytes, dict[str, Any]]:
    """The encoder as `weights.safetensors` and the content of `encoder.json`."""
    description: dict[str, Any] = {
        "format": FORMAT,
        "image_shape": list(encoder.image_shape),
        "classes": list(encoder.classes),
        "task": "multi-label" if encoder.multi_label else "multi-class",
        "feature_size": encoder.network.feature_mean.numel(),
        "normalisation": "each feature minus its mean, over its deviation, among the real training images",
        "training": dict(encoder.training),
    }
    return to_bytes(encoder.network.state_dict()), description


def load(weights: bytes, description: Mapping[str, Any], *, device: torch.device | None = None) -> Encoder:
    """The encoder from its blobs; raises UserError for another format."""
    if description.get("format") != FORMAT:
        raise UserError(
            field="encoder",
            rule=f"encoder.json must have format {FORMAT}",
            received=description.get("format"),
            remedy="Train the encoder again with this version.",
        )
    height, width, channels = (int(value) for value in description["image_shape"])
    classes = tuple(str(name) for name in description["classes"])
    network = EncoderNetwork(channels=channels, outputs=len(classes), feature_size=int(description["feature_size"]))
    network.load_state_dict(from_bytes(weights))
    network.eval()
    return Encoder(
        network=network.to(device or compute.device()).to(memory_format=torch.channels_last),
        image_shape=(height, width, channels),
        classes=classes,
        multi_label=description["task"] == "multi-label",
        training=dict(description["training"]),
    )
