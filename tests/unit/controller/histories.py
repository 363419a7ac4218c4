"""What may happen to a simulated world, in which order, and what must hold whatever happened.

A history is a list of happenings: an event, a number that says to what, the calls after which the controller that then
looks is killed, and how many events its watches lag behind.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from syntrial.cluster.manifests import keys_of, source_of_job
from syntrial.controller.controller import Controller
from syntrial.errors import ClusterRefused, ClusterUnavailable
from tests.unit.controller.world import NAMESPACE, SOURCED_SPEC, SPEC, Killed, World

EVENTS: Final = (
    *("complete", "complete", "complete", "begin", "crash", "oom", "lose", "stop", "fail", "store fails"),
    *("store away", "store fades", "store back", "delete job", "suspend", "resume", "edit", "time", "resync"),
    *("miss events", "restart", "hurry", "tarry", "refuse", "allow", "answer lost"),
)
"""What may happen; twice or thrice what happens often."""

EDITS: Final[tuple[dict[str, Any], ...]] = (
    {"cluster": {"nodeSelector": {"disk": "fast"}}},
    {"arms": ["augment-100"]},
    {"retention": "retain"},
)

Happening = tuple[str, int, int, int]

ALIVE: Final = 1000
"""More calls than a look makes."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What happens, and to whom."""

    happenings: Sequence[Happening]
    controllers: int = 1
    experiments: int = 1
    room: int = 512
    """Jobs that the namespace has at a time."""
    spec: Mapping[str, Any] = field(default_factory=lambda: SPEC)


def drawn(seed: int) -> History:
    """A history of up to 25 happenings."""
    chance = random.Random(seed)
    happenings = [
        (
            chance.choice(EVENTS),
            chance.randrange(61),
            chance.randrange(13) if chance.random() < 0.5 else ALIVE,
            chance.randrange(4),
        )
        for _ in range(chance.randrange(26))
    ]
    return History(
        happenings=happenings,
        controllers=chance.choice((1, 1, 2)),
        experiments=chance.choice((1, 1, 1, 2)),
        spec=chance.choice((SPEC, SPEC, SOURCED_SPEC)),
        room=chance.choice((512, 512, 2)),
    )


def happen(world: World, event: str, number: int, controllers: list[Controller]) -> None:
    """Lets one thing happen, to the Job `number` where it is about a Job."""
    jobs = sorted(world.jobs(), key=lambda job: str(job["metadata"]["name"]))
    job: dict[str, Any] | None = jobs[number % len(jobs)] if jobs else None
    name = world.names[number % len(world.names)]
    match event:
        case "store away":
            world.backend.is_away = True
        case "store fades" if not world.backend.is_away:
            world.backend.answers_left = number % 25
        case "store back":
            world.backend.is_away = False
        case "hurry":
            world.api.on_created = lambda job: complete_before_the_answer(world, job, controllers)
        case "tarry":
            world.api.on_created = lambda _job: None
        case "suspend":
            world.apply(name, spec={**world.spec, "suspend": True})
        case "resume":
            world.apply(name)
        case "edit":
            world.apply(name, spec={**world.spec, **EDITS[number % len(EDITS)]})
        case "refuse":
            words = 'jobs.batch "x" is forbidden: ' + ("exceeded quota: few" if number % 2 else "not here")
            world.api.refuse = ClusterRefused(words, status=403, reason="Forbidden", field="", remedy="")
        case "allow":
            world.api.refuse = None
        case "answer lost":
            world.api.on_created = lambda _job: lose_the_answer(world)
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
            if not keys:
                # Of an ingest: a server that does not answer, or an address that is wrong.
                world.end_pod(job, pod, code=2 if event == "fail" else 1)
                return
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


def lose_the_answer(world: World) -> None:
    """A Job is made, and who made it does not hear of it."""
    world.api.on_created = lambda _job: None
    world.has_lost_answer = True
    raise ClusterUnavailable("the answer got lost")


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


def play(history: History) -> World:
    """Lets it all happen, then lets all be well; the world as it is then."""
    world = World(history.spec, jobs_per_namespace=history.room)
    uids = [world.apply(name) for name in ("small", "second")[: history.experiments]]
    alive = [world.start() for _ in range(history.controllers)]
    for event, number, calls, lag in history.happenings:
        happen(world, event, number, alive)
        before = {job["metadata"]["uid"] for job in world.jobs(live=False)}
        is_away = world.backend.is_away
        look_until_killed(world, alive, which=number, calls=calls, lag=lag)
        if is_away:
            now = {job["metadata"]["uid"] for job in world.jobs(live=False)}
            assert now <= before, "nothing starts while the store does not answer"
    world.backend.is_away = False
    world.api.refuse = None
    for name in world.names:
        world.apply(name)
    for controller in alive:
        world.now += 400
        controller.resync()
    for _ in range(60):
        for controller in alive:
            world.look(controller)
            for uid in uids:
                controller.queue.add(uid)
        world.now += 400
        ends = {name: world.condition("Succeeded", name)[0] for name in world.names}
        if set(ends.values()) == {"True"}:
            break
        for name in [name for name, end in ends.items() if end == "False"]:
            # Three failures of one step: the user looks into it and asks for another try.
            for failure in world.status(name)["failures"] if "steps" in world.status(name) else ():
                world.store.add_attempt(failure["key"], {"outcome": "retry"}, experiment=world.uid(name))
        for job in world.jobs(live=False) if "False" in ends.values() else ():
            if source_of_job(job) is not None and "Failed" in str(job.get("status")):
                # A source that was given up is tried again once the record of its failure is taken away.
                world.api.remove("Job", NAMESPACE, job["metadata"]["name"])
        for job in world.jobs():
            # An earlier one may have been deleted, by a controller, in between.
            if world.api.get("Job", NAMESPACE, job["metadata"]["name"]) is not None:
                world.complete(job)
    return world


def check(world: World, history: History) -> None:
    """What must hold at the end: every trial has its verdict, and nothing ran twice."""
    for name in world.names:
        status = world.status(name)
        declared = [
            {field: entry[field] for field in ("endpoint", "comparisons", "evaluations")}
            for entry in world.store.registrations(world.uid(name))
        ]
        assert declared
        assert all(first != second for first, second in itertools.pairwise(declared)), "nothing is registered twice"
        assert world.condition("Succeeded", name)[0] == "True", status
        done, _, total = status["progress"].partition("/")
        assert done == total
        # Steps of an earlier specification may have run, and each experiment has a report of its own.
        is_one = len(world.names) == 1 and all(event != "edit" for event, *_ in history.happenings)
        assert int(total) == len(world.runs) if is_one else int(total) <= len(world.runs)
    assert set(world.runs.values()) == {1}, "no finished step runs twice"


def close(world: World) -> None:
    """Lets the Jobs go whose attempts are recorded, then ends the controllers."""
    world.api.on_created = lambda _job: None
    for _ in range(3):
        world.now += 400
        for controller, _ in world.controllers:
            world.look(controller)
        if len(world.controllers) > 1 or world.has_lost_answer:
            # One of two may have made a Job for a step that had just ended, and one whose maker did not hear of it may
            # have been made for another experiment too: its pod finds that out.
            for job in world.jobs():
                world.complete(job)
    assert not world.jobs(live=False), "a Job goes once its attempts are recorded"
    for controller, _ in list(world.controllers):
        world.kill(controller)
