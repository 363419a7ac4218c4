import pytest
import torch
from syntrial_training.averages import MovingAverage, decay
from torch import nn


def test_after_its_half_life_half_of_a_start_is_left() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = MovingAverage(model)
    average.tensors["weight"].fill_(1.0)
    for _ in range(20):
        average.update(decay=decay(1, done=10_000, half_life=20, ramp=0.1))
    assert average.tensors["weight"].item() == pytest.approx(0.5, rel=1e-5)


def test_early_on_the_half_life_is_a_share_of_what_is_done() -> None:
    assert decay(1, done=10, half_life=1000, ramp=0.1) == pytest.approx(0.5)
    assert decay(1, done=100_000, half_life=1000, ramp=0.1) == pytest.approx(0.5 ** (1 / 1000))
    assert decay(64, done=640, half_life=1000, ramp=0.05) == pytest.approx(0.5**2)


def test_without_a_half_life_the_average_is_the_network_and_counters_are_copied() -> None:
    model = nn.BatchNorm2d(3)
    average = MovingAverage(model)
    model(torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    average.update(decay=decay(1, done=1, half_life=0, ramp=0.1))
    assert all(torch.equal(average.tensors[name], value) for name, value in model.state_dict().items())
    assert average.tensors["num_batches_tracked"] == 1


def test_the_average_does_not_share_memory_with_the_network() -> None:
    model = nn.Linear(2, 2)
    average = MovingAverage(model)
    before = average.tensors["weight"].clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    assert torch.equal(average.tensors["weight"], before)


def test_a_saved_average_goes_on_with_the_network() -> None:
    model = nn.Linear(2, 2)
    average, saved = MovingAverage(model), {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    average.load(saved)
    average.update(decay=0.5)
    assert torch.allclose(average.tensors["weight"], 0.5 + 0.5 * model.weight)
