"""Images and features that the filtering tests share."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def drawn_images(count: int, *, seed: int, side: int = 28, channels: int = 1) -> np.ndarray:
    """Independent smooth random pictures, uint8 (N, side, side, C): no two are alike."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(count, side, side, channels)), sigma=(0, 1.5, 1.5, 0))
    scaled = 128 + 45 * noise / noise.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def two_classes(count: int, *, seed: int, side: int = 28, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """`drawn_images` with a bright patch, top left or bottom right, that tells the two classes apart."""
    images = drawn_images(count, seed=seed, side=side, channels=channels).astype(np.int64)
    labels = np.arange(count, dtype=np.int64) % 2
    third = side // 3
    images[labels == 0, :third, :third] += 70
    images[labels == 1, -third:, -third:] += 70
    return np.clip(images, 0, 255).astype(np.uint8), labels


@pytest.fixture
def draw():
    return drawn_images


@pytest.fixture
def draw_classes():
    return two_classes


@pytest.fixture(scope="module")
def draw_once():
    """`draw` for fixtures that a module's tests share."""
    return drawn_images


@pytest.fixture(scope="module")
def draw_classes_once():
    """`draw_classes` for fixtures that a module's tests share."""
    return two_classes
