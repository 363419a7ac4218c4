"""Weights and the states of modules and optimisers as named tensors, and those as safetensors: nothing is pickled."""

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor
from torch.optim import Optimizer


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors: on the CPU, contiguous, in the order of their names."""
    plain = {
        name: tensors[name].detach().to("cpu").contiguous(memory_format=torch.contiguous_format)
        for name in sorted(tensors)
    }
    return safetensors.torch.save(plain)


def from_bytes(data: bytes) -> dict[str, Tensor]:
    """The tensors in safetensors bytes, on the CPU."""
    return safetensors.torch.load(data)


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix` and their own names."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it: the inverse of `prefixed`."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's state, by "<number of the parameter>/<name>"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}/{name}": torch.as_tensor(value)
        for number, own in state.items()
        for name, value in own.items()
        if value is not None
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` took of an optimiser of the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if name != "step" and isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused optimisers want a state in the memory format of its parameter, which the file does not keep.
                own[name] = torch.empty_like(parameter).copy_(value)
