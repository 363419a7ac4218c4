"""Whatever happens, in whatever order: a trial comes to its verdict, and no finished step runs twice.

Hypothesis chooses what happens to a world with a store, Jobs and one or two controllers, which are killed at any call.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syntrial.artifacts import store
from syntrial.trial import run
from tests.unit.controller.histories import ALIVE, EVENTS, Happening, History, check, close, drawn, play
from tests.unit.controller.world import SOURCED_SPEC, TUNED_SPEC

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


@pytest.fixture(scope="module", autouse=True)
def _pure_functions_are_worked_out_once() -> Iterator[None]:
    """What takes most of a history's time depends on its arguments alone."""

    def once(function: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
        known: dict[object, Any] = {}

        def call(*given: Any, **named: Any) -> Any:
            of = key(*given, **named)
            if of not in known:
                known[of] = function(*given, **named)
            return known[of]

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            run, "plan", once(run.plan, lambda of, *given, **named: (of.model_dump_json(), repr((given, named))))
        )
        patch.setattr(run, "to_yaml", once(run.to_yaml, lambda of: of.model_dump_json()))
        patch.setattr(store, "parse_manifest", once(store.parse_manifest, lambda data, key: (data, key)))
        yield


def run_history(history: History) -> None:
    world = play(history)
    check(world, history)
    close(world)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_a_controller_that_is_killed_at_any_call_brings_every_trial_to_its_verdict(happenings: list[Happening]) -> None:
    run_history(History(happenings=happenings))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_two_controllers_at_once_do_no_harm(happenings: list[Happening]) -> None:
    run_history(History(happenings=happenings, controllers=2))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS, st.integers(1, 2))
def test_two_experiments_that_wait_for_room_for_a_job_both_come_to_their_verdict(
    happenings: list[Happening], controllers: int
) -> None:
    run_history(History(happenings=happenings, experiments=2, controllers=controllers, room=2))


def test_a_job_that_ended_stays_while_a_store_is_away_that_no_look_has_asked() -> None:
    events = ("complete",) * 4 + ("hurry", "time", "complete", "lose", "complete", "complete", "store away", "time")
    numbers = {5: 35, 11: 40}
    happenings = [(event, numbers.get(index, 0), ALIVE, 0) for index, event in enumerate(events)]
    run_history(History(happenings=happenings))


def test_a_job_whose_maker_did_not_hear_of_it_may_be_made_for_another_experiment_too_and_goes_in_the_end() -> None:
    happenings = [
        ("complete", 0, ALIVE, 0),
        ("answer lost", 0, ALIVE, 0),
        # The step that both experiments share fails: the first makes its second attempt, and hears no answer.
        ("stop", 54, ALIVE, 2),
        ("complete", 48, ALIVE, 1),
        ("hurry", 0, ALIVE, 0),
    ]
    run_history(History(happenings=happenings, experiments=2))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_a_source_is_brought_into_the_store_whatever_happens(
    happenings: list[Happening],
) -> None:
    run_history(History(happenings=happenings, spec=SOURCED_SPEC))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_a_search_comes_to_its_end_whatever_happens(happenings: list[Happening]) -> None:
    run_history(History(happenings=happenings, spec=TUNED_SPEC))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(20))
def test_of_twenty_thousand_histories_none_breaks_a_promise(shard: int) -> None:
    failures: dict[int, str] = {}
    for seed in range(1000 * shard, 1000 * (shard + 1)):
        history = drawn(seed)
        try:
            run_history(history)
        except Exception as error:  # noqa: BLE001 - told with its seed
            failures[seed] = f"{type(error).__name__}: {error}; after {history}"
    assert not failures, "\n".join(f"seed {seed}: {words}" for seed, words in failures.items())
