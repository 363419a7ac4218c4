"""The trials of a search for a set's generator, as steps: a training, a sampling, and what judges the images. Pure.

Called by the planner; `syntrial.plan.search` says which trials there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from syntrial.errors import UserError
from syntrial.experiment.arms import REAL, Arm, Phase
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.model import Classifier, Generator, Spec, Synthetic
from syntrial.experiment.presets.classifiers import default_steps
from syntrial.experiment.tuning import FRECHET, with_parameters
from syntrial.plan import requests
from syntrial.plan.encoding import Encoding
from syntrial.plan.generators import Generators, Trained
from syntrial.plan.latents import steps_in_latents
from syntrial.plan.networks import Add
from syntrial.plan.search import (
    Chosen,
    Searched,
    Trial,
    field_value,
    plain_value,
    steps_that_decide,
)
from syntrial.plan.steps import member_of
from syntrial.v1.analysis_pb2 import Snapshot, SyntheticSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import TrainClassifierRequest
from syntrial.v1.filtering_pb2 import AssessImagesRequest, CopyFilter
from syntrial.v1.generation_pb2 import TrainingPart

JUDGE: Final = Classifier(model="small-cnn")
"""What trials are judged by, where that is a classifier."""

_BALANCE: Final = "BALANCE_MATCH"
_EACH_PART: Final = 3
"""Steps of a part of a trial: its training, its sampling, and what judges it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What the search for a set's generator came to."""

    generator: Generator
    trained: Trained
    part: TrainingPart | None
    """Of its training, up to the moment that was the best; None: all of it."""
    summary: SyntheticSummary
    """What the report shows of its training."""
    decision: MemberRef


