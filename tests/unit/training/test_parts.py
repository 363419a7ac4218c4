"""A batch in parts: the gradients of the whole, whatever the number of threads that work on them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from syntrial_training import parts
from syntrial_training.parts import PARTS, parts_of, set_gradients, side_by_side
from torch import Tensor, nn

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17])
def test_the_parts_of_a_batch_are_all_of_it_and_nearly_equal(count: int) -> None:
    found = parts_of(count, device=CPU)
    assert [row for part in found for row in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in found]
    assert len(sizes) == min(PARTS, count)
    assert max(sizes) - min(sizes) <= 1
    assert parts_of(count, device=torch.device("cuda")) == [slice(0, count)]


def gradients(images: Tensor, cut: list[slice]) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(1))
    network(images)

    def loss(part: slice) -> tuple[Tensor, Tensor]:
        share = network(images[part]).square().sum() / len(images)
        return share, torch.stack([share, share * 2])

    figures = set_gradients(network, loss, cut)
    found = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in found)
    return figures, found  # type: ignore[return-value]


def test_gradients_in_parts_are_those_of_the_whole_batch_but_for_rounding() -> None:
    images = torch.randn(17, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    figures, found = gradients(images, parts_of(17, device=CPU))
    whole_figures, whole = gradients(images, [slice(0, 17)])
    torch.testing.assert_close(figures, whole_figures)
    for ours, theirs in zip(found, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_bytes_do_not_depend_on_how_many_parts_are_worked_on_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    together = gradients(images, parts_of(16, device=CPU))
    with ThreadPoolExecutor(1) as single:
        monkeypatch.setattr(parts, "_threads", lambda: single)
        alone = gradients(images, parts_of(16, device=CPU))
    assert torch.equal(together[0], alone[0])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(together[1], alone[1], strict=True))


def test_parts_are_worked_on_at_the_same_time() -> None:
    met = threading.Barrier(PARTS, timeout=20)
    assert side_by_side(lambda number: (met.wait(), number)[1], list(range(PARTS))) == list(range(PARTS))


def test_an_error_of_one_part_is_the_batch_s() -> None:
    def fail(number: int) -> None:
        if number:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side_by_side(fail, [0, 1])
