import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntrial_filtering.frechet import compare, frechet_distance, gaussian_distance, gaussian_pixels, moments


def test_known_value_for_gaussians_with_diagonal_covariances():
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    variances_a, variances_b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    expected = 5.0 + ((np.sqrt(variances_a) - np.sqrt(variances_b)) ** 2).sum()
    assert gaussian_distance(mean_a, np.diag(variances_a), mean_b, np.diag(variances_b)) == pytest.approx(expected)


def test_known_value_for_full_covariances_in_two_dimensions():
    # In two dimensions tr((AB)^½) = sqrt(tr(AB) + 2 sqrt(det(AB))).
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.5, -0.4], [-0.4, 3.0]])
    cross = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    expected = np.trace(a) + np.trace(b) - 2 * cross
    assert gaussian_distance(np.zeros(2), a, np.zeros(2), b) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 30))
def test_the_distance_is_zero_to_itself_symmetric_and_never_negative(seed, size, count):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(count, size)), rng.normal(1.0, 2.0, size=(count + 3, size))
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6, abs=1e-6)
    assert frechet_distance(a, b) >= 0


def test_fewer_images_than_features_give_a_finite_distance():
    rng = np.random.default_rng(0)
    assert np.isfinite(frechet_distance(rng.normal(size=(5, 40)), rng.normal(size=(6, 40))))


def test_a_set_from_the_same_source_lies_at_the_floor_and_a_shifted_one_far_above_it():
    rng = np.random.default_rng(1)
    real, same, shifted = rng.normal(size=(600, 8)), rng.normal(size=(500, 8)), rng.normal(0.5, 1.0, size=(500, 8))
    at_floor, far = compare(same, real, seed=0), compare(shifted, real, seed=0, gaussian_PF=shifted)
    assert at_floor is not None
    assert far is not None
    assert at_floor.sample_size == 300
    assert at_floor.synthetic / at_floor.floor == pytest.approx(1.0, abs=0.5)
    assert far.synthetic > 10 * far.floor
    # The same images as 'Gaussian' and as synthetic: only the order in which they are drawn differs.
    assert far.gaussian == pytest.approx(far.synthetic, rel=0.3)


def test_too_few_images_give_no_distance():
    assert compare(np.zeros((5, 3)), np.zeros((100, 3)), seed=0) is None


def test_gaussian_pixels_have_the_real_means_and_deviations_of_each_pixel(draw):
    real = draw(400, seed=2, side=6)
    drawn = gaussian_pixels(real, np.arange(400) % 2, count=2_000, seed=5)
    mean_real, mean_drawn = real.mean(axis=0), drawn.mean(axis=0)
    assert np.abs(mean_real - mean_drawn).max() < 6
    assert np.array_equal(gaussian_pixels(real, np.arange(400) % 2, count=7, seed=5), drawn[:7])


def test_moments_are_the_mean_and_the_unbiased_covariance():
    mean, covariance = moments(np.array([[0.0, 0.0], [2.0, 4.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert covariance.tolist() == [[2.0, 4.0], [4.0, 8.0]]
