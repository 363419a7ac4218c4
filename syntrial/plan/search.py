"""A search, as steps that grow: its trials, and the decisions between. Pure.

A search goes in rounds. Each round's trials are proposed by a step that is told what earlier ones gave, and judged;
where trials are pruned, a step says after each part of their training which go on; at the end a step says which is the
best. What such a step decided comes to the planner as a document, with which the plan is made anew: up to there it is
the same. What a trial is made of, and what judges it, is that of `generator_trials` and `classifier_trials`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from pydantic import ValidationError

from syntrial.counting import counted
from syntrial.documents.search import MEMBER, Decision
from syntrial.errors import UserError
from syntrial.experiment.base import Model
from syntrial.experiment.tuning import Dimension as Tried
from syntrial.experiment.tuning import SearchFields, objective_of, refusal_of, takes_halves, with_parameters
from syntrial.plan.networks import Add
from syntrial.plan.steps import member_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import (
    ChooseTrialRequest,
    Dimension,
    ProposeTrialsRequest,
    PruneTrialsRequest,
    SearchTrial,
)

SEARCHING: Final = frozenset(
    f"syntrial.v1.GenerationService/{name}" for name in ("ProposeTrials", "PruneTrials", "ChooseTrial")
)
"""Methods by which a search decides."""

DECIDING: Final = SEARCHING | {"syntrial.v1.FilteringService/FilterImages"}
"""Methods whose result is a decision, or may be one, which a further plan reads."""

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What is on record of a trial's decisions, by the keys of steps."""

    made: Mapping[str, Decision] = field(default_factory=dict)
    """By steps that decide."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Why steps of searches' trials are not tried again; the searches go on without these trials."""


NONE: Final = Decisions()


class Spoiled(Exception):
    """A step of a trial failed for good, for the reason that this says."""


@dataclass(kw_only=True, slots=True)
class Trial(Generic[M]):
    """A trial of a search, as far as it has come."""

    number: int
    made: M | None
    """What is tried; None: the parameters make none."""
    parameters: Mapping[str, Any]
    title: str = ""
    judged: list[MemberRef] = field(default_factory=list)
    pruned: bool = False
    failed: str = ""

    def told(self, *, replicates: int, snapshots: bool) -> SearchTrial:
        """What steps that decide are told of it."""
        message = SearchTrial(
            number=self.number,
            title=self.title,
            judged=self.judged,
            pruned=self.pruned,
            failed=self.failed,
            replicates=replicates,
            snapshots=snapshots,
        )
        message.parameters.update(self.parameters)
        return message


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen(Generic[M]):
    """What a search came to."""

    number: int
    """The trial's."""
    part: int
    """Of the trial's training, after which it was the best; -1: the last."""
    made: M
    decision: MemberRef


class Searched(ABC, Generic[M]):
    """What a search is for: a set's generator, or a classifier."""

    name: str
    """In labels."""
    tune: SearchFields
    written: M
    """As the experiment has it: trial 0."""
    beside: Sequence[tuple[str, M]] = ()
    """What else is tried as it is written, each with its words."""
    objective: str
    """By what trials are judged; its word."""
    replicates: int = 0
    """How many judge each part of a trial, of which the mean counts; 0: one does."""
    snapshots: bool = False
    """Whether what each part of a trial made may be chosen."""

    @abstractmethod
    def check(self, name: str, value: Any) -> None:
        """Raises UserError for a value of a field with which nothing can be planned."""

    @abstractmethod
    def value(self, name: str) -> Any:
        """What a field has in what is written, its preset filled in; None where that is no value."""

    @abstractmethod
    def add_part(self, trial: Trial[M], made: M, *, part: int, about: str) -> list[MemberRef]:
        """Adds the steps of a part of a trial, counted from 0; gives what judges it.

        Raises Spoiled where one of them has failed for good, UserError for what does not fit together.
        """

    @abstractmethod
    def reference(self) -> MemberRef | None:
        """What is told beside the trials by the same judge; None where there is nothing of the kind."""

    def is_whole(self, name: str, low: float) -> bool:
        """Whether a field that takes the whole number `low` takes no others than whole ones."""
        return not takes_halves(self.written, name, whole=low)


