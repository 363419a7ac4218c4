import pytest
import torch
from syntrial_classification.ema import RAMP, MovingAverage, decay
from torch import nn


def test_after_its_half_life_half_of_a_start_is_left() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = MovingAverage(model)
    average.tensors["weight"].fill_(1.0)
    for _ in range(20):
        average.update(10_000, half_life_steps=20)
    assert average.tensors["weight"].item() == pytest.approx(0.5, rel=1e-5)


def test_early_in_a_phase_the_half_life_is_a_share_of_the_steps() -> None:
    assert decay(10, half_life_steps=1000) == pytest.approx(0.5 ** (1 / (RAMP * 10)))
    assert decay(100_000, half_life_steps=1000) == pytest.approx(0.5 ** (1 / 1000))


def test_without_a_half_life_the_average_is_the_model_and_counters_are_copied() -> None:
    model = nn.BatchNorm2d(3)
    average = MovingAverage(model)
    model(torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    average.update(1, half_life_steps=0)
    assert all(torch.equal(average.tensors[name], value) for name, value in model.state_dict().items())
    assert average.tensors["num_batches_tracked"] == 1


def test_the_average_does_not_share_memory_with_the_model() -> None:
    model = nn.Linear(2, 2)
    average = MovingAverage(model)
    before = average.tensors["weight"].clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    assert torch.equal(average.tensors["weight"], before)
