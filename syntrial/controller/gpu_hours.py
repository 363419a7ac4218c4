"""GPU-hours that the pods of a namespace take in a calendar month, and what an operator lets them take. Pure.

Counted is how long a pod holds devices, by its own times, which the cluster keeps: what runs on while no controller
does is counted by the next. What is known of a pod is kept until it has gone, so that counting twice adds nothing.
`gpu_ledger.py` keeps the count in the cluster.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field, ValidationError

from syntrial.controller.views import PodView
from syntrial.errors import UserError
from syntrial.experiment.base import Model

Hours = Annotated[float, Field(ge=0.0, le=1e9)]

HOUR: Final = 3600.0


class Budget(Model):
    """GPU-hours of a month, as the chart's `controller.gpuHours` has them."""

    per_namespace: Hours | None = None
    """Of each namespace; None: as many as it likes."""
    namespaces: Mapping[str, Hours | None] = Field(default_factory=dict)
    """Of single ones, in place of that."""

    def of(self, namespace: str) -> float | None:
        """Those of a namespace; None: as many as it likes."""
        return self.namespaces.get(namespace, self.per_namespace)

    @property
    def is_given(self) -> bool:
        """Whether any namespace has a budget."""
        return any(hours is not None for hours in (self.per_namespace, *self.namespaces.values()))


def budget_from(text: str) -> Budget:
    """The budget that a JSON object gives; raises UserError."""
    try:
        return Budget.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            field=".".join(["--gpu-hours", *(str(part) for part in first["loc"])]),
            rule=first["msg"],
            received=first["input"],
            remedy="Give a JSON object as `controller.gpuHours` of the chart's values has it.",
        ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Of one namespace in one month."""

    month: str
    """2026-11, of UTC."""
    gone: float = 0.0
    """Device-seconds of pods that have gone."""
    pods: Mapping[str, float] = field(default_factory=dict)
    """By UID: those of pods that are there, so far."""

    @property
    def hours(self) -> float:
        """All of them."""
        return (self.gone + sum(self.pods.values())) / HOUR


def month_of(now: float) -> str:
    """The month in which a moment lies, in seconds since 1970."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m}"


def counted(known: Usage | None, pods: Iterable[PodView], *, now: float) -> Usage:
    """What is known once these pods are counted, which are all that the namespace has; `now` in seconds since 1970."""
    month = month_of(now)
    if known is None or known.month != month:
        known = Usage(month=month)
    since = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).timestamp()
    found = {pod.uid: _held(pod, known.pods.get(pod.uid, 0.0), since=since, now=now) for pod in pods if pod.devices}
    gone = sum(seconds for uid, seconds in known.pods.items() if uid not in found)
    return Usage(month=month, gone=known.gone + gone, pods={uid: seconds for uid, seconds in found.items() if seconds})


def _held(pod: PodView, known: float, *, since: float, now: float) -> float:
    """Device-seconds of a pod since the month began; never fewer than were known before."""
    if pod.began is None:
        return known
    until = now
    if pod.phase in ("Succeeded", "Failed"):
        # Where it ended and nothing says when, what was counted while it ran stands.
        until = min(now, pod.ended_at if pod.ended_at is not None else since)
    return max(known, pod.devices * (until - max(pod.began, since)))


def written(usage: Usage) -> str:
    """A usage as it is kept; `read` reads it."""
    pods = {uid: round(seconds, 1) for uid, seconds in sorted(usage.pods.items())}
    return json.dumps({"month": usage.month, "goneSeconds": round(usage.gone, 1), "podSeconds": pods})


def read(text: str) -> Usage:
    """What `written` wrote; raises ValueError for anything else."""
    try:
        tree = json.loads(text)
        return Usage(
            month=str(tree["month"]),
            gone=float(tree["goneSeconds"]),
            pods={str(uid): float(seconds) for uid, seconds in tree["podSeconds"].items()},
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a usage: {error}") from error
