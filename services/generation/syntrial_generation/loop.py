"""The loop that all iterative families train in: steps, progress, checkpoints, curves. Resuming is exact."""

from typing import Final, Protocol

from syntrial_training.tensors import from_bytes, to_bytes
from torch import Tensor

from syntrial.rpc.context import StepContext
from syntrial_generation.curves import Curves

AVERAGE_RAMP: Final = 0.05
"""The half-life of averaged weights is at most this share of the images shown (Karras et al. 2022, appendix F.2)."""


class Trainee(Protocol):
    """A training whose step is a function of its state and the step's number."""

    def step(self, number: int) -> dict[str, float]:
        """One optimiser step, counted from 0; returns figures for the curves."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The whole state."""
        ...

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts back a state."""
        ...


def train(trainee: Trainee, *, images: int, batch_size: int, context: StepContext) -> Curves:
    """Trains for `images` images shown, rounded up to whole steps, from the step's checkpoint if there is one.

    Raises Cancelled; a checkpoint that is due is saved before that.
    """
    steps = -(-images // batch_size)
    curves = Curves(images=images)
    start = 0
    saved = context.checkpoints.load()
    if saved is not None:
        trainee.load(from_bytes(saved["state.safetensors"]))
        curves.load(saved["curves.json"])
        start = int(saved["steps.txt"])
    for number in range(start, steps):
        figures = trainee.step(number)
        done = (number + 1) * batch_size
        curves.add(done, figures, last=number + 1 == steps)
        if context.checkpoint_due():
            context.checkpoints.save(
                {
                    "state.safetensors": to_bytes(trainee.tensors()),
                    "curves.json": curves.state(),
                    "steps.txt": str(number + 1).encode(),
                }
            )
        context.progress(min(done, images), total=images, unit="images", activity="training", figures=figures)
    return curves
