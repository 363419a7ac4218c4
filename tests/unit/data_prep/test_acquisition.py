import numpy as np
import pytest
from syntrial_data_prep import acquisition


@pytest.mark.parametrize("side", [8, 9, 10, 17])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_side_have_each_number(side, channels):
    images = np.random.default_rng(side).integers(0, 256, (5, side, side, channels), dtype=np.uint8)
    found = acquisition.of_images(images, np.arange(5))
    assert len(found) == 11
    assert all(values.shape == (5,) and np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("level", [0, 7, 255])
def test_an_image_of_one_level_has_each_number_too(level):
    found = acquisition.of_images(np.full((2, 16, 16, 1), level, np.uint8), np.arange(2))
    assert all(np.isfinite(values).all() for values in found.values())


def test_numbers_are_of_the_rows_that_are_asked_however_many_are_looked_at_together(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (9, 12, 12, 3), dtype=np.uint8)
    rows = np.array([0, 2, 3, 4, 5, 7, 8])
    together, levels = acquisition.of_images(images, rows), acquisition.histograms(images, rows)
    assert np.array_equal(levels, acquisition.histograms(images[rows], np.arange(7)))
    monkeypatch.setattr(acquisition, "CHUNK_PIXELS", 3 * 144)
    apart = acquisition.of_images(images, rows)
    assert all(np.array_equal(together[name], apart[name]) for name in together)
    assert np.array_equal(acquisition.histograms(images, rows), levels)
