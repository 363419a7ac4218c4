"""Walks a plan: starts what is ready, skips what is done, tries again what may succeed, and says what became of it.

Works with any executor. Done is what the store says; nothing is remembered between two walks, so one that was killed is
taken up where it stood.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import ArtifactMissing, Cancelled, DataLoss, StoreUnavailable
from syntrial.executors.executor import Event, Executor, StepFailed, StepSucceeded, StepWaits
from syntrial.plan.search import DECIDING
from syntrial.plan.steps import Step

ATTEMPTS: Final = 3
"""Failed attempts at a step before it is given up: within one walk, and on record until `syntrial retry`."""

_FIRST_PAUSE: Final = 0.5
"""Seconds before the second attempt; each further pause is four times as long, up to a minute."""

_CANCEL_PATIENCE: Final = 30.0
"""Seconds that cancelled steps get to end before the walk gives up waiting for them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of the steps of a plan."""

    finished: tuple[str, ...]
    """Keys of the steps that ran in this walk, in the order of their ends."""
    skipped: tuple[str, ...]
    """Keys of the steps that were done already."""
    failures: tuple[StepFailed, ...]
    """The last failure of each step that did not succeed."""
    blocked: tuple[str, ...]
    """Keys of the steps that could not start, since what they wait for failed."""

    @property
    def is_complete(self) -> bool:
        """Whether all steps of the plan are done."""
        return not self.failures and not self.blocked


def drive(
    steps: Sequence[Step],
    *,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None] = lambda _event: None,
    attempts: int = ATTEMPTS,
    more: Callable[[], Sequence[Step]] | None = None,
) -> Outcome:
    """Runs the steps that are not done, each after those that it waits for; nothing starts where all are done.

    A failure leaves the steps that do not depend on it running. Steps outside of `steps` that one waits for must be
    done. `more` gives the steps anew where something was decided, or a trial of a search failed: those that are new are
    run too, and those that are gone are not. Ctrl-C cancels what runs, waits for it, and goes on to the caller as
    KeyboardInterrupt. Raises StoreUnavailable where the store does not answer at the start.
    """
    walk = _Walk(steps, store=store, executor=executor, on_event=on_event, attempts=attempts)
    try:
        while walk.is_active():
            walk.start_ready()
            walk.handle(executor.wait(timeout=walk.pause()))
            if more is not None and walk.has_decided:
                walk.take(more())
    except KeyboardInterrupt:
        walk.cancel_all()
        raise
    return walk.outcome()


def priorities(steps: Iterable[Step]) -> dict[str, float]:
    """The work on the longest path from each step to the plan's end: what the whole plan waits for goes first.

    Steps come with their inputs before them, as plans list them.
    """
    longest: dict[str, float] = {}
    for step in reversed(list(steps)):
        # One more for each step, so that an input goes before what needs it where neither has an estimate.
        total = longest.get(step.key, 0.0) + step.work + 1.0
        longest[step.key] = total
        for key in step.after:
            longest[key] = max(longest.get(key, 0.0), total)
    return longest


class _Walk:
    """The state of one walk through a plan."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        store: ArtifactStore,
        executor: Executor,
        on_event: Callable[[Event], None],
        attempts: int,
    ) -> None:
        self._steps = {step.key: step for step in steps}
        self._store = store
        self._executor = executor
        self._on_event = on_event
        self._attempts = attempts
        self._priorities = priorities(steps)
        self._all = list(dict.fromkeys([*self._steps, *(key for step in steps for key in step.after)]))
        self._done = store.done(self._all)
        self._skipped = [key for key in self._steps if key in self._done]
        self._todo = dict.fromkeys(key for key in self._steps if key not in self._done)
        self._running: set[str] = set()
        self._pauses: list[tuple[float, str]] = []
        self._begun: Counter[str] = Counter()
        self._failures: dict[str, StepFailed] = {}
        self._finished: list[str] = []
        self.has_decided = False
        """Whether since the steps were taken something was decided, or a step failed without which a search goes on."""

    def take(self, steps: Sequence[Step]) -> None:
        """Goes on with these steps in place of those before; what runs and is gone runs to its end."""
        self.has_decided = False
        wanted = {step.key: step for step in steps}
        new = [key for key in wanted if key not in self._steps]
        for key in [key for key in self._steps if key not in wanted and key not in self._running]:
            del self._steps[key]
            self._todo.pop(key, None)
            self._failures.pop(key, None)
            self._pauses = [(when, paused) for when, paused in self._pauses if paused != key]
        self._steps = wanted | {key: step for key, step in self._steps.items() if key in self._running}
        self._priorities = {**self._priorities, **priorities(steps)}
        self._all = list(dict.fromkeys([*self._all, *self._steps, *(key for step in steps for key in step.after)]))
        done = self._store.done(new)
        self._done |= done
        self._skipped += [key for key in new if key in done]
        self._todo |= dict.fromkeys(key for key in new if key not in done)

    def is_active(self) -> bool:
        """Whether anything runs, waits for its next attempt, or can start."""
        return bool(self._running or self._pauses or self._ready())

    def pause(self) -> float | None:
        """Seconds until a step's next attempt; None where there is only the running ones' end to wait for."""
        if not self._pauses:
            # With nothing running, all that was ready was found done: look again at once.
            return None if self._running else 0.0
        return max(0.0, self._pauses[0][0] - time.monotonic())

    def start_ready(self) -> None:
        """Gives the executor all steps whose inputs are done; those that are done meanwhile are skipped."""
        while self._pauses and self._pauses[0][0] <= time.monotonic():
            self._todo[heapq.heappop(self._pauses)[1]] = None
        ready = self._ready()
        # An input that was made again and came out the same makes its dependants stand again.
        standing = self._standing(ready) if self._finished else set()
        for key in sorted(ready, key=lambda key: -self._priorities[key]):
            del self._todo[key]
            if key in standing:
                self._done.add(key)
                self._skipped.append(key)
                self.has_decided |= self._steps[key].method in DECIDING
                continue
            self._begun[key] += 1
            self._running.add(key)
            self._executor.start(self._steps[key], attempt=self._begun[key], priority=self._priorities[key])

    def handle(self, events: Sequence[Event]) -> None:
        """Takes up what the executor tells."""
        for event in events:
            self._on_event(event)
            if isinstance(event, StepSucceeded):
                self._running.discard(event.key)
                self._done.add(event.key)
                self._finished.append(event.key)
                self.has_decided |= self._steps[event.key].method in DECIDING
            elif isinstance(event, StepFailed):
                self._running.discard(event.key)
                self._failed(event)

    def cancel_all(self) -> None:
        """Cancels what runs and waits for it to end, for a while."""
        for key in sorted(self._running):
            self._executor.cancel(key)
        deadline = time.monotonic() + _CANCEL_PATIENCE
        while self._running and time.monotonic() < deadline:
            for event in self._executor.wait(timeout=1.0):
                self._on_event(event)
                if isinstance(event, StepSucceeded | StepFailed):
                    self._running.discard(event.key)

    def outcome(self) -> Outcome:
        """What became of the steps."""
        needed = {key for step in self._steps.values() for key in step.after}
        missing = [key for key in self._all if key in needed and key not in self._steps and key not in self._done]
        blocked = [key for key in self._steps if key in self._todo]
        failures = list(self._failures.values())
        if missing and not failures:
            failures.append(_missing_outside(missing, blocked))
        return Outcome(
            finished=tuple(self._finished),
            skipped=tuple(self._skipped),
            failures=tuple(failures),
            blocked=tuple(blocked),
        )

    def _ready(self) -> list[str]:
        return [key for key in self._todo if self._done.issuperset(self._steps[key].after)]

    def _failed(self, event: StepFailed) -> None:
        if isinstance(event.error, DataLoss | ArtifactMissing):
            self._look_again(event)
        if not event.retryable or isinstance(event.error, Cancelled) or self._begun[event.key] >= self._attempts:
            self._failures[event.key] = event
            self.has_decided |= self._steps[event.key].of_trial
            return
        seconds = min(60.0, _FIRST_PAUSE * 4.0 ** (self._begun[event.key] - 1))
        self._on_event(
            StepWaits(key=event.key, attempt=self._begun[event.key] + 1, seconds=seconds, reason=event.reason)
        )
        heapq.heappush(self._pauses, (time.monotonic() + seconds, event.key))

    def _look_again(self, event: StepFailed) -> None:
        """After an input was found damaged or missing: what no longer stands is to be made again."""
        standing = self._standing(self._all)
        lost = [key for key in self._steps if key in self._done and key not in standing]
        for key in lost:
            if self._begun[key] < self._attempts:
                self._done.discard(key)
                self._todo[key] = None
                self._skipped = [skipped for skipped in self._skipped if skipped != key]
            else:
                self._failures[key] = event

    def _standing(self, keys: Sequence[str]) -> set[str]:
        try:
            return self._store.done(keys) if keys else set()
        except StoreUnavailable:
            # Nothing is known: the servers look again before they start.
            return set(keys) & self._done


def _missing_outside(missing: Sequence[str], blocked: Sequence[str]) -> StepFailed:
    error = ArtifactMissing(f"{len(missing)} artifacts that the plan builds on are not in the store: {missing[0]}…")
    return StepFailed(
        key=blocked[0] if blocked else missing[0],
        attempt=0,
        reason="ArtifactMissing",
        message=str(error),
        log_tail="",
        retryable=True,
        error=error,
    )
