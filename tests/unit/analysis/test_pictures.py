"""The choice and the encoding of pictures."""

import base64
import io

import numpy as np
from PIL import Image

from syntrial.analysis.pictures import choose, members, pair_strip, sheet, strip


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))


def test_the_choice_depends_on_its_seed_and_on_nothing_else() -> None:
    first = choose(range(100), count=8, seed="edm/normal")
    assert first == choose(list(range(99, -1, -1)), count=8, seed="edm/normal")
    assert first != choose(range(100), count=8, seed="edm/pneumonia")
    assert first == sorted(set(first))
    assert choose(range(3), count=8, seed="x") == [0, 1, 2]


def test_members_of_a_class_and_of_a_label() -> None:
    assert members(np.array([0, 1, 1]), class_index=1).tolist() == [1, 2]
    assert members(np.array([[0, 1], [1, 1]], dtype=np.uint8), class_index=0).tolist() == [1]


def test_a_strip_holds_the_pixels_of_its_images() -> None:
    images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5, 1)
    picture = np.asarray(decoded(strip(list(images))))
    assert picture.shape == (4, 3 * 5 + 2, 2)
    for index, image in enumerate(images):
        assert (picture[:, index * 6 : index * 6 + 5, 0] == image[:, :, 0]).all()
    assert (picture[:, 5, 1] == 0).all()


def test_pairs_stand_above_each_other_in_colour() -> None:
    pairs = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 4, 3), dtype=np.uint8)
    picture = np.asarray(decoded(pair_strip(pairs)))
    assert picture.shape == (9, 9, 4)
    assert (picture[5:, 5:, :3] == pairs[1, 1]).all()


def test_large_images_are_reduced_and_rows_may_differ_in_length() -> None:
    images = np.zeros((3, 224, 112, 1), dtype=np.uint8)
    picture = decoded(sheet([list(images), list(images[:1])]))
    assert picture.size == (3 * 48 + 2, 2 * 96 + 1)
