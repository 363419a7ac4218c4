import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from syntrial_training import loop
from syntrial_training.divergence import Losses
from syntrial_training.loop import checkpoint, resume, train
from torch import Tensor, nn

from syntrial.errors import Cancelled, UserError
from syntrial.rpc.ranks import RankLost
from syntrial.rpc.testing import FakeCheckpoints, FakeContext


class Counter:
    """A trainee whose weight counts its steps, and whose loss is no number from a step on."""

    def __init__(self, *, steps: int = 6, bad_from: int = 99, device: str = "cpu") -> None:
        self.steps, self._bad_from = steps, bad_from
        self.read: list[int] = []
        self.losses = Losses(
            steps=steps,
            field="rate",
            remedy="Lower it.",
            device=torch.device(device),
            on_read=lambda number, _figures: self.read.append(number),
        )
        self._network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self._network.weight)
        self.modules = (self._network,)

    @property
    def count(self) -> float:
        return float(self._network.weight.detach())

    def step(self, number: int) -> None:
        with torch.no_grad():
            self._network.weight += 1
        value = math.nan if number >= self._bad_from else 1.0
        self.losses.note(number, {"loss": torch.tensor(value)}, learning_rate=0.5)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._network.state_dict())

    def notes(self) -> dict[str, Any]:
        return {"read": self.read}

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        self._network.load_state_dict(dict(tensors))
        self.read = notes["read"]


def run(trainee: Counter, **context: Any) -> FakeContext:
    fake = FakeContext(**context)
    train(trainee, context=fake, on_step=lambda done: fake.progress(done, total=6, unit="steps", activity="training"))
    return fake


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_training_that_was_stopped_goes_on_with_its_state_and_what_it_noted(device: str) -> None:
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        run(Counter(device=device), checkpoints=checkpoints, checkpoint_every=2, cancel_after=5)
    second = Counter(device=device)
    resumed = run(second, checkpoints=checkpoints)
    assert [report["done"] for report in resumed.reports] == [5, 6]
    assert second.count == 6
    assert second.read == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_checkpoint_is_saved_of_a_training_that_has_diverged(device: str) -> None:
    checkpoints = FakeCheckpoints()
    with pytest.raises(UserError, match=r"loss nan at step 4 of 6, with a learning rate of 0\.5"):
        run(Counter(bad_from=3, device=device), checkpoints=checkpoints, checkpoint_every=3)
    assert checkpoints.saves == 1
    assert resume(Counter(), checkpoints.blobs) == 3


def test_no_checkpoint_is_saved_once_a_rank_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = iter([None, RankLost("rank 1")])

    def require_all() -> None:
        if (found := next(lost)) is not None:
            raise found

    monkeypatch.setattr(loop, "require_all", require_all)
    checkpoints = FakeCheckpoints()
    with pytest.raises(RankLost):
        run(Counter(), checkpoints=checkpoints, checkpoint_every=2)
    assert resume(Counter(), checkpoints.blobs) == 2


def test_a_divergence_in_the_last_steps_is_told_too() -> None:
    with pytest.raises(UserError, match="at step 6 of 6"):
        run(Counter(bad_from=5, device="cuda"))


def test_a_checkpoint_of_other_blobs_is_none() -> None:
    assert resume(Counter(), None) == 0
    assert resume(Counter(), {"state.safetensors": b"", "steps.txt": b"3"}) == 0
    assert resume(Counter(), checkpoint(Counter(), done=4)) == 4
