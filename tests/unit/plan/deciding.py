"""What steps that decide might decide, for tests that compute nothing."""

from typing import Any

from syntrial.documents.search import Decision


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
            part = 1 if request.trials[chosen].snapshots else None
            return Decision(version=1, kind="choose", best=chosen, best_part=part)
