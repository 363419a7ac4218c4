import math

import pytest
import torch
from syntrial_generation.adaptive import (
    Draw,
    Probability,
    coloured,
    colours,
    pipeline,
    resampled,
    rotation,
    scaling,
    translation,
)
from syntrial_generation.streams import RowsRandom

from syntrial.errors import UserError
from syntrial.v1.generation_pb2 import GanConfig

ALWAYS = torch.ones(())


def images(count: int = 4, *, colors: int = 1, side: int = 8) -> torch.Tensor:
    return torch.rand(count, colors, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def random(seed: int = 1) -> RowsRandom:
    return RowsRandom(torch.Generator().manual_seed(seed))


def each(value: float, count: int = 4) -> torch.Tensor:
    return torch.full((count,), value)


@pytest.mark.parametrize("colors", [1, 3])
def test_probability_0_changes_nothing_bit_for_bit_and_1_changes_every_image(colors: int) -> None:
    x = images(16, colors=colors)
    every = {"geometry": True, "colour": True, "random": random()}
    assert torch.equal(pipeline(x, probability=torch.zeros(()), **every), x)
    changed = pipeline(x, probability=ALWAYS, **every) != x
    assert bool(changed.flatten(1).any(dim=1).all())


def test_blits_move_pixels_and_blend_none() -> None:
    x = images(32)
    seen = pipeline(x, geometry=False, colour=False, probability=ALWAYS, random=random())
    for before, after in zip(x, seen, strict=True):
        assert torch.isin(after, before).all()


def test_matrices_move_images_as_their_names_say() -> None:
    x = images()
    turned = resampled(x, rotation(each(0.0), each(1.0)))
    assert torch.equal(turned, x.rot90(1, dims=(2, 3)))
    assert torch.equal(resampled(x, scaling(each(-1.0), each(1.0))), x.flip(3))
    moved = resampled(x, translation(each(2.0), each(0.0)))
    assert torch.equal(moved[..., :-2], x[..., 2:])
    # Mirrored at the outermost pixel.
    assert torch.equal(moved[..., -2:], x[..., [-2, -3]])


def test_an_augmentation_of_an_augmented_image_is_that_of_their_product() -> None:
    x = images()
    quarter, flip = rotation(each(0.0), each(1.0)), scaling(each(-1.0), each(1.0))
    assert torch.equal(resampled(resampled(x, quarter), flip), resampled(x, quarter @ flip))


def test_half_a_pixel_is_the_mean_of_two() -> None:
    x = images()
    expected = (x[..., :-1] + x[..., 1:]) / 2
    assert torch.allclose(resampled(x, translation(each(0.5), each(0.0)))[..., :-1], expected, atol=1e-6)


def test_resampling_is_linear_and_its_gradient_is_its_adjoint() -> None:
    angle = torch.linspace(-3, 3, 4)
    stretch = scaling(each(1.3), each(1 / 1.3))
    matrices = rotation(angle.cos(), angle.sin()) @ stretch @ translation(each(0.7), each(-1.2))
    x, y = images().double(), torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(5)).double()
    matrix = matrices.double()
    transposed = torch.autograd.functional.vjp(lambda v: resampled(v, matrix), x, y)[1]
    # By hand: the operator's matrix, column by column.
    unit = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    operator = torch.stack([resampled(unit, matrix[i : i + 1].expand(64, 3, 3)).reshape(64, 64).T for i in range(4)])
    forward = torch.einsum("nij,nj->ni", operator, x.flatten(1)).reshape(x.shape)
    assert torch.allclose(resampled(x, matrix), forward, atol=1e-9)
    assert torch.allclose(transposed, torch.einsum("nij,ni->nj", operator, y.flatten(1)).reshape(x.shape), atol=1e-9)


def test_colours_keep_grey_grey_in_hue_and_saturation_and_flip_luma() -> None:
    draw = Draw(200, probability=ALWAYS, random=random(), device=torch.device("cpu"))
    grey = torch.full((200, 3, 1, 1), 0.3)
    seen = coloured(grey, colours(draw, hues=True))
    assert torch.allclose(seen, seen[:, :1].expand_as(seen), atol=1e-5)
    # Luma is flipped in about half of them.
    assert 60 < int((seen[:, 0, 0, 0] < 0).sum()) < 140
    one = coloured(images(5), torch.diag(torch.tensor([-1.0, -1.0, -1.0, 1.0])).expand(5, 4, 4))
    assert torch.equal(one, -images(5))


def test_p_rises_while_pairs_are_told_too_surely_and_falls_to_0_below_the_target() -> None:
    p = Probability(target=0.6, rise_images=400, device=torch.device("cpu"))
    values = []
    for step in range(80):
        p.note(torch.tensor(0.9 if step < 40 else 0.2), step=step, batch=10)
        values.append(float(p.value))
    # 10 images a step over 400: 40 steps to 1, moved every 4.
    assert values[2] == 0
    assert values[3] == pytest.approx(0.1)
    assert values[39] == pytest.approx(1.0)
    assert values[79] == pytest.approx(0.0, abs=1e-6)
    assert max(values) <= 1
    assert math.isclose(values[43], 0.9, abs_tol=1e-6)


@pytest.mark.parametrize("chosen", ["DIFFAUGMENT", "BGC"])
def test_an_interrupted_adaptive_training_ends_in_the_same_bytes(lab, chosen: str) -> None:
    config = lab.configs["gan"]
    config.augment_target, config.augment_rise_images = 0.1, 60
    config.augment_pipeline = GanConfig.Pipeline.Value(f"PIPELINE_{chosen}")
    curves = lab.train_interrupted(lab.split(), gan=config).result("curves").json("curves.json")["series"]
    assert 0 <= min(curves["augment_probability"]) <= max(curves["augment_probability"]) <= 1


def test_a_pipeline_without_a_target_is_refused(lab) -> None:
    config = lab.configs["gan"]
    config.augment_pipeline = GanConfig.PIPELINE_BGC
    with pytest.raises(UserError, match=r"gan.augment_pipeline: .* need `augment_target` above 0.*received bgc"):
        lab.train(lab.split(), gan=config)
