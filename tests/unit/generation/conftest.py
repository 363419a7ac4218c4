"""Small training splits, small configurations and runs of the verbs, for the generation stage's tests."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.latent_classifier import train_latent_classifier
from syntrial_generation.latents import encode_images
from syntrial_generation.sample import sample_images
from syntrial_generation.train import train_generator
from syntrial_generation.train_autoencoder import train_autoencoder
from syntrial_training.tensors import to_bytes
from torch import Tensor

from syntrial.artifacts.content import file_digest
from syntrial.documents.lpips import SHAPES
from syntrial.errors import Cancelled
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, MemberValue, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    AutoencoderConfig,
    Balance,
    DiffusionConfig,
    DiffusionSampler,
    EncodeImagesRequest,
    GanConfig,
    GanSampler,
    LatentClassifierConfig,
    LatentDiffusionConfig,
    LatentInputs,
    PcaConfig,
    Perceptual,
    SampleImagesRequest,
    TrainAutoencoderRequest,
    TrainGeneratorRequest,
    TrainLatentClassifierRequest,
)

DATA = fake_key("data set")
GENERATOR = fake_key("generator")
AUTOENCODER = fake_key("autoencoder")
LATENTS = fake_key("latents")
GUIDE = fake_key("guide")
DRAWN = fake_key("what was drawn before")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def build_split(*, count: int = 20, side: int = 8, colors: int = 1, task: str = "multi-class") -> ImageSet:
    """A training split of random images."""
    random = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int64) % 2
    several = np.stack([labels, np.ones_like(labels)], axis=1).astype(np.uint8)
    return ImageSet(
        images_NHWC=random.integers(0, 256, (count, side, side, colors), dtype=np.uint8),
        labels=labels if task == "multi-class" else several,
        classes=("normal", "ill"),
        task=task,
    )


def small_configs() -> dict[str, Any]:
    """A configuration of each family, small enough for a test."""
    denoiser: dict[str, Any] = {
        "channels": [8, 16],
        "layers_per_level": 1,
        "attention_head_width": 8,
        "dropout": 0.1,
        "images": 48,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "warmup_images": 16,
        "ema_half_life_images": 16,
        "label_dropout": 0.1,
    }
    return {
        "diffusion": DiffusionConfig(fold=2, p_mean=-1.2, p_std=1.2, augment_shift=1, augment_flip=True, **denoiser),
        "gan": GanConfig(
            latent_size=4,
            channels=[16, 8],
            blocks_per_level=1,
            images=48,
            batch_size=8,
            learning_rate=1e-3,
            gamma=1,
            ema_half_life_images=16,
            augment_shift=0.125,
            augment_cutout=0.25,
            augment_brightness=0.2,
            augment_flip=True,
        ),
        "latent_diffusion": LatentDiffusionConfig(p_mean=-0.4, p_std=1.0, **denoiser),
        "pca": PcaConfig(explained_variance=0.99),
    }


def small_autoencoder(**changes: Any) -> AutoencoderConfig:
    """A configuration of an autoencoder, small enough for a test."""
    fields: dict[str, Any] = {
        "factor": 2,
        "channels": [8, 8],
        "layers_per_level": 1,
        "latent_channels": 2,
        "images": 48,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "warmup_images": 8,
        "ema_half_life_images": 8,
        "kl_weight": 1e-6,
        "adversarial_weight": 0.01,
        "adversarial_after_images": 24,
        "discriminator_channels": 4,
    }
    return AutoencoderConfig(**fields | changes)


def small_samplers() -> dict[str, dict[str, Any]]:
    """The sampler of each family as a keyword of `SampleImagesRequest`."""
    return {
        "diffusion": {
            "diffusion": DiffusionSampler(
                steps=3, sigma_min=0.01, sigma_max=40, rho=7, solver=DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M
            )
        },
        "gan": {"gan": GanSampler(truncation=1)},
        "latent_diffusion": {
            "latent_diffusion": DiffusionSampler(
                steps=3, sigma_min=0.01, sigma_max=40, rho=7, solver=DiffusionSampler.SOLVER_HEUN
            )
        },
        "pca": {},
    }


@cache
def lpips_weights() -> dict[str, Tensor]:
    """Weights of the perceptual term, drawn: the published ones are nobody's here."""
    random = torch.Generator().manual_seed(0)
    found = {}
    for name, shape in SHAPES.items():
        drawn = torch.randn(shape, generator=random)
        found[name] = drawn.abs() / 10 if name.startswith("lin") else drawn * (2 / max(drawn[0].numel(), 200)) ** 0.5
    return found


