"""A search for a generator's fields, as steps that grow: trials, what judges them, and the decisions between. Pure.

A search goes in rounds. Each round's trials are proposed by a step that is told what earlier ones gave, and judged;
where trials are pruned, a step says after each part of their training which go on; at the end a step says which is the
best. What such a step decided comes to the planner as a document, with which the plan is made anew: up to there it is
the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from pydantic import ValidationError

from syntrial.counting import counted
from syntrial.documents.search import MEMBER, Decision
from syntrial.errors import UserError
from syntrial.experiment.arms import REAL, Arm, Phase
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.model import Classifier, Generator, Spec, Synthetic
from syntrial.experiment.presets.classifiers import default_steps
from syntrial.experiment.synthetic import Tune
from syntrial.experiment.tuning import FRECHET, objective_of, with_parameters
from syntrial.experiment.tuning import Dimension as Tried
from syntrial.plan import requests
from syntrial.plan.encoding import Encoding
from syntrial.plan.generators import Generators, Trained
from syntrial.plan.latents import steps_in_latents
from syntrial.plan.networks import Add
from syntrial.plan.steps import member_of
from syntrial.v1.analysis_pb2 import SyntheticSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import TrainClassifierRequest
from syntrial.v1.filtering_pb2 import AssessImagesRequest, CopyFilter
from syntrial.v1.generation_pb2 import (
    ChooseTrialRequest,
    Dimension,
    ProposeTrialsRequest,
    PruneTrialsRequest,
    SearchTrial,
    TrainingPart,
)

DECIDING: Final = frozenset(
    f"syntrial.v1.GenerationService/{name}" for name in ("ProposeTrials", "PruneTrials", "ChooseTrial")
)
"""Methods whose result is a decision, which a further plan reads."""

JUDGE: Final = Classifier(model="small-cnn")
"""What trials are judged by, where that is a classifier."""

_BALANCE: Final = "BALANCE_MATCH"
_EACH_PART: Final = 3
"""Steps of a part of a trial: its training, its sampling, and what judges it."""


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
class _Trial:
    number: int
    generator: Generator | None
    """None: the parameters make none."""
    parameters: Mapping[str, Any]
    title: str = ""
    judged: list[MemberRef] = field(default_factory=list)
    trained: Trained | None = None
    summary: SyntheticSummary = field(default_factory=SyntheticSummary)
    pruned: bool = False
    failed: str = ""

    def told(self) -> SearchTrial:
        """What steps that decide are told of it."""
        message = SearchTrial(
            number=self.number, title=self.title, judged=self.judged, pruned=self.pruned, failed=self.failed
        )
        message.parameters.update(self.parameters)
        return message


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search came to."""

    generator: Generator
    trained: Trained
    summary: SyntheticSummary
    """What the report shows of its training."""
    decision: MemberRef


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """By what trials are judged: parts of the plan that all share."""

    train: MemberRef
    validation: MemberRef
    encoder: Encoding
    objective: str
    """Its word."""


def judge_of(spec: Spec, *, split: Callable[[str], MemberRef], encoder: Encoding, item: Synthetic) -> Judge:
    """By what the trials of a set's search are judged: never the test split."""
    assert item.tune is not None
    objective = item.tune.objective or spec.endpoint.metric
    return Judge(train=split("train"), validation=split("validation"), encoder=encoder, objective=objective)


