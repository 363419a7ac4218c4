"""How long an experiment whose looks fail is left alone."""

from syntrial.controller.failing import FIRST_PAUSE, LONGEST_PAUSE, Failing


def test_pauses_grow_up_to_the_longest_and_one_good_look_forgets_them() -> None:
    failing, pauses = Failing(), []
    now = 0.0
    for times in range(1, 1200):
        assert failing.failed("a", generation=1, now=now) == times
        pauses.append(failing.pause("a", generation=1, now=now))
        now += pauses[-1]
        assert failing.pause("a", generation=1, now=now) == 0
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE
    failing.went_well("a")
    assert len(failing) == 0
    assert failing.failed("a", generation=1, now=now) == 1


def test_another_specification_is_looked_at_at_once_and_counts_anew() -> None:
    failing = Failing()
    for _ in range(5):
        failing.failed("a", generation=1, now=0.0)
    assert failing.pause("a", generation=2, now=0.0) == 0
    assert failing.failed("a", generation=2, now=0.0) == 1
    assert failing.pause("b", generation=1, now=0.0) == 0
