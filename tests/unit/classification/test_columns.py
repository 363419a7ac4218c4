"""Convolutions as products of matrices give what convolutions give, and stand only where they are meant to."""

import copy

import pytest
import torch
from syntrial_classification import columns
from syntrial_classification.columns import convolve_by_columns
from syntrial_classification.models import ModelSpec, build_model
from torch import nn

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.03}


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose float32 products are fast, whatever this machine's."""
    monkeypatch.setattr(columns, "_is_intel", lambda: True)


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (3, 7), (7, 7)])
def test_a_product_of_matrices_is_the_convolution_and_has_its_gradients(
    height: int, width: int, kind: torch.dtype
) -> None:
    torch.manual_seed(height * 10 + width)
    usual = nn.Conv2d(512, 512, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    ours = nn.Sequential(copy.deepcopy(usual))
    convolve_by_columns(ours)
    found = []
    for network in (usual, ours):
        images = torch.linspace(-1, 1, 2 * 512 * height * width).view(2, 512, height, width)
        images = images.to(memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind is torch.bfloat16):
            out = network(images)
        assert out.dtype == kind
        (out.float() * torch.linspace(0.5, 1, out.numel()).view(out.shape)).sum().backward()
        weight = next(network.parameters())
        found.append((out.detach().float(), images.grad, weight.grad))
        assert weight.grad is not None
        assert weight.grad.stride() == weight.stride()
    for a, b in zip(*found, strict=True):
        assert a is not None
        assert b is not None
        assert float((a - b).abs().max()) <= TOLERANCE[kind] * float(a.abs().max())


def test_the_last_blocks_of_a_resnet_are_meant_and_predictions_are_of_the_usual_convolutions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = ModelSpec(name="resnet18", small_stem=True, classes=2, channels=1, side=28)
    network = build_model(spec, seed=0)
    names = list(network.state_dict())
    convolve_by_columns(network)
    changed = [name for name, module in network.named_modules() if type(module).__name__ == "_ColumnConv2d"]
    assert changed == ["layer4.0.conv2", "layer4.1.conv1", "layer4.1.conv2"]
    assert list(network.state_dict()) == names

    calls = products(monkeypatch)
    images = torch.rand(2, 1, 28, 28)
    with torch.inference_mode():
        network.eval()(images)
    assert not calls
    network.train()(images)
    assert len(calls) == 3


def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each convolution that is a product, from here on."""
    calls: list[int] = []
    real = columns._Columns.apply
    monkeypatch.setattr(columns._Columns, "apply", lambda *given: calls.append(1) or real(*given))
    return calls


@pytest.mark.parametrize(("kind", "expected"), [(torch.float32, 0), (torch.bfloat16, 1)])
def test_where_float32_products_are_slow_they_are_not_taken(
    kind: torch.dtype, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_is_intel", lambda: False)
    conv = nn.Sequential(nn.Conv2d(512, 512, 3, padding=1, bias=False))
    convolve_by_columns(conv)
    calls = products(monkeypatch)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind is torch.bfloat16):
        conv(torch.rand(2, 512, 2, 2))
    assert len(calls) == expected


def test_a_frozen_weight_gets_no_gradient_and_what_lies_before_it_does() -> None:
    conv = nn.Sequential(nn.Conv2d(512, 512, 3, padding=1, bias=False))
    convolve_by_columns(conv)
    conv.requires_grad_(False)
    images = torch.rand(2, 512, 2, 2, requires_grad=True)
    conv(images).sum().backward()
    assert conv[0].weight.grad is None
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