class Search:
    """The search of one set, as far as its decisions are known."""

    def __init__(
        self,
        spec: Spec,
        item: Synthetic,
        *,
        generators: Generators,
        judge: Judge,
        decisions: Decisions,
        add: Add,
        add_of_trial: Add,
    ) -> None:
        """`add_of_trial` adds a step without which the search goes on; it raises Spoiled where that has failed."""
        assert item.tune is not None
        assert item.generator is not None
        self._spec, self._item = spec, item
        self._tune: Tune = item.tune
        self._default: Generator = item.generator
        self._generators, self._judge, self._decisions = generators, judge, decisions
        self._add, self._add_of_trial = add, add_of_trial
        self._objective = objective_of(judge.objective)
        self._shares = self._tune.prune.after if self._tune.prune else ()
        # What judges sees candidates as they come, in the proportions of the training split.
        self._judged = item.model_copy(
            update={"balance": "match", "filters": (), "accept": "first", "oversample": None, "copies": 0.0}
        )
        self._trials: list[_Trial] = []
        self.awaits: list[str] = []
        """Keys of the steps whose decisions the plan waits for."""

    def found(self) -> Found | None:
        """Adds the steps that are known; gives the best trial, or None where that is yet to be decided."""
        self._dimensions = [self._dimension(name, tried) for name, tried in self._tune.over.items()]
        beside = [self._default, *self._tune.among]
        while len(self._trials) < self._tune.trials:
            first = len(self._trials)
            known = beside[first : first + self._tune.parallel]
            now = [self._known(first + index, generator) for index, generator in enumerate(known)]
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

    def _known(self, number: int, generator: Generator) -> _Trial:
        if number == 0:
            values = ((name, self._value(name)) for name in self._tune.over)
            parameters = {name: value for name, value in values if value is not None}
            return _Trial(number=0, generator=generator, parameters=parameters, title="as it is written")
        return _Trial(number=number, generator=generator, parameters={}, title=_title(generator))

    def _propose(self, count: int, *, first: int) -> list[_Trial] | None:
        """The trials that come next; None where that is yet to be decided."""
        request = ProposeTrialsRequest(
            seed=self._tune.seed,
            dimensions=self._dimensions,
            objective=self._objective,
            trials=[trial.told() for trial in self._trials],
            count=count,
        )
        numbers = f"trial {first}" if count == 1 else f"trials {first} to {first + count - 1}"
        decision = self._decide("ProposeTrials", request, verb="propose", about=f"{numbers} of {self._item.name}")
        if decision is None:
            return None
        found = []
        for index, parameters in enumerate(decision.proposed):
            trial = _Trial(number=first + index, generator=None, parameters=parameters)
            try:
                trial.generator = with_parameters(self._default, parameters)
            except ValidationError as error:
                trial.failed = str(error.errors(include_url=False)[0]["msg"])
            found.append(trial)
        return found

    def _run(self, trials: list[_Trial], *, is_whole: bool) -> bool:
        """Adds the steps of a round's trials; whether all of the round is decided.

        Where some of its trials are not known yet, the first parts of the others are added all the same.
        """
        active = [trial for trial in trials if not trial.failed]
        for part in range(len(self._shares) + 1):
            for trial in active:
                self._run_part(trial, part)
            active = [trial for trial in active if not trial.failed]
            if not is_whole:
                return False
            if part == len(self._shares) or not active:
                break
            assert self._tune.prune is not None
            request = PruneTrialsRequest(
                objective=self._objective,
                trials=[trial.told() for trial in (*self._trials, *trials)],
                part=part,
                deciding=[trial.number for trial in active],
                keep=self._tune.prune.keep,
            )
            numbers = ", ".join(str(trial.number) for trial in active)
            about = f"{counted(len(active), 'trial')} of {self._item.name} after part {part + 1}: {numbers}"
            decision = self._decide("PruneTrials", request, verb="compare", about=about)
            if decision is None:
                return False
            for trial in active:
                trial.pruned = trial.number not in decision.going_on
            active = [trial for trial in active if not trial.pruned]
        return True

    def _run_part(self, trial: _Trial, number: int) -> None:
        assert trial.generator is not None
        about = f"{self._item.name} trial {trial.number}"
        if self._shares:
            about += f" part {number + 1}/{len(self._shares) + 1}"
        add = self._add_of_trial
        try:
            part = self._part(trial, number)
            trial.summary = SyntheticSummary()
            trial.trained = self._generators.train(
                *(self._item, trial.generator),
                seed=self._item.seed,
                about=about,
                summary=trial.summary,
                add=add,
                part=part,
            )
            images = self._generators.sample(
                *(self._judged, trial.generator, trial.trained),
                ratio=self._tune.images,
                seed=self._item.seed,
                about=about,
                add=add,
            )
            trial.judged.append(self._judge_images(images, about=about))
        except Spoiled as error:
            trial.failed = str(error)
        except UserError as error:
            # What a search makes up may not fit together; what its user wrote is told at once.
            if trial.number <= len(self._tune.among):
                raise
            trial.failed = str(error)

    def _part(self, trial: _Trial, number: int) -> TrainingPart | None:
        if not self._shares:
            return None
        generator = trial.generator
        assert generator is not None
        training = requests.generator_training(generator, size=self._spec.dataset.size, seed=self._item.seed)
        images = int(getattr(training, generator.kind).images)
        begun = member_of(trial.trained.key, "state") if number > 0 and trial.trained is not None else None
        until = max(1, round(images * self._shares[number])) if number < len(self._shares) else 0
        return TrainingPart(until_images=until, begun=begun)

    def _judge_images(self, images: MemberRef, *, about: str) -> MemberRef:
        if self._judge.objective == FRECHET:
            features = self._judge.encoder.features(images, about=about, add=self._add_of_trial)
            assessed = self._add_of_trial(
                "FilteringService/AssessImages",
                AssessImagesRequest(
                    images=images,
                    train=self._judge.train,
                    encoder=self._judge.encoder.member,
                    copies=CopyFilter(quantile=self._item.copies),
                    seed=self._spec.seed,
                    features=features,
                    train_features=self._judge.encoder.train_features,
                ),
                verb="judge",
                about=about,
            )
            return member_of(assessed, "quality")
        arm = Arm(name="judged", phases=(Phase(synthetic=self._tune.images, steps=self._steps),))
        return self._train_judge(arm, images, about=about, add=self._add_of_trial)

    @property
    def _steps(self) -> int:
        return self._tune.steps or default_steps(JUDGE.model)

    def _train_judge(self, arm: Arm, images: MemberRef | None, *, about: str, add: Add) -> MemberRef:
        """The figures on the validation split of a classifier that is trained on these images, or on the real ones."""
        request = TrainClassifierRequest(
            train=self._judge.train,
            validation=self._judge.validation,
            synthetic=images,
            model=requests.classifier_model(JUDGE, begin=None),
            phases=requests.training_phases(self._spec, JUDGE, arm),
            recipe=requests.training_recipe(JUDGE),
            seed=self._spec.seed,
            balance=_BALANCE if images is not None else None,
        )
        work = float(self._steps * request.recipe.batch_size)
        trained = add("ClassificationService/TrainClassifier", request, verb="judge", about=about, work=work)
        return member_of(trained, "validation")

    def _choose(self) -> Found | None:
        request = ChooseTrialRequest(objective=self._objective, trials=[trial.told() for trial in self._trials])
        if self._judge.objective != FRECHET:
            arm = Arm(name=REAL.name, phases=(Phase(real=1.0, steps=self._steps),))
            about = f"real images beside the trials of {self._item.name}"
            request.reference.CopyFrom(self._train_judge(arm, None, about=about, add=self._add))
        decision = self._decide("ChooseTrial", request, verb="choose", about=f"the best trial of {self._item.name}")
        if decision is None or decision.best is None:
            return None
        best = self._trials[decision.best]
        assert best.generator is not None
        assert best.trained is not None
        return Found(
            generator=best.generator,
            trained=best.trained,
            summary=best.summary,
            decision=member_of(self._decided, MEMBER),
        )

    def _decide(self, method: str, request: Message, *, verb: str, about: str) -> Decision | None:
        key = self._decided = self._add(f"GenerationService/{method}", request, verb=verb, about=about)
        decision = self._decisions.made.get(key)
        if decision is None:
            self.awaits.append(key)
        return decision

    # What is tried

    def _dimension(self, name: str, tried: Tried) -> Dimension:
        """The dimension as requests have it; raises UserError for a value of it with which nothing can be planned."""
        for value in tried.ends:
            generator = with_parameters(self._default, {name: value})
            try:
                requests.generator_training(generator, size=self._spec.dataset.size, seed=0)
                requests.sampling(self._judged, generator, ratio=1.0, seed=0)
            except UserError as error:
                if name == "preset":
                    raise _about(f"tune.over.{name}", error, value=value) from None
        if tried.choice is not None:
            values = [_value_of(value) for value in tried.choice]
            return Dimension(field=name, choice=Dimension.Choice(values=values))
        assert tried.range is not None
        low, high = tried.range
        message = Dimension.Range(low=low, high=high, log=bool(tried.log), whole=self._is_whole(name, tried))
        return Dimension(field=name, range=message)

    def _is_whole(self, name: str, tried: Tried) -> bool:
        assert tried.range is not None
        low, high = tried.range
        if not (low.is_integer() and high.is_integer()):
            return False
        if self._default.kind == EXTERNAL:
            value = self._value(name)
            return isinstance(value, int) and not isinstance(value, bool)
        try:
            with_parameters(self._default, {name: low + 0.5})
        except ValidationError:
            return True
        return False

    def _value(self, name: str) -> Any:
        """What a field has in the generator as it is written, its preset filled in; None where that is no value."""
        generator = self._default
        tree: Any = generator.chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
        for part in name.split("."):
            tree = tree.get(part) if isinstance(tree, Mapping) else None
        if tree is not None or generator.kind == EXTERNAL:
            return tree
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        training = getattr(requests.generator_training(generator, size=self._spec.dataset.size, seed=0), generator.kind)
        place: Any = training
        if snake.startswith("sampler."):
            place = getattr(requests.sampling(self._judged, generator, ratio=1.0, seed=0), generator.kind)
            snake = snake.removeprefix("sampler.")
        if snake == "kimg":
            return training.images / 1000
        descriptor = place.DESCRIPTOR.fields_by_name.get(snake)
        if descriptor is None or descriptor.enum_type is not None:
            return None
        value = getattr(place, snake)
        return list(value) if descriptor.is_repeated else value


