"""Attempts at a trial's steps as its store has them: their logs, what failed for good, and the wish to try again.

The same on a laptop and on a cluster: a stage server records its attempts wherever it runs, and `syntrial retry` writes
one entry more. Called by the handles of a trial and by the command line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from syntrial.artifacts.store import ArtifactStore, AttemptRecord
from syntrial.errors import UserError
from syntrial.executors.drive import ATTEMPTS
from syntrial.plan.steps import Plan, Step

USER_REASONS: Final = frozenset({"UserError", "SourceError"})
"""Reasons of attempts that will fail again until the user changes something."""

NOT_COUNTED: Final = frozenset({"StoreUnavailable", "ArtifactMissing", "DataLoss"})
"""Reasons of failures that are not the step's own: tried again for as long as they last."""

FAILED: Final = "failed"
RETRY: Final = "retry"
"""The outcome of the entry that ends what earlier attempts forbid."""

_BATCH: Final = 16
"""Steps whose attempts are read at once, so that logs are shown as they come and not all held."""


class Ended(Protocol):
    """An attempt that is over, or the wish for another."""

    @property
    def outcome(self) -> str:
        """succeeded, failed, cancelled or retry."""
        ...

    @property
    def reason(self) -> str:
        """The kind of failure."""
        ...

    @property
    def retryable(self) -> bool:
        """Whether it may succeed where it is tried again as it is."""
        ...


_E = TypeVar("_E", bound=Ended)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSection:
    """The log of one attempt, ended or under way."""

    title: str
    text: str


def since_retry(attempts: Sequence[_E]) -> Sequence[_E]:
    """The attempts after the last `syntrial retry`."""
    for index in range(len(attempts) - 1, -1, -1):
        if attempts[index].outcome == RETRY:
            return attempts[index + 1 :]
    return attempts


def is_given_up(attempts: Sequence[Ended]) -> bool:
    """Whether a step is not tried again by itself."""
    recent = since_retry(attempts)
    failed = [attempt for attempt in recent if attempt.outcome == FAILED and attempt.reason not in NOT_COUNTED]
    if not failed:
        return False
    hopeless = any(attempt.reason in USER_REASONS or not attempt.retryable for attempt in failed)
    return hopeless or len(failed) >= ATTEMPTS


def remembered_failures(plan: Plan, *, uid: str, store: ArtifactStore) -> list[tuple[Step, AttemptRecord]]:
    """Steps that could start now but failed before because of something of the user's, each with its last attempt.

    The same request would fail again, so it is not tried until the user asks for it (`syntrial retry`).
    """
    done = store.done(step.key for step in plan.steps)
    found = []
    for step in plan.steps:
        if step.key not in done and done.issuperset(step.after):
            attempts = store.attempts(step.key, experiment=uid)
            if attempts and attempts[-1].reason in USER_REASONS:
                found.append((step, attempts[-1]))
    return found


def forgive(labels: Mapping[str, str], *, uid: str, store: ArtifactStore) -> list[str]:
    """Records the wish to try again for each unfinished step that failed since the last such wish; returns its label.

    `labels` holds the labels of steps by key. Whatever the reason was: after a user's error, and after back-off or out
    of memory alike.
    """
    done = store.done(labels)
    unfinished = [key for key in labels if key not in done]
    forgiven = []
    for key, attempts in zip(
        unfinished, store.each(lambda key: store.attempts(key, experiment=uid), unfinished), strict=True
    ):
        if any(attempt.outcome == FAILED for attempt in since_retry(attempts)):
            entry = {"outcome": RETRY, "reason": "", "message": "asked for by the user", "log": ""}
            store.add_attempt(key, entry, experiment=uid)
            forgiven.append(labels[key])
    return forgiven


def chosen(labels: Mapping[str, str], *, step: str | None) -> dict[str, str]:
    """The steps that a user means by the first digits of a key, or part of a label; all without any.

    Raises UserError where no step is meant.
    """
    found = {key: label for key, label in labels.items() if step is None or key.startswith(step) or step in label}
    if step is not None and not found:
        raise UserError(
            field="STEP",
            rule="is the first digits of a step's key, or part of its label",
            received=step,
            remedy="Leave it out to see all steps.",
        )
    return found


def recorded_logs(store: ArtifactStore, labels: Mapping[str, str]) -> Iterator[LogSection]:
    """The logs of the recorded attempts at these steps, in the plan's order; those of other experiments too."""
    keys = list(labels)
    for start in range(0, len(keys), _BATCH):
        part = keys[start : start + _BATCH]
        for key, attempts in zip(part, store.each(store.attempts, part), strict=True):
            for attempt in attempts:
                title = f"{labels[key]}  {key[:12]}  attempt {attempt.number}: {attempt.outcome}"
                yield LogSection(title=title, text=attempt.log)
