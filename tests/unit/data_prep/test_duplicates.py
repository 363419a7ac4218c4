import numpy as np
from PIL import Image
from syntrial_data_prep import duplicates
from syntrial_data_prep.duplicates import Pair

RANDOM = np.random.default_rng(2)


def smooth(count: int, *, side: int = 28) -> np.ndarray:
    """Random smooth pictures, as different as pictures can be."""
    coarse = RANDOM.integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in coarse])[..., None]


def test_equal_contents_are_paired_once_with_their_first_places() -> None:
    assert duplicates.same(["a", "b", "a"], ["c", "a", "a", "b"]) == [
        Pair(first=0, second=1, distance=0.0),
        Pair(first=1, second=3, distance=0.0),
    ]


def test_repeats_point_to_the_first_image() -> None:
    assert duplicates.repeats(["a", "b", "a", "a"]) == [
        Pair(first=0, second=2, distance=0.0),
        Pair(first=0, second=3, distance=0.0),
    ]


def test_exposure_does_not_hide_a_copy_and_noise_hardly_does() -> None:
    images = smooth(50)
    darker = (images * 0.6 + 30).astype(np.uint8)
    noisy = np.clip(images + RANDOM.normal(0, 8, images.shape), 0, 255).astype(np.uint8)
    threshold = duplicates.calibrate(duplicates.features(images), patients=np.arange(50))
    for changed in (darker, noisy):
        rows, distances = duplicates.nearest(duplicates.features(changed), duplicates.features(images))
        np.testing.assert_array_equal(rows, np.arange(50))
        assert (distances < threshold).all()


def test_different_patients_are_not_near() -> None:
    images, others = smooth(300), smooth(300)
    threshold = duplicates.calibrate(duplicates.features(images), patients=np.arange(300))
    _, distances = duplicates.nearest(duplicates.features(others), duplicates.features(images))
    assert (distances < threshold).sum() <= 1


def test_calibration_is_hardly_moved_by_copies_that_hide_among_the_images() -> None:
    images = smooth(300)
    spoilt = np.concatenate([images, np.clip(images[:30].astype(int) + 4, 0, 255).astype(np.uint8)])
    clean = duplicates.calibrate(duplicates.features(images), patients=np.arange(300))
    moved = duplicates.calibrate(duplicates.features(spoilt), patients=np.arange(330))
    assert abs(np.log(moved / clean)) < 0.35


def test_images_of_one_patient_do_not_calibrate() -> None:
    images = smooth(60)
    pairs = np.concatenate([images, np.clip(images.astype(int) + 25, 0, 255).astype(np.uint8)])
    patients = np.tile(np.arange(60), 2)
    known = duplicates.calibrate(duplicates.features(pairs), patients=patients)
    unknown = duplicates.calibrate(duplicates.features(pairs), patients=np.arange(120))
    assert known > 1.5 * unknown


def test_too_few_images_calibrate_to_copies_alone() -> None:
    features = duplicates.features(smooth(5))
    assert duplicates.calibrate(features, patients=np.arange(5)) == duplicates.COPY_DISTANCE


def test_constant_images_are_near_to_nothing() -> None:
    blank = np.full((2, 28, 28, 1), 7, np.uint8)
    _, distances = duplicates.nearest(duplicates.features(blank), duplicates.features(blank))
    assert np.isinf(distances).all()


def test_nothing_to_compare_with_is_infinitely_far() -> None:
    _, distances = duplicates.nearest(duplicates.features(smooth(3)), np.zeros((0, 256), np.float32))
    assert np.isinf(distances).all()
