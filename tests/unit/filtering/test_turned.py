"""Copies of training images that are mirrored, turned or inverted."""

from collections.abc import Callable

import numpy as np
import pytest
from syntrial_filtering.copy_search import search_copies
from syntrial_filtering.turned import WORDS, Turned, search_turned

from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext

TRAIN, COPIES = 200, 40


def image_set(images: np.ndarray) -> ImageSet:
    labels = np.zeros(len(images), np.int64)
    return ImageSet(images_NHWC=images, labels=labels, classes=("a", "b"), task="multi-class", origins={})


def noisy(images: np.ndarray) -> np.ndarray:
    """As a generator gives an image back: not to the pixel."""
    noise = np.random.default_rng(5).normal(0, 8, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda images: images[:, :, ::-1],
    "upside down": lambda images: images[:, ::-1],
    "turned by 180°": lambda images: images[:, ::-1, ::-1],
    "transposed": lambda images: images.transpose(0, 2, 1, 3),
    "inverted": lambda images: 255 - images,
}


@pytest.fixture(scope="module")
def train(draw_once) -> ImageSet:
    return image_set(draw_once(TRAIN, seed=0))


def searched(images: np.ndarray, train: ImageSet) -> Turned:
    return search_turned(FakeContext({}), np.ascontiguousarray(images), train)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_altered_like_a_generators_copy_is_found_in_other_positions(way: str, train: ImageSet) -> None:
    found = searched(noisy(WAYS[way](train.images_NHWC[:COPIES])), train)
    assert (found.rows == np.arange(COPIES)).mean() >= 0.95
    assert {WORDS[position] for position in found.positions[found.found].tolist()} == {way}


def test_quarter_turns_are_found_both_ways(train: ImageSet) -> None:
    turned = [np.rot90(train.images_NHWC[:COPIES], times, axes=(1, 2)) for times in (1, 3)]
    for images in turned:
        assert (searched(noisy(images), train).rows == np.arange(COPIES)).mean() >= 0.95


def test_new_images_and_upright_copies_are_no_turned_copies(train: ImageSet, draw) -> None:
    assert not searched(draw(400, seed=1), train).found.any()
    assert not searched(noisy(train.images_NHWC[:COPIES]), train).found.any()


def test_the_search_for_copies_counts_them_apart_and_keeps_them_out(train: ImageSet, draw) -> None:
    images = np.concatenate([noisy(train.images_NHWC[:5, :, ::-1]), noisy(train.images_NHWC[5:8]), draw(20, seed=1)])
    search = search_copies(FakeContext({}), images, train, quantile=0.001, seed=0)
    assert search.found[:8].all()
    assert search.turned.found.tolist() == [True] * 5 + [False] * 23
    assert search.figures().turned == 5
    assert search.figures().count == search.found.sum()
