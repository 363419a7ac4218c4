"""Resampling by products of matrices, beside Pillow's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from syntrial_data_prep.weights import KERNELS, STEP, axis, weighted


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(list(KERNELS)),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    rows=st.integers(1, 80),
    columns=st.integers(1, 80),
    kind=st.sampled_from(("noise", "black and white", "ramp")),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_pillows_but_for_rounding(
    *, method: Image.Resampling, height: int, width: int, rows: int, columns: int, kind: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (height, width)).astype(np.uint8)
    if kind == "black and white":
        picture = np.where(picture > 127, 255, 0).astype(np.uint8)
    elif kind == "ramp":
        picture = np.sort(picture, axis=None).reshape(height, width)
    first = (width, rows) if height / rows > width / columns else (columns, height)
    theirs = np.asarray(Image.fromarray(picture).resize(first, method).resize((columns, rows), method))
    ours = weighted(picture, axis(height, 0, height, rows, method), axis(width, 0, width, columns, method))
    # One level for the rounding after either way.
    assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.parametrize("method", KERNELS)
def test_few_pixels_differ_from_pillows(method: Image.Resampling) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (512, 400)).astype(np.uint8)
    box = (10, 60, 390, 440)
    theirs = np.asarray(Image.fromarray(picture).resize((112, 112), method, box=box))
    ours = weighted(picture, axis(512, 60, 440, 112, method), axis(400, 10, 390, 112, method))
    assert (ours != theirs).mean() < 0.03


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize(("length", "count"), [(1024, 224), (28, 224), (3000, 7), (5, 5), (1, 9)])
def test_sums_are_exact_in_float32(method: Image.Resampling, length: int, count: int) -> None:
    """So no order of adding changes them: weights are whole steps, and no partial sum needs more than 24 bits."""
    for band in axis(length, 0, length, count, method).bands:
        steps = band.weights.astype(np.float64) / STEP
        assert np.array_equal(steps, np.rint(steps))
        # Half a level more, for rounding.
        assert (255 * np.abs(steps).sum(0) + 0.5 / STEP).max() < 2**24


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_an_even_picture_stays_even(method: Image.Resampling, level: int) -> None:
    picture = np.full((700, 300), level, np.uint8)
    ours = weighted(picture, axis(700, 0, 700, 64, method), axis(300, 0, 300, 48, method))
    assert (ours == level).all()
