import math

import numpy as np
import pytest
import torch
from syntrial_classification.losses import class_weights, image_losses, probabilities

from syntrial.v1.classification_pb2 import TrainingRecipe

CROSS = TrainingRecipe(loss=TrainingRecipe.LOSS_CROSS_ENTROPY)
FOCAL = TrainingRecipe(loss=TrainingRecipe.LOSS_FOCAL)
LOGITS = torch.tensor([[math.log(0.7), math.log(0.3)], [math.log(0.2), math.log(0.8)]])


def test_cross_entropy_is_minus_the_logarithm_of_the_true_class() -> None:
    found = image_losses(LOGITS, torch.tensor([0, 0]), recipe=CROSS)
    assert found.tolist() == pytest.approx([-math.log(0.7), -math.log(0.2)], rel=1e-6)


def test_focal_loss_weighs_by_the_square_of_what_is_missing() -> None:
    found = image_losses(LOGITS, torch.tensor([0, 0]), recipe=FOCAL)
    assert found.tolist() == pytest.approx([-(0.3**2) * math.log(0.7), -(0.8**2) * math.log(0.2)], rel=1e-6)


def test_several_labels_are_averaged_and_each_may_be_focal() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 0.75 and 0.5
    targets = torch.tensor([[1.0, 0.0]])
    plain = image_losses(logits, targets, recipe=CROSS).item()
    focal = image_losses(logits, targets, recipe=FOCAL).item()
    assert plain == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2, rel=1e-6)
    assert focal == pytest.approx(-(0.25**2 * math.log(0.75) + 0.5**2 * math.log(0.5)) / 2, rel=1e-6)


def test_label_smoothing_moves_targets_towards_all_classes() -> None:
    found = image_losses(
        LOGITS[:1],
        torch.tensor([0]),
        recipe=TrainingRecipe(loss=TrainingRecipe.LOSS_CROSS_ENTROPY, label_smoothing=0.2),
        smooth=True,
    ).item()
    assert found == pytest.approx(-(0.9 * math.log(0.7) + 0.1 * math.log(0.3)), rel=1e-6)


def test_probabilities_are_double_and_sum_to_one_for_one_class_an_image_only() -> None:
    single = probabilities(LOGITS, multi_label=False)
    assert single.dtype == torch.float64
    assert single.sum(1).tolist() == pytest.approx([1, 1], abs=1e-15)
    assert probabilities(torch.zeros(1, 3), multi_label=True).tolist() == [[0.5, 0.5, 0.5]]


def test_focal_loss_takes_an_exponent_and_a_weight_of_its_own() -> None:
    recipe = TrainingRecipe(loss=TrainingRecipe.LOSS_FOCAL, focal_gamma=1, focal_alpha=0.25)
    found = image_losses(LOGITS, torch.tensor([0, 1]), recipe=recipe)
    assert found.tolist() == pytest.approx([-0.75 * 0.3 * math.log(0.7), -0.25 * 0.2 * math.log(0.8)], rel=1e-6)


def test_asymmetric_loss_forgives_what_is_lacked_and_nearly_so_predicted() -> None:
    # Probabilities 0.75 (had) and 0.5, 0.05 (lacked): the last lies within the margin.
    logits = torch.tensor([[math.log(3.0), 0.0, math.log(0.05 / 0.95)]])
    recipe = TrainingRecipe(loss=TrainingRecipe.LOSS_ASYMMETRIC, asymmetric_positive=1, asymmetric_negative=2)
    found = image_losses(logits, torch.tensor([[1.0, 0.0, 0.0]]), recipe=recipe).item()
    expected = -(0.25 * math.log(0.75) + 0.45**2 * math.log(0.55)) / 3
    assert found == pytest.approx(expected, rel=1e-5)


def test_asymmetric_loss_without_exponents_and_margin_nears_cross_entropy() -> None:
    recipe = TrainingRecipe(
        loss=TrainingRecipe.LOSS_ASYMMETRIC, asymmetric_negative=1e-12, asymmetric_margin=1e-12, asymmetric_positive=0
    )
    logits, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.eye(5, 3)
    expected = image_losses(logits, targets, recipe=CROSS)
    assert image_losses(logits, targets, recipe=recipe).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_balanced_weights_make_classes_count_alike() -> None:
    labels = np.array([0, 0, 0, 1], np.int64)
    weights = class_weights(labels, classes=3)
    assert weights[:2].tolist() == pytest.approx([4 / 9, 4 / 3])
    assert weights[2] == 1.0
    assert class_weights(np.array([0, 0, 0, 1], np.int64), classes=2)[labels].mean() == pytest.approx(1.0)


def test_balanced_weights_of_several_labels_make_having_and_lacking_count_alike() -> None:
    labels = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], np.uint8)
    assert class_weights(labels, classes=2).tolist() == [3.0, 1.0]
    weighted = image_losses(
        torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), recipe=CROSS, weights_K=torch.tensor([3.0, 1.0])
    )
    assert weighted.item() == pytest.approx(2 * math.log(2))
