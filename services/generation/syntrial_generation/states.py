"""Weights and the states of trainings as bytes: safetensors and JSON, never pickle."""

import json
from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def weights_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors, contiguous and on the CPU."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in sorted(tensors.items())}
    return safetensors.torch.save(plain)


def weights_from(data: bytes) -> dict[str, Tensor]:
    """The tensors in safetensors bytes."""
    return safetensors.torch.load(data)


def optimizer_tensors(optimizer: Optimizer, *, prefix: str) -> dict[str, Tensor]:
    """The optimiser's state as tensors named by parameter number."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}{number}/{name}": torch.as_tensor(value) for number, s in state.items() for name, value in s.items()
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], *, prefix: str) -> None:
    """Puts back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition("/")
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def module_tensors(module: nn.Module, *, prefix: str) -> dict[str, Tensor]:
    """The module's parameters and buffers by name."""
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], *, prefix: str) -> None:
    """Puts back what `module_tensors` took; raises RuntimeError where names or shapes differ."""
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    module.load_state_dict(own)


class Average:
    """An exponential moving average of a module's weights, kept in a copy of the module."""

    def __init__(self, module: nn.Module, *, average: nn.Module, half_life: float) -> None:
        """`half_life` in images; `average` is a module of the same shape, overwritten here."""
        self.module = average
        self._half_life = half_life
        self._pairs = list(zip(average.parameters(), module.parameters(), strict=True))
        with torch.no_grad():
            for kept, new in self._pairs:
                kept.copy_(new)
                kept.requires_grad_(False)

    def update(self, *, images: int, done: int) -> None:
        """Moves towards the module's weights after a step of `images`, when `done` images have been shown in all.

        The half-life is at most a twentieth of what is done, so that the first weights are forgotten early (Karras et
        al. 2022, appendix F.2 on the EMA's ramp-up).
        """
        half_life = min(self._half_life, 0.05 * done) if self._half_life > 0 else 0.0
        decay = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        with torch.no_grad():
            for kept, new in self._pairs:
                kept.lerp_(new, 1 - decay)


class Curves:
    """Means of a training's figures over equal stretches of images, for `curves.json`."""

    def __init__(self, *, images: int, points: int = 100) -> None:
        self._every = max(images // points, 1)
        self._sums: dict[str, float] = {}
        self._count = 0
        self.x: list[int] = []
        self.series: dict[str, list[float]] = {}

    def add(self, done: int, figures: Mapping[str, float], *, last: bool) -> None:
        """Takes the figures of one optimiser step, after which `done` images have been shown."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if last or done // self._every > (self.x[-1] if self.x else 0) // self._every:
            self.x.append(done)
            for name, total in self._sums.items():
                self.series.setdefault(name, []).append(total / self._count)
            self._sums, self._count = {}, 0

    def result(self) -> dict[str, object]:
        """The content of `curves.json`."""
        return {"x_unit": "images", "x": self.x, "series": self.series}

    def state(self) -> bytes:
        """All of it as JSON; numbers come back exactly."""
        return json.dumps([self._sums, self._count, self.x, self.series]).encode()

    def load(self, data: bytes) -> None:
        """Puts back what `state` took."""
        self._sums, self._count, self.x, self.series = json.loads(data)
