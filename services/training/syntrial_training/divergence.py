"""A training's losses on their way from its device, and the notice of one that is no number any more.

A loss that is not finite makes every weight so by the next step, and no later step can mend that. It is told as the
user's error of the step where it began, with the learning rate of that step.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from syntrial.errors import UserError

BLOCK: Final = 64
"""Steps whose losses are fetched from a GPU at once: it is waited for that seldom, and a diverged training computes at
most so many steps for nothing.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Noted:
    number: int
    learning_rate: float
    names: tuple[str, ...]
    values: Tensor
    """float32 or float64, one for each name, on the training's device."""


class Losses:
    """Notes of losses, read in blocks on a GPU and at once on a CPU."""

    def __init__(
        self,
        *,
        steps: int,
        field: str,
        remedy: str,
        device: torch.device,
        on_read: Callable[[int, dict[str, float]], None] = lambda _number, _figures: None,
    ) -> None:
        """`field` and `remedy` are those of the user's error; `on_read` gets each step's figures, in order."""
        self._steps, self._field, self._remedy = steps, field, remedy
        self._on_read = on_read
        self._block = 1 if device.type == "cpu" else BLOCK
        self._noted: list[_Noted] = []
        self._learning_rate = 0.0

    def note(self, number: int, losses: Mapping[str, Tensor], *, learning_rate: float) -> None:
        """Takes the losses (scalars) of step `number`, counted from 0.

        Raises UserError, as `read` does.
        """
        values = torch.stack([loss.detach() for loss in losses.values()])
        self._noted.append(_Noted(number=number, learning_rate=learning_rate, names=tuple(losses), values=values))
        if len(self._noted) >= self._block:
            self.read()

    def read(self) -> None:
        """Fetches what was noted; raises UserError that tells of the first step with a loss that is not finite."""
        noted, self._noted = self._noted, []
        if not noted:
            return
        fetched = torch.stack([one.values for one in noted]).tolist()
        for one, values in zip(noted, fetched, strict=True):
            self._learning_rate = one.learning_rate
            figures = dict(zip(one.names, values, strict=True))
            self.require(figures, number=one.number)
            self._on_read(one.number, figures)

    def require(self, figures: Mapping[str, float], *, number: int) -> None:
        """Raises UserError where a figure of step `number`, counted from 0, is not finite."""
        for name, value in figures.items():
            if not math.isfinite(value):
                raise UserError(
                    field=self._field,
                    rule="a training's losses and weights stay finite",
                    received=f"{name} {value} at step {number + 1} of {self._steps}, "
                    f"with a learning rate of {self._learning_rate:.3g}",
                    remedy=self._remedy,
                )

    def require_weights(self, modules: Sequence[nn.Module]) -> None:
        """Raises UserError where the last step left a weight or a running statistic that is not finite.

        Earlier steps need no such look: the next step's losses tell.
        """
        for module in modules:
            for name, value in module.state_dict().items():
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    self.require({f"weight {name}": math.nan}, number=self._steps - 1)