@pytest.fixture(scope="session")
def perceptual(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A perceptual term, and the places of sources that have its file of weights."""
    path = tmp_path_factory.mktemp("perceptual") / "lpips.safetensors"
    path.write_bytes(to_bytes(lpips_weights()))
    digest = file_digest(path, algorithm="sha256")
    return SimpleNamespace(term=Perceptual(digest=digest, weight=1), sources={digest: path})


def blobs_of(context: FakeContext, member: str) -> dict[str, bytes]:
    """What a verb wrote as a member."""
    reader = context.result(member)
    return {name: reader.read(name) for name in reader.names()}


def autoencode(
    split: ImageSet,
    /,
    *,
    checkpoints: FakeCheckpoints | None = None,
    extra: Any = None,
    seed: int = 1,
    perceptual: Perceptual | None = None,
    **changes: Any,
) -> FakeContext:
    """Runs TrainAutoencoder on a split."""
    context = FakeContext(inputs={(DATA, "train"): split}, checkpoints=checkpoints, **(extra or {}))
    request = TrainAutoencoderRequest(
        train=MemberRef(key=DATA, member="train"),
        seed=seed,
        config=small_autoencoder(**changes),
        perceptual=perceptual,
    )
    train_autoencoder(request, context)
    return context


def encode(images: ImageSet, autoencoder: FakeContext) -> FakeContext:
    """Runs EncodeImages on a split."""
    inputs: dict[tuple[str, str], MemberValue] = {
        (DATA, "train"): images,
        (AUTOENCODER, "autoencoder"): blobs_of(autoencoder, "autoencoder"),
    }
    context = FakeContext(inputs=inputs)
    request = EncodeImagesRequest(
        autoencoder=MemberRef(key=AUTOENCODER, member="autoencoder"), images=MemberRef(key=DATA, member="train")
    )
    encode_images(request, context)
    return context


def latent_inputs(images: ImageSet) -> dict[tuple[str, str], MemberValue]:
    """An autoencoder of the split, and its latents by it."""
    made = autoencode(images)
    return {
        (AUTOENCODER, "autoencoder"): blobs_of(made, "autoencoder"),
        (LATENTS, "latents"): blobs_of(encode(images, made), "latents"),
    }


def train_guide(
    split: ImageSet, /, *, checkpoints: FakeCheckpoints | None = None, extra: Any = None, **changes: Any
) -> FakeContext:
    """Runs TrainLatentClassifier on a split."""
    fields: dict[str, Any] = {
        "channels": 8,
        "blocks": 1,
        "attention_head_width": 4,
        "images": 64,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "warmup_images": 8,
        "ema_half_life_images": 8,
        "p_mean": -0.4,
        "p_std": 1.4,
    }
    inputs = {(DATA, "train"): split, **latent_inputs(split)}
    context = FakeContext(inputs=inputs, checkpoints=checkpoints, **(extra or {}))
    request = TrainLatentClassifierRequest(
        train=MemberRef(key=DATA, member="train"),
        latents=MemberRef(key=LATENTS, member="latents"),
        seed=1,
        config=LatentClassifierConfig(**fields | changes),
    )
    train_latent_classifier(request, context)
    return context


def train(
    images: ImageSet,
    *,
    seed: int = 1,
    checkpoints: FakeCheckpoints | None = None,
    extra: Any = None,
    beside: dict[tuple[str, str], MemberValue] | None = None,
    **family: Any,
) -> FakeContext:
    """Runs TrainGenerator on a split with one family's configuration, in latents of the split where it wants them."""
    inputs: dict[tuple[str, str], MemberValue] = {(DATA, "train"): images, **(beside or {})}
    request = TrainGeneratorRequest(train=MemberRef(key=DATA, member="train"), seed=seed, **family)
    if "latent_diffusion" in family:
        inputs |= latent_inputs(images)
        request.latent.CopyFrom(
            LatentInputs(
                autoencoder=MemberRef(key=AUTOENCODER, member="autoencoder"),
                train=MemberRef(key=LATENTS, member="latents"),
            )
        )
    context = FakeContext(inputs=inputs, checkpoints=checkpoints, **(extra or {}))
    train_generator(request, context)
    return context


def train_interrupted(split: ImageSet, **family: Any) -> FakeContext:
    """`train`, stopped in its fifth step and taken up again: it has to end in the bytes of one that went through."""
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        train(split, checkpoints=checkpoints, extra={"checkpoint_every": 1, "cancel_after": 5}, **family)
    resumed = train(split, checkpoints=checkpoints, **family)
    assert resumed.result("generator").digest == train(split, **family).result("generator").digest
    return resumed


def sample(
    images: ImageSet,
    trained: FakeContext,
    *,
    checkpoints: FakeCheckpoints | None = None,
    extra: Any = None,
    guide: FakeContext | None = None,
    before: FakeContext | None = None,
    **changes: Any,
) -> FakeContext:
    """Runs SampleImages on what `train` made, guided by what `train_guide` made, after what was drawn `before`."""
    inputs: dict[tuple[str, str], MemberValue] = {
        (DATA, "train"): images,
        (GENERATOR, "generator"): blobs_of(trained, "generator"),
    }
    if guide is not None:
        inputs[GUIDE, "classifier"] = blobs_of(guide, "classifier")
        changes["classifier"] = MemberRef(key=GUIDE, member="classifier")
    if before is not None:
        inputs[DRAWN, "images"] = read_image_set(before.result("images"))
        changes["drawn"] = MemberRef(key=DRAWN, member="images")
    context = FakeContext(inputs=inputs, checkpoints=checkpoints, **(extra or {}))
    fields: dict[str, Any] = {
        "generator": MemberRef(key=GENERATOR, member="generator"),
        "train": MemberRef(key=DATA, member="train"),
        "ratio": 1.0,
        "oversample": 1.0,
        "balance": Balance.BALANCE_MATCH,
        "seed": 3,
        "micro_batch": 4,
    }
    sample_images(SampleImagesRequest(**fields | changes), context)
    return context


@pytest.fixture
def lab() -> SimpleNamespace:
    """All of the above: images, verbs and configurations."""
    return SimpleNamespace(
        split=build_split,
        train=train,
        train_interrupted=train_interrupted,
        sample=sample,
        autoencode=autoencode,
        encode=encode,
        train_guide=train_guide,
        autoencoder=small_autoencoder,
        configs=small_configs(),
        samplers=small_samplers(),
    )
