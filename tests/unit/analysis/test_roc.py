"""Mean ROC curves against areas and points computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntrial.analysis.metrics import metric_value
from syntrial.analysis.roc import GRID, mean_roc, roc_points


def test_points_of_four_images_by_hand() -> None:
    false, true = roc_points(np.array([True, False, True, False]), scores_N=np.array([0.9, 0.8, 0.7, 0.1]))
    assert false.tolist() == [0, 0, 0.5, 0.5, 1]
    assert true.tolist() == [0, 0.5, 0.5, 1, 1]


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_the_area_under_the_points_is_the_auroc_with_ties(seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.array([0, 1, *random.integers(0, 2, 30)])
    scores = random.integers(0, levels, 32) / levels
    false, true = roc_points(labels == 1, scores_N=scores)
    wanted = metric_value("auroc", labels=labels, scores=np.stack([1 - scores, scores], axis=1))
    assert np.trapezoid(true, false) == pytest.approx(wanted)


def test_a_perfect_classifier_is_at_the_top_from_the_start() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = np.array([[[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]]])
    curve = mean_roc(labels, scores_JNK=scores, class_index=None)
    assert curve is not None
    assert (curve.mean == 1).all()


def test_the_band_spans_the_replicates() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    scores_JN = random.random((3, 60))
    scores = np.stack([1 - scores_JN, scores_JN], axis=2)
    curve = mean_roc(labels, scores_JNK=scores, class_index=1)
    assert curve is not None
    assert (curve.low <= curve.mean).all()
    assert (curve.mean <= curve.high).all()
    assert (np.diff(curve.mean) >= -1e-12).all()
    assert len(curve.mean) == len(GRID)


def test_classes_that_the_test_split_lacks_have_no_curve_and_no_part_in_the_mean() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    scores = random.random((2, 60, 3))
    assert mean_roc(labels, scores_JNK=scores, class_index=2) is None
    macro = mean_roc(labels, scores_JNK=scores, class_index=None)
    parts = [mean_roc(labels, scores_JNK=scores, class_index=k) for k in (0, 1)]
    assert macro is not None
    assert np.allclose(macro.mean, np.mean([part.mean for part in parts if part is not None], axis=0))


def test_labels_of_their_own_have_curves_of_their_own() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.uint8)
    scores = np.array([[[0.9, 0.2], [0.1, 0.1], [0.8, 0.3], [0.2, 0.9]]])
    first = mean_roc(labels, scores_JNK=scores, class_index=0)
    second = mean_roc(labels, scores_JNK=scores, class_index=1)
    assert first is not None
    assert second is not None
    assert first.mean[0] == 1
    assert second.mean[0] == 0
