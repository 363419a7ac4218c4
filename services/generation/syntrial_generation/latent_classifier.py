"""The verb TrainLatentClassifier: the classes of noised latents, for guidance (Dhariwal and Nichol 2021).

A few convolutions that are told of the noise, and attention pooling: a learned query looks at all places.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from syntrial_training import compute
from syntrial_training.compute import reproducible
from syntrial_training.parts import parts_of, set_gradients
from syntrial_training.sharing import shared
from syntrial_training.tensors import to_bytes
from torch import Tensor, nn
from torch.nn import functional

from syntrial.documents.document import write
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.rpc.ranks import require_items
from syntrial.v1.generation_pb2 import LatentClassifierConfig, TrainLatentClassifierRequest
from syntrial_generation import edm
from syntrial_generation.autoencoder import SIGMA_DATA, drawn
from syntrial_generation.checks import Checks
from syntrial_generation.data import Subject, check_training_split, label_vectors
from syntrial_generation.latents import Moments
from syntrial_generation.loop import AveragedTraining, train
from syntrial_generation.streams import batch_indices, step_generator
from syntrial_generation.unet import norm_groups

_FREQUENCIES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What a `LatentClassifier` is built from; written into `classifier.json`."""

    latent_channels: int
    channels: int
    blocks: int
    attention_head_width: int
    classes: int

    def build(self) -> "LatentClassifier":
        """The network with initial weights from torch's global generator."""
        return LatentClassifier(self)


