from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from syntrial_data_prep import phantom

from syntrial.imagesets import phantoms
from syntrial.imagesets.splits import SPLITS
from syntrial.v1.data_preparation_pb2 import PhantomSource


def parameters(**changes: Any) -> PhantomSource:
    fields: dict[str, Any] = {
        "variant": PhantomSource.VARIANT_CHEST,
        "seed": 4,
        "size": 28,
        "train_patients": 150,
        "validation_patients": 3,
        "test_patients": 3,
        "images_per_patient": 2,
        "difficulty": 0.5,
        "prevalence": 0.3,
    }
    return PhantomSource(**(fields | changes))


def images(source: PhantomSource, split: str = "train") -> NDArray[np.uint8]:
    return np.concatenate(list(phantom.draw(source, split)))


@pytest.mark.parametrize("variant", [PhantomSource.VARIANT_CHEST, PhantomSource.VARIANT_TISSUE])
def test_more_patients_extend_the_set_without_changing_the_first(variant: Any) -> None:
    few, many = parameters(variant=variant, train_patients=140), parameters(variant=variant, train_patients=160)
    np.testing.assert_array_equal(images(few), images(many)[:280])
    np.testing.assert_array_equal(phantoms.cast(few, "train").labels, phantoms.cast(many, "train").labels[:280])


def test_seeds_splits_patients_and_images_all_differ() -> None:
    first, other = images(parameters()), images(parameters(seed=5))
    assert (first != other).any(axis=(1, 2)).all()
    drawn = [image.tobytes() for split in SPLITS for image in images(parameters(), split)]
    assert len(set(drawn)) == len(drawn)


def test_two_images_of_a_patient_are_more_alike_than_two_patients() -> None:
    x = images(parameters()).reshape(150, 2, -1).astype(float)
    x -= x.mean(-1, keepdims=True)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    own = (x[:, 0] * x[:, 1]).sum(-1).mean()
    others = (x[:-1, 0] * x[1:, 1]).sum(-1).mean()
    assert own > others + 0.01


def test_the_share_of_positive_patients_is_the_prevalence() -> None:
    chosen = phantoms.cast(parameters(), "train")
    assert chosen.labels.sum() == 2 * 45
    assert np.unique(chosen.patients).size == 150
    assert (chosen.labels[0::2] == chosen.labels[1::2]).all()


def test_tissue_shows_nine_classes_in_equal_parts() -> None:
    source = parameters(variant=PhantomSource.VARIANT_TISSUE, train_patients=90)
    assert np.bincount(phantoms.cast(source, "train").labels).tolist() == [20] * len(phantoms.TISSUE_CLASSES)
    assert images(source).shape == (180, 28, 28, 3)


def test_opacities_brighten_the_lungs_less_with_difficulty() -> None:
    gaps = []
    for difficulty in (0.0, 0.5, 1.0):
        source = parameters(difficulty=difficulty, prevalence=0.5)
        x, labels = images(source).astype(float), phantoms.cast(source, "train").labels
        lungs = np.concatenate([x[:, 6:16, 5:11], x[:, 6:16, 17:23]], axis=2).mean((1, 2)) / x.mean((1, 2))
        gaps.append(lungs[labels == 1].mean() - lungs[labels == 0].mean())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[0] > 0.1


def test_an_image_looks_like_a_chest_with_dark_lungs_beside_a_bright_spine() -> None:
    x = images(parameters(prevalence=0.01)).astype(float)
    middle = x[:, 8:14, 13:15].mean()
    left, right = x[:, 8:14, 6:10].mean(), x[:, 8:14, 18:22].mean()
    below = x[:, 25:, 6:22].mean()
    assert max(left, right) < 0.7 * min(middle, below)
    assert x[:, 20:23, 15:19].mean() > x[:, 20:23, 6:8].mean(), "the heart lies to the image's right"


def test_every_size_shows_the_same_patient() -> None:
    small, large = images(parameters(train_patients=8)), images(parameters(train_patients=8, size=56))
    reduced = large.reshape(-1, 28, 2, 28, 2).mean((2, 4))
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(small, reduced, strict=True)]
    assert min(correlation) > 0.97


def test_classes_are_named() -> None:
    assert phantoms.class_names(parameters()) == phantoms.CHEST_CLASSES
    assert len(phantoms.class_names(parameters(variant=PhantomSource.VARIANT_TISSUE))) == 9
