import numpy as np
import pytest
from syntrial_filtering.diversity import diversity, vendi_score


def modes(count, *, number, seed, size=8):
    """Features about `number` centres that lie far apart, as often about each."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(12, size)) * 6
    return centres[np.arange(count) % number] + rng.normal(size=(count, size)) * 0.5


def test_known_scores_of_equal_distinct_and_paired_images():
    # Friedman and Dieng 2023, section 3: 1 where all are alike, n where none are; m kinds, as often each: m.
    far = np.eye(6) * 1e3
    assert vendi_score(np.ones((6, 3)), width=1.0) == pytest.approx(1.0)
    assert vendi_score(far, width=1.0) == pytest.approx(6.0)
    assert vendi_score(np.repeat(far, 4, axis=0), width=1.0) == pytest.approx(6.0)
    assert vendi_score(np.repeat(far[:3], 2, axis=0), width=0.0) == pytest.approx(3.0)


def test_known_score_of_two_images_at_a_distance():
    likeness = np.exp(-0.5)
    shares = np.array([1 + likeness, 1 - likeness]) / 2
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert vendi_score(np.array([[0.0], [2.0]]), width=2.0) == pytest.approx(expected)


def test_a_class_that_is_one_image_with_noise_is_found():
    real = modes(300, number=10, seed=0)
    found = diversity(real[:1] + np.random.default_rng(1).normal(size=(200, 8)) * 0.05, real, seed=0)
    assert found is not None
    assert found.sample_size == 100
    assert found.synthetic < 1.1
    assert found.interval_95[1] < 0.2 < found.floor


def test_half_of_the_modes_is_about_half_as_diverse():
    found = diversity(modes(300, number=5, seed=1), modes(300, number=10, seed=0), seed=0)
    assert found is not None
    assert found.ratio == pytest.approx(0.5, abs=0.12)
    assert found.interval_95[1] < 0.8
    assert found.ratio < found.floor


def test_halves_of_real_images_raise_no_alarm_and_the_interval_covers_1_as_often_as_it_says():
    real = [modes(120, number=10, seed=seed) for seed in range(24)]
    found = [diversity(one[:60], one[60:], seed=0) for one in real]
    assert all(one is not None for one in found)
    assert not any(one.interval_95[1] < 0.8 for one in found)
    # 24 draws at .95: under 18 of them would be a chance of 1 in 7,000.
    assert sum(one.interval_95[0] <= 1 <= one.interval_95[1] for one in found) >= 18


def test_the_scale_of_the_features_changes_nothing_and_the_same_seed_gives_the_same():
    synthetic, real = modes(60, number=4, seed=1), modes(80, number=10, seed=0)
    found = diversity(synthetic, real, seed=3)
    assert found == diversity(synthetic, real, seed=3)
    assert found != diversity(synthetic, real, seed=4)
    scaled = diversity(synthetic * 64, real * 64, seed=3)
    assert scaled.ratio == pytest.approx(found.ratio, rel=1e-6)


def test_real_images_that_are_all_one_leave_a_ratio_to_them():
    found = diversity(modes(40, number=4, seed=1), np.ones((40, 8)), seed=0)
    assert found is not None
    assert found.real == pytest.approx(1.0)
    assert found.ratio == pytest.approx(20.0)


@pytest.mark.parametrize(("synthetic", "real"), [(19, 100), (100, 19), (0, 100)])
def test_too_few_images_of_a_class_give_no_score(synthetic, real):
    assert diversity(np.zeros((synthetic, 3)), np.zeros((real, 3)), seed=0) is None
