import numpy as np
import pytest
import torch
from syntrial_classification.augment import visited
from syntrial_classification.rand_augment import GEOMETRY, INTENSITY, draw, operations, rand_augment
from syntrial_classification.streams import item_codes
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from syntrial.v1.classification_pb2 import TrainingRecipe

COUNT = 6000
CODES = visited(item_codes(0, np.arange(COUNT), 0), np.zeros(COUNT, np.uint64), seed=3)


def recipe(**fields: int) -> TrainingRecipe:
    return TrainingRecipe(**{"rand_augment": 15, **fields})


def pictures(count: int = 4, *, channels: int = 3, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, channels, 4, 4), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (smooth * 200 + 20).round()


def changed(images: Tensor, name: str, *, sign: int = 1, magnitude: float = 15) -> Tensor:
    """All images by the one operation."""
    chosen = TrainingRecipe(rand_augment=magnitude)
    drawn = np.zeros((1, 2, len(images)), np.int64)
    drawn[0] = [[operations(chosen).index(name)] * len(images), [sign] * len(images)]
    return rand_augment(images, drawn, recipe=chosen)


def test_operations_are_drawn_evenly_and_belong_to_the_item() -> None:
    drawn = draw(CODES, recipe=recipe())
    share = 1 / len(operations(recipe()))
    for layer in drawn:
        found = np.bincount(layer[0], minlength=14) / COUNT
        # Five standard errors of a share.
        assert np.abs(found - share).max() < 5 * (share * (1 - share) / COUNT) ** 0.5
        assert abs(layer[1].mean()) < 5 / COUNT**0.5
    assert np.array_equal(draw(CODES[[9, 2]], recipe=recipe()), drawn[:, :, [9, 2]])
    assert draw(CODES[:3], recipe=recipe(rand_augment_operations=5)).shape == (5, 2, 3)


def test_an_image_is_changed_alike_whatever_else_its_batch_holds() -> None:
    images = pictures(40)
    drawn = draw(CODES[:40], recipe=recipe(rand_augment_operations=3))
    whole = rand_augment(images, drawn, recipe=recipe())
    alone = torch.cat([rand_augment(images[[i]], drawn[:, :, [i]], recipe=recipe()) for i in range(40)])
    # What is drawn is an item's own; sums over its pixels may round otherwise in a larger batch.
    assert (whole - alone).abs().max() < 1e-3
    assert whole.min() >= 0
    assert whole.max() <= 255.001


@pytest.mark.parametrize(
    ("name", "peer", "tolerance"),
    [
        ("brightness", lambda image: functional.adjust_brightness(image, 1.45), 1),
        ("contrast", lambda image: functional.adjust_contrast(image, 1.45), 1),
        ("colour", lambda image: functional.adjust_saturation(image, 1.45), 1.5),
        ("sharpness", lambda image: functional.adjust_sharpness(image, 1.45), 1.5),
        ("autocontrast", functional.autocontrast, 1.01),
        ("posterise", lambda image: functional.posterize(image, 6), 0),
        ("solarise", lambda image: functional.solarize(image, 128), 0),
    ],
)
def test_an_operation_is_that_of_torchvision(name: str, peer: v2.Transform, tolerance: float) -> None:
    images = pictures()
    expected = peer(images.to(torch.uint8)).float()  # type: ignore[operator]
    assert (changed(images, name) - expected).abs().max() <= tolerance


@pytest.mark.parametrize("name", GEOMETRY)
def test_what_is_moved_one_way_comes_back_the_other_way(name: str) -> None:
    images = pictures(side=64)
    there = changed(images, name, magnitude=6)
    back = changed(there, name, sign=-1, magnitude=6)
    middle = slice(24, 40)
    assert (there - images)[:, :, middle, middle].abs().max() > 3
    # Two resamplings of a smooth picture, and a shear of a shear is one.
    assert (back - images)[:, :, middle, middle].abs().max() < 3


def test_a_shift_of_half_the_magnitude_is_75_of_331_of_the_side() -> None:
    images = torch.arange(64.0).expand(1, 1, 64, 64).clone()
    moved = changed(images, "shift-x")
    assert moved[0, 0, 5, 20].item() == pytest.approx(20 + 64 * 75 / 331, abs=1e-3)


def test_ranks_of_an_equalised_image_are_even() -> None:
    image = torch.arange(256.0).reshape(1, 1, 16, 16) ** 2 / 255
    flat = changed(image.round(), "equalise").flatten()
    assert flat.min() == 0
    assert flat.max() == pytest.approx(255)
    assert flat.mean() == pytest.approx(127.5, abs=6)
    assert torch.equal(changed(torch.full((1, 1, 8, 8), 9.0), "equalise"), torch.full((1, 1, 8, 8), 9.0))


def test_a_modality_may_have_one_kind_of_operations() -> None:
    assert operations(recipe(rand_augment_kind=TrainingRecipe.OPERATIONS_GEOMETRY)) == ("identity", *GEOMETRY)
    assert operations(recipe(rand_augment_kind=TrainingRecipe.OPERATIONS_INTENSITY)) == ("identity", *INTENSITY)
    assert len(operations(recipe())) == 14


@pytest.mark.parametrize("channels", [1, 3])
def test_a_magnitude_of_nearly_nothing_changes_nearly_nothing(channels: int) -> None:
    images = pictures(channels=channels)
    for name in operations(recipe()):
        if name not in {"autocontrast", "equalise"}:
            assert (changed(images, name, magnitude=1e-6) - images).abs().max() < 0.01
