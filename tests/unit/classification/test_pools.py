import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from syntrial_classification.pools import (
    SYNTHETIC,
    Order,
    Pool,
    batch_bounds,
    choose,
    largest_remainder,
    make_pool,
    permuted_labels,
    repeat,
    resample,
)

from syntrial.errors import UserError

LABELS = np.repeat(np.arange(3), [60, 30, 10])


def pool_of(real: int, synthetic: int) -> Pool:
    numbers = np.arange(synthetic, dtype=np.int64)
    rows = np.arange(real, dtype=np.int64)
    return make_pool(rows, copies=np.zeros_like(rows), synthetic_numbers=numbers, synthetic_rows=numbers + real)


@given(share=st.floats(0, 1), larger=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_shares_are_stratified_and_nested(share: float, larger: float, seed: int) -> None:
    share, larger = sorted((share, larger))
    rows = choose(LABELS, share=share, seed=seed)
    assert len(rows) == round(share * 100)
    assert np.abs(np.bincount(LABELS[rows], minlength=3) - share * np.array([60, 30, 10])).max() <= 1.5
    assert set(rows) <= set(choose(LABELS, share=larger, seed=seed))


def test_another_seed_chooses_other_images() -> None:
    assert set(choose(LABELS, share=0.5, seed=1)) != set(choose(LABELS, share=0.5, seed=2))


def test_repetitions_are_whole_rounds_and_a_share() -> None:
    rows, copies = repeat(LABELS, ratio=2.5, seed=0)
    assert np.bincount(copies).tolist() == [0, 100, 100, 50]
    assert np.bincount(LABELS[rows[copies == 3]]).tolist() == [30, 15, 5]


def test_resampling_gives_the_asked_proportions_and_repeats_where_images_are_few() -> None:
    rows, copies = resample(LABELS, proportions=np.array([1, 1, 2]), total=100, seed=0)
    assert np.bincount(LABELS[rows]).tolist() == [25, 25, 50]
    assert copies[LABELS[rows] == 0].max() == 0
    assert np.unique(rows[LABELS[rows] == 2], return_counts=True)[1].tolist() == [5] * 10
    with pytest.raises(UserError, match="class 3"):
        resample(LABELS, proportions=np.array([1, 1, 1, 1]), total=8, seed=0)


def test_whole_shares_sum_to_the_total() -> None:
    assert largest_remainder(np.array([1.0, 1.0, 1.0]), 100).tolist() == [34, 33, 33]


def test_permuted_labels_keep_their_counts_and_touch_nothing_else() -> None:
    numbers = np.arange(20, 90)
    permuted = permuted_labels(LABELS, numbers=numbers, seed=4)
    assert np.bincount(permuted).tolist() == np.bincount(LABELS).tolist()
    assert np.array_equal(np.delete(permuted, numbers), np.delete(LABELS, numbers))
    # Were labels and images still tied, all 70 would agree; chance leaves about 70 × (.57² + .43² × ...) < 50.
    assert (permuted[numbers] == LABELS[numbers]).sum() < 50
    assert not np.array_equal(permuted, permuted_labels(LABELS, numbers=numbers, seed=5))


def test_each_pass_shows_every_item_once_in_another_order() -> None:
    order = Order(pool_of(7, 4), seed=0, phase=0)
    items, passes = order.draws(0, 33)
    for number in range(3):
        assert sorted(items[passes == number]) == list(range(11))
    assert items[:11].tolist() != items[11:22].tolist()


@given(start=st.integers(0, 40), length=st.integers(1, 30))
def test_draws_are_the_same_in_whatever_pieces_they_are_asked_for(start: int, length: int) -> None:
    order = Order(pool_of(7, 4), seed=3, phase=1)
    items, passes = order.draws(start, start + length)
    whole = order.draws(0, 80)
    assert np.array_equal(items, whole[0][start : start + length])
    assert np.array_equal(passes, whole[1][start : start + length])


def test_real_images_keep_their_relative_order_whatever_synthetic_ones_are_mixed_in() -> None:
    mixed = Order(pool_of(50, 30), seed=9, phase=0)
    alone = Order(pool_of(50, 0), seed=9, phase=0)
    items, _ = mixed.draws(0, 80)
    assert np.array_equal(items[mixed.pool.origins[items] != SYNTHETIC], alone.draws(0, 50)[0])


@given(draws=st.integers(1, 60))
def test_expected_counts_are_those_of_the_draws(draws: int) -> None:
    order = Order(pool_of(7, 4), seed=2, phase=0)
    items, _ = order.draws(0, draws)
    synthetic = int((order.pool.origins[items] == SYNTHETIC).sum())
    assert order.expected(draws) == {"real": draws - synthetic, "synthetic": synthetic}


@pytest.mark.parametrize(
    ("images", "bounds"), [(16, [0, 8, 16]), (19, [0, 8, 16, 19]), (17, [0, 8, 17]), (3, [0, 3]), (1, [0, 1])]
)
def test_batches_are_full_but_for_the_last_and_none_holds_one_image_alone(images: int, bounds: list[int]) -> None:
    assert batch_bounds(images, batch_size=8) == bounds
