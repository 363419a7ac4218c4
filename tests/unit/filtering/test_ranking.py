import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntrial_filtering.random_choice import item_uniforms
from syntrial_filtering.ranking import kept_count, lowest_of_each, share_of_each


@pytest.mark.parametrize(
    ("candidates", "keep", "count"), [(10, 0.7, 7), (10, 1.0, 10), (10, 0.01, 1), (3, 0.5, 2), (0, 0.5, 0), (7, 0.0, 0)]
)
def test_a_share_is_rounded_up_but_not_by_rounding_errors(candidates, keep, count):
    assert kept_count(candidates, keep=keep) == count


@st.composite
def _candidates(draw):
    groups = np.array(draw(st.lists(st.integers(0, 3), min_size=1, max_size=60)), dtype=np.int64)
    # Few distinct values, so that ties are common.
    scores = np.array(draw(st.lists(st.integers(0, 5), min_size=len(groups), max_size=len(groups))), dtype=np.float64)
    numbers = np.array([int((groups[:i] == g).sum()) for i, g in enumerate(groups)], dtype=np.int64)
    return groups, scores, numbers


@settings(max_examples=60, deadline=None)
@given(_candidates(), st.floats(0.01, 1.0), st.randoms(use_true_random=False))
def test_each_class_keeps_its_share_of_the_lowest_in_whatever_order_they_come(candidates, keep, random):
    groups, scores, numbers = candidates
    everyone = np.ones(len(groups), dtype=bool)
    quota = share_of_each(groups, keep=keep)
    kept = lowest_of_each(scores, groups=groups, numbers=numbers, quota=quota, among=everyone)
    for group in np.unique(groups):
        members = groups == group
        assert kept[members].sum() == kept_count(int(members.sum()), keep=keep)
        if (members & ~kept).any():
            assert scores[members & kept].max() <= scores[members & ~kept].min()
    order = np.array(random.sample(range(len(groups)), len(groups)))
    shuffled = lowest_of_each(scores[order], groups=groups[order], numbers=numbers[order], quota=quota, among=everyone)
    assert np.array_equal(shuffled, kept[order])


@settings(max_examples=40, deadline=None)
@given(_candidates(), st.integers(0, 10))
def test_a_quota_takes_the_first_by_number_and_a_larger_one_takes_them_too(candidates, size):
    groups, _, numbers = candidates
    everyone = np.ones(len(groups), dtype=bool)
    some = lowest_of_each(numbers, groups=groups, numbers=numbers, quota=dict.fromkeys(range(4), size), among=everyone)
    more = lowest_of_each(
        numbers, groups=groups, numbers=numbers, quota=dict.fromkeys(range(4), size + 1), among=everyone
    )
    assert (numbers[some] < size).all()
    assert (more | ~some).all()


def test_a_class_without_a_quota_gets_none():
    groups, numbers = np.array([0, 1]), np.array([0, 0])
    kept = lowest_of_each(numbers, groups=groups, numbers=numbers, quota={0: 5}, among=np.ones(2, dtype=bool))
    assert kept.tolist() == [True, False]


def test_an_items_random_number_depends_on_seed_class_and_number_alone():
    groups, numbers = np.array([0, 0, 1]), np.array([0, 1, 0])
    all_three = item_uniforms(seed=3, groups=groups, numbers=numbers)
    assert item_uniforms(seed=3, groups=groups[[2]], numbers=numbers[[2]]) == all_three[2]
    assert len(set(all_three.tolist())) == 3
    assert not np.array_equal(item_uniforms(seed=4, groups=groups, numbers=numbers), all_three)


def test_random_numbers_are_uniform():
    values = item_uniforms(seed=0, groups=np.zeros(20_000, dtype=np.int64), numbers=np.arange(20_000))
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    # Chi-squared with 19 degrees of freedom: 43.8 at p = .001.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
