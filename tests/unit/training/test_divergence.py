import math

import pytest
import torch
from syntrial_training.divergence import BLOCK, Losses
from torch import nn

from syntrial.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def losses(device: torch.device = CPU, **extra: object) -> Losses:
    return Losses(steps=200, field="learning_rate", remedy="Lower it.", device=device, **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_told_with_its_step_and_learning_rate(value: float) -> None:
    noted = losses()
    noted.note(0, {"loss": torch.tensor(3.0)}, learning_rate=0.5)
    with pytest.raises(UserError) as caught:
        noted.note(1, {"loss": torch.tensor(value)}, learning_rate=1000.0)
    (violation,) = caught.value.violations
    assert violation.field == "learning_rate"
    assert violation.received == f"loss {value} at step 2 of 200, with a learning rate of 1e+03"
    assert violation.remedy == "Lower it."


def test_on_a_gpu_losses_are_fetched_in_blocks_and_the_first_bad_step_is_the_one_that_is_told() -> None:
    read: list[int] = []
    noted = losses(GPU, on_read=lambda number, _figures: read.append(number))
    for number in range(BLOCK - 1):
        value = math.nan if number >= 40 else 1.0
        noted.note(number, {"good": torch.tensor(1.0), "bad": torch.tensor(value)}, learning_rate=number / 100)
    assert read == []
    with pytest.raises(UserError, match=r"bad nan at step 41 of 200, with a learning rate of 0\.4\b"):
        noted.note(BLOCK - 1, {"good": torch.tensor(1.0), "bad": torch.tensor(math.nan)}, learning_rate=1.0)
    assert read == list(range(40))


def test_what_was_noted_can_be_read_before_a_block_is_full() -> None:
    read: list[tuple[int, float]] = []
    noted = losses(GPU, on_read=lambda number, figures: read.append((number, figures["loss"])))
    for number in range(3):
        noted.note(number, {"loss": torch.tensor(float(number))}, learning_rate=0.1)
    noted.read()
    noted.read()
    assert read == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_weights_that_the_last_step_spoilt_are_told() -> None:
    network = nn.Linear(2, 2)
    losses().require_weights([network])
    with torch.no_grad():
        network.bias[1] = math.inf
    with pytest.raises(UserError, match="weight bias nan at step 200 of 200"):
        losses().require_weights([network])
