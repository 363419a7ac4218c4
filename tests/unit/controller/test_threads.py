"""What several threads of one controller do at once, in an order that the test chooses."""

import threading
import time
from typing import Any

import pytest

from syntrial.controller.controller import Controller
from syntrial.errors import ClusterRefused, ClusterUnavailable
from tests.unit.controller.world import World


def before_several_starts(*, threads: int) -> tuple[World, Controller]:
    """A world whose next look starts several Jobs."""
    world = World()
    world.apply()
    controller = world.start(threads=threads)
    world.look(controller)
    (job,) = world.jobs()
    world.complete(job)
    return world, controller


def test_a_job_that_is_made_late_does_not_undo_a_refusal() -> None:
    world, controller = before_several_starts(threads=2)
    is_refused, sent = threading.Event(), []
    first = threading.Lock()

    def answer(job: dict[str, Any], change: str) -> None:
        if change != "made":
            return
        sent.append(job["metadata"]["name"])
        if first.acquire(blocking=False):
            assert is_refused.wait(10)
            # The other thread is done with its refusal a moment later.
            time.sleep(0.2)
            return
        is_refused.set()
        raise ClusterRefused(
            'jobs.batch "x" is forbidden: exceeded quota: few', status=403, reason="Forbidden", field="", remedy=""
        )

    world.api.on_change = answer
    world.look(controller)
    assert len(sent) == 2, "nothing is sent after a refusal"
    assert [job["metadata"]["name"] for job in world.jobs()] == sent[:1]
    assert "QuotaExceeded" in [item["reason"] for item in world.status()["pending"]]
    world.api.on_change = lambda _job, _change: None
    world.now += 11
    world.settle(controller)
    assert world.condition("Succeeded")[0] == "True"


def test_a_look_that_fails_ends_only_when_nothing_of_it_is_under_way() -> None:
    world, controller = before_several_starts(threads=2)
    has_begun, may_end, is_made = threading.Event(), threading.Event(), threading.Event()
    first = threading.Lock()

    def answer(job: dict[str, Any], change: str) -> None:
        if first.acquire(blocking=False):
            assert has_begun.wait(10)
            raise ClusterUnavailable("no answer")
        has_begun.set()
        assert may_end.wait(10)
        is_made.set()

    world.api.on_change = answer
    world.deliver(controller)
    uid = controller.queue.take(wait=False)
    assert uid is not None
    failures: list[Exception] = []

    def look() -> None:
        try:
            controller.look(uid)
        except ClusterUnavailable as error:
            failures.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    assert has_begun.wait(10)
    thread.join(0.2)
    assert thread.is_alive(), "another look at this experiment could begin beside this one"
    may_end.set()
    thread.join(10)
    assert is_made.is_set()
    assert failures


@pytest.mark.parametrize("threads", [1, 8])
def test_however_many_threads_act_the_trial_comes_to_its_verdict(threads: int) -> None:
    world, controller = before_several_starts(threads=threads)
    world.settle(controller)
    assert world.condition("Succeeded") == ("True", "VerdictReached")
    assert set(world.runs.values()) == {1}
