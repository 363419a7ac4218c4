import torch
from syntrial_generation.diffaugment import augment, cut_out, shifted
from syntrial_generation.streams import RowsRandom


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5


def random(seed: int = 1) -> RowsRandom:
    return RowsRandom(torch.Generator().manual_seed(seed))


def test_strength_zero_changes_nothing() -> None:
    x = images()
    assert torch.equal(augment(x, shift=0, cutout=0, brightness=0, flip=False, random=random()), x)


def test_gradients_reach_every_pixel_that_is_still_seen() -> None:
    x = images().requires_grad_(True)
    seen = augment(x, shift=0.125, cutout=0.25, brightness=0.2, flip=True, random=random())
    seen.sum().backward()
    assert x.grad is not None
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}
    assert 0.5 < float(x.grad.mean()) < 1


def test_the_same_stream_gives_the_same_augmentation_and_another_seed_another() -> None:
    x = images()
    settings = {"shift": 0.25, "cutout": 0.25, "brightness": 0.2, "flip": True}
    first = augment(x, **settings, random=random())
    assert torch.equal(first, augment(x, **settings, random=random()))
    assert not torch.equal(first, augment(x, **settings, random=random(2)))


def test_shifts_move_whole_images_and_fill_with_grey() -> None:
    x = images(40)
    moved = shifted(x, share=0.25, random=random())
    for before, after in zip(x, moved, strict=True):
        rows = after[0].abs().sum(dim=1) > 0
        columns = after[0].abs().sum(dim=0) > 0
        kept = after[0][rows][:, columns]
        assert min(kept.shape) >= 6
        assert torch.isin(kept, before).all()


def test_a_cutout_is_a_square_of_grey_of_at_most_its_share() -> None:
    hidden = (cut_out(images(40), share=0.5, random=random()) == 0).flatten(1).sum(dim=1)
    assert int(hidden.max()) == 16
    assert int(hidden.min()) >= 4
