import numpy as np
import pytest
from syntrial_classification import split_metrics

SCORES = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.55, 0.45]])
LABELS = np.array([0, 0, 1, 1])


def test_two_classes_by_hand() -> None:
    found = split_metrics.compute(SCORES, LABELS, classes=("a", "b"))
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert found["auroc"] == 1.0
    assert found["per_class"]["b"] == {"images": 2, "auroc": 1.0, "recall": 0.5, "specificity": 1.0}
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.7, 0.45]).mean())


def test_ties_count_half_in_auroc() -> None:
    scores = np.array([[0.5, 0.5], [0.5, 0.5], [0.4, 0.6]])
    assert split_metrics.macro_auroc(scores, np.array([0, 1, 1])) == 0.75


def test_a_class_that_the_split_lacks_is_named_and_left_out_of_the_means() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    found = split_metrics.compute(scores, np.array([0, 1, 1]), classes=("a", "b", "c"))
    assert found["classes_without_auroc"] == ["c"]
    assert found["per_class"]["c"] == {"images": 0, "auroc": None, "recall": None, "specificity": 1.0}
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert found["auroc"] == pytest.approx((1.0 + 1.0) / 2)


def test_a_split_of_one_class_has_no_auroc() -> None:
    found = split_metrics.compute(SCORES, np.zeros(4, dtype=np.int64), classes=("a", "b"))
    assert found["auroc"] is None
    assert split_metrics.macro_auroc(SCORES, np.zeros(4, dtype=np.int64)) is None


def test_several_labels_are_judged_one_by_one() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.uint8)
    scores = np.array([[0.9, 0.6], [0.4, 0.7], [0.2, 0.1], [0.3, 0.8]])
    found = split_metrics.compute(scores, labels, classes=("a", "b"))
    assert found["accuracy"] == 6 / 8
    assert found["per_class"]["a"]["recall"] == 0.5
    assert found["per_class"]["b"]["specificity"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx((0.75 + 0.75) / 2)
    assert found["auroc"] == 1.0
