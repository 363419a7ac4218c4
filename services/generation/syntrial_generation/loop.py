"""How all iterative families train: their length in images, the curves of their losses, and what progress shows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol

import torch
from syntrial_training import compute
from syntrial_training.averages import MovingAverage, decay
from syntrial_training.divergence import Losses
from syntrial_training.loop import checkpoint
from syntrial_training.loop import train as run
from syntrial_training.tensors import load_optimizer, optimizer_tensors, prefixed, under
from torch import Tensor, nn

from syntrial.rpc.context import StepContext
from syntrial_generation.curves import Curves
from syntrial_generation.parts import STATE, WHOLE, Part

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


class Schedule(Length, Protocol):
    """What a configuration says of a training whose rate rises and falls and whose weights are averaged."""

    @property
    def warmup_images(self) -> int:
        """Images over which the learning rate rises."""
        ...

    @property
    def ema_half_life_images(self) -> int:
        """The half-life of the averaged weights."""
        ...


class AveragedTraining(GeneratorTraining):
    """A training of one network whose averaged weights are kept.

    What is trained beside it and never kept, as a discriminator, a family adds to `tensors` and `load_tensors`.
    """

    average: MovingAverage
    """The averaged weights."""

    def __init__(self, schedule: Schedule, model: nn.Module, optimizer: torch.optim.Optimizer, *, family: str) -> None:
        super().__init__(schedule, family=family)
        self._schedule, self._model, self._optimizer = schedule, model, optimizer
        self.modules = (model,)
        self.average = MovingAverage(model)

    def rate(self, number: int) -> float:
        """The learning rate of a step."""
        schedule = self._schedule
        return learning_rate(
            number * schedule.batch_size,
            peak=schedule.learning_rate,
            warmup=schedule.warmup_images,
            images=schedule.images,
        )

    def advance(self, number: int) -> None:
        """Moves the weights by their gradients, and the average after them."""
        batch, half_life = self.batch_size, self._schedule.ema_half_life_images
        self._optimizer.param_groups[0]["lr"] = self.rate(number)
        self._optimizer.step()
        done = (number + 1) * batch
        self.average.update(decay=decay(batch, done=done, half_life=half_life, ramp=AVERAGE_RAMP))

    def tensors(self) -> dict[str, Tensor]:
        """Weights, their average and the optimiser's moments."""
        return (
            prefixed(self._model.state_dict(), "model/")
            | prefixed(self.average.tensors, "average/")
            | prefixed(optimizer_tensors(self._optimizer), "optimizer/")
        )

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` took."""
        self._model.load_state_dict(under(tensors, "model/"))
        self.average.load(under(tensors, "average/"))
        load_optimizer(self._optimizer, under(tensors, "optimizer/"))


def train(training: GeneratorTraining, *, context: StepContext, part: Part = WHOLE) -> Curves:
    """Takes the steps that are left, of a part those that are its own, and gives the curves of them all.

    Raises UserError where the training diverges, and Cancelled.
    """
    until = min(-(-part.until_images // training.batch_size), training.steps) if part.until_images else None
    images = training.images if until is None else min(until * training.batch_size, training.images)

    def on_step(done: int) -> None:
        shown = min(done * training.batch_size, images)
        figures = training.curves.latest
        context.progress(shown, total=images, unit="images", activity="training", figures=figures)

    run(training, context=context, on_step=on_step, begun=part.begun, until=until)
    if until is not None:
        for name, data in checkpoint(training, done=until).items():
            context.output.write(STATE, name, data)
    return training.curves


def learning_rate(done: int, *, peak: float, warmup: int, images: int) -> float:
    """Linear rise over `warmup` images, then the fall of a cosine to 0 at `images`."""
    if done < warmup:
        return peak * (done + 1) / warmup
    share = (done - warmup) / max(images - warmup, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
