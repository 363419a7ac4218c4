"""Turns by group: properties over any order of puts, takes and ends."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from syntrial.controller.fairness import Turns


def test_groups_take_turns_whoever_has_more() -> None:
    turns = Turns(places=8)
    for number in range(1000):
        turns.put(f"a{number}", "a")
    turns.put("b0", "b")
    turns.put("c0", "c")
    taken = [turns.take() for _ in range(4)]
    assert taken == ["a0", "b0", "c0", "a1"]


def test_a_group_has_a_quarter_of_the_places_and_the_next_of_it_waits_for_an_end() -> None:
    turns = Turns(places=8)
    for number in range(5):
        turns.put(f"a{number}", "a")
    assert [turns.take() for _ in range(3)] == ["a0", "a1", None]
    turns.put("b0", "b")
    assert turns.take() == "b0"
    turns.finish("a1")
    assert [turns.take(), turns.take()] == ["a2", None]


def test_with_few_places_each_group_has_one() -> None:
    turns = Turns(places=3)
    for name in ("a0", "a1", "b0"):
        turns.put(name, name[0])
    assert [turns.take(), turns.take(), turns.take()] == ["a0", "b0", None]


@given(
    places=st.integers(1, 12),
    does=st.lists(st.one_of(st.sampled_from(["a", "b", "c"]), st.just("take"), st.integers(0, 20)), max_size=80),
)
def test_nothing_is_lost_no_share_is_passed_and_nobody_waits_without_need(places: int, does: list[str | int]) -> None:
    turns = Turns(places=places)
    waiting: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    working: list[str] = []
    for number, do in enumerate(does):
        if isinstance(do, int):
            if working:
                turns.finish(working.pop(do % len(working)))
        elif do == "take":
            busy = Counter(name[0] for name in working)
            may = {group for group, names in waiting.items() if names and busy[group] < max(1, places // 4)}
            name = turns.take()
            assert (name is None) == (not may)
            if name is not None:
                assert name[0] in may
                assert waiting[name[0]].pop(0) == name, "in a group, first come is first served"
                working.append(name)
        else:
            waiting[do].append(f"{do}{number}")
            turns.put(f"{do}{number}", do)
        assert len(turns) == sum(map(len, waiting.values()))
