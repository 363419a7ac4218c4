"""Metrics, their leave-one-patient-out values and covariances, against brute force and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from syntrial.analysis.accuracy import per_class_recall
from syntrial.analysis.auroc import delong_covariance
from syntrial.analysis.metrics import (
    METRICS,
    jackknife_covariance,
    leave_one_out,
    metric_value,
    unscorable_classes,
)
from syntrial.errors import UserError
from syntrial.experiment.base import words_of
from syntrial.v1.analysis_pb2 import Endpoint

seeds = st.integers(min_value=0, max_value=2**32 - 1)


def binary(seed: int, *, cases: int = 40, columns: int = 3) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels with two cases of each class or more, and scores (M, N, 2) on a coarse grid with many ties."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, cases - 4)])
    positive = np.clip(np.round(rng.normal(0.4 + 0.2 * labels, 0.25, (columns, cases)), 1), 0, 1)
    return labels, np.stack([1 - positive, positive], axis=-1)


def several(seed: int, *, cases: int = 90, classes: int = 4) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes).repeat(3), rng.integers(0, classes, cases - 3 * classes)])
    logits = rng.normal(0, 1, (2, cases, classes)) + 1.5 * (labels[:, None] == np.arange(classes))
    weights = np.exp(logits)
    return labels, weights / weights.sum(axis=-1, keepdims=True)


def several_labels(seed: int, *, cases: int = 80, classes: int = 5) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((cases, classes)) < 0.3).astype(np.uint8)
    labels[:3], labels[3:6] = 1, 0
    scores = np.clip(rng.normal(0.35 + 0.2 * labels, 0.2, (2, cases, classes)), 0, 1)
    return labels, scores


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_binary_auroc_equals_that_of_scikit_learn_with_ties(seed: int) -> None:
    labels, scores_MNK = binary(seed)
    for scores in scores_MNK:
        assert metric_value("auroc", labels=labels, scores=scores) == pytest.approx(
            roc_auc_score(labels, scores[:, 1]), abs=1e-12
        )


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_metrics_of_several_classes_equal_those_of_scikit_learn(seed: int) -> None:
    labels, (scores, _) = several(seed)
    predicted = scores.argmax(axis=1)
    assert metric_value("auroc", labels=labels, scores=scores) == pytest.approx(
        roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    )
    assert metric_value("balanced-accuracy", labels=labels, scores=scores) == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )
    assert metric_value("accuracy", labels=labels, scores=scores) == pytest.approx(np.mean(predicted == labels))
    assert per_class_recall(labels, scores=scores) == pytest.approx(recall_score(labels, predicted, average=None))


def test_metrics_of_several_labels_equal_those_of_scikit_learn() -> None:
    labels, (scores, _) = several_labels(1)
    predicted = scores >= 0.5
    assert metric_value("auroc", labels=labels, scores=scores) == pytest.approx(
        roc_auc_score(labels, scores, average="macro")
    )
    each = [balanced_accuracy_score(labels[:, k], predicted[:, k]) for k in range(labels.shape[1])]
    assert metric_value("balanced-accuracy", labels=labels, scores=scores) == pytest.approx(np.mean(each))
    assert metric_value("accuracy", labels=labels, scores=scores) == pytest.approx(np.mean(predicted == labels))
    assert per_class_recall(labels, scores=scores) == pytest.approx(recall_score(labels, predicted, average=None))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("make", [binary, several, several_labels])
@pytest.mark.parametrize("clustered", [False, True])
def test_leave_out_values_equal_those_computed_anew_without_the_patient(metric, make, clustered) -> None:
    labels, scores_MNK = make(7)
    clusters = np.random.default_rng(0).integers(0, 15, len(labels)) if clustered else np.arange(len(labels))
    result = leave_one_out(metric, labels=labels, scores_MNK=scores_MNK, clusters=clusters)
    for c, patient in enumerate(np.unique(clusters)):
        rest = clusters != patient
        expected = [metric_value(metric, labels=labels[rest], scores=scores[rest]) for scores in scores_MNK]
        assert result.left_out[:, c] == pytest.approx(expected, abs=1e-12)
    whole = [metric_value(metric, labels=labels, scores=scores) for scores in scores_MNK]
    assert result.values == pytest.approx(whole, abs=1e-12)


def test_the_jackknife_variance_of_accuracy_is_the_closed_form() -> None:
    labels, scores_MNK = binary(3, cases=60)
    result = leave_one_out("accuracy", labels=labels, scores_MNK=scores_MNK, clusters=np.arange(60))
    p = result.values
    assert np.diag(jackknife_covariance(result.left_out)) == pytest.approx(p * (1 - p) / 59, rel=1e-9)


def test_delongs_variance_equals_its_textbook_formula_and_is_close_to_the_jackknife() -> None:
    labels, scores_MNK = binary(5, cases=200)
    values, covariance = delong_covariance(labels, scores_MNK=scores_MNK, clusters=np.arange(200))
    positive, negative = scores_MNK[:, labels == 1, 1], scores_MNK[:, labels == 0, 1]
    kernel = (positive[:, :, None] > negative[:, None]) + 0.5 * (positive[:, :, None] == negative[:, None])
    expected = np.cov(kernel.mean(axis=2)) / positive.shape[1] + np.cov(kernel.mean(axis=1)) / negative.shape[1]
    assert values == pytest.approx(kernel.mean(axis=(1, 2)))
    assert covariance == pytest.approx(expected)
    jackknife = leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=np.arange(200))
    assert jackknife_covariance(jackknife.left_out) == pytest.approx(covariance, rel=0.05, abs=2e-5)


def test_clustered_covariances_agree_and_exceed_those_that_ignore_the_patients() -> None:
    rng = np.random.default_rng(2)
    patient_truth = np.tile([0, 1], 60)
    clusters = np.repeat(np.arange(120), 4)
    labels = patient_truth[clusters]
    # Images of one patient are nearly copies of one another: four images are worth little more than one.
    latent = 1.2 * labels + rng.normal(0, 1, 120)[clusters] + rng.normal(0, 0.2, (2, 480))
    scores_MNK = np.stack([-latent, latent], axis=-1)
    _, clustered = delong_covariance(labels, scores_MNK=scores_MNK, clusters=clusters)
    _, ignored = delong_covariance(labels, scores_MNK=scores_MNK, clusters=np.arange(480))
    jackknife = leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=clusters)
    assert jackknife_covariance(jackknife.left_out) == pytest.approx(clustered, rel=0.03)
    assert np.all(np.diag(clustered) > 3 * np.diag(ignored))


def test_a_label_without_positives_is_left_out_and_named() -> None:
    labels, scores_MNK = several_labels(4)
    labels[:, 2] = 0
    kept = [0, 1, 3, 4]
    assert unscorable_classes(labels, classes=5) == (2,)
    assert metric_value("auroc", labels=labels, scores=scores_MNK[0]) == pytest.approx(
        roc_auc_score(labels[:, kept], scores_MNK[0][:, kept], average="macro")
    )
    result = leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=np.arange(len(labels)))
    assert result.excluded_classes == (2,)
    assert np.isnan(per_class_recall(labels, scores=scores_MNK[0])[2])


def test_a_label_whose_positives_are_one_patients_has_no_interval_and_is_left_out() -> None:
    labels, scores_MNK = several_labels(4)
    labels[:, 1] = 0
    labels[:4, 1] = 1
    clusters = np.maximum(np.arange(len(labels)) - 3, 0)
    result = leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=clusters)
    assert result.excluded_classes == (1,)
    assert np.isfinite(result.left_out).all()


def test_one_patient_who_holds_all_positives_is_the_users_to_mend() -> None:
    labels, scores_MNK = binary(1)
    clusters = np.where(labels == 1, 0, np.arange(1, len(labels) + 1))
    with pytest.raises(UserError, match="more patients of each class"):
        leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=clusters)
    assert np.isfinite(
        leave_one_out("accuracy", labels=labels, scores_MNK=scores_MNK, clusters=clusters).left_out
    ).all()


def test_scores_that_are_not_finite_name_the_classifiers() -> None:
    labels, scores_MNK = binary(1)
    scores_MNK[2, 5, 0] = np.nan
    with pytest.raises(UserError, match=r"classifiers \[2\]"):
        leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=np.arange(len(labels)))


def test_perfect_separation_is_one_and_has_no_variance() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    scores_MNK = np.stack([1 - labels, labels], axis=-1)[None].astype(np.float64)
    result = leave_one_out("auroc", labels=labels, scores_MNK=scores_MNK, clusters=np.arange(6))
    assert result.values == pytest.approx([1.0])
    assert jackknife_covariance(result.left_out) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.array([0, 1, 2]), np.zeros((3, 2)), "labels from 0 to 1"),
        (np.array([0, 1]), np.zeros((3, 2)), "length N"),
        (np.zeros((3, 4), np.uint8), np.zeros((3, 2)), r"\(N, 2\)"),
        (np.full((3, 2), 2, np.uint8), np.zeros((3, 2)), "0 or 1"),
    ],
)
def test_shapes_and_labels_that_do_not_fit_are_refused(labels, scores, message) -> None:
    with pytest.raises(ValueError, match=message):
        metric_value("auroc", labels=labels, scores=scores)


def test_every_metric_that_an_experiment_can_ask_for_has_a_row_and_no_other() -> None:
    assert list(METRICS) == list(words_of(Endpoint.Metric.DESCRIPTOR))


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_values_stay_within_the_range_that_the_row_says(metric: str, seed: int) -> None:
    labels, scores = binary(seed)
    found = leave_one_out(metric, labels=labels, scores_MNK=scores, clusters=np.arange(len(labels)))
    least, greatest = METRICS[metric].range
    assert least <= min(found.values.min(), found.left_out.min())
    assert max(found.values.max(), found.left_out.max()) <= greatest
    assert all(least < value < greatest for value in METRICS[metric].planned_range)


def test_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="balanced-accuracy"):
        metric_value("f1", labels=np.array([0, 1]), scores=np.eye(2))


def test_an_empty_test_split_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="at least one image"):
        metric_value("accuracy", labels=np.zeros(0, np.int64), scores=np.zeros((0, 2)))


def test_one_patient_alone_is_the_users_to_mend() -> None:
    labels, scores_MNK = binary(1)
    with pytest.raises(UserError, match="two patients"):
        leave_one_out("accuracy", labels=labels, scores_MNK=scores_MNK, clusters=np.zeros(len(labels)))
