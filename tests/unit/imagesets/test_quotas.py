import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntrial.imagesets.quotas import candidates, class_quota, most_rounds, next_oversample, total_quota
from syntrial.v1.generation_pb2 import Balance

COUNTS = st.lists(st.integers(0, 400), min_size=1, max_size=9)
RATIOS = st.floats(0, 4)
BALANCES = st.sampled_from([Balance.BALANCE_MATCH, Balance.BALANCE_UNIFORM, Balance.BALANCE_FILL])


def one_by_one(counts: list[int], total: int) -> tuple[int, ...]:
    have = list(counts)
    for _ in range(total):
        k = min((k for k, count in enumerate(counts) if count), key=lambda k: (have[k], k))
        have[k] += 1
    return tuple(now - before for now, before in zip(have, counts, strict=True))


@given(COUNTS)
def test_matching_at_ratio_one_asks_for_the_training_counts(counts: list[int]) -> None:
    assert class_quota(counts, ratio=1, balance=Balance.BALANCE_MATCH) == tuple(counts)


@given(COUNTS, RATIOS, RATIOS, BALANCES)
def test_a_smaller_ratio_is_nested_in_a_larger_one(counts: list[int], one: float, other: float, balance: int) -> None:
    small = class_quota(counts, ratio=min(one, other), balance=balance)
    large = class_quota(counts, ratio=max(one, other), balance=balance)
    assert all(a <= b for a, b in zip(small, large, strict=True))


@given(COUNTS, RATIOS, BALANCES)
def test_the_total_is_the_ratio_of_all_images_but_for_rounding(counts: list[int], ratio: float, balance: int) -> None:
    quota = class_quota(counts, ratio=ratio, balance=balance)
    assert abs(sum(quota) - ratio * sum(counts)) <= 0.5 * len(counts) + 1e-6
    assert all(n == 0 for n, count in zip(quota, counts, strict=True) if count == 0)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any), st.floats(0, 2))
def test_filling_equals_giving_out_images_one_by_one(counts: list[int], ratio: float) -> None:
    total = total_quota(sum(counts), ratio=ratio)
    assert class_quota(counts, ratio=ratio, balance=Balance.BALANCE_FILL) == one_by_one(counts, total)


def test_uniform_shares_out_equally() -> None:
    assert class_quota([10, 90], ratio=0.5, balance=Balance.BALANCE_UNIFORM) == (25, 25)


def test_halves_are_rounded_up() -> None:
    assert class_quota([3, 5], ratio=0.5, balance=Balance.BALANCE_MATCH) == (2, 3)


def test_candidates_are_rounded_up_but_not_by_an_error_in_the_last_place() -> None:
    assert candidates(10, oversample=1.1) == 11
    assert candidates(11, oversample=1.1) == 13
    assert candidates(0, oversample=3) == 0


@pytest.mark.parametrize(("counts", "ratio"), [([1], -0.1), ([1], float("nan")), ([-1], 1.0)])
def test_impossible_numbers_are_refused(counts: list[int], ratio: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        class_quota(counts, ratio=ratio, balance=Balance.BALANCE_MATCH)


def test_the_next_round_is_by_the_share_that_passed_within_bounds() -> None:
    assert next_oversample(2, limit=32, share=0.25) == 4.4
    assert next_oversample(2, limit=32, share=0.49) == 3
    assert next_oversample(2, limit=32, share=0.01) == next_oversample(2, limit=32, share=0) == 8
    assert next_oversample(2, limit=3.5, share=0.25) == 3.5


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_no_more_rounds_come_than_are_counted(share: float) -> None:
    drawn, rounds = 1.04, 1
    while drawn < 32:
        drawn, rounds = next_oversample(drawn, limit=32, share=share), rounds + 1
    assert rounds <= most_rounds(1.04, limit=32)
    assert most_rounds(4, limit=4) == most_rounds(4, limit=0) == 1
