"""Whatever happens, in whatever order: a trial comes to its verdict, and no finished step runs twice.

Hypothesis chooses what happens to a world with a store, Jobs and one or two controllers, which are killed at any call.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.controller.histories import ALIVE, EVENTS, Happening, check, close, drawn, play

HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(EVENTS),
        st.integers(0, 60),
        # Calls until the controller is killed: mostly more than a look makes.
        st.one_of(st.integers(0, 12), st.just(ALIVE)),
        st.integers(0, 3),
    ),
    max_size=25,
)


def run(happenings: list[Happening], *, controllers: int = 1, experiments: int = 1) -> None:
    world = play(happenings, controllers=controllers, experiments=experiments)
    check(world, happenings)
    close(world)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_a_controller_that_is_killed_at_any_call_brings_every_trial_to_its_verdict(happenings: list[Happening]) -> None:
    run(happenings)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_two_controllers_at_once_do_no_harm(happenings: list[Happening]) -> None:
    run(happenings, controllers=2)


def test_a_job_that_ended_stays_while_a_store_is_away_that_no_look_has_asked() -> None:
    events = ("complete",) * 4 + ("hurry", "time", "complete", "lose", "complete", "complete", "store away", "time")
    numbers = {5: 35, 11: 40}
    run([(event, numbers.get(index, 0), ALIVE, 0) for index, event in enumerate(events)])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(20))
def test_of_twenty_thousand_histories_none_breaks_a_promise(shard: int) -> None:
    failures: dict[int, str] = {}
    for seed in range(1000 * shard, 1000 * (shard + 1)):
        happenings, controllers, experiments = drawn(seed)
        try:
            run(happenings, controllers=controllers, experiments=experiments)
        except Exception as error:  # noqa: BLE001 - told with its seed
            failures[seed] = f"{type(error).__name__}: {error}; after {happenings}"
    assert not failures, "\n".join(f"seed {seed}: {words}" for seed, words in failures.items())
