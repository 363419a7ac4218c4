"""The verbs of a search: which trials come next, which are trained on, and which is the best.

Pure functions of their requests and of what the trials gave. Trials come from Optuna's tree-structured Parzen estimator
(Bergstra et al. 2011), which is told all earlier ones; what is compared on the way is stopped after asynchronous
successive halving (Li et al. 2020).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from syntrial.counting import counted
from syntrial.documents.document import read, write
from syntrial.documents.quality import Quality
from syntrial.documents.search import MEMBER, NAME, Decision, TrialFigures
from syntrial.errors import UserError
from syntrial.rpc.context import StepContext
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    ChooseTrialRequest,
    Dimension,
    Objective,
    ProposeTrialsRequest,
    PruneTrialsRequest,
    SearchTrial,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

DRAWN_AT_RANDOM: Final = 5
"""Trials before the estimator has a say."""

DIGITS: Final = 4
"""Significant digits of what is tried: machines whose last bits differ try the same."""

_ASKED: Final = 100
"""How often another trial is asked for in place of one that was there before."""

_FIGURES: Final[Mapping[int, str]] = {
    Objective.OBJECTIVE_AUROC: "auroc",
    Objective.OBJECTIVE_ACCURACY: "accuracy",
    Objective.OBJECTIVE_BALANCED_ACCURACY: "balanced_accuracy",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """A trial with its figures."""

    trial: SearchTrial
    parameters: Mapping[str, Any]
    figures: tuple[float, ...]
    failed: str
    lowest: bool
    """Whether the lowest figure is the best."""

    def counts(self, *, parts: int) -> int:
        """The part by which it counts, of its first `parts`: of snapshots the first of the best; else the last."""
        if not self.trial.snapshots:
            return parts - 1
        return min(range(parts), key=lambda part: self.figures[part] if self.lowest else -self.figures[part])

    @property
    def best_part(self) -> int | None:
        """The part by which it may be chosen; None where it has none: it failed, or was stopped before its end."""
        if self.failed or not self.figures or (self.trial.pruned and not self.trial.snapshots):
            return None
        return self.counts(parts=len(self.figures))

    @property
    def best(self) -> float | None:
        """The figure of that part."""
        return None if self.best_part is None else self.figures[self.best_part]


def propose_trials(request: ProposeTrialsRequest, context: StepContext) -> None:
    """Writes `decision`: the fields of the trials to come, fewer than asked for where all there are were tried."""
    from optuna import create_study, logging
    from optuna.samplers import TPESampler

    if not request.dimensions:
        raise UserError(field="dimensions", rule="a search has something to try", received="none", remedy="Name one.")
    logging.set_verbosity(logging.ERROR)
    space = {item.field: _Dimension(item) for item in request.dimensions}
    trials = _judged(request.trials, request.objective, context)
    digest = hashlib.sha256(f"{request.seed} {len(trials)}".encode()).digest()
    sampler = TPESampler(seed=int.from_bytes(digest[:4], "big"), n_startup_trials=DRAWN_AT_RANDOM)
    study = create_study(direction="minimize" if _is_lowest_best(request.objective) else "maximize", sampler=sampler)
    for trial in trials:
        if (told := _told(trial, space)) is not None:
            study.add_trial(told)
    distributions = {name: dimension.distribution for name, dimension in space.items()}
    known = [dict(trial.parameters) for trial in trials if trial.parameters]
    proposed: list[dict[str, Any]] = []
    for _ in range(_ASKED):
        if len(proposed) == request.count:
            break
        asked = study.ask(distributions).params
        values = {name: space[name].value(asked[name]) for name in space}
        if values not in known:
            known.append(values)
            proposed.append(values)
    _write(context, Decision(version=1, kind="propose", proposed=tuple(proposed)))


def prune_trials(request: PruneTrialsRequest, context: StepContext) -> None:
    """Writes `decision`: of the trials that are to be decided on, those among the best share that came as far.

    At least the best goes on, and trial 0: what is chosen in the end was compared with it.
    """
    lowest = _is_lowest_best(request.objective)
    part = request.part
    reached = {
        found.trial.number: found.figures[found.counts(parts=part + 1)]
        for found in _judged(request.trials, request.objective, context)
        if len(found.figures) > part
    }
    ranked = sorted(reached, key=lambda number: (reached[number] if lowest else -reached[number], number))
    best = ranked[: max(1, math.floor(len(ranked) * request.keep))]
    going_on = tuple(number for number in request.deciding if number in best or number == 0)
    _write(context, Decision(version=1, kind="prune", going_on=going_on))


def choose_trial(request: ChooseTrialRequest, context: StepContext) -> None:
    """Writes `decision`: the best of the trials that were trained to the end, the first of equals.

    Of snapshots it is the best part of any trial: one that was stopped early was judged at its moments as the others.
    Raises UserError where there is none.
    """
    lowest = _is_lowest_best(request.objective)
    trials = _judged(request.trials, request.objective, context)
    bests = {found.trial.number: found.best for found in trials if found.best is not None}
    if not bests:
        words = "; ".join(dict.fromkeys(found.failed for found in trials if found.failed))
        raise UserError(
            field="trials",
            rule="a trial of a search must be trained to its end",
            received=f"{counted(len(trials), 'trial')}, all failed: {words}"[:1000],
            remedy="Mend what is written, which is trial 0, or narrow what is tried.",
        )
    best = min(bests, key=lambda number: (bests[number] if lowest else -bests[number], number))
    decision = Decision(
        version=1,
        kind="choose",
        best=best,
        objective=Objective.Name(request.objective).removeprefix("OBJECTIVE_").lower().replace("_", "-"),
        lowest=lowest,
        reference=_reference(request, best, context),
        trials=tuple(
            TrialFigures(
                number=found.trial.number,
                parameters=dict(found.parameters),
                title=found.trial.title,
                figures=found.figures,
                pruned=found.trial.pruned,
                failed=found.failed,
                part=found.counts(parts=len(found.figures)) if found.trial.snapshots and found.figures else None,
            )
            for found in trials
        ),
    )
    _write(context, decision)


def _write(context: StepContext, decision: Decision) -> None:
    write(context.output, MEMBER, NAME, document=decision)


def _is_lowest_best(objective: int) -> bool:
    return objective == Objective.OBJECTIVE_FRECHET


def _judged(trials: Sequence[SearchTrial], objective: int, context: StepContext) -> list[_Judged]:
    found = []
    for number, trial in enumerate(trials):
        if trial.number != number:
            raise UserError(
                field="trials", rule="stand in order", received=str(trial.number), remedy=f"This is {number}."
            )
        each = [_figure(ref, objective, context) for ref in trial.judged]
        count = max(trial.replicates, 1)
        figures = [_mean(each[first : first + count]) for first in range(0, len(each), count)]
        failed = trial.failed
        if None in figures and not failed:
            failed = "there are too few images for what it is judged by"
        known = tuple(figure for figure in figures if figure is not None)
        parameters = {name: _number(value) for name, value in MessageToDict(trial.parameters).items()}
        lowest = _is_lowest_best(objective)
        found.append(_Judged(trial=trial, parameters=parameters, figures=known, failed=failed, lowest=lowest))
        context.check_cancelled()
    return found


def _mean(figures: Sequence[float | None]) -> float | None:
    """The mean of what judged a part; None where one of them has no figure."""
    known = [figure for figure in figures if figure is not None]
    return math.fsum(known) / len(known) if len(known) == len(figures) else None


def _figure(ref: MemberRef, objective: int, context: StepContext) -> float | None:
    if ref.member == "test":
        raise UserError(
            field="trials", rule="are never judged on the test split", received="it", remedy="Name another split."
        )
    reader = context.open(ref)
    if objective == Objective.OBJECTIVE_FRECHET:
        distance = read(Quality, reader, "quality.json").frechet
        return distance.synthetic_real if distance is not None else None
    value = reader.json("metrics.json")[_FIGURES[objective]]
    return float(value) if value is not None else None


def _reference(request: ChooseTrialRequest, best: int, context: StepContext) -> float | None:
    if request.HasField("reference"):
        return _figure(request.reference, request.objective, context)
    if request.objective == Objective.OBJECTIVE_FRECHET:
        distance = read(Quality, context.open(request.trials[best].judged[-1]), "quality.json").frechet
        return distance.floor if distance is not None else None
    return None


def _told(found: _Judged, space: Mapping[str, "_Dimension"]) -> "FrozenTrial | None":
    """A trial as Optuna is told of it; None of one that lies outside of what is tried."""
    from optuna.trial import TrialState, create_trial

    inside = {name: space[name].internal(found.parameters.get(name)) for name in space}
    if any(value is None for value in inside.values()) or not found.figures or found.failed:
        return None
    return create_trial(
        params=inside,
        distributions={name: dimension.distribution for name, dimension in space.items()},
        # Those of a trial that was stopped are what the estimator knows it by.
        intermediate_values={part: found.figures[found.counts(parts=part + 1)] for part in range(len(found.figures))},
        value=None if found.trial.pruned else found.best,
        state=TrialState.PRUNED if found.trial.pruned else TrialState.COMPLETE,
    )


class _Dimension:
    """A field as Optuna knows it: values of a choice by their places, since they may be lists."""

    def __init__(self, message: Dimension) -> None:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        self._values: list[Any] | None = None
        self.distribution: BaseDistribution
        if message.WhichOneof("kind") == "choice":
            self._values = [_number(value) for value in MessageToDict(message.choice).get("values", [])]
            self.distribution = CategoricalDistribution(range(len(self._values)))
            return
        span = message.range
        self._low, self._high, self._whole = span.low, span.high, span.whole
        if not span.low < span.high or (span.log and span.low <= 0):
            raise UserError(
                field=f"dimensions.{message.field}",
                rule="a range rises, and one of orders of magnitude begins above 0",
                received=f"{span.low:g} to {span.high:g}",
                remedy="Write the smaller number first.",
            )
        if span.whole:
            self.distribution = IntDistribution(int(span.low), int(span.high), log=span.log)
        else:
            self.distribution = FloatDistribution(span.low, span.high, log=span.log)

    def value(self, internal: Any) -> Any:
        """What is tried, of what Optuna has."""
        if self._values is not None:
            return self._values[internal]
        if self._whole:
            return int(internal)
        return min(max(float(f"{internal:.{DIGITS}g}"), self._low), self._high)

    def internal(self, value: Any) -> Any:
        """What Optuna has, of what was tried; None where it is outside."""
        if self._values is not None:
            return self._values.index(value) if value in self._values else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not self._low <= value <= self._high:
            return None
        return value


def _number(value: Any) -> Any:
    """A number of JSON that is whole as an int, as users write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