@dataclass(frozen=True, kw_only=True, slots=True)
class _Moment:
    """What a part of a trial's training came to."""

    trained: Trained
    summary: SyntheticSummary
    images: MemberRef
    """What was drawn to judge it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """By what trials are judged: parts of the plan that all share. Never the test split."""

    train: MemberRef
    validation: MemberRef
    encoder: Encoding


class GeneratorTrials(Searched[Generator]):
    """The trials of a set's search."""

    def __init__(
        self, spec: Spec, item: Synthetic, *, generators: Generators, judge: Judge, add: Add, add_of_trial: Add
    ) -> None:
        """`add_of_trial` adds a step without which the search goes on; it raises Spoiled where that has failed."""
        assert item.tune is not None
        assert item.generator is not None
        self.name, self.tune, self.written = item.name, item.tune, item.generator
        self.beside = [(_title(generator), generator) for generator in item.tune.among]
        self.objective = item.tune.objective or spec.endpoint.metric
        self.snapshots = item.tune.snapshots is not None
        self._spec, self._item = spec, item
        self._images, self._steps = item.tune.images, item.tune.steps or default_steps(JUDGE.model)
        self._generators, self._judge = generators, judge
        self._add, self._add_of_trial = add, add_of_trial
        # What judges sees candidates as they come, in the proportions of the training split.
        self._judged = item.model_copy(
            update={"balance": "match", "filters": (), "accept": "first", "oversample": None, "copies": 0.0}
        )
        self.moments: dict[int, list[_Moment]] = {}
        """By the trial's number, as far as it was trained."""

    def found(self, chosen: Chosen[Generator]) -> Found:
        """What the search came to, with what the chosen trial made at the moment that was chosen."""
        moments, ends = self.moments[chosen.number], self._ends(chosen.made)
        summary = SyntheticSummary()
        summary.CopyFrom(moments[chosen.part].summary)
        if self.snapshots:
            summary.snapshots.extend(
                Snapshot(images_shown=shown, images=moment.images)
                for shown, moment in zip(ends, moments, strict=False)  # it may have been stopped early
            )
        is_whole = chosen.part in (-1, len(ends) - 1)
        return Found(
            generator=chosen.made,
            trained=moments[chosen.part].trained,
            part=None if is_whole else TrainingPart(until_images=ends[chosen.part]),
            summary=summary,
            decision=chosen.decision,
        )

    def check(self, name: str, value: Any) -> None:
        """Raises UserError for a preset that there is not."""
        generator = with_parameters(self.written, {name: value})
        try:
            requests.generator_training(generator, size=self._spec.dataset.size, seed=0)
            requests.sampling(self._judged, generator, ratio=1.0, seed=0)
        except UserError as error:
            if name == "preset":
                raise _about(f"tune.over.{name}", error, value=value) from None

    def value(self, name: str) -> Any:
        """What a field has in the generator as it is written, its preset filled in; None where that is no value."""
        generator = self.written
        tree = generator.chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
        value = plain_value(tree, name)
        if value is not None or generator.kind == EXTERNAL:
            return value
        training = getattr(requests.generator_training(generator, size=self._spec.dataset.size, seed=0), generator.kind)
        if name == "kimg":
            return training.images / 1000
        if name.startswith("sampler."):
            sampler = getattr(requests.sampling(self._judged, generator, ratio=1.0, seed=0), generator.kind)
            return field_value(sampler, name.removeprefix("sampler."))
        return field_value(training, name)

    def is_whole(self, name: str, low: float) -> bool:
        """Whether a field takes whole numbers alone; of a program's options, whether what is written is one."""
        if self.written.kind != EXTERNAL:
            return super().is_whole(name, low)
        value = self.value(name)
        return isinstance(value, int) and not isinstance(value, bool)

    def add_part(self, trial: Trial[Generator], made: Generator, *, part: int, about: str) -> list[MemberRef]:
        """Adds a training or a part of one, a sampling, and what judges the images."""
        moments = self.moments.setdefault(trial.number, [])
        message = self._part(made, part, before=moments[-1].trained if moments else None)
        summary = SyntheticSummary()
        trained = self._generators.train(
            *(self._item, made),
            seed=self._item.seed,
            about=about,
            summary=summary,
            add=self._add_of_trial,
            part=message,
        )
        images = self._generators.sample(
            *(self._judged, made, trained),
            ratio=self._images,
            seed=self._item.seed,
            about=about,
            add=self._add_of_trial,
        )
        moments.append(_Moment(trained=trained, summary=summary, images=images))
        return [self._judge_images(images, about=about)]

    def _part(self, generator: Generator, part: int, *, before: Trained | None) -> TrainingPart | None:
        if not self.tune.shares:
            return None
        begun = member_of(before.key, "state") if before is not None else None
        until = self._ends(generator)[part] if part < len(self.tune.shares) else 0
        return TrainingPart(until_images=until, begun=begun)

    def _ends(self, generator: Generator) -> list[int]:
        """Images shown at the end of each part of the generator's training; of one without steps, none."""
        training = requests.generator_training(generator, size=self._spec.dataset.size, seed=self._item.seed)
        images = int(getattr(getattr(training, generator.kind), "images", 0))
        return [*(max(1, round(images * share)) for share in self.tune.shares), images]

    def _judge_images(self, images: MemberRef, *, about: str) -> MemberRef:
        if self.objective == FRECHET:
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
        arm = Arm(name="judged", phases=(Phase(synthetic=self._images, steps=self._steps),))
        return self._train_judge(arm, images, about=about, add=self._add_of_trial)

    def reference(self) -> MemberRef | None:
        """What real training images reach by the classifier that judges."""
        if self.objective == FRECHET:
            return None
        arm = Arm(name=REAL.name, phases=(Phase(real=1.0, steps=self._steps),))
        return self._train_judge(arm, None, about=f"real images beside the trials of {self.name}", add=self._add)

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


def steps_of_search(item: Synthetic, *, objective: str, extracts: bool) -> int:
    """Steps of a set's search at most, its best trial's training among them; 0 where there is none.

    `objective` is that of a search that names none; `extracts` says whether the encoder is given features.
    """
    if item.tune is None or item.generator is None:
        return 0
    count, deciding = steps_that_decide(item.tune, beside=len(item.tune.among))
    latent = max(steps_in_latents(generator) for generator in (item.generator, *item.tune.among))
    by_distance = (item.tune.objective or objective) == FRECHET
    each = _EACH_PART + (1 if by_distance and extracts else 0)
    return count * (item.tune.parts * each + latent) + deciding + (0 if by_distance else 1)


def _title(generator: Generator) -> str:
    own = generator.chosen.model_dump(mode="json", by_alias=True, exclude_unset=True)
    words = ", ".join(f"{name} {value}" for name, value in own.items() if not isinstance(value, Mapping))
    return f"{generator.kind}{f' ({words})' if words else ''}"[:200]


def _about(field: str, error: UserError, *, value: object) -> UserError:
    first = error.violations[0]
    return UserError(field=field, rule=first.rule, received=str(value), remedy=first.remedy)
