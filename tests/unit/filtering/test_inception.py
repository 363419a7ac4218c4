import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntrial_filtering import frechet
from syntrial_filtering.inception import compare, frechet_distance, gaussian, kernel_distance, sample
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd

from syntrial.documents.quality import Network

NETWORK = Network(model="inception", weights="sha256:0", side=299)


def test_fid_of_known_gaussians():
    # Two points each: means 1 and 4, variances 2 and 8; in the second feature means 0 and 2, no variance.
    a, b = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[2.0, 2.0], [6.0, 2.0]])
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(9 + 4 + (np.sqrt(2) - np.sqrt(8)) ** 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.integers(1, 30))
def test_fid_is_the_encoders_distance_and_torch_fidelitys_with_more_images_than_features_and_with_fewer(
    seed, count, other, size
):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(count, size)), rng.normal(0.5, 2.0, size=(other, size))
    found = frechet_distance(gaussian(a), gaussian(b))
    assert found == pytest.approx(frechet.frechet_distance(a, b), rel=1e-5, abs=1e-5)
    statistics = [dict(zip(("mu", "sigma"), frechet.moments(one), strict=True)) for one in (a, b)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert found == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert frechet_distance(gaussian(a), gaussian(a)) == pytest.approx(0.0, abs=1e-5)


def test_kid_of_tiny_arrays_by_its_definition():
    a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])

    def kernel(x, y):
        return (x @ y / 2 + 1) ** 3

    assert kernel(a[0], b[0]) == 1.5**3
    within_a = np.mean([kernel(a[i], a[j]) for i in range(2) for j in range(2) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(3) for j in range(3) if i != j])
    between = np.mean([kernel(x, y) for x in a for y in b])
    found = kernel_distance(sample(a), sample(b))
    assert found == pytest.approx(within_a + within_b - 2 * between)


@pytest.mark.parametrize("count", [2, 30, 1_001])
def test_kid_is_torch_fidelitys(count):
    rng = np.random.default_rng(count)
    a, b = rng.normal(size=(count, 7)), rng.normal(0.2, 1.1, size=(count, 7))
    assert kernel_distance(sample(a), sample(b)) == pytest.approx(kernel_mmd(a, b), rel=1e-9)


def test_of_one_distribution_kid_is_0_on_average_at_any_number_and_fid_is_not():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 8, 20)) for _ in range(300)]
    kids = [kernel_distance(sample(a), sample(b)) for a, b in pairs]
    assert abs(np.mean(kids)) < 4 * np.std(kids) / np.sqrt(len(kids))
    assert min(kids) < 0
    assert min(frechet_distance(gaussian(a), gaussian(b)) for a, b in pairs[:20]) > 5


def test_both_stand_beside_what_real_images_show_of_each_other():
    rng = np.random.default_rng(1)
    real, same, shifted = rng.normal(size=(80, 12)), rng.normal(size=(60, 12)), rng.normal(1.0, 1.0, size=(60, 12))
    alike, far = (compare(one, real, seed=0, network=NETWORK) for one in (same, shifted))
    assert alike is not None
    assert far is not None
    assert (alike.network, alike.feature_size) == (NETWORK, 12)
    assert alike.fid.sample_size == alike.kid.sample_size == 40
    # The halves are the Fréchet distance's.
    expected = frechet.compare(same, real, seed=0).document()
    assert alike.fid.floor == pytest.approx(expected.floor)
    assert alike.fid.synthetic_real == pytest.approx(expected.synthetic_real)
    assert alike.fid.ratio_to_floor == pytest.approx(1.0, abs=0.5)
    assert far.fid.ratio_to_floor > 3
    low, high = alike.kid.floor_range
    assert low <= alike.kid.floor <= high
    assert far.kid.floor_range == (low, high)
    assert far.kid.synthetic_real > 10 * max(abs(low), abs(high), abs(alike.kid.synthetic_real))


def test_too_few_images_have_neither():
    rng = np.random.default_rng(1)
    assert compare(rng.normal(size=(9, 3)), rng.normal(size=(80, 3)), seed=0, network=NETWORK) is None
    assert compare(rng.normal(size=(0, 3)), rng.normal(size=(80, 3)), seed=0, network=NETWORK) is None
