"""What is written to MLflow: runs, with all that stands in them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from syntrial.artifacts.keys import canonical_digest
from syntrial.tracking.settings import allowed_name
from syntrial.v1.artifacts_pb2 import MemberRef

State = Literal["RUNNING", "FINISHED", "FAILED"]
"""As MLflow calls them."""

TRIAL: Final = "trial"
"""The run of the trial itself, whose children all others are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value of a metric."""

    name: str
    value: float
    step: int = 0
    """Images or optimiser steps, of a curve; 0 of a figure that has no course."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a run, which is read when it is sent."""

    ref: MemberRef
    blob: str | None
    """The blob whose bytes it is; None: the member is a set of images, and the file a picture of some of each class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run."""

    id: str
    """What it is found again by, within its trial: the key of the artifact that it shows, where it shows one."""
    name: str
    kind: str
    """trial, cell, classifier, set, generator, or another word for what was trained."""
    parent: str | None = TRIAL
    """The `id` of the run that it stands under."""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Point, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    """By their path in the run."""
    state: State = "FINISHED"
    seconds: float | None = None
    """What it took; None: from the first sending to the last."""

    @property
    def digest(self) -> str:
        """Of all that is written: a run that was sent whole is not sent again. Artifacts never change."""
        return canonical_digest(
            {
                "name": self.name,
                "kind": self.kind,
                "parent": self.parent or "",
                "params": dict(self.params),
                # As text: a figure need not be one that JSON has.
                "metrics": [[point.name, repr(point.value), str(point.step)] for point in self.metrics],
                "tags": dict(self.tags),
                "files": {path: [f.ref.key, f.ref.member, f.blob or ""] for path, f in self.files.items()},
                "state": self.state,
                "seconds": repr(self.seconds),
            }
        )


def points(figures: Mapping[str, Any]) -> list[Point]:
    """Figures that are numbers; those that do not exist are left out."""
    return [
        Point(name=allowed_name(name), value=float(value))
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
