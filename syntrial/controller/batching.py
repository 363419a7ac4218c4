"""Which ready steps share a Job. Pure.

A Job costs its pod's start and the imports of its stage, about ten seconds: short steps of one image share that. A long
training has a Job of its own, and so has every step that was tried before: what killed one pod must not kill its
neighbours again.
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from syntrial.experiment.dataset import SOURCES
from syntrial.experiment.model import Sharing
from syntrial.plan.steps import Step, shared_by
from syntrial.stages import stage_of

SHORT_WORK: Final = 50_000.0
"""Images through a network up to which a step is short: about ten seconds of a small network on one core."""

BATCH_WORK: Final = 200_000.0
"""Images through a network that the steps of one Job have at most together."""

BATCH_STEPS: Final = 8
"""Steps of one Job: a pod that is lost loses the place of so many at most."""


def batches(
    ready: Iterable[Step], *, alone: Collection[str], work: Mapping[str, float], sharing: Sharing
) -> list[tuple[str, tuple[Step, ...]]]:
    """The stage and the steps of each Job to be made, in the order of `ready`, the most urgent first.

    `alone` holds the keys of steps that were tried before; `work` what each step is expected to take (`expected_work`).
    `sharing` is how steps are shared that can be: these are in no Job with others, and one in several pods has a Job of
    its own.
    """
    made: list[tuple[str, list[Step]]] = []
    open_batches: dict[tuple[str, str, bool, int], list[Step]] = {}
    for step in ready:
        stage = stage_name(step.method)
        own = shared_by(step, sharing)
        if step.key in alone or work[step.key] > SHORT_WORK or own.pods > 1:
            made.append((stage, [step]))
            continue
        kind = (stage, step.program.image, downloads(step), own.devices)
        batch = open_batches.get(kind)
        total = sum(work[member.key] for member in batch or ())
        if batch is None or len(batch) >= BATCH_STEPS or total + work[step.key] > BATCH_WORK:
            batch = open_batches[kind] = []
            made.append((stage, batch))
        batch.append(step)
    return [(stage, tuple(steps)) for stage, steps in made]


def downloads(step: Step) -> bool:
    """Whether a step fetches its source from outside of the cluster: only such a step's pod is let out."""
    source = getattr(step.request, "source", None)
    kind = source.WhichOneof("kind") if source is not None else None
    return kind is not None and SOURCES[kind].downloads


@functools.cache
def stage_name(method: str) -> str:
    """The stage that serves a method."""
    return stage_of(method).name


def expected_work(steps: Iterable[Step]) -> dict[str, float]:
    """Images through a network by key; sampling, of which a plan knows no figure, counts as its generator's training.

    Steps come with their inputs before them, as plans list them.
    """
    work: dict[str, float] = {}
    for step in steps:
        work[step.key] = step.work
        if step.method.endswith("/SampleImages"):
            work[step.key] = max([step.work, *(work.get(key, 0.0) for key in step.after)])
    return work
