import numpy as np
import pytest
import torch
from syntrial_classification.augment import visited
from syntrial_classification.mixing import draw, mix
from syntrial_classification.streams import item_codes

from syntrial.v1.classification_pb2 import TrainingRecipe

COUNT = 4000
VISITED = visited(item_codes(0, np.arange(COUNT), 0), np.zeros(COUNT, np.uint64), seed=1)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    share = draw(VISITED, recipe=TrainingRecipe(mixup=alpha))[0]
    variance = 1 / (4 * (2 * alpha + 1))
    assert share.mean() == pytest.approx(0.5, abs=5 * (variance / COUNT) ** 0.5)
    # The variance of a variance is below that of a two-point distribution's squares: a tenth is beyond five errors.
    assert share.var() == pytest.approx(variance, rel=0.1)


def test_mixup_is_the_weighted_mean_with_the_image_at_the_mirrored_place() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2).clone()
    drawn = torch.tensor([[0.75, 1.0, 0.5, 0.25], [0.0] * 4, [0.0] * 4, [0.0] * 4])
    mixed, own = mix(images, drawn)
    assert mixed[:, 0, 0, 0].tolist() == [0.75, 1.0, 1.5, 0.75]
    assert own.tolist() == [0.75, 1.0, 0.5, 0.25]


def test_a_cut_image_counts_by_the_pixels_that_it_keeps() -> None:
    images = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 8, 8).clone()
    drawn = torch.from_numpy(draw(VISITED[:2], recipe=TrainingRecipe(cutmix=1)))
    mixed, own = mix(images, drawn)
    assert own.tolist() == pytest.approx([1 - mixed[0].mean().item(), mixed[1].mean().item()])
    assert set(mixed.unique().tolist()) == {0.0, 1.0}


def test_with_both_each_image_has_one_of_them_by_half() -> None:
    cut = draw(VISITED, recipe=TrainingRecipe(mixup=0.2, cutmix=1))[3]
    assert set(np.unique(cut)) == {0.0, 1.0}
    assert cut.mean() == pytest.approx(0.5, abs=5 * 0.5 / COUNT**0.5)