class LatentClassifier(nn.Module):
    """Scores of classes, of latents at any noise level."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        channels, groups = network.channels, norm_groups((network.channels,))
        self.noise = nn.Sequential(nn.Linear(2 * _FREQUENCIES, channels), nn.SiLU())
        self.stem = nn.Conv2d(network.latent_channels, channels, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(channels, groups=groups) for _ in range(network.blocks))
        self.norm = nn.GroupNorm(groups, channels)
        self.query = nn.Parameter(torch.zeros(1, 1, channels))
        self.pool = nn.MultiheadAttention(channels, channels // network.attention_head_width, batch_first=True)
        self.head = nn.Linear(channels, network.classes)

    def forward(self, x_NCHW: Tensor, noise: Tensor) -> Tensor:
        """N×K; `x_NCHW` is scaled to unit variance, `noise` is c_noise (N,)."""
        frequencies = torch.arange(1, _FREQUENCIES + 1, device=noise.device, dtype=noise.dtype)
        angles = noise[:, None] * frequencies
        told = self.noise(torch.cat([angles.sin(), angles.cos()], dim=1))
        x = self.stem(x_NCHW)
        for block in self.blocks:
            x = block(x, told)
        places = functional.silu(self.norm(x)).flatten(2).transpose(1, 2)
        pooled, _ = self.pool(self.query.expand(len(x), -1, -1), places, places, need_weights=False)
        scores: Tensor = self.head(pooled[:, 0])
        return scores


class _Block(nn.Module):
    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.told = nn.Linear(channels, channels)
        self.second = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        changed: Tensor = self.second(self.first(x) + self.told(told)[:, :, None, None])
        return x + changed


def log_likelihood(scores_NK: Tensor, labels_NK: Tensor, *, task: str) -> Tensor:
    """(N,): ln p of the label vectors; of several labels the sum over them."""
    if task == MULTI_LABEL:
        return -functional.binary_cross_entropy_with_logits(scores_NK, labels_NK, reduction="none").sum(dim=1)
    return (functional.log_softmax(scores_NK, dim=1) * labels_NK).sum(dim=1)


class Judge:
    """A trained classifier of noised latents, as `denoiser.Judge`."""

    def __init__(self, weights: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
        self._task = str(description["task"])
        self._model = Network(**description["network"]).build()
        self._model.load_state_dict(weights)
        self._model.to(compute.device()).eval().requires_grad_(False)

    def __call__(self, x_NCHW: Tensor, sigma: Tensor, labels_NK: Tensor) -> Tensor:
        """See `denoiser.Judge`."""
        factors = edm.preconditioning(sigma, sigma_data=SIGMA_DATA)
        scores = self._model(factors.input[:, None, None, None] * x_NCHW, factors.noise)
        return log_likelihood(scores, labels_NK, task=self._task)


@reproducible
def train_latent_classifier(request: TrainLatentClassifierRequest, context: StepContext) -> None:
    """Writes `classifier` (weights.safetensors, classifier.json) and `curves`.

    Sees the training split's labels and latents only. Raises UserError for a class without images, for latents that are
    not those of the split, and for a configuration that cannot work; and Cancelled.
    """
    images = read_image_set(context.open(request.train))
    check_training_split(images)
    moments = Moments(context.open(request.latents))
    check(request.config, images, moments)
    require_items(context.devices, batch_size=request.config.batch_size)
    with shared(context):
        training = ClassifierTraining(images, moments, request.config, seed=request.seed)
        curves = train(training, context=context)
    if context.rank:
        return
    context.output.write("classifier", "weights.safetensors", to_bytes(training.average.tensors))
    description = {
        "network": asdict(training.network),
        "task": images.task,
        "classes": list(images.classes),
        "autoencoder": moments.autoencoder,
    }
    context.output.json("classifier", "classifier.json", description)
    write(context.output, "curves", "curves.json", document=curves.document())


def check(config: LatentClassifierConfig, images: ImageSet, moments: Moments) -> None:
    """Raises UserError where no classifier can be trained so."""
    if len(moments) != len(images):
        raise UserError(
            field="latents",
            rule="must be those of the training split",
            received=f"{len(moments)} for {len(images)} training images",
            remedy="Run EncodeImages on the training split.",
        )
    checks = Checks("config")
    counts = label_vectors(images).sum(axis=0)
    missing = [name for name, count in zip(images.classes, counts, strict=True) if count == 0]
    checks.need(
        not missing,
        "conditioning",
        "a classifier that guides must have seen each class",
        f"no training image of {', '.join(missing)}",
        "Map these classes to others by `dataset.classMap`, or use conditioning: labels.",
    )
    checks.positive("channels", config.channels)
    width = config.attention_head_width
    checks.need(
        width > 0 and config.channels % width == 0,
        "attention_head_width",
        "must divide the channels",
        f"{width}, channels {config.channels}",
        "Choose a divisor.",
    )
    checks.length(images=config.images, batch_size=config.batch_size, learning_rate=config.learning_rate)
    checks.at_least_zero("weight_decay", config.weight_decay)
    checks.positive("p_std", config.p_std)
    checks.finish()


class ClassifierTraining(AveragedTraining):
    """The state of a training."""

    def __init__(self, images: ImageSet, moments: Moments, config: LatentClassifierConfig, *, seed: int) -> None:
        self._config, self._seed, self._moments, self._task = config, seed, moments, images.task
        self._labels = torch.from_numpy(label_vectors(images))
        self.network = Network(
            latent_channels=moments.shape[0] // 2,
            channels=config.channels,
            blocks=config.blocks,
            attention_head_width=config.attention_head_width,
            classes=len(Subject.of(images).classes),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.network.build().to(compute.device()).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        super().__init__(config, model, optimizer, family="config")

    def step(self, number: int) -> None:
        """One optimiser step on latents at random noise levels."""
        config, batch = self._config, self._config.batch_size
        rows = batch_indices(len(self._labels), batch_size=batch, step=number, seed=self._seed)
        random = step_generator("latent classifier", seed=self._seed, step=number)
        moments = torch.from_numpy(self._moments.rows(rows))
        shape = (batch, moments.shape[1] // 2, *moments.shape[2:])
        clean = drawn(moments, torch.randn(shape, generator=random))
        sigma = edm.training_sigma(torch.randn(batch, generator=random), p_mean=config.p_mean, p_std=config.p_std)
        noisy = (clean + sigma[:, None, None, None] * torch.randn(shape, generator=random)).to(self.device)
        factors = edm.preconditioning(sigma.to(self.device), sigma_data=SIGMA_DATA)
        labels = self._labels[rows].to(self.device)

        def loss(part: slice) -> tuple[Tensor, Tensor]:
            scores = self._model(factors.input[part][:, None, None, None] * noisy[part], factors.noise[part])
            share = -log_likelihood(scores, labels[part], task=self._task).sum() / batch
            right = (scores.argmax(dim=1) == labels[part].argmax(dim=1)).float().sum() / batch
            return share, torch.stack([share, right])

        found, right = set_gradients(self._model, loss, parts_of(batch, device=self.device))
        self.advance(number)
        figures = {"guide_loss": found}
        if self._task != MULTI_LABEL:
            figures["guide_accuracy"] = right
        self.losses.note(number, figures, learning_rate=self.rate(number))
