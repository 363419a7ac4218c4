"""What steps that decide might decide, for tests that compute nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from syntrial.documents.search import Decision, TrialFigures
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.search import NONE, Decisions
from syntrial.plan.steps import Plan
from syntrial.v1.analysis_pb2 import Look
from syntrial.v1.data_preparation_pb2 import Source

FIRST_LOOK = (Look(number=1, evaluations="a"),)


def decided(method: str, request: Any, *, best: int | None = None, enough: float = 0.0) -> Decision:
    """Rates by number; of those compared the first goes on; the last one left wins, or `best`, by its second part.

    Of `enough` candidates filters leave an image.
    """
    match method.rpartition("/")[2]:
        case "ProposeTrials":
            first = len(request.trials)
            rates = tuple({"learningRate": (first + index + 1) / 10_000} for index in range(request.count))
            return Decision(version=1, kind="propose", proposed=rates)
        case "PruneTrials":
            return Decision(version=1, kind="prune", going_on=tuple(request.deciding[:1]))
        case "FilterImages":
            is_short = len(request.filters) > 0 and request.oversample < min(enough, request.oversample_limit)
            return Decision(version=1, kind="quota", oversample=request.oversample * 2 if is_short else None)
        case _:
            left = [trial.number for trial in request.trials if not trial.failed and not trial.pruned]
            chosen = (left[-1] if left else 0) if best is None else best
            trials = tuple(trial_figures(trial.number, part=1 if trial.snapshots else None) for trial in request.trials)
            return Decision(version=1, kind="choose", best=chosen, trials=trials)


def trial_figures(number: int, *, part: int | None = None) -> TrialFigures:
    """A trial that counts by a part of its training."""
    return TrialFigures(number=number, parameters={}, title="", figures=(), pruned=False, failed="", part=part)


def plan_whole(
    experiment: Experiment,
    sources: Mapping[str, Source],
    *,
    looks: Sequence[Look] = FIRST_LOOK,
    earlier: Mapping[str, str] | None = None,
) -> Plan:
    """The plan with its report: all is decided, and filters leave enough at once."""
    decisions = NONE
    while (found := plan(experiment, sources, decisions=decisions, earlier=earlier)).undecided:
        by_key = {step.key: step for step in found.training}
        made = {key: decided(by_key[key].method, by_key[key].request) for key in found.undecided}
        decisions = Decisions(made={**decisions.made, **made})
    return plan(experiment, sources, decisions=decisions, earlier=earlier, looks=looks)
