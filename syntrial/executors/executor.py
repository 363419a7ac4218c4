"""What an executor is: it starts steps and tells of them in events.

`local.py` runs steps on this machine; `drive.py` walks a plan with whichever executor. Every executor tells of a step
that it was given exactly one end: `StepSucceeded` or `StepFailed`, also after `cancel`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from syntrial.errors import SyntrialError
from syntrial.plan.steps import Step
from syntrial.v1.progress_pb2 import StepProgress

LOG_TAIL_LINES: Final = 40
"""Lines of a failed attempt's log that travel with its event; the whole log is in the store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStarted:
    """A server has taken up the step."""

    key: str
    attempt: int
    """Counted from 1 within this run."""
    place: str
    """Where it runs, for example "generation server 4711"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepProgressed:
    """A running step said how far it is."""

    key: str
    progress: StepProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSucceeded:
    """The step's artifact is in the store."""

    key: str
    artifact_digest: str
    progress: StepProgress
    """The last one, with the resources that the attempt used where the executor knows them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFailed:
    """An attempt ended without an artifact."""

    key: str
    attempt: int
    reason: str
    """In CamelCase, for example "UserError", "ServerDied", "OutOfMemory" or "Cancelled"."""
    message: str
    log_tail: str
    retryable: bool
    """Whether another attempt may succeed with nothing changed by the user."""
    error: SyntrialError
    """What the step raised, or what its end amounts to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerDied:
    """A stage's server ended by itself; the executor starts another one when it is needed."""

    stage: str
    status: int
    """Exit status; negative: the signal that ended it."""
    log_tail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWaits:
    """A failed step is tried again, or waits for an input that is made again."""

    key: str
    attempt: int
    """The attempt that comes next."""
    seconds: float
    """How long it waits first."""
    reason: str


Event = StepStarted | StepProgressed | StepSucceeded | StepFailed | ServerDied | StepWaits


class Executor(Protocol):
    """Starts steps and tells of them. Used from one thread."""

    def start(self, step: Step, *, attempt: int, priority: float) -> None:
        """Takes a step whose inputs are in the store; it begins when there is room, higher priorities first.

        Returns at once.
        """
        ...

    def wait(self, *, timeout: float | None = None) -> Sequence[Event]:
        """The events since the last call, in order; waits for the first one, at most `timeout` seconds."""
        ...

    def cancel(self, key: str) -> None:
        """Asks a step to stop; its `StepFailed` with reason "Cancelled" follows."""
        ...

    def close(self) -> None:
        """Stops all that runs, with a chance to save checkpoints, and gives back what it holds."""
        ...
