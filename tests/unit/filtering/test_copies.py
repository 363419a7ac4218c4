import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from syntrial_filtering.copies import (
    calibrate,
    chance_quantile,
    content_codes,
    dimension,
    index_training,
    is_copy,
    repeated,
    score,
    weibull_quantile,
)


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_PLANTED = {
    "exact": lambda images, _: images,
    "noisy": lambda images, rng: images + rng.normal(0, 8, images.shape),
    "one pixel aside": lambda images, _: np.roll(images, (1, -1), axis=(1, 2)),
    "two pixels aside": lambda images, _: np.roll(images, 2, axis=2),
    "brighter, with less contrast": lambda images, _: 0.8 * images + 30,
    "blurred": lambda images, _: gaussian_filter(images, (0, 0.8, 0.8, 0)),
    "all at once": lambda images, rng: 0.9 * np.roll(images, 1, axis=1) + 10 + rng.normal(0, 5, images.shape),
}


@pytest.fixture(scope="module", params=[(28, 1), (48, 3)], ids=["28 px grey", "48 px colour"])
def searched(request, draw_once):
    side, channels = request.param
    train = draw_once(200, seed=0, side=side, channels=channels)
    index = index_training(train, patients=np.arange(200))
    return train, index, calibrate(index, train, quantile=0.001, seed=0)


@pytest.mark.parametrize("change", _PLANTED)
def test_planted_copies_are_found_with_their_source(searched, change):
    train, index, threshold = searched
    rng = np.random.default_rng(1)
    planted = _uint8(_PLANTED[change](train[:60].astype(np.float64), rng))
    found = score(planted, index)
    assert is_copy(found, threshold=threshold).mean() >= 0.95
    assert (found.nearest == np.arange(60)).mean() >= 0.95


@pytest.mark.parametrize("quantile", [0.001, 0.02])
def test_new_images_are_taken_for_copies_about_as_often_as_the_quantile_says(draw, quantile):
    train, new = draw(700, seed=0), draw(1_500, seed=1)
    index = index_training(train, patients=np.arange(700))
    threshold = calibrate(index, train, quantile=quantile, seed=0)
    rate = is_copy(score(new, index), threshold=threshold).mean()
    assert quantile / 5 - 0.001 <= rate <= 2 * quantile + 0.002


def test_unlabelled_repeats_among_training_images_do_not_blind_the_search(draw):
    originals = draw(400, seed=0)
    rng = np.random.default_rng(2)
    repeats = _uint8(originals[:100] + rng.normal(0, 3, originals[:100].shape))
    train = np.concatenate([originals, repeats])
    index = index_training(train, patients=np.arange(500))
    threshold = calibrate(index, train, quantile=0.001, seed=0)
    planted = _uint8(originals[200:260] + rng.normal(0, 8, originals[200:260].shape))
    assert is_copy(score(planted, index), threshold=threshold).mean() >= 0.95
    # Both sides of the hundred pairs lie under it, and the figures say so.
    assert threshold.real_share == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("twins", [1, 3])
@pytest.mark.parametrize("how", ["re-encoded", "noisy"])
def test_a_training_set_that_stands_beside_its_own_copies_does_not_blind_the_search(draw, twins, how):
    originals, new = draw(250, seed=0), draw(400, seed=1)
    rng = np.random.default_rng(2)
    copy = {"re-encoded": lambda k: _reencoded(originals, 70 - 10 * k), "noisy": lambda _: _noisy(originals, rng)}[how]
    copies = [copy(number) for number in range(twins)]
    clean = calibrate(index_training(originals, patients=np.arange(250)), originals, quantile=0.001, seed=0)
    train = np.concatenate([originals, *copies])
    index = index_training(train, patients=np.arange(len(train)))
    threshold = calibrate(index, train, quantile=0.001, seed=0)
    assert threshold.value > 0.7 * clean.value
    planted = _noisy(originals[:60], rng)
    assert is_copy(score(planted, index), threshold=threshold).mean() >= 0.95
    assert is_copy(score(new, index), threshold=threshold).mean() <= 0.01
    assert threshold.real_share > 0.95


def _noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images + rng.normal(0, 5, images.shape))


def _reencoded(images: np.ndarray, quality: int) -> np.ndarray:
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[..., 0]).save(file, "JPEG", quality=quality)
        with Image.open(file, formats=("JPEG",)) as stored:
            found.append(np.asarray(stored)[..., None])
    return np.stack(found)


def test_points_strewn_by_chance_come_as_near_as_the_quantile_says():
    rng = np.random.default_rng(3)
    distances = rng.exponential(size=(100_000, 12)).cumsum(axis=1) ** (1 / 9)
    scores = distances[:, 0] / distances[:, 1:].mean(axis=1)
    assert (scores <= chance_quantile(0.001, dimension=9)).mean() == pytest.approx(0.001, rel=0.3)
    assert dimension(distances, np.zeros(distances.shape, dtype=np.int64)) == pytest.approx(9, rel=0.02)


def test_known_repeats_of_a_patient_do_not_enter_the_calibration(draw):
    originals = draw(300, seed=0)
    train = np.concatenate([originals, _uint8(originals[:100] * 0.95 + 5)])
    patients = np.concatenate([np.arange(300), np.arange(100)])
    threshold = calibrate(index_training(train, patients=patients), train, quantile=0.001, seed=0)
    assert threshold.value > 0.3
    assert threshold.real_share <= 0.01


def test_exact_duplicates_under_two_names_do_not_enter_the_calibration(draw):
    train = np.concatenate([draw(200, seed=0)] * 2)
    threshold = calibrate(index_training(train, patients=np.arange(400)), train, quantile=0.001, seed=0)
    assert threshold.value > 0.2


def test_blank_images_are_no_copies_of_each_other():
    blank = np.full((30, 28, 28, 1), 90, dtype=np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    index = index_training(blank, patients=np.arange(30))
    assert score(blank + 40, index).scores.tolist() == [1.0] * 30


def test_a_single_training_image_or_none_to_compare_with_gives_no_copy(draw):
    one = draw(1, seed=0)
    index = index_training(one, patients=np.zeros(1, dtype=np.int64))
    assert calibrate(index, one, quantile=0.01, seed=0).images == 0
    assert score(draw(3, seed=1), index).scores.tolist() == [1.0] * 3


def test_scores_do_not_depend_on_which_images_are_searched_together(draw):
    index = index_training(draw(80, seed=0), patients=np.arange(80))
    images = draw(70, seed=1)
    together = score(images, index)
    alone = score(images[5:6], index)
    assert alone.scores[0] == pytest.approx(together.scores[5], rel=1e-4)
    assert alone.nearest[0] == together.nearest[5]


def test_the_weibull_quantile_is_that_of_weibull_scores():
    values = 0.8 * np.random.default_rng(0).weibull(12.0, size=200_000)
    assert weibull_quantile(values, quantile=0.001) == pytest.approx(np.quantile(values, 0.001), rel=0.03)


def test_repetitions_in_a_set_are_counted(draw):
    images = draw(10, seed=0)
    assert repeated(images) == 0
    assert repeated(np.concatenate([images, images[:4], images[:1]])) == 5
    assert content_codes(images[[0, 1, 0]]).tolist() == [0, 1, 0]
