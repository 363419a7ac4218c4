"""Looks that fail, last too long or hang: conditions, pauses, and the health of the process."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from syntrial.controller.failing import FIRST_PAUSE, LONGEST_PAUSE
from syntrial.controller.settings import Settings
from tests.unit.controller.world import World

LOOK_SECONDS = Settings.__dataclass_fields__["look_seconds"].default


@pytest.fixture(autouse=True)
def _quick_log() -> Iterator[None]:
    """Without pictures of tracebacks, which take a second each."""
    known = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**known)


def progressing(world: World) -> tuple[str, str]:
    return world.condition("Progressing")


def attend(world: World, *, times: int = 1) -> list[float | None]:
    """As a thread of the controller does it, as soon as each is due; the pauses."""
    controller, _ = world.controllers[-1]
    found = []
    for _ in range(times):
        world.deliver(controller)
        found.append(controller.attend(world.uid()))
        world.now += found[-1] or 0
    return found


def test_an_unexpected_error_is_a_condition_with_pauses_that_grow_and_end_with_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    monkeypatch.setattr("syntrial.controller.observe._read", lambda *_, **__: {}["secret-value"])
    pauses = attend(world, times=10)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert progressing(world) == ("Unknown", "LookFailed")
    said = str(world.status())
    assert "KeyError" in said
    assert "secret-value" not in said
    assert world.api.told.count("LookFailed") == 1
    monkeypatch.undo()
    assert attend(world) != [LONGEST_PAUSE]
    assert progressing(world)[0] == "True"
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_events_do_not_shorten_a_pause_and_another_specification_does(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.apply()
    controller = world.start()
    looks = []
    monkeypatch.setattr(controller, "look", lambda uid: looks.append(uid) or {}["x"])
    attend(world, times=4)
    assert len(looks) == 4
    world.now -= 1.0
    assert controller.attend(world.uid()) == 1.0
    assert len(looks) == 4
    world.apply()
    world.deliver(controller)
    controller.attend(world.uid())
    assert len(looks) == 5


def test_a_store_that_answers_slowly_makes_a_look_overdue_and_leaves_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.apply()
    controller = world.start()
    world.look(controller)
    known = world.status()
    assert known["steps"]["running"] == 0
    read = world.backend.read

    def slowly(*given: object, **named: object) -> object:
        world.now += LOOK_SECONDS
        return read(*given, **named)

    monkeypatch.setattr(world.backend, "read", slowly, raising=False)
    world.now += 1000
    controller.resync()
    began = world.now
    assert controller.attend(world.uid()) == FIRST_PAUSE
    assert world.now - began <= LOOK_SECONDS * 1.5
    assert progressing(world) == ("Unknown", "LookOverdue")
    assert world.status()["steps"] == known["steps"]
    assert world.condition("Valid")[0] == "True"
    assert world.jobs(), "what runs goes on"


def test_what_cannot_be_read_is_read_again_once_and_then_is_a_condition() -> None:
    world = World()
    world.apply()
    world.start()
    world.store.put_experiment_file(world.uid(), "plan.json", b"x" * (17 << 20))
    pauses = attend(world, times=3)
    assert pauses[1:] == [FIRST_PAUSE, 2 * FIRST_PAUSE]
    assert progressing(world) == ("Unknown", "StoreDamaged")
    assert "more than 16777216 bytes" in str(world.status())


def test_a_status_that_cannot_be_written_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.apply()
    controller = world.start()
    monkeypatch.setattr(controller, "look", lambda _uid: {}["x"])
    monkeypatch.setattr("tests.unit.controller.world.Api.patch_status", world.away)
    assert attend(world, times=2) == [FIRST_PAUSE, 2 * FIRST_PAUSE]


def test_a_look_that_lasts_for_ever_makes_the_process_unhealthy_and_a_long_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    uid = world.apply()
    controller = world.start()
    seen = []

    def hang(_uid: str) -> None:
        for seconds in (0, 2 * LOOK_SECONDS, 10 * LOOK_SECONDS):
            world.now += seconds
            seen.append(controller.hung())

    monkeypatch.setattr(controller, "look", hang)
    controller.attend(uid)
    assert seen == [[], [], [uid]]
    assert controller.hung() == []


def test_experiments_share_one_budget_and_one_that_was_forgotten_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    controller = world.start()
    monkeypatch.setattr(controller._memory, "_most", 20)
    names = [f"e{number}" for number in range(6)]
    for name in names:
        world.apply(name, spec={**world.spec, "seed": len(name)})
    world.look(controller)
    assert len(controller.remembered) < len(names)
    for name in names:
        world.settle(controller, name=name)
        assert world.condition("Succeeded", name)[0] == "True"
    assert set(world.runs.values()) == {1}
