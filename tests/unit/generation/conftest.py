"""Small training splits, small configurations and runs of the verbs, for the generation stage's tests."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.sample import sample_images
from syntrial_generation.train import train_generator

from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    Balance,
    DiffusionConfig,
    DiffusionSampler,
    GanConfig,
    GanSampler,
    PcaConfig,
    SampleImagesRequest,
    TrainGeneratorRequest,
)

DATA = fake_key("data set")
GENERATOR = fake_key("generator")


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
    return {
        "diffusion": DiffusionConfig(
            fold=2,
            channels=[8, 16],
            layers_per_level=1,
            attention_head_width=8,
            dropout=0.1,
            images=48,
            batch_size=8,
            learning_rate=1e-3,
            warmup_images=16,
            ema_half_life_images=16,
            p_mean=-1.2,
            p_std=1.2,
            augment_shift=1,
            augment_flip=True,
            label_dropout=0.1,
        ),
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
        "pca": PcaConfig(explained_variance=0.99),
    }


def small_samplers() -> dict[str, dict[str, Any]]:
    """The sampler of each family as a keyword of `SampleImagesRequest`."""
    return {
        "diffusion": {
            "diffusion": DiffusionSampler(
                steps=3, sigma_min=0.01, sigma_max=40, rho=7, solver=DiffusionSampler.SOLVER_DPM_SOLVER_PP_2M
            )
        },
        "gan": {"gan": GanSampler(truncation=1)},
        "pca": {},
    }


def train(
    images: ImageSet, *, seed: int = 1, checkpoints: FakeCheckpoints | None = None, extra: Any = None, **family: Any
) -> FakeContext:
    """Runs TrainGenerator on a split with one family's configuration."""
    context = FakeContext(inputs={(DATA, "train"): images}, checkpoints=checkpoints, **(extra or {}))
    train_generator(TrainGeneratorRequest(train=MemberRef(key=DATA, member="train"), seed=seed, **family), context)
    return context


def sample(
    images: ImageSet,
    trained: FakeContext,
    *,
    checkpoints: FakeCheckpoints | None = None,
    extra: Any = None,
    **changes: Any,
) -> FakeContext:
    """Runs SampleImages on what `train` made."""
    member = trained.result("generator")
    blobs = {name: member.read(name) for name in member.names()}
    context = FakeContext(
        inputs={(DATA, "train"): images, (GENERATOR, "generator"): blobs}, checkpoints=checkpoints, **(extra or {})
    )
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
    """All of the above: `split`, `train`, `sample`, and new `configs` and `samplers` for each test."""
    return SimpleNamespace(
        split=build_split, train=train, sample=sample, configs=small_configs(), samplers=small_samplers()
    )
