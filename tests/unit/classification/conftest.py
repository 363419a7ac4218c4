"""Builders that the tests of the classification stage share."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from syntrial_classification.train import train_classifier

from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, TrainClassifierRequest, TrainingPhase, TrainingRecipe

DATA, MADE = fake_key("data set"), fake_key("synthetic set")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_images(
    count: int, *, classes: int = 2, side: int = 8, channels: int = 1, seed: int = 0, several: bool = False
) -> ImageSet:
    """Noise with a bright quadrant for each class (for several labels: for each label that an image has)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (count, side, side, channels)).astype(np.uint8)
    half = side // 2
    present = np.arange(count)[:, None] % classes == np.arange(classes)
    if several:
        present = rng.random((count, classes)) < 0.5
    for k in range(classes):
        rows, columns = slice(half * (k // 2 % 2), half * (k // 2 % 2 + 1)), slice(half * (k % 2), half * (k % 2 + 1))
        images[present[:, k], rows, columns] += 120
    labels = present.astype(np.uint8) if several else present.argmax(axis=1).astype(np.int64)
    return ImageSet(
        images_NHWC=images,
        labels=labels,
        classes=tuple(f"class {k}" for k in range(classes)),
        task="multi-label" if several else "multi-class",
        origins={},
    )


def make_recipe(**changes: Any) -> TrainingRecipe:
    """A short recipe."""
    fields: dict[str, Any] = {
        "batch_size": 8,
        "optimizer": TrainingRecipe.OPTIMIZER_ADAMW,
        "schedule": TrainingRecipe.SCHEDULE_ONE_CYCLE,
        "warmup": 0.2,
        "augment_shift": 1,
        "ema_half_life_steps": 2,
        "validations": 3,
        "loss": TrainingRecipe.LOSS_CROSS_ENTROPY,
    }
    return TrainingRecipe(**{**fields, **changes})


def make_request(
    *phases: TrainingPhase,
    recipe: TrainingRecipe | None = None,
    model: str | ClassifierModel = "small-cnn",
    **fields: Any,
) -> TrainClassifierRequest:
    """A request over the sets of `train`."""
    return TrainClassifierRequest(
        train=MemberRef(key=DATA, member="train"),
        validation=MemberRef(key=DATA, member="validation"),
        synthetic=MemberRef(key=MADE, member="accepted"),
        phases=phases or (TrainingPhase(real=1, steps=6, learning_rate=3e-3),),
        recipe=recipe or make_recipe(),
        model=ClassifierModel(name=model) if isinstance(model, str) else model,
        **fields,
    )


def train(
    request: TrainClassifierRequest,
    *,
    real: ImageSet,
    validation: ImageSet | None = None,
    synthetic: ImageSet | None = None,
    inputs: Mapping[tuple[str, str], Any] | None = None,
    **context: Any,
) -> FakeContext:
    """Runs the verb; `inputs` are further members, and `context` goes to FakeContext."""
    sets = {(DATA, "train"): real, (DATA, "validation"): validation or real, (MADE, "accepted"): synthetic or real}
    fake = FakeContext({**sets, **(inputs or {})}, **context)
    train_classifier(request, fake)
    return fake


def blobs(context: FakeContext) -> dict[str, bytes]:
    """All bytes that a training wrote, by member and name."""
    return {
        f"{member}/{name}": context.result(member).read(name)
        for member in context.output.members()
        for name in context.result(member).names()
    }


@dataclass(frozen=True)
class Build:
    """The builders, as one fixture."""

    images: Callable[..., ImageSet] = make_images
    recipe: Callable[..., TrainingRecipe] = make_recipe
    request: Callable[..., TrainClassifierRequest] = make_request
    train: Callable[..., FakeContext] = train
    blobs: Callable[[FakeContext], dict[str, bytes]] = blobs


@pytest.fixture
def build() -> Build:
    """Builders of sets, recipes, requests and whole trainings."""
    return Build()
