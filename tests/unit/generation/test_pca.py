from typing import Any

import numpy as np
import pytest
from syntrial_generation.pca import principal_components

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.v1.generation_pb2 import PcaConfig


def correlated(count: int, *, level: float, seed: int) -> np.ndarray:
    """uint8 (count, 4, 4, 1): smooth images that are far from both ends of the range."""
    random = np.random.default_rng(seed)
    basis = random.normal(size=(3, 16)) * 10
    return np.rint(level + random.normal(size=(count, 3)) @ basis).clip(0, 255).astype(np.uint8).reshape(-1, 4, 4, 1)


def test_samples_have_the_mean_and_covariance_of_their_class(lab: Any) -> None:
    images = np.concatenate([correlated(400, level=90, seed=1), correlated(400, level=150, seed=2)])
    train = ImageSet(
        images_NHWC=images, labels=np.repeat([0, 1], 400).astype(np.int64), classes=("a", "b"), task="multi-class"
    )
    trained = lab.train(train, pca=PcaConfig(explained_variance=1))
    sampled = read_image_set(lab.sample(train, trained, ratio=10, micro_batch=500).result("images"))
    for label in (0, 1):
        real = images[train.labels == label].reshape(-1, 16).astype(float)
        made = sampled.images_NHWC[sampled.labels == label].reshape(-1, 16).astype(float)
        assert len(made) == 4000
        assert np.abs(made.mean(axis=0) - real.mean(axis=0)).max() < 2
        # Rounding to whole levels adds 1/12 to each variance.
        error = np.linalg.norm(np.cov(made.T) - np.cov(real.T)) / np.linalg.norm(np.cov(real.T))
        assert error < 0.08


@pytest.mark.parametrize("shape", [(30, 5), (5, 30)])
def test_components_are_orthonormal_and_explain_the_variance_whichever_side_is_longer(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=shape)
    rows -= rows.mean(axis=0)
    components, deviations, shares = principal_components(rows, explained_variance=1, limit=0)
    assert np.allclose(components @ components.T, np.eye(len(components)), atol=1e-8)
    assert np.allclose(components.T @ np.diag(deviations**2) @ components, np.cov(rows.T), atol=1e-8)
    assert shares[-1] == pytest.approx(1)
    assert len(principal_components(rows, explained_variance=1, limit=2)[1]) == 2


def test_fewer_components_are_kept_where_they_explain_enough() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)) * [10, 1, 0.1]
    assert len(principal_components(rows - rows.mean(axis=0), explained_variance=0.9, limit=0)[1]) == 1


def test_a_class_of_equal_images_gives_that_image(lab: Any) -> None:
    drawn = lab.split()
    images = np.where((drawn.labels == 0)[:, None, None, None], 77, drawn.images_NHWC).astype(np.uint8)
    train = ImageSet(images_NHWC=images, labels=drawn.labels, classes=drawn.classes, task=drawn.task)
    trained = lab.train(train, pca=PcaConfig(explained_variance=0.99))
    sampled = read_image_set(lab.sample(train, trained).result("images"))
    assert (sampled.images_NHWC[sampled.labels == 0] == 77).all()


def test_a_class_of_one_image_is_refused(lab: Any) -> None:
    with pytest.raises(UserError, match="at least 2 training images of each class"):
        lab.train(lab.split().take(np.array([0, 2, 4, 1])), pca=PcaConfig(explained_variance=0.99))