def steps_of_search(item: Synthetic, *, objective: str, extracts: bool) -> int:
    """Steps of a set's search at most, its best trial's training among them; 0 where there is none.

    `objective` is that of a search that names none; `extracts` says whether the encoder is given features.
    """
    if item.tune is None or item.generator is None:
        return 0
    tune = item.tune
    shares = len(tune.prune.after) if tune.prune else 0
    count = tune.trials if tune.over else 1 + len(tune.among)
    latent = max(steps_in_latents(generator) for generator in (item.generator, *tune.among))
    rounds = -(-count // tune.parallel)
    known = 1 + len(tune.among)
    proposals = rounds - known // tune.parallel if count > known else 0
    by_distance = (tune.objective or objective) == FRECHET
    judged = 0 if by_distance else 1
    each = _EACH_PART + (1 if by_distance and extracts else 0)
    return count * ((shares + 1) * each + latent) + proposals + rounds * shares + judged + 1


def _title(generator: Generator) -> str:
    own = generator.chosen.model_dump(mode="json", by_alias=True, exclude_unset=True)
    words = ", ".join(f"{name} {value}" for name, value in own.items() if not isinstance(value, Mapping))
    return f"{generator.kind}{f' ({words})' if words else ''}"[:200]


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
        message.struct_value.update(value)
    else:
        message.list_value.extend(value)
    return message


def _about(field: str, error: UserError, *, value: object) -> UserError:
    first = error.violations[0]
    return UserError(field=field, rule=first.rule, received=str(value), remedy=first.remedy)