class Search(Generic[M]):
    """A search, as far as its decisions are known."""

    def __init__(self, searched: Searched[M], *, decisions: Decisions, add: Add, awaits: list[str]) -> None:
        """`add` adds the steps that decide; `awaits` takes the keys of those whose decisions the plan waits for."""
        self._searched, self._decisions, self._add = searched, decisions, add
        self._tune = searched.tune
        self._objective = objective_of(searched.objective)
        self._parts = self._tune.parts
        self._trials: list[Trial[M]] = []
        self._awaits = awaits

    def chosen(self) -> Chosen[M] | None:
        """Adds the steps that are known; gives the best trial, or None where that is yet to be decided."""
        self._dimensions = [self._dimension(name, tried) for name, tried in self._tune.over.items()]
        written = [("as it is written", self._searched.written), *self._searched.beside]
        while len(self._trials) < self._tune.trials:
            first = len(self._trials)
            known = written[first : first + self._tune.parallel]
            now = [self._known(first + index, made, title=title) for index, (title, made) in enumerate(known)]
            asked = min(self._tune.parallel, self._tune.trials - first) - len(now)
            proposed = self._propose(asked, first=first + len(now)) if asked > 0 and self._dimensions else []
            is_whole = proposed is not None
            now += proposed or []
            if not now and is_whole:
                break
            if not self._run(now, is_whole=is_whole):
                return None
            self._trials += now
        return self._choose()

    def _known(self, number: int, made: M, *, title: str) -> Trial[M]:
        values = ((name, self._searched.value(name)) for name in self._tune.over) if number == 0 else ()
        parameters = {name: value for name, value in values if value is not None}
        return Trial(number=number, made=made, parameters=parameters, title=title)

    def _propose(self, count: int, *, first: int) -> list[Trial[M]] | None:
        """The trials that come next; None where that is yet to be decided."""
        request = ProposeTrialsRequest(
            seed=self._tune.seed,
            dimensions=self._dimensions,
            objective=self._objective,
            trials=self._told(self._trials),
            count=count,
        )
        numbers = f"trial {first}" if count == 1 else f"trials {first} to {first + count - 1}"
        decision = self._decide("ProposeTrials", request, verb="propose", about=f"{numbers} of {self._searched.name}")
        if decision is None:
            return None
        found = []
        for index, parameters in enumerate(decision.proposed):
            trial: Trial[M] = Trial(number=first + index, made=None, parameters=parameters)
            try:
                trial.made = with_parameters(self._searched.written, parameters)
            except (ValidationError, LookupError) as error:
                trial.failed = refusal_of(error)
            found.append(trial)
        return found

    def _run(self, trials: list[Trial[M]], *, is_whole: bool) -> bool:
        """Adds the steps of a round's trials; whether all of the round is decided.

        Where some of its trials are not known yet, the first parts of the others are added all the same.
        """
        active = [trial for trial in trials if not trial.failed]
        for part in range(self._parts):
            for trial in active:
                self._run_part(trial, part)
            active = [trial for trial in active if not trial.failed]
            if not is_whole:
                return False
            if part == self._parts - 1 or not active:
                break
            if self._tune.prune is None or self._tune.shares[part] not in self._tune.pruned_after:
                continue
            request = PruneTrialsRequest(
                objective=self._objective,
                trials=self._told([*self._trials, *trials]),
                part=part,
                deciding=[trial.number for trial in active],
                keep=self._tune.prune.keep,
            )
            numbers = ", ".join(str(trial.number) for trial in active)
            about = f"{counted(len(active), 'trial')} of {self._searched.name} after part {part + 1}: {numbers}"
            decision = self._decide("PruneTrials", request, verb="compare", about=about)
            if decision is None:
                return False
            for trial in active:
                trial.pruned = trial.number not in decision.going_on
            active = [trial for trial in active if not trial.pruned]
        return True

    def _run_part(self, trial: Trial[M], part: int) -> None:
        assert trial.made is not None
        about = f"{self._searched.name} trial {trial.number}"
        if self._parts > 1:
            about += f" part {part + 1}/{self._parts}"
        try:
            trial.judged += self._searched.add_part(trial, trial.made, part=part, about=about)
        except Spoiled as error:
            trial.failed = str(error)
        except UserError as error:
            # What a search makes up may not fit together; what its user wrote is told at once.
            if trial.number <= len(self._searched.beside):
                raise
            trial.failed = str(error)

    def _choose(self) -> Chosen[M] | None:
        request = ChooseTrialRequest(objective=self._objective, trials=self._told(self._trials))
        if (reference := self._searched.reference()) is not None:
            request.reference.CopyFrom(reference)
        about = f"the best trial of {self._searched.name}"
        decision = self._decide("ChooseTrial", request, verb="choose", about=about)
        if decision is None or decision.best is None:
            return None
        best = self._trials[decision.best]
        assert best.made is not None
        part = decision.trials[decision.best].part
        return Chosen(
            number=best.number,
            part=-1 if part is None else part,
            made=best.made,
            decision=member_of(self._decided, MEMBER),
        )

    def _decide(self, method: str, request: Message, *, verb: str, about: str) -> Decision | None:
        key = self._decided = self._add(f"GenerationService/{method}", request, verb=verb, about=about)
        decision = self._decisions.made.get(key)
        if decision is None:
            self._awaits.append(key)
        return decision

    def _told(self, trials: Sequence[Trial[M]]) -> list[SearchTrial]:
        searched = self._searched
        return [trial.told(replicates=searched.replicates, snapshots=searched.snapshots) for trial in trials]

    def _dimension(self, name: str, tried: Tried) -> Dimension:
        """The dimension as requests have it; raises UserError for a value of it with which nothing can be planned."""
        for value in tried.ends:
            self._searched.check(name, value)
        if tried.choice is not None:
            values = [_value_of(value) for value in tried.choice]
            return Dimension(field=name, choice=Dimension.Choice(values=values))
        assert tried.range is not None
        low, high = tried.range
        whole = low.is_integer() and high.is_integer() and self._searched.is_whole(name, low)
        return Dimension(field=name, range=Dimension.Range(low=low, high=high, log=bool(tried.log), whole=whole))


def steps_that_decide(tune: SearchFields, *, beside: int = 0) -> tuple[int, int]:
    """Trials of a search at most, and the steps that decide between them; `beside` are tried as they are written."""
    count = tune.trials if tune.over else 1 + beside
    rounds = -(-count // tune.parallel)
    known = 1 + beside
    proposals = rounds - known // tune.parallel if count > known else 0
    return count, proposals + rounds * len(tune.pruned_after) + 1


def plain_value(tree: Any, name: str) -> Any:
    """The value that a field has in a tree of mappings and lists; None where it has none."""
    for part in name.split("."):
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return None
    return tree


def field_value(message: Any, name: str) -> Any:
    """The value of a message's field by its name in a file; None where it has no such, and of an enumeration."""
    descriptor = message.DESCRIPTOR.fields_by_camelcase_name.get(name)
    if descriptor is None or descriptor.enum_type is not None:
        return None
    value = getattr(message, descriptor.name)
    return list(value) if descriptor.is_repeated else value


def _value_of(value: Any) -> Value:
    message = Value()
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif value is None:
        message.null_value = 0  # type: ignore[assignment]
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()
        message.struct_value.update(value)
    else:
        message.list_value.SetInParent()
        message.list_value.extend(value)
    return message
