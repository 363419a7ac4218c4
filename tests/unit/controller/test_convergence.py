"""Whatever happens, in whatever order: a trial comes to its verdict, and no finished step runs twice.

Hypothesis chooses what happens to a world with a store, Jobs and one or two controllers, which are killed at any call.
"""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syntrial.cluster.manifests import keys_of
from syntrial.controller.controller import Controller
from tests.unit.controller.world import NAMESPACE, SPEC, Killed, World

EVENTS = (
    *("complete", "complete", "complete", "begin", "crash", "oom", "lose", "stop", "fail", "store fails"),
    *("store away", "store back", "delete job", "suspend", "resume", "time", "resync", "miss events", "restart"),
    *("hurry", "tarry"),
)
"""What may happen; twice or thrice what happens often."""


def happen(world: World, event: str, number: int, controllers: list[Controller]) -> None:
    """Lets one thing happen, to the Job `number` where it is about a Job."""
    jobs = sorted(world.jobs(), key=lambda job: str(job["metadata"]["name"]))
    job: dict[str, Any] | None = jobs[number % len(jobs)] if jobs else None
    match event:
        case "store away":
            world.backend.is_away = True
        case "store back":
            world.backend.is_away = False
        case "hurry":
            world.api.on_created = lambda job: complete_before_the_answer(world, job, controllers)
        case "tarry":
            world.api.on_created = lambda _job: None
        case "suspend":
            world.apply(spec={**SPEC, "suspend": True})
        case "resume":
            world.apply()
        case "time":
            world.now += 7.0 * (number % 60)
        case "resync" if not world.backend.is_away or number % 2:
            controllers[number % len(controllers)].resync()
        case "miss events":
            for _, seen in world.controllers:
                seen[0] = len(world.api.events)
        case "restart":
            victim = controllers[number % len(controllers)]
            world.kill(victim)
            controllers[controllers.index(victim)] = world.start()
    if job is None or world.backend.is_away:
        return
    pods = world.api.pods_of(NAMESPACE, job["metadata"]["name"])
    pod = pods[-1] if pods else None
    keys = keys_of(job)
    done = number % (len(keys) + 1)
    match event:
        case "complete":
            world.complete(job)
        case "begin" if pod is None:
            world.start_pod(job)
        case "crash" | "oom":
            pod = pod or world.start_pod(job)
            world.work(job, until=done)
            world.end_pod(job, pod, code=137, reason="OOMKilled" if event == "oom" else "Error")
        case "lose":
            world.work(job, until=done)
            if pod is not None:
                world.api.remove("Pod", NAMESPACE, pod["metadata"]["name"])
            world.end_pod(job, None, code=1)
        case "stop":
            pod = pod or world.start_pod(job)
            world.work(job, until=done)
            if done < len(keys):
                world.fail_step(job, keys[done], reason="Cancelled", outcome="cancelled")
            world.end_pod(job, pod, code=143)
        case "fail" | "store fails":
            pod = pod or world.start_pod(job)
            for index, key in enumerate(keys):
                if index == done:
                    world.fail_step(job, key, reason="Internal" if event == "fail" else "StoreUnavailable")
                else:
                    world.finish_step(key)
            world.end_pod(job, pod, code=1 if done < len(keys) else 0)
        case "delete job":
            world.api.remove("Job", NAMESPACE, job["metadata"]["name"])


def complete_before_the_answer(world: World, job: dict[str, Any], controllers: list[Controller]) -> None:
    """Ends a Job, and lets all watches tell of it, before the controller that made it hears that it is made."""
    calls = world.api.on_call, world.backend.on_call
    # Those of its pod are no calls of the controller.
    world.api.on_call = world.backend.on_call = lambda: None
    world.complete(job)
    world.api.on_call, world.backend.on_call = calls
    for controller in controllers:
        world.deliver(controller)


def look_until_killed(world: World, controllers: list[Controller], *, which: int, calls: int, lag: int) -> None:
    """One controller looks; after so many of its calls its process is killed, and another takes its place."""
    left = [calls]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    controller = controllers[which % len(controllers)]
    world.api.on_call = world.backend.on_call = count
    try:
        world.look(controller, lag=lag)
    except Killed:
        world.api.on_call = world.backend.on_call = lambda: None
        world.kill(controller)
        controllers[which % len(controllers)] = world.start()
    finally:
        world.api.on_call = world.backend.on_call = lambda: None


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(EVENTS),
        st.integers(0, 60),
        # Calls until the controller is killed: mostly more than a look makes.
        st.one_of(st.integers(0, 12), st.just(1000)),
        st.integers(0, 3),
    ),
    max_size=25,
)


def play(happenings: list[tuple[str, int, int, int]], *, controllers: int) -> World:
    """Lets it all happen, then lets all be well; the world as it is then."""
    world = World()
    uid = world.apply()
    alive = [world.start() for _ in range(controllers)]
    for event, number, calls, lag in happenings:
        happen(world, event, number, alive)
        before = {job["metadata"]["uid"] for job in world.jobs(live=False)}
        look_until_killed(world, alive, which=number, calls=calls, lag=lag)
        if world.backend.is_away:
            now = {job["metadata"]["uid"] for job in world.jobs(live=False)}
            assert now <= before, "nothing starts while the store does not answer"
            stopped = world.api.get("Experiment", NAMESPACE, "small")
            assert stopped is not None
            if not stopped["spec"].get("suspend"):
                assert now == before, "nothing is stopped while the store does not answer"
    world.backend.is_away = False
    world.apply()
    for controller in alive:
        world.now += 400
        controller.resync()
    for _ in range(60):
        for controller in alive:
            world.look(controller)
            controller.queue.add(uid)
        world.now += 400
        if world.condition("Succeeded")[0] == "True":
            break
        if world.condition("Succeeded")[0] == "False":
            # Three failures of one step: the user looks into it and asks for another try.
            for failure in world.status()["failures"]:
                world.store.add_attempt(failure["key"], {"outcome": "retry"}, experiment=uid)
        for job in world.jobs():
            # An earlier one may have been deleted, by a controller, in between.
            if world.api.get("Job", NAMESPACE, job["metadata"]["name"]) is not None:
                world.complete(job)
    return world


def check(world: World) -> None:
    status = world.status()
    assert world.condition("Succeeded")[0] == "True", status
    assert status["progress"] == f"{len(world.runs)}/{len(world.runs)}"
    assert set(world.runs.values()) == {1}, "no finished step runs twice"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_a_controller_that_is_killed_at_any_call_brings_every_trial_to_its_verdict(
    happenings: list[tuple[str, int, int, int]],
) -> None:
    world = play(happenings, controllers=1)
    check(world)
    for _ in range(3):
        world.look(world.controllers[0][0])
    assert not world.jobs(live=False), "a Job goes once its attempts are recorded"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_two_controllers_at_once_do_no_harm(happenings: list[tuple[str, int, int, int]]) -> None:
    check(play(happenings, controllers=2))
