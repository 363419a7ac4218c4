"""The loop that every training runs in: steps, checkpoints, progress, and the notice of a training that diverges.

What a step is belongs to the stage: a `Trainee`. Resuming is exact, since a step is a function of the trainee's state
and the step's number.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from torch import Tensor, nn

from syntrial.rpc.context import StepContext
from syntrial_training.divergence import Losses
from syntrial_training.sharing import require_all, require_same
from syntrial_training.tensors import from_bytes, to_bytes

_TENSORS: Final = "tensors.safetensors"
_STATE: Final = "state.json"


class Trainee(Protocol):
    """A training whose step is a function of its state and the step's number; all of the state can be saved."""

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        ...

    @property
    def losses(self) -> Losses:
        """Where each step notes its losses."""
        ...

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The networks that are trained, whose weights must be finite at the end."""
        ...

    def step(self, number: int) -> None:
        """One optimiser step, counted from 0."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the whole state."""
        ...

    def notes(self) -> dict[str, Any]:
        """The rest of the state, as JSON."""
        ...

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Puts a state back."""
        ...


def train(
    trainee: Trainee,
    *,
    context: StepContext,
    on_step: Callable[[int], None],
    begun: Mapping[str, bytes] | None = None,
    until: int | None = None,
) -> None:
    """Takes all steps, or those that are left after the step's checkpoint; calls `on_step` with the steps done.

    `begun` is the state that it begins with where there is no checkpoint; with `until` it ends after so many steps.
    Raises UserError where the training diverges, and Cancelled; a checkpoint that is due is saved before that.
    """
    end = trainee.steps if until is None else min(until, trainee.steps)
    done = resume(trainee, context.checkpoints.load() or begun)
    require_same(done, what="the checkpoint that they read")
    for number in range(done, end):
        trainee.step(number)
        if context.checkpoint_due():
            trainee.losses.read()
            require_all()
            context.checkpoints.save(checkpoint(trainee, done=number + 1))
        on_step(number + 1)
    trainee.losses.read()
    trainee.losses.require_weights(trainee.modules)


def checkpoint(trainee: Trainee, *, done: int) -> dict[str, bytes]:
    """The state after `done` steps as named blobs. Saving has no effect on the training."""
    state = {"done": done, "notes": trainee.notes()}
    return {
        _TENSORS: to_bytes(trainee.tensors()),
        _STATE: json.dumps(state, allow_nan=False).encode(),
    }


def resume(trainee: Trainee, blobs: Mapping[str, bytes] | None) -> int:
    """Puts a new training of the same request into a saved state, and gives the steps that it has done.

    0 without a checkpoint, and for one that a release wrote which named its blobs otherwise.
    """
    if blobs is None or blobs.keys() != {_TENSORS, _STATE}:
        return 0
    state = json.loads(blobs[_STATE])
    trainee.load(from_bytes(blobs[_TENSORS]), state["notes"])
    return int(state["done"])
