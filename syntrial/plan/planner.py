"""Expands an experiment into a plan: a graph of steps with their keys. Pure.

Keys are known before anything runs, because sources are: each source of data is a digest of its content. The report is
planned once the looks at the test split are known; that decision is read from the store's ledger by
`syntrial.trial.run`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from syntrial.artifacts.keys import step_key
from syntrial.artifacts.references import member_refs
from syntrial.experiment.arms import Arm, duplicated, resampled, shuffled
from syntrial.experiment.base import words_of
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.file import to_yaml
from syntrial.experiment.model import (
    Classifier,
    Experiment,
    Generator,
    Spec,
    Synthetic,
)
from syntrial.experiment.presets.generators import BASELINE
from syntrial.plan import requests
from syntrial.plan.steps import Plan, Program, Step
from syntrial.sources.named import DATASET, class_mappings, science_of, split_rule, synthetic_name, weights_name
from syntrial.stages import stage_of
from syntrial.v1.analysis_pb2 import (
    Cell,
    CellComparison,
    Endpoint,
    Look,
    Replicate,
    SyntheticSummary,
    WriteReportRequest,
)
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import EvaluateClassifierRequest, TrainClassifierRequest
from syntrial.v1.data_preparation_pb2 import ImportImagesRequest, PrepareDatasetRequest, Source
from syntrial.v1.filtering_pb2 import AssessImagesRequest, CopyFilter, FilterImagesRequest, TrainEncoderRequest

BASELINE_SET: Final = f"{BASELINE}-baseline"


def plan(experiment: Experiment, sources: Mapping[str, Source], *, looks: Sequence[Look] = ()) -> Plan:
    """Expands an experiment into its steps.

    `sources` holds each resolved source by the name of its `SourceRef`; `looks`, where known, the looks at the test
    split with this one last. Pure: the same arguments give the same plan. Raises UserError for unknown presets.
    """
    return _Planner(experiment, sources).plan(looks)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Set:
    """A synthetic set in the making: one accepted member for each replicate of its generator."""

    spec: Synthetic
    summary: SyntheticSummary
    arms: tuple[Arm, ...]

    @property
    def accepted(self) -> list[MemberRef]:
        return list(self.summary.accepted)


class _Planner:
    """Builds one plan; steps of equal keys are one step."""

    def __init__(self, experiment: Experiment, sources: Mapping[str, Source]) -> None:
        self.experiment = experiment
        self.spec: Spec = experiment.spec
        self.sources = sources
        self.training: dict[str, Step] = {}
        self.evaluation: dict[str, Step] = {}
        self.cells: dict[str, Cell] = {}
        self.comparisons: list[CellComparison] = []

    def plan(self, looks: Sequence[Look]) -> Plan:
        self.dataset = self._prepare()
        self.encoder = self._encoder()
        primary_arm, primary_set = self.spec.primary_arm, self.spec.primary_synthetic
        sets = [self._set(item, self._arms_with_controls(item)) for item in self._synthetic_with_baseline()]
        sets += [
            self._set(item, (primary_arm,) if self.spec.controls == "primary" else self.spec.arms_of(item), random=True)
            for item in self.spec.synthetic
            if item.filters and self._controlled(item)
        ]
        for classifier in self.spec.classifiers:
            for item in sets:
                for arm in item.arms:
                    if self._wanted(item, arm, classifier):
                        self._compare(item, arm, classifier, primary_arm=primary_arm, primary_set=primary_set)
        report = self._report(sets, looks) if looks else ()
        return Plan(
            training=tuple(self.training.values()),
            evaluation=tuple(self.evaluation.values()),
            report=report,
            dataset=self.dataset,
            cells=tuple(self.cells.values()),
            comparisons=tuple(self.comparisons),
        )

    # Data

    def _prepare(self) -> str:
        dataset = self.spec.dataset
        request = PrepareDatasetRequest(
            source=self.sources[DATASET],
            format=requests.image_format(dataset),
            split=split_rule(dataset),
            leaks=requests.leak_policy(dataset.leaks),
            class_map=class_mappings(dataset),
            train_fraction=dataset.train_fraction,
            train_fraction_seed=dataset.train_fraction_seed if dataset.train_fraction < 1 else 0,
        )
        return self._add("DataPreparationService/PrepareDataset", request, verb="prepare", about="the data set")

    def _encoder(self) -> MemberRef:
        request = TrainEncoderRequest(
            train=self._split("train"),
            seed=self.spec.seed,
            **self.spec.encoder.model_dump(),
        )
        work = float(request.steps * request.batch_size)
        return _member(
            self._add("FilteringService/TrainEncoder", request, verb="train", about="the encoder", work=work), "encoder"
        )

    def _split(self, name: str) -> MemberRef:
        return _member(self.dataset, name)

    # Synthetic sets

    def _synthetic_with_baseline(self) -> list[Synthetic]:
        items = list(self.spec.synthetic)
        has_baseline = any(item.generator is not None and item.generator.kind == BASELINE for item in items)
        if self.spec.controls == "none" or has_baseline:
            return items
        primary = self.spec.primary_synthetic
        arms = [arm.name for arm in self.spec.arms_of(primary) if arm.name in ("synthetic", self.spec.primary_arm.name)]
        baseline = Synthetic(
            name=BASELINE_SET,
            generator=Generator.model_validate({BASELINE: {}}),
            copies=primary.copies,
            balance=primary.balance,
            seed=primary.seed,
            arms=tuple(arms),
        )
        return [*items, baseline]

    def _controlled(self, item: Synthetic) -> bool:
        """Whether this set gets controls of its own."""
        return self.spec.controls == "all" or (
            self.spec.controls == "primary" and item.name == self.spec.primary_synthetic.name
        )

    def _arms_with_controls(self, item: Synthetic) -> tuple[Arm, ...]:
        arms = self.spec.arms_of(item)
        if item.name == BASELINE_SET or not self._controlled(item):
            return arms
        controlled = (self.spec.primary_arm,) if self.spec.controls == "primary" else arms
        extra: list[Arm] = []
        for arm in controlled:
            if arm.synthetic_ratio == 0:
                continue
            extra.append(shuffled(arm))
            if item.balance != "match":
                extra.append(resampled(arm))
            if self.spec.budget and self.spec.budget.epochs is not None:
                extra.append(duplicated(arm))
        return arms + tuple(extra)

    def _set(self, item: Synthetic, arms: tuple[Arm, ...], *, random: bool = False) -> _Set:
        name = f"{item.name}-random" if random else item.name
        ratio = max(arm.synthetic_ratio for arm in self._arms_with_controls(item))
        summary = SyntheticSummary(
            name=name,
            method=item.generator.kind if item.generator else "imported",
            # What a program of somebody else's brought along is not known.
            proven_lineage=item.generator is not None and item.generator.kind != EXTERNAL,
            control=random or item.name == BASELINE_SET,
        )
        for replicate in range(item.replicates):
            suffix = f" {replicate + 1}/{item.replicates}" if item.replicates > 1 else ""
            if item.generator is not None:
                images = self._generate(
                    item, item.generator, replicate=replicate, ratio=ratio, suffix=suffix, summary=summary
                )
            else:
                images = self._import(item, summary)
            filtered = self._add(
                "FilteringService/FilterImages",
                FilterImagesRequest(
                    images=images,
                    train=self._split("train"),
                    encoder=self.encoder,
                    filters=requests.random_filters(item) if random else requests.filters(item),
                    copies=CopyFilter(quantile=item.copies),
                    ratio=ratio,
                    balance=requests.balance_name(item),
                    seed=item.seed + replicate if random else 0,
                    # A control does not fail the trial: the report says what it lacked.
                    allow_shortfall=item.generator is None or summary.control,
                ),
                verb="filter",
                about=f"{name}{suffix}",
            )
            summary.accepted.append(_member(filtered, "accepted"))
            summary.rejected.append(_member(filtered, "rejected"))
            summary.decisions.append(_member(filtered, "decisions"))
            if not random:
                assessed = self._add(
                    "FilteringService/AssessImages",
                    AssessImagesRequest(
                        images=_member(filtered, "accepted"),
                        train=self._split("train"),
                        encoder=self.encoder,
                        copies=CopyFilter(quantile=item.copies),
                        seed=self.spec.seed,
                    ),
                    verb="assess",
                    about=f"{name}{suffix}",
                )
                summary.quality.append(_member(assessed, "quality"))
        return _Set(spec=item, summary=summary, arms=arms)

    def _generate(
        self,
        item: Synthetic,
        generator: Generator,
        *,
        replicate: int,
        ratio: float,
        suffix: str,
        summary: SyntheticSummary,
    ) -> MemberRef:
        training = requests.generator_training(generator, size=self.spec.dataset.size, seed=item.seed + replicate)
        training.train.CopyFrom(self._split("train"))
        config = getattr(training, generator.kind)
        trained = self._add(
            "GenerationService/TrainGenerator",
            training,
            verb="train",
            about=f"{generator.kind} {item.name}{suffix}",
            program=requests.program_of(generator),
            work=float(getattr(config, "images", 0)),
        )
        summary.curves.append(_member(trained, "curves"))
        sampling = requests.sampling(item, generator, ratio=ratio, seed=item.seed + replicate)
        sampling.generator.CopyFrom(_member(trained, "generator"))
        sampling.train.CopyFrom(self._split("train"))
        sampled = self._add(
            "GenerationService/SampleImages",
            sampling,
            verb="sample",
            about=f"{item.name}{suffix}",
            program=requests.program_of(generator),
        )
        return _member(sampled, "images")

    def _import(self, item: Synthetic, summary: SyntheticSummary) -> MemberRef:
        assert item.images is not None
        imported = self._add(
            "DataPreparationService/ImportImages",
            ImportImagesRequest(
                source=self.sources[synthetic_name(item)],
                format=requests.image_format(self.spec.dataset),
                class_map=class_mappings(item.images),
                train=self._split("train"),
                validation=self._split("validation"),
                test=self._split("test"),
                leaks=requests.leak_policy(self.spec.dataset.leaks),
                allow_copies=item.copies == 0,
            ),
            verb="import",
            about=item.name,
        )
        summary.audit.CopyFrom(_member(imported, "audit"))
        return _member(imported, "images")

    # Cells

    def _wanted(self, item: _Set, arm: Arm, classifier: Classifier) -> bool:
        """Controls run for the primary's classifier alone, unless `controls: all`."""
        extra = item.summary.control or arm.name not in {given.name for given in self.spec.arms_of(item.spec)}
        return not extra or self.spec.controls == "all" or classifier.title == self.spec.primary_classifier.title

    def _compare(
        self, item: _Set, arm: Arm, classifier: Classifier, *, primary_arm: Arm, primary_set: Synthetic
    ) -> None:
        is_primary = (item.summary.name, arm.name, classifier.title) == (
            primary_set.name,
            primary_arm.name,
            self.spec.primary_classifier.title,
        )
        control = self.spec.control_of(arm)
        # The control of the primary has the primary's replicates, whoever asks for it first.
        shared = classifier.title == self.spec.primary_classifier.title and control == self.spec.control_of(primary_arm)
        against = self._cell(None, control, classifier, replicates=self._replicates(primary=shared))
        cell = self._cell(item, arm, classifier, replicates=self._replicates(primary=is_primary))
        extra = item.summary.control or arm.name not in {given.name for given in self.spec.arms_of(item.spec)}
        role = CellComparison.Role
        self.comparisons.append(
            CellComparison(
                arm=cell.name,
                control=against.name,
                role=role.ROLE_PRIMARY if is_primary else role.ROLE_CONTROL if extra else role.ROLE_EXPLORATORY,
                shuffled_labels=arm.shuffled_labels,
            )
        )

    def _replicates(self, *, primary: bool) -> int:
        return self.spec.replicates if primary else self.spec.exploratory_replicates or self.spec.replicates

    def _cell(self, item: _Set | None, arm: Arm, classifier: Classifier, *, replicates: int) -> Cell:
        uses = item if item is not None and arm.synthetic_ratio + self._as_synthetic(arm) > 0 else None
        name = " ".join(part for part in (arm.name, uses.summary.name if uses else "", classifier.title) if part)
        if name in self.cells:
            return self.cells[name]
        cell = Cell(name=name, arm=arm.name, synthetic=uses.summary.name if uses else "", classifier=classifier.title)
        members: list[MemberRef | None] = list(uses.accepted) if uses else [None]
        for generator, accepted in enumerate(members):
            for replicate in range(replicates):
                seed = self.spec.seed + replicate
                request = self._training(uses, accepted, arm, classifier, seed=seed)
                number = f"{name} {generator * replicates + replicate + 1}/{len(members) * replicates}"
                steps = sum(phase.steps for phase in request.phases)
                trained = self._add(
                    "ClassificationService/TrainClassifier",
                    request,
                    verb="train",
                    about=number,
                    work=float(steps * request.recipe.batch_size),
                )
                evaluation = EvaluateClassifierRequest(
                    classifier=_member(trained, "classifier"), images=self._split("test")
                )
                evaluated = self._add(
                    "ClassificationService/EvaluateClassifier",
                    evaluation,
                    verb="evaluate",
                    about=number,
                    part=self.evaluation,
                )
                cell.replicates.append(
                    Replicate(
                        training=_member(trained, "training"),
                        predictions=_member(evaluated, "predictions"),
                        generator=generator,
                        seed=seed,
                    )
                )
        self.cells[name] = cell
        return cell

    @staticmethod
    def _as_synthetic(arm: Arm) -> int:
        return sum(phase.real_as_synthetic for phase in arm.phases)

    def _training(
        self, item: _Set | None, accepted: MemberRef | None, arm: Arm, classifier: Classifier, *, seed: int
    ) -> TrainClassifierRequest:
        weights = self.sources.get(weights_name(classifier))
        return TrainClassifierRequest(
            train=self._split("train"),
            validation=self._split("validation"),
            synthetic=accepted,
            model=requests.classifier_model(classifier, weights_digest=weights.digest if weights else None),
            phases=requests.training_phases(self.spec, classifier, arm),
            recipe=requests.training_recipe(classifier),
            seed=seed,
            shuffle_synthetic_labels=arm.shuffled_labels,
            balance=requests.balance_name(item.spec) if item else None,
        )

    # Report

    def _report(self, sets: Iterable[_Set], looks: Sequence[Look]) -> tuple[Step, ...]:
        endpoint = self.spec.endpoint
        metric = words_of(Endpoint.Metric.DESCRIPTOR)[endpoint.metric]
        request = WriteReportRequest(
            title=self.experiment.metadata.name,
            experiment=to_yaml(science_of(self.experiment, self.sources)),
            endpoint=Endpoint(metric=metric, smallest_effect=endpoint.smallest_effect),
            audit=self._split("audit"),
            train=self._split("train"),
            cells=self.cells.values(),
            comparisons=self.comparisons,
            synthetic=[item.summary for item in sets],
            looks=looks,
            qualifications=_qualifications(self.spec),
        )
        part: dict[str, Step] = {}
        self._add("AnalysisService/WriteReport", request, verb="write", about="the report", part=part)
        return tuple(part.values())

    def _add(
        self,
        method: str,
        request: Any,
        *,
        verb: str,
        about: str,
        work: float = 0.0,
        part: dict[str, Step] | None = None,
        program: Program = Program(),  # noqa: B008 - frozen
    ) -> str:
        """Adds a step unless one of the same key is there; returns its key."""
        full = f"syntrial.v1.{method}"
        version = stage_of(full).version
        key = step_key(full, request, stage_version=version)
        part = self.training if part is None else part
        if key not in part:
            request.header.key = key
            request.header.stage_version = version
            inputs = tuple(dict.fromkeys(ref.key for ref in member_refs(request)))
            part[key] = Step(
                key=key,
                method=full,
                request=request,
                label=f"{verb} {about}",
                about=about,
                after=inputs,
                work=work,
                program=program,
            )
        return key


def _member(key: str, name: str) -> MemberRef:
    return MemberRef(key=key, member=name)


def _qualifications(spec: Spec) -> list[str]:
    """What the user's choices take from the verdict, in words."""
    found: list[str] = []
    if spec.controls == "none":
        found.append("Negative controls and the pca baseline were switched off.")
    found += [
        f"{classifier.title} starts from weights whose training data cannot be shown to exclude these test images."
        for classifier in spec.classifiers
        if classifier.pretraining != "none"
    ]
    return found
