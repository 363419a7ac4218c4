"""LPIPS: against the definition on torchvision's VGG-16, on values by hand, its gradient, weights that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from syntrial_generation.lpips import Lpips, read_lpips
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from syntrial.artifacts.content import file_digest
from syntrial.documents.lpips import SHAPES
from syntrial.errors import SourceError, UserError
from syntrial.rpc.testing import FakeContext
from syntrial.v1.generation_pb2 import Perceptual
from tests.unit.generation.conftest import lpips_weights

BEFORE_POOLINGS = (3, 8, 15, 22, 29)
"""relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 among torchvision's layers."""


def images(count: int, channels: int, side: int, *, seed: int) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_definition(weights: dict[str, Tensor], ours: Tensor, theirs: Tensor) -> list[float]:
    """Zhang et al. 2018, eq. 1, in double precision on torchvision's layers."""
    layers = make_layers(cfgs["D"]).double()
    layers.load_state_dict({name.removeprefix("features."): w for name, w in weights.items() if name[0] == "f"})
    shift, scale = (
        torch.tensor(numbers, dtype=torch.float64)[:, None, None]
        for numbers in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))
    )
    distances = torch.zeros(len(ours), dtype=torch.float64)
    values = [(one.double() - shift) / scale for one in (ours, theirs)]
    with torch.no_grad():
        for place, layer in enumerate(layers[:-1]):
            values = [layer(one) for one in values]
            if place in BEFORE_POOLINGS:
                linear = weights[f"lin{BEFORE_POOLINGS.index(place)}.model.1.weight"].double()
                units = [one / one.square().sum(dim=1, keepdim=True).sqrt() for one in values]
                distances += ((units[0] - units[1]).square() * linear.flatten()[:, None, None]).sum(1).mean(dim=(1, 2))
    return distances.tolist()


def test_weights_have_the_names_and_shapes_of_torchvisions_vgg_16() -> None:
    there = {f"features.{name}": tuple(one.shape) for name, one in make_layers(cfgs["D"]).state_dict().items()}
    assert {name: shape for name, shape in SHAPES.items() if name.startswith("features.")} == there


def test_the_distance_is_that_of_the_definition_on_torchvisions_vgg_16() -> None:
    weights = lpips_weights()
    # Of a side that the poolings do not divide.
    ours, theirs = images(2, 3, 19, seed=1), images(2, 3, 19, seed=2)
    assert Lpips(weights)(ours, theirs).tolist() == pytest.approx(by_definition(weights, ours, theirs), rel=1e-4)


def test_flat_images_are_as_far_apart_as_by_hand() -> None:
    # Each layer passes on the red channel, and beside it a constant: (v, 1), of length 1 where it is compared.
    weights = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    for name, weight in weights.items():
        if name.startswith("lin"):
            weight[:] = float(name[3]) + 1
        elif name.endswith("weight"):
            weight[0, 0, 1, 1] = 1
            weight[1, 1, 1, 1] = float(name != "features.0.weight")
    weights["features.0.bias"][1] = 1
    low, high = (0.2 + 0.030) / 0.458, (0.9 + 0.030) / 0.458
    first, second = (np.array([value, 1]) / np.hypot(value, 1) for value in (low, high))
    expected = 15 * float(np.square(first - second).sum())
    found = Lpips(weights)(torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.9))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_grey_image_is_one_of_three_equal_colours_and_no_distance_from_itself() -> None:
    distance = Lpips(lpips_weights())
    ours, theirs = images(2, 1, 16, seed=1), images(2, 1, 16, seed=2)
    grey, colour = distance(ours, theirs), distance(ours.expand(-1, 3, -1, -1), theirs.expand(-1, 3, -1, -1))
    assert torch.equal(grey, colour)
    assert grey.min() > 0
    assert distance(ours, ours).tolist() == [0, 0]


def test_a_gradient_goes_to_the_first_images_alone_and_is_a_number_where_no_feature_is() -> None:
    weights = lpips_weights()
    ours, theirs = (images(1, 1, 16, seed=seed).requires_grad_() for seed in (1, 2))
    Lpips(weights)(ours, theirs).sum().backward()
    assert ours.grad is not None
    assert ours.grad.abs().max() > 0
    assert theirs.grad is None
    assert all(weight.grad is None for weight in weights.values())
    dead = {name: weight if name.startswith("lin") else torch.zeros_like(weight) for name, weight in weights.items()}
    ours.grad = None
    Lpips(dead)(ours, theirs).sum().backward()
    assert not ours.grad.any()


def written(tensors: dict[str, Tensor], folder: Path) -> tuple[str, Path]:
    path = folder / "lpips.safetensors"
    save_file(tensors, path)
    return file_digest(path, algorithm="sha256"), path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"features.0.weight": None, "lin4.model.1.weight": None}, r"2 missing: features\.0\.weight, lin4\.model\.1"),
        ({"features.2.weight": (64, 3, 3, 3)}, r"1 of another shape: features\.2\.weight 64×3×3×3 for 64×64×3×3"),
    ],
)
def test_weights_of_another_network_are_refused(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    # Empty ones: only shapes are looked at.
    tensors = {name: torch.zeros(1).expand(shape) for name, shape in ({**SHAPES, **changes}).items() if shape}
    digest, path = written({name: tensor.half().contiguous() for name, tensor in tensors.items()}, tmp_path)
    context = FakeContext(sources={digest: path})
    with pytest.raises(UserError, match=rf"perceptual\.digest: .*received {expected}.*docs/generators\.md#"):
        read_lpips(Perceptual(digest=digest, weight=1), context, height=16, width=16)


def test_a_file_that_is_missing_changed_or_none_and_images_that_are_too_small_are_refused(tmp_path: Path) -> None:
    digest, path = written({"a": torch.zeros(1)}, tmp_path)
    term = Perceptual(digest=digest, weight=1)
    with pytest.raises(UserError, match=r"perceptual\.digest: the weights file must lie on this machine"):
        read_lpips(term, FakeContext(), height=16, width=16)
    with pytest.raises(UserError, match=r"perceptual: is for images of 16 pixels .*received images of 15 pixels"):
        read_lpips(term, FakeContext(sources={digest: path}), height=16, width=15)
    with pytest.raises(UserError, match=r"perceptual\.weight: must be above 0"):
        read_lpips(Perceptual(digest=digest), FakeContext(sources={digest: path}), height=16, width=16)
    path.write_bytes(b"other")
    with pytest.raises(SourceError, match="the file must be the one that was planned"):
        read_lpips(term, FakeContext(sources={digest: path}), height=16, width=16)
    digest = file_digest(path, algorithm="sha256")
    with pytest.raises(SourceError, match="weights are a safetensors file"):
        read_lpips(Perceptual(digest=digest, weight=1), FakeContext(sources={digest: path}), height=16, width=16)
