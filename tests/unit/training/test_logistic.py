"""Logistic regression by L-BFGS: against closed forms and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from syntrial_training.logistic import Sample, minimise
from torch import Tensor
from torch.nn import functional


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    return functional.cross_entropy(logits, targets, reduction="none")


def drawn(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return (rng.normal(size=(count, 5)) + 0.7 * labels[:, None] * np.eye(5)[0]).astype(np.float32), labels


def sample(features: np.ndarray, targets: Any, **fields: Any) -> Sample:
    width = features.shape[1]
    return Sample(
        features_ND=features,
        targets=torch.from_numpy(targets),
        losses=losses,
        device=torch.device("cpu"),
        **{"mean_D": np.zeros(width), "std_D": np.ones(width), **fields},
    )


def fitted(found: Sample, *, classes: int, l2: float) -> np.ndarray:
    start = np.zeros((classes, found.features_ND.shape[1] + 1))
    return minimise(found, start, centre_KD1=np.zeros_like(start), l2=l2)[0]


@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_the_fit_is_that_of_scikit_learn(l2: float) -> None:
    features, labels = drawn(200)
    layer = fitted(sample(features, labels), classes=3, l2=l2)
    other = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-10, max_iter=5000)
    other.fit(features.astype(np.float64), labels)
    assert np.allclose(layer[:, :-1], other.coef_, atol=2e-4)
    # Of several intercepts a common part is free: only their differences say anything.
    assert np.allclose(np.diff(layer[:, -1]), np.diff(other.intercept_), atol=2e-4)


def test_without_weights_to_learn_the_intercepts_are_the_shares_of_the_classes() -> None:
    labels = np.array([0] * 10 + [1] * 30)
    layer = fitted(sample(np.zeros((40, 2), dtype=np.float32), labels), classes=2, l2=1.0)
    assert np.isclose(layer[1, -1] - layer[0, -1], np.log(3), atol=1e-5)
    assert np.allclose(layer[:, :-1], 0.0)


def test_a_strong_penalty_keeps_the_weights_at_its_centre() -> None:
    features, labels = drawn(60)
    centre = np.full((3, 6), 0.25)
    layer, _ = minimise(sample(features, labels), np.zeros((3, 6)), centre_KD1=centre, l2=1e7)
    assert np.allclose(layer[:, :-1], 0.25, atol=1e-5)


def test_an_image_of_weight_two_counts_as_two() -> None:
    features, labels = drawn(30)
    twice = np.concatenate([features, features[:7]]), np.concatenate([labels, labels[:7]])
    counted = sample(features, labels, weights=np.where(np.arange(30) < 7, 2.0, 1.0))
    assert np.allclose(fitted(counted, classes=3, l2=0.1), fitted(sample(*twice), classes=3, l2=0.1), atol=1e-4)


def test_the_gradient_is_that_of_the_loss_with_several_labels_too() -> None:
    features, labels = drawn(20)
    several = (labels[:, None] == np.arange(3)).astype(np.float32)
    found = sample(features, several, mean_D=np.full(5, 0.3), std_D=np.full(5, 1.7))
    layer = np.random.default_rng(1).normal(size=(3, 6))
    _, gradient = found.loss(layer)
    step = np.zeros_like(layer)
    step[1, 2] = 1e-5
    assert np.isclose((found.loss(layer + step)[0] - found.loss(layer - step)[0]) / 2e-5, gradient[1, 2], atol=1e-6)
