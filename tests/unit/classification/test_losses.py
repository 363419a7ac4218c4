import math

import pytest
import torch
from syntrial_classification.losses import image_losses, probabilities

from syntrial.v1.classification_pb2 import TrainingRecipe

CROSS, FOCAL = TrainingRecipe.LOSS_CROSS_ENTROPY, TrainingRecipe.LOSS_FOCAL
LOGITS = torch.tensor([[math.log(0.7), math.log(0.3)], [math.log(0.2), math.log(0.8)]])


def test_cross_entropy_is_minus_the_logarithm_of_the_true_class() -> None:
    found = image_losses(LOGITS, torch.tensor([0, 0]), loss=CROSS)
    assert found.tolist() == pytest.approx([-math.log(0.7), -math.log(0.2)], rel=1e-6)


def test_focal_loss_weighs_by_the_square_of_what_is_missing() -> None:
    found = image_losses(LOGITS, torch.tensor([0, 0]), loss=FOCAL)
    assert found.tolist() == pytest.approx([-(0.3**2) * math.log(0.7), -(0.8**2) * math.log(0.2)], rel=1e-6)


def test_several_labels_are_averaged_and_each_may_be_focal() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 0.75 and 0.5
    targets = torch.tensor([[1.0, 0.0]])
    plain = image_losses(logits, targets, loss=CROSS).item()
    focal = image_losses(logits, targets, loss=FOCAL).item()
    assert plain == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2, rel=1e-6)
    assert focal == pytest.approx(-(0.25**2 * math.log(0.75) + 0.5**2 * math.log(0.5)) / 2, rel=1e-6)


def test_label_smoothing_moves_targets_towards_all_classes() -> None:
    found = image_losses(LOGITS[:1], torch.tensor([0]), loss=CROSS, label_smoothing=0.2).item()
    assert found == pytest.approx(-(0.9 * math.log(0.7) + 0.1 * math.log(0.3)), rel=1e-6)


def test_probabilities_are_double_and_sum_to_one_for_one_class_an_image_only() -> None:
    single = probabilities(LOGITS, multi_label=False)
    assert single.dtype == torch.float64
    assert single.sum(1).tolist() == pytest.approx([1, 1], abs=1e-15)
    assert probabilities(torch.zeros(1, 3), multi_label=True).tolist() == [[0.5, 0.5, 0.5]]
