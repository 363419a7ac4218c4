"""Exponential moving averages of a network's weights and running statistics."""

import torch
from torch import Tensor, nn


def decay(advance: float, *, done: float, half_life: float, ramp: float) -> float:
    """How much of the average stays after `advance`, when `done` is done in all; both in the half-life's unit.

    0.5 ** (advance / half-life), where the half-life is at most `ramp` times what is done, so that the first weights
    are forgotten early (Karras et al. 2020, StyleGAN2-ADA; 2022, EDM, appendix F.2). A half-life of 0 keeps nothing.
    """
    capped = min(half_life, ramp * done)
    return 0.5 ** (advance / capped) if capped > 0 else 0.0


class MovingAverage:
    """The average beside a network: of all its floating-point tensors, in one fused call; others are copied."""

    def __init__(self, network: nn.Module) -> None:
        state = network.state_dict()
        self.tensors: dict[str, Tensor] = {name: value.detach().clone() for name, value in state.items()}
        """The average, by the names of the network's own state."""
        floats = [name for name, value in state.items() if value.is_floating_point()]
        others = [name for name, value in state.items() if not value.is_floating_point()]
        self._averaged = [self.tensors[name] for name in floats]
        self._live = [state[name] for name in floats]
        self._copied = [(self.tensors[name], state[name]) for name in others]

    @torch.no_grad()
    def update(self, *, decay: float) -> None:
        """Keeps the share `decay` of the average, and takes the rest from the network's weights."""
        torch._foreach_lerp_(self._averaged, self._live, 1.0 - decay)
        for kept, new in self._copied:
            kept.copy_(new)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts a saved average back."""
        for name, value in tensors.items():
            self.tensors[name].copy_(value)
