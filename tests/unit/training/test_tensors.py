from collections.abc import Callable
from typing import Any

import pytest
import torch
from syntrial_training.tensors import from_bytes, load_optimizer, optimizer_tensors, prefixed, to_bytes, under
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

Make = Callable[[nn.Module], Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "adamw": lambda network: AdamW(network.parameters(), lr=0.1, fused=True),
    "adam": lambda network: Adam(network.parameters(), lr=0.1),
    "sgd": lambda network: SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)


def moved(made: nn.Module, optimizer: Optimizer, *, steps: int) -> dict[str, Tensor]:
    for number in range(steps):
        images = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(number))
        made(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return dict(made.state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_put_back_goes_on_as_if_it_had_not_stopped(name: str) -> None:
    first = network()
    optimizer = OPTIMIZERS[name](first)
    weights = moved(first, optimizer, steps=2)
    saved = to_bytes(prefixed(weights, "network/") | prefixed(optimizer_tensors(optimizer), "optimizer/"))
    expected = moved(first, optimizer, steps=2)

    second = network()
    other = OPTIMIZERS[name](second)
    tensors = from_bytes(saved)
    second.load_state_dict(under(tensors, "network/"))
    load_optimizer(other, under(tensors, "optimizer/"))
    found = moved(second, other, steps=2)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_moments_come_back_in_the_memory_format_of_their_parameter() -> None:
    made = network()
    optimizer = OPTIMIZERS["adamw"](made)
    moved(made, optimizer, steps=1)
    load_optimizer(optimizer, from_bytes(to_bytes(optimizer_tensors(optimizer))))
    moment: Any = optimizer.state[next(made.parameters())]["exp_avg"]
    assert moment.is_contiguous(memory_format=torch.channels_last)


def test_the_order_of_the_names_and_the_memory_format_do_not_show_in_the_bytes() -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    turned = {"b": torch.ones(2), "a": image.to(memory_format=torch.channels_last)}
    assert to_bytes(turned) == to_bytes({"a": image, "b": torch.ones(2)})


def test_names_are_told_apart_by_their_prefix() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert under(prefixed({"w": one}, "a/") | prefixed({"w": two}, "b/"), "b/") == {"w": two}
