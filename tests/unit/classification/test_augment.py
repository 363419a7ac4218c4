import numpy as np
import torch
from syntrial_classification.augment import Augmentation, draw, gather, normalise
from syntrial_classification.streams import item_codes

CODES = item_codes(0, np.arange(4000), 0)
VISITS = np.zeros(4000, dtype=np.uint64)


def test_shifts_cover_their_range_evenly_and_flips_are_fair() -> None:
    drawn = draw(CODES, VISITS, seed=1, augmentation=Augmentation(shift=2, flip=True))
    for axis in (0, 1):
        values, counts = np.unique(drawn[axis], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert np.abs(counts - 800).max() < 120
    assert abs(drawn[2].mean() - 0.5) < 0.03
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.05


def test_an_image_is_augmented_alike_wherever_it_stands_and_otherwise_on_the_next_visit() -> None:
    some = Augmentation(shift=3, flip=True)
    whole = draw(CODES, VISITS, seed=5, augmentation=some)
    part = draw(CODES[[17, 3]], VISITS[:2], seed=5, augmentation=some)
    assert np.array_equal(part, whole[:, [17, 3]])
    assert not np.array_equal(whole, draw(CODES, VISITS + np.uint64(1), seed=5, augmentation=some))
    assert not np.array_equal(whole, draw(CODES, VISITS, seed=6, augmentation=some))


def test_a_shift_moves_pixels_and_repeats_the_edge() -> None:
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4, 1)
    moved = gather(image, torch.tensor([0]), torch.tensor([[1], [-1], [0]]))[0, :, :, 0]
    assert moved.tolist() == [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]]


def test_a_flip_mirrors_left_to_right_after_the_shift() -> None:
    image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 4, 1)
    assert gather(image, torch.tensor([0]), torch.tensor([[0], [0], [1]]))[0, 0, :, 0].tolist() == [3, 2, 1, 0]
    shifted = gather(image, torch.tensor([0]), torch.tensor([[0], [1], [1]]))[0, 0, :, 0].tolist()
    assert shifted == [2, 1, 0, 0]


def test_normalised_images_have_mean_0_and_deviation_1_in_channels_last_memory() -> None:
    images = torch.randint(0, 256, (5, 6, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = images.reshape(-1, 3).double()
    mean, std = flat.mean(0), flat.std(0, unbiased=False)
    out = normalise(images, mean.float(), std.float())
    assert out.shape == (5, 3, 6, 7)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5, rtol=0)
