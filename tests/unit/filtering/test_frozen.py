"""An encoder that is fitted to the features of a network which stays as it is."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from syntrial_filtering import frozen
from syntrial_filtering.frozen import FITS, FOLDS, STRENGTHS, FrozenEncoder, dump, embed, fit, load

from syntrial.errors import UserError
from syntrial.imagesets.features import Features
from syntrial.imagesets.imageset import ImageSet

NETWORK = {"model": {"name": "m", "side": 32}, "pretraining": {"digest": "sha256:0"}, "normalisation": {}}


def features_of(values: np.ndarray) -> Features:
    return Features(values_ND=values.astype(np.float32), network=NETWORK)


def drawn(count: int = 120, *, apart: float = 1.0, width: int = 6, each: int = 1) -> tuple[ImageSet, Features]:
    """Two classes `apart` from each other in the first feature, `each` images of a patient; the last never varies."""
    rng = np.random.default_rng(3)
    labels = (np.arange(count) // each) % 2
    values = 5.0 + 3.0 * rng.normal(size=(count, width))
    values[:, 0] += 3.0 * apart * labels
    values[:, -1] = 0.1
    images = ImageSet(
        images_NHWC=np.zeros((count, 4, 4, 1), dtype=np.uint8),
        labels=labels.astype(np.int64),
        classes=("a", "b"),
        task="multi-class",
        origins={"patient": [f"p{number // each}" for number in range(count)]},
    )
    return images, features_of(values)


def fitted(*given: Any, seed: int = 0) -> FrozenEncoder:
    return fit(*given, seed=seed, on_fit=lambda _done: None)


def test_training_images_have_features_of_mean_0_and_deviation_1_but_for_what_never_varies() -> None:
    train, features = drawn()
    found = embed(fitted(train, features), features).features_NF
    assert found.dtype == np.float32
    assert np.allclose(found.mean(axis=0), 0.0, atol=1e-5)
    assert np.allclose(found[:, :-1].std(axis=0), 1.0, atol=1e-5)
    assert np.allclose(found[:, -1], 0.0, atol=1e-5)


def test_other_images_are_standardised_by_the_training_images() -> None:
    train, features = drawn()
    encoder = fitted(train, features)
    one = embed(encoder, features_of(features.values_ND[:1] + encoder.deviation_F)).features_NF
    assert np.allclose(one - embed(encoder, features.take(np.array([0]))).features_NF, 1.0, atol=1e-4)


def test_probabilities_are_those_of_scikit_learn_at_the_strength_that_was_chosen() -> None:
    train, features = drawn()
    encoder = fitted(train, features)
    embedding = embed(encoder, features)
    strength = encoder.training["l2"]
    # Two classes by two rows of weights: scikit-learn has one, whose penalty is half of theirs.
    other = LogisticRegression(C=2 / (strength * len(train)), tol=1e-10, max_iter=5000)
    other.fit(embedding.features_NF.astype(np.float64), train.labels)
    assert np.allclose(np.diff(encoder.layer_KF1, axis=0)[0, :-1], other.coef_[0], atol=1e-3)
    assert np.allclose(embedding.probabilities_NK, other.predict_proba(embedding.features_NF), atol=1e-3)


def test_the_penalty_is_strong_where_labels_are_chance_and_weak_where_features_tell_them() -> None:
    by_chance, told = drawn(60, apart=0.0, width=60), drawn(60, apart=9.0)
    chance, clear = fitted(*by_chance), fitted(*told)
    assert chance.training["l2"] > clear.training["l2"]
    assert clear.training["held_out_accuracy"] > 0.95
    assert chance.training["held_out_accuracy"] < 0.7
    sure = embed(chance, by_chance[1]).probabilities_NK.max(axis=1)
    assert sure.max() < 0.9


def test_patients_stand_in_one_fold_and_the_seed_shares_them_out() -> None:
    train, features = drawn(60, each=5)
    folds = frozen._folds(train.patients, seed=0)
    assert all(len(set(folds[train.patients == patient])) == 1 for patient in set(train.patients))
    assert set(folds) == set(range(FOLDS))
    assert folds.tolist() != frozen._folds(train.patients, seed=1).tolist()
    assert fitted(train, features).layer_KF1.tobytes() == fitted(train, features).layer_KF1.tobytes()


def test_one_patient_leaves_the_strongest_penalty_and_nothing_held_out() -> None:
    found = fitted(*drawn(20, each=20))
    assert found.training["l2"] == STRENGTHS[0]
    assert found.training["held_out_loss"] is None


def test_several_labels_are_told_each_by_itself() -> None:
    train, features = drawn()
    rng = np.random.default_rng(0)
    labels = np.stack([train.labels, rng.integers(0, 2, len(train)), np.ones(len(train))], axis=1).astype(np.uint8)
    several = ImageSet(images_NHWC=train.images_NHWC, labels=labels, classes=("a", "b", "c"), task="multi-label")
    found = embed(fitted(several, features), features).probabilities_NK
    assert found.shape == (120, 3)
    assert ((found[:, 0] > 0.5) == labels[:, 0]).mean() > 0.6
    assert found[:, 2].min() > 0.9


def test_an_encoder_comes_back_from_its_blobs() -> None:
    train, features = drawn()
    encoder = fitted(train, features)
    again = load(*dump(encoder))
    assert again.network == NETWORK
    assert again.training == encoder.training
    one, two = embed(encoder, features), embed(again, features)
    assert one.features_NF.tobytes() == two.features_NF.tobytes()
    assert one.probabilities_NK.tobytes() == two.probabilities_NK.tobytes()


def test_every_fit_is_told_and_may_end_the_training() -> None:
    told: list[int] = []
    fit(*drawn(), seed=0, on_fit=told.append)
    assert told == list(range(1, len(told) + 1))
    assert FOLDS * len(STRENGTHS) < told[-1] <= FITS


def test_one_image_is_too_few() -> None:
    train, features = drawn(4)
    with pytest.raises(UserError, match="at least two training images; received 1 image"):
        fitted(train.take(np.array([0])), features.take(np.array([0])))
