"""What steps that decide might decide, for tests that compute nothing."""

from typing import Any

from syntrial.documents.search import Decision, TrialFigures


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
