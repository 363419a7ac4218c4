"""What pushes a GAN's images of a class apart: known values, where it pushes and where it does not."""

from typing import Any

import numpy as np
import pytest
import torch
from syntrial_generation.data import one_hot, to_unit_range
from syntrial_generation.spread import COMPONENTS, Spread, members_of

CPU = torch.device("cpu")
COUNT = 1200


def drawn(*deviations: float, seed: int = 0, tied: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Images of 2×2 pixels of two classes, each pixel of which deviates by so many levels; labels.

    `tied`: all pixels of an image deviate alike.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(COUNT) % 2
    noise = random.normal(size=(COUNT, 1 if tied else 4)).repeat(4 if tied else 1, axis=1)
    pixels = 110 + 30 * labels[:, None] + np.asarray(deviations)[labels][:, None] * noise
    return pixels.reshape(-1, 2, 2, 1).round().clip(0, 255).astype(np.uint8), one_hot(labels, classes=2)


def spread_of(images: np.ndarray, labels: np.ndarray) -> Spread:
    return Spread(images, labels, seed=0, device=CPU)


def shown(spread: Spread, images: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    """Shows images as a batch that the generator made; the gradient of the term by them."""
    pixels = to_unit_range(images).requires_grad_(True)
    spread.note(spread.term(pixels, torch.from_numpy(labels))[1].flatten(), batch=len(images))
    (slope,) = torch.autograd.grad(spread.term(pixels, torch.from_numpy(labels))[0], pixels)
    return slope


def test_the_training_images_themselves_are_not_pushed() -> None:
    images, labels = drawn(20, 10)
    spread = spread_of(images, labels)
    slope = shown(spread, images, labels)
    assert float(spread.missing()) < 1e-3
    collapsed = shown(spread_of(images, labels), *drawn(2, 1))
    assert slope.abs().sum() < 1e-2 * collapsed.abs().sum()


@pytest.mark.parametrize(
    ("deviations", "missing"), [((20, 20), 0.0), ((10, 20), 0.25), ((10, 5), 0.625), ((40, 40), 0.0)]
)
def test_what_is_missing_is_the_share_of_the_deviation(deviations: tuple[float, float], missing: float) -> None:
    spread = spread_of(*drawn(20, 20))
    shown(spread, *drawn(*deviations, seed=1))
    assert float(spread.missing()) == pytest.approx(missing, abs=0.04)


def test_components_that_vary_together_where_real_ones_do_not_are_missing_apart() -> None:
    """By components alone nothing would be missing: each deviates as it should."""
    spread = spread_of(*drawn(20, 20))
    shown(spread, *drawn(20, 20, seed=1, tied=True))
    # Of four directions one is there, twice as far as asked for.
    assert float(spread.missing()) == pytest.approx(0.75, abs=0.01)


def test_a_step_down_the_gradient_moves_images_from_the_mean_of_their_class_and_leaves_it_in_place() -> None:
    spread = spread_of(*drawn(20, 20))
    images, labels = drawn(5, 5, seed=2)
    before = to_unit_range(images)
    after = before - 100.0 * shown(spread, images, labels)
    for label in range(2):
        rows = torch.from_numpy(labels[:, label] > 0)
        assert after[rows].std(0).min() > 1.05 * before[rows].std(0).max()
        torch.testing.assert_close(after[rows].mean(0), before[rows].mean(0), atol=1e-3, rtol=0)


def test_the_gradient_is_that_of_the_quadratic_form() -> None:
    """Of one class, whitened by a known covariance: -missing (x - mean) / (N J deviation²)."""
    images, _ = drawn(20, 20)
    labels = np.ones((COUNT, 1), np.float32)
    images = (images.astype(np.int16) - 30 * (np.arange(COUNT) % 2)[:, None, None, None]).astype(np.uint8)
    spread = spread_of(images, labels)
    half = ((images.astype(np.float64) - 110) / 2 + 110).round().astype(np.uint8)
    slope = shown(spread, half, labels)
    pixels = to_unit_range(half)
    deviation = to_unit_range(images).std()
    expected = -0.5 * (pixels - pixels.mean(0)) / (COUNT * 4 * deviation**2)
    assert (slope - expected).abs().mean() < 0.1 * expected.abs().mean()


def test_nothing_pushes_a_class_of_which_few_images_were_made_or_are_known() -> None:
    images, labels = drawn(20, 20)
    few = slice(0, 14)
    spread = spread_of(images, labels)
    assert float(shown(spread, *(found[few] for found in drawn(2, 2))).abs().sum()) == 0.0
    assert float(spread.missing()) == 0.0
    known_by_few = spread_of(images[few], labels[few])
    assert float(shown(known_by_few, *drawn(2, 2)).abs().sum()) == 0.0


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    spread = spread_of(*drawn(20, 20))
    images, labels = drawn(2, 2)
    shown(spread, images, labels)
    pixels, vectors = to_unit_range(images), torch.from_numpy(labels)
    whole, moments = spread.term(pixels, vectors)
    parts = [spread.term(pixels[part], vectors[part]) for part in (slice(0, COUNT // 4), slice(COUNT // 4, COUNT))]
    assert float(0.25 * parts[0][0] + 0.75 * parts[1][0]) == pytest.approx(float(whole), rel=1e-4)
    torch.testing.assert_close(parts[0][1] + parts[1][1], moments, rtol=1e-4, atol=1e-2)


def test_what_a_checkpoint_keeps_is_all_there_is() -> None:
    first, second = (spread_of(*drawn(20, 20)) for _ in range(2))
    images, labels = drawn(4, 8)
    shown(first, images, labels)
    second.load({name: tensor.clone() for name, tensor in first.tensors().items()})
    pixels, vectors = to_unit_range(images), torch.from_numpy(labels)
    assert float(first.term(pixels, vectors)[0]) == float(second.term(pixels, vectors)[0]) != 0.0


def test_images_of_several_labels_are_in_the_group_of_each_and_those_of_none_in_one_of_their_own() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert members_of(labels).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    several = np.stack([np.arange(COUNT) % 2, np.arange(COUNT) % 3 == 0], axis=1).astype(np.float32)
    spread = spread_of(drawn(20, 20)[0], several)
    slope = shown(spread, drawn(5, 5)[0], several)
    assert torch.isfinite(slope).all()
    assert float(spread.missing()) > 0.3


def test_larger_images_are_looked_at_from_afar() -> None:
    images = np.random.default_rng(0).integers(0, 255, (200, 70, 64, 3), dtype=np.uint8)
    labels = np.eye(2, dtype=np.float32)[np.arange(200) % 2]
    spread = spread_of(images, labels)
    # 3×3 pixels are one: 23×21 places of 3 colours.
    assert spread._components_DJ.shape == (23 * 21 * 3, COMPONENTS)
    assert torch.isfinite(shown(spread, images // 2, labels)).all()


def test_an_interrupted_training_with_the_term_ends_in_the_same_bytes(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a few images are enough to push.
    monkeypatch.setattr("syntrial_generation.spread.COMPONENTS", 2)
    config = lab.configs["gan"]
    config.spread = 50.0
    split = lab.split()
    whole = lab.train_interrupted(split, gan=config)
    curves = whole.result("curves").json("curves.json")["series"]
    assert 0 < max(curves["missing_spread"]) <= 1
    config.spread = 0.0
    without = lab.train(split, gan=config)
    assert without.result("generator").digest != whole.result("generator").digest
    assert "missing_spread" not in without.result("curves").json("curves.json")["series"]


def test_the_components_are_those_of_a_whole_decomposition() -> None:
    random = np.random.default_rng(3)
    shapes = random.normal(size=(6, 16 * 16)) * np.array([[60.0], [40.0], [25.0], [15.0], [10.0], [6.0]]) / 16
    images = (128 + random.normal(size=(500, 6)) @ shapes * 4).reshape(500, 16, 16, 1).clip(0, 255).astype(np.uint8)
    flat = to_unit_range(images).flatten(1).double()
    whole = torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:6].float()
    found = spread_of(images, np.ones((500, 1), np.float32))._components_DJ[:, :6]
    torch.testing.assert_close((whole @ found).abs(), torch.eye(6), atol=1e-3, rtol=0)
