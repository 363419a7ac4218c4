"""Exponential moving average of a model's weights and running statistics."""

import torch
from torch import Tensor, nn

RAMP = 0.1
"""The half-life is at most this share of the steps since the phase began, so short phases forget their start.

The rule of StyleGAN2-ADA and EDM (Karras et al. 2020, 2022), which ramp at 0.05 over much longer trainings.
"""


def decay(step: int, *, half_life_steps: float) -> float:
    """How much of the average stays at step `step` of a phase (counted from 1): 0.5 ** (1 / half-life); 0: copy."""
    half_life = min(half_life_steps, RAMP * step)
    return 0.5 ** (1 / half_life) if half_life > 0 else 0.0


class MovingAverage:
    """The average beside a model; one fused call for each update."""

    def __init__(self, model: nn.Module) -> None:
        self.tensors: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}
        state = model.state_dict()
        self._floats = [name for name, value in state.items() if value.is_floating_point()]
        self._others = [name for name, value in state.items() if not value.is_floating_point()]
        self._averaged = [self.tensors[name] for name in self._floats]
        self._live = [state[name] for name in self._floats]
        self._live_others = [state[name] for name in self._others]

    @torch.no_grad()
    def update(self, step: int, *, half_life_steps: float) -> None:
        """Moves the average towards the model after step `step` of a phase (counted from 1)."""
        torch._foreach_lerp_(self._averaged, self._live, 1.0 - decay(step, half_life_steps=half_life_steps))
        for name, value in zip(self._others, self._live_others, strict=True):
            self.tensors[name].copy_(value)

    def copy_to(self, model: nn.Module) -> None:
        """Writes the average into another model of the same shape."""
        model.load_state_dict(self.tensors)
