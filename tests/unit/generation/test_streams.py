import numpy as np
import torch
from syntrial_generation.streams import RowsRandom, batch_indices, item_noise, step_generator


def test_an_items_noise_does_not_depend_on_what_is_drawn_beside_it() -> None:
    many = item_noise("test", seed=1, label=0, indices=range(10), shape=(2, 3))
    few = item_noise("test", seed=1, label=0, indices=range(4, 6), shape=(2, 3))
    assert torch.equal(many[4:6], few)


def test_seed_class_index_and_purpose_each_give_other_noise() -> None:
    rows = [
        item_noise(purpose, seed=seed, label=label, indices=range(index, index + 1), shape=(4,))[0].tolist()
        for purpose, seed, label, index in [
            ("a", 0, 0, 0),
            ("b", 0, 0, 0),
            ("a", 1, 0, 0),
            ("a", 0, 1, 0),
            ("a", 0, 0, 1),
        ]
    ]
    assert len({tuple(row) for row in rows}) == 5


def test_noise_is_standard_normal() -> None:
    noise = item_noise("test", seed=0, label=0, indices=range(500), shape=(100,))
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def test_every_image_is_shown_once_an_epoch_also_where_batches_span_epochs() -> None:
    shown = np.concatenate([batch_indices(7, batch_size=3, step=step, seed=5) for step in range(7)])
    for epoch in range(3):
        assert sorted(shown[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert list(shown[:7]) != list(shown[7:14])


def test_a_batch_may_be_larger_than_the_split() -> None:
    assert np.bincount(batch_indices(4, batch_size=10, step=0, seed=0)).min() >= 2


def test_each_step_has_a_stream_of_its_own() -> None:
    first, again, other = (torch.randn(4, generator=step_generator("x", seed=1, step=step)) for step in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_some_rows_have_the_numbers_that_they_have_where_all_are_drawn() -> None:
    def drawn(random: RowsRandom, count: int) -> list[torch.Tensor]:
        return [random.rand(count, 1, 1), random.randn(count), random.randint(-3, 4, count, 2)]

    whole = drawn(RowsRandom(torch.Generator().manual_seed(1)), 6)
    some = drawn(RowsRandom(torch.Generator().manual_seed(1), rows=slice(2, 5), of=6), 3)
    assert all(torch.equal(few, many[2:5]) for few, many in zip(some, whole, strict=True))
