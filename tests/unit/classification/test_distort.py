import numpy as np
import pytest
import torch
from syntrial_classification.augment import visited
from syntrial_classification.distort import boxes, distort, draw, erase
from syntrial_classification.streams import item_codes

from syntrial.v1.classification_pb2 import TrainingRecipe

COUNT = 4000
CODES = item_codes(0, np.arange(COUNT), 0)
NUMBERS = torch.from_numpy(draw(visited(CODES, np.zeros(COUNT, np.uint64), seed=3)))


def gradient(count: int, *, side: int = 16) -> torch.Tensor:
    """Images whose pixels are 100 + their column's place in -1 to 1, times 50."""
    columns = (torch.arange(side) + 0.5) / side * 2 - 1
    return (100 + 50 * columns).expand(count, 1, side, side).clone()


def test_numbers_belong_to_the_item_and_its_visit() -> None:
    part = draw(visited(CODES[[7, 2]], np.zeros(2, np.uint64), seed=3))
    assert np.array_equal(part, NUMBERS[:, [7, 2]].numpy())
    assert not np.array_equal(part, draw(visited(CODES[[7, 2]], np.ones(2, np.uint64), seed=3)))


def test_numbers_are_uniform_and_independent() -> None:
    # The standard error of a mean is .289 / sqrt(4000), of a correlation 1 / sqrt(4000): five of each.
    assert NUMBERS.mean(dim=1).tolist() == pytest.approx([0.5] * len(NUMBERS), abs=5 * 0.289 / COUNT**0.5)
    correlation = np.corrcoef(NUMBERS.numpy()) - np.eye(len(NUMBERS))
    assert np.abs(correlation).max() < 5 / COUNT**0.5


def test_a_crop_is_a_part_of_the_image_with_the_stated_area() -> None:
    images = distort(gradient(COUNT), NUMBERS, recipe=TrainingRecipe(crop=0.25))
    # The slope along columns is the crop's width: the square root of area times aspect, whose mean is known.
    widths = (images[:, 0, 8, 12] - images[:, 0, 8, 4]) / (50 * 2 * 8 / 16)
    assert widths.min() > 0.25
    assert widths.max() <= 1.0 + 1e-4
    # For area uniform in [a, 1] the mean of the square root is 2 (1 - a^1.5) / (3 (1 - a)) = .778; clipping at the
    # whole width takes a little.
    assert 0.74 < widths.mean().item() < 0.79
    assert images.min() >= 50
    assert images.max() <= 150


def test_a_rotation_alone_keeps_scale_and_centre() -> None:
    images = distort(gradient(64), NUMBERS[:, :64], recipe=TrainingRecipe(rotation=45))
    centre = images[:, 0, 7:9, 7:9].mean(dim=(1, 2))
    assert centre.tolist() == pytest.approx([100.0] * 64, abs=1e-3)
    # Opposite points mirror each other about the centre.
    total = images[:, 0, 4, 6] + images[:, 0, 11, 9]
    assert total.tolist() == pytest.approx([200.0] * 64, abs=1e-2)
    angles = (2 * NUMBERS[4, :64] - 1) * 45
    across = (images[:, 0, 7, 10] - images[:, 0, 7, 5]) / (50 * 2 * 5 / 16)
    assert across.tolist() == pytest.approx(torch.cos(torch.deg2rad(angles)).tolist(), abs=1e-3)


def test_jitter_scales_contrast_about_the_mean_and_then_brightness() -> None:
    images = distort(gradient(8), NUMBERS[:, :8], recipe=TrainingRecipe(jitter=0.2))
    brightness, contrast = 1 + (2 * NUMBERS[5, :8] - 1) * 0.2, 1 + (2 * NUMBERS[6, :8] - 1) * 0.2
    assert images.mean(dim=(1, 2, 3)).tolist() == pytest.approx((100 * brightness).tolist(), rel=1e-4)
    spread = images[:, 0, 0, -1] - images[:, 0, 0, 0]
    assert spread.tolist() == pytest.approx((50 * 2 * 15 / 16 * brightness * contrast).tolist(), rel=1e-4)


def test_the_stated_share_of_images_has_a_rectangle_of_the_stated_area_erased() -> None:
    erased = erase(torch.ones(COUNT, 1, 32, 32), NUMBERS, recipe=TrainingRecipe(erasing=0.3))
    areas = (erased == 0).float().mean(dim=(1, 2, 3))
    share = (areas > 0).float().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / COUNT) ** 0.5)
    assert areas[areas > 0].min().item() > 0.01
    assert areas.max().item() < 0.37


def test_boxes_lie_wholly_inside() -> None:
    side = torch.tensor([0.5, 0.5, 1.0])
    found = boxes(
        side, side, torch.tensor([0.0, 0.999, 0.5]), torch.tensor([0.0, 0.0, 0.5]), like=torch.zeros(3, 1, 4, 4)
    )
    assert found.sum(dim=(1, 2)).tolist() == [4, 4, 16]
    assert found[0, :2, :2].all()
    assert found[1, :2, 2:].all()
