import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntrial_filtering.realism import realism


def test_realism_is_the_published_ratio_on_a_line():
    # Radii to the nearest other: 1, 1, 2, 4, of which the median is 1.5: the balls around 0 and 1 are left.
    real = np.array([[0.0], [1.0], [3.0], [7.0]], dtype=np.float32)
    found = realism(np.array([[0.5], [-2.0], [3.0], [11.0]], dtype=np.float32), real, neighbours=1)
    assert found == pytest.approx([2.0, 0.5, 0.5, 0.1], rel=1e-5)


def test_where_one_real_image_or_none_is_there_nothing_is_realistic():
    candidates = np.zeros((3, 2), dtype=np.float32)
    assert realism(candidates, np.zeros((1, 2), dtype=np.float32), neighbours=3).tolist() == [0.0] * 3
    assert realism(candidates, np.zeros((0, 2), dtype=np.float32), neighbours=3).tolist() == [0.0] * 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40), st.integers(1, 5), st.floats(0.1, 10))
def test_realism_does_not_know_the_scale_or_the_order_of_features(seed, real_images, neighbours, scale):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(real_images, 4)).astype(np.float32)
    candidates = rng.normal(size=(7, 4)).astype(np.float32)
    found = realism(candidates, real, neighbours=neighbours)
    order = rng.permutation(real_images)
    scaled = realism(candidates * np.float32(scale), real[order] * np.float32(scale), neighbours=neighbours)
    assert scaled == pytest.approx(found, rel=1e-3)


def test_images_of_another_kind_are_less_realistic_than_further_real_ones():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 8)).astype(np.float32)
    same = realism(rng.normal(size=(200, 8)).astype(np.float32), real, neighbours=3)
    other = realism((rng.normal(size=(200, 8)) + 2).astype(np.float32), real, neighbours=3)
    assert np.median(other) < 0.5 * np.median(same)
