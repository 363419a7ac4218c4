import numpy as np
import torch
from syntrial_classification.augment import Augmentation, draw, gather, normalise, visited, windows
from syntrial_classification.streams import item_codes
from syntrial_classification.table import resident
from torch import Tensor

CODES = item_codes(0, np.arange(4000), 0)
VISITS = np.zeros(4000, dtype=np.uint64)


def test_shifts_cover_their_range_evenly_and_flips_are_fair() -> None:
    drawn = draw(visited(CODES, VISITS, seed=1), augmentation=Augmentation(shift=2, flip=True))
    for axis in (0, 1):
        values, counts = np.unique(drawn[axis], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert np.abs(counts - 800).max() < 120
    assert abs(drawn[2].mean() - 0.5) < 0.03
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.05


def test_an_image_is_augmented_alike_wherever_it_stands_and_otherwise_on_the_next_visit() -> None:
    some = Augmentation(shift=3, flip=True)
    whole = draw(visited(CODES, VISITS, seed=5), augmentation=some)
    part = draw(visited(CODES[[17, 3]], VISITS[:2], seed=5), augmentation=some)
    assert np.array_equal(part, whole[:, [17, 3]])
    assert not np.array_equal(whole, draw(visited(CODES, VISITS + np.uint64(1), seed=5), augmentation=some))
    assert not np.array_equal(whole, draw(visited(CODES, VISITS, seed=6), augmentation=some))


def moved_image(image_HW: list[list[int]], *, border: int, drawn: list[int] | None) -> list[list[int]]:
    images = np.array(image_HW, dtype=np.uint8)[None, :, :, None]
    table = windows(resident((images,), device=torch.device("cpu"), border=border), border=border)
    chosen: Tensor | None = None if drawn is None else torch.tensor(drawn)[:, None]
    return gather(table, torch.tensor([0]), chosen)[0, :, :, 0].tolist()


def test_a_shift_moves_pixels_and_repeats_the_edge() -> None:
    image = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    moved = moved_image(image, border=1, drawn=[1, -1, 0])
    assert moved == [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]]
    assert moved_image(image, border=2, drawn=[-2, 2, 0]) == [[8, 8, 8, 9], [8, 8, 8, 9], [8, 8, 8, 9]]
    assert moved_image(image, border=0, drawn=None) == moved_image(image, border=2, drawn=None) == image


def test_a_flip_mirrors_left_to_right_after_the_shift() -> None:
    assert moved_image([[0, 1, 2, 3]], border=1, drawn=[0, 0, 1]) == [[3, 2, 1, 0]]
    assert moved_image([[0, 1, 2, 3]], border=1, drawn=[0, 1, 1]) == [[2, 1, 0, 0]]


def test_normalised_images_have_mean_0_and_deviation_1_in_channels_last_memory() -> None:
    images = torch.randint(0, 256, (5, 6, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = images.reshape(-1, 3).double()
    mean, std = flat.mean(0), flat.std(0, unbiased=False)
    out = normalise(images, mean.float(), std.float())
    assert out.shape == (5, 3, 6, 7)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5, rtol=0)
