"""How all iterative families train: their length in images, the curves of their losses, and what progress shows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol

from syntrial_training import compute
from syntrial_training.divergence import Losses
from syntrial_training.loop import train as run
from torch import Tensor, nn

from syntrial.rpc.context import StepContext
from syntrial_generation.curves import Curves

AVERAGE_RAMP: Final = 0.05
"""The half-life of averaged weights is at most this share of the images shown (Karras et al. 2022, appendix F.2)."""


class Length(Protocol):
    """What the configuration of each family says of its training."""

    @property
    def images(self) -> int:
        """Images to show, rounded up to whole batches."""
        ...

    @property
    def batch_size(self) -> int:
        """Images in a step."""
        ...

    @property
    def learning_rate(self) -> float:
        """The peak of the learning rate."""
        ...


class GeneratorTraining(ABC):
    """A training under way, see `syntrial_training.loop.Trainee`; a family adds its networks and its step."""

    modules: tuple[nn.Module, ...]
    """The networks that are trained."""

    def __init__(self, length: Length, *, family: str) -> None:
        self.device = compute.device()
        self.images, self.batch_size = length.images, length.batch_size
        self.steps = -(-length.images // length.batch_size)
        self.curves = Curves(images=length.images)
        self.losses = Losses(
            steps=self.steps,
            field=f"{family}.learning_rate",
            remedy=f"Lower it: its peak is {length.learning_rate:g}.",
            device=self.device,
            on_read=lambda number, figures: self.curves.add((number + 1) * self.batch_size, figures),
        )

    @abstractmethod
    def step(self, number: int) -> None:
        """One optimiser step, counted from 0, which notes its losses."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Weights, their averages and the optimisers' moments."""

    @abstractmethod
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` took."""

    def notes(self) -> dict[str, Any]:
        """The curves so far."""
        return {"curves": self.curves.notes()}

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Puts back what `tensors` and `notes` took."""
        self.load_tensors(tensors)
        self.curves.load(notes["curves"])


def train(training: GeneratorTraining, *, context: StepContext) -> Curves:
    """Takes the steps that are left and gives the curves of them all.

    Raises UserError where the training diverges, and Cancelled.
    """

    def on_step(done: int) -> None:
        shown = min(done * training.batch_size, training.images)
        figures = training.curves.latest
        context.progress(shown, total=training.images, unit="images", activity="training", figures=figures)

    run(training, context=context, on_step=on_step)
    return training.curves


def learning_rate(done: int, *, peak: float, warmup: int, images: int) -> float:
    """Linear rise over `warmup` images, then the fall of a cosine to 0 at `images`."""
    if done < warmup:
        return peak * (done + 1) / warmup
    share = (done - warmup) / max(images - warmup, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
