"""Expands an experiment into a plan: a graph of steps with their keys. Pure.

Keys are known before anything runs, because sources are: each source of data is a digest of its content. The report is
planned once the looks at the test split are known; that decision is read from the store's ledger by
`syntrial.trial.run`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from syntrial.artifacts.references import member_refs
from syntrial.experiment.arms import Arm
from syntrial.experiment.base import words_of
from syntrial.experiment.endpoint import Side
from syntrial.experiment.file import to_yaml
from syntrial.experiment.model import (
    Classifier,
    Experiment,
    Generator,
    Spec,
    Synthetic,
)
from syntrial.experiment.tasks import task_message
from syntrial.plan import requests
from syntrial.plan.classifier_trials import ClassifierTrials
from syntrial.plan.classifiers import Classifiers, Shown
from syntrial.plan.encoding import Encoding
from syntrial.plan.filtering import Filtering, Taken, limit_of
from syntrial.plan.generator_trials import Found, GeneratorTrials, Judge
from syntrial.plan.generators import Generators
from syntrial.plan.networks import Networks, seed_of
from syntrial.plan.outline import Contest, OutlinedSet, is_primary, outline, real_contests, replicates, rivals
from syntrial.plan.search import DECIDING, NONE, Chosen, Decisions, M, Search, Searched, Spoiled
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan, Program, Step, member_of, require_shares, step_of
from syntrial.sources.named import (
    DATASET,
    class_mappings,
    science_of,
    synthetic_name,
)
from syntrial.v1.analysis_pb2 import (
    Cell,
    CellComparison,
    ClassifierSummary,
    Endpoint,
    Look,
    Replicate,
    SyntheticSummary,
    WriteReportRequest,
)
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import (
    EvaluateClassifierRequest,
    ExtractFeaturesRequest,
    TrainClassifierRequest,
)
from syntrial.v1.data_preparation_pb2 import ImportImagesRequest, Source
from syntrial.v1.filtering_pb2 import AssessImagesRequest, CopyFilter
from syntrial.v1.generation_pb2 import ChooseTrialRequest


def plan(
    experiment: Experiment,
    sources: Mapping[str, Source],
    *,
    decisions: Decisions = NONE,
    earlier: Mapping[str, str] | None = None,
    looks: Sequence[Look] = (),
) -> Plan:
    """Expands an experiment into its steps.

    `sources` holds each resolved source by the name of its `SourceRef`; `decisions` what searches and filterings have
    decided so far, with which the plan grows; `earlier` what is known of generators in the store, as `Sources` has it;
    `looks`, where known, the looks at the test split with this one last, which there are only once nothing is
    undecided. Pure: the same arguments give the same plan. Raises UserError for unknown presets.
    """
    return _Planner(experiment, sources, decisions, earlier or {}).plan(looks)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Set:
    """A synthetic set in the making: one accepted member for each replicate of its generator."""

    outlined: OutlinedSet
    summary: SyntheticSummary

    @property
    def accepted(self) -> list[MemberRef]:
        return list(self.summary.accepted)


class _Planner:
    """Builds one plan; steps of equal keys are one step."""

    def __init__(
        self,
        experiment: Experiment,
        sources: Mapping[str, Source],
        decisions: Decisions,
        earlier: Mapping[str, str],
    ) -> None:
        self.earlier = earlier
        self.experiment = experiment
        self.decisions = decisions
        self.searches: dict[str, Found | None] = {}
        self.classifiers_chosen: dict[str, Chosen[Classifier] | None] = {}
        self.drawn: dict[str, str] = {}
        self.taken: dict[tuple[str, int], Taken] = {}
        """By a set's name and replicate."""
        self.awaits: list[str] = []
        self.spec: Spec = experiment.spec
        self.sources = sources
        self.training: dict[str, Step] = {}
        self.evaluation: dict[str, Step] = {}
        self.cells: dict[str, Cell] = {}
        self.comparisons: list[CellComparison] = []
        self.compared: set[tuple[str, str]] = set()
        """Cells that the endpoint compares, whatever their arms' controls."""

    def plan(self, looks: Sequence[Look]) -> Plan:
        self.dataset = self._prepare()
        self.networks = Networks(self.spec, self.sources, dataset=self.dataset, add=self._add)
        self.classifiers = Classifiers(self.spec, self.networks, dataset=self.dataset)
        self.generators = Generators(self.spec, self.sources, dataset=self.dataset, earlier=self.earlier, add=self._add)
        if self.spec.synthetic:
            train = self._split("train")
            self.encoder = Encoding(self.spec, train=train, networks=self.networks, add=self._add)
            self.filtering = Filtering(train=train, encoder=self.encoder, decisions=self.decisions, add=self._add)
        sets = [self._set(item) for item in outline(self.spec)]
        self.primary_control = self.spec.control_of(self.spec.primary.arm)
        self._compare_cells(sets)
        for classifier in self.spec.classifiers:
            for contest in real_contests(self.spec):
                self._compare(None, contest, classifier)
            for item in sets:
                for contest in item.outlined.wanted(self.spec, primary=is_primary(self.spec, classifier)):
                    self._compare(item, contest, classifier)
        self._assert_held_out()
        require_shares(self.training.values(), devices=self.spec.resources.devices)
        short = self.filtering.awaits if self.spec.synthetic else []
        assert not looks or not (self.awaits or short), "the test split was opened before all was decided"
        report = self._report(sets, looks) if looks else ()
        more = self.filtering.more if short else 0
        if self.awaits:
            size, planned = size_of(self.spec), len(self.training) + len(self.evaluation) + 1
            more = max(size.steps + size.further - planned, 1)
        return Plan(
            undecided=(*self.awaits, *short),
            more=more,
            training=tuple(self.training.values()),
            evaluation=tuple(self.evaluation.values()),
            report=report,
            dataset=self.dataset,
            cells=tuple(self.cells.values()),
            comparisons=tuple(self.comparisons),
            drawn=self.drawn,
            given=frozenset(self.generators.given),
        )

    def _assert_held_out(self) -> None:
        """Each classifier is chosen on the validation images beside its training images, and sees no test split."""
        steps = self.training.values()
        extracted = {
            step.key
            for step in steps
            if isinstance(step.request, ExtractFeaturesRequest) and step.request.images.member == "test"
        }
        evaluated = {replicate.training.key for cell in self.cells.values() for replicate in cell.replicates}
        for step in steps:
            given = {ref.member for ref in member_refs(step.request)}
            if isinstance(step.request, ChooseTrialRequest):
                by = {ref.key for trial in step.request.trials if trial.replicates for ref in trial.judged}
                assert evaluated.isdisjoint(by), f"{step.label} decides by what is evaluated"
            if step.of_trial or step.method in DECIDING:
                assert "test" not in given, f"{step.label} decides by the test split"
            if isinstance(step.request, TrainClassifierRequest):
                own, chosen_on = step.request.train, step.request.validation
                assert chosen_on == member_of(own.key, "validation"), f"{step.label} is chosen on {chosen_on.member}"
                assert "test" not in given, f"{step.label} is given the test split"
                assert extracted.isdisjoint(step.after), f"{step.label} is given features of the test split"

    # Data

    def _prepare(self) -> str:
        request = requests.preparation(self.spec.dataset, source=self.sources[DATASET], form=self.spec.dataset)
        return self._add("DataPreparationService/PrepareDataset", request, verb="prepare", about="the data set")

    def _split(self, name: str) -> MemberRef:
        return member_of(self.dataset, name)

    # Synthetic sets

    def _set(self, outlined: OutlinedSet) -> _Set:
        item, name, random = outlined.spec, outlined.name, outlined.is_random
        best = self._sought(item)
        generator = best.generator if best is not None else item.generator
        summary = SyntheticSummary(
            name=name,
            method=generator.kind if generator else "imported",
            proven_lineage=generator is not None and self.generators.is_proven(generator),
            control=outlined.is_control,
        )
        if item.tune is not None:
            if best is None:
                return _Set(outlined=outlined, summary=summary)
            summary.search.CopyFrom(best.decision)
        for replicate in range(item.replicates):
            suffix = f" {replicate + 1}/{item.replicates}" if item.replicates > 1 else ""
            taken = self._take(outlined, generator, replicate=replicate, suffix=suffix, summary=summary)
            filtered = taken.filtered
            if taken.rounds:
                summary.rounds.append(taken.rounds)
            summary.accepted.append(member_of(filtered, "accepted"))
            summary.rejected.append(member_of(filtered, "rejected"))
            summary.decisions.append(member_of(filtered, "decisions"))
            if not random:
                assessed = self._add(
                    "FilteringService/AssessImages",
                    AssessImagesRequest(
                        images=member_of(filtered, "accepted"),
                        train=self._split("train"),
                        encoder=self.encoder.member,
                        copies=CopyFilter(quantile=item.copies),
                        seed=self.spec.seed,
                        features=taken.features and member_of(filtered, "accepted_features"),
                        train_features=self.encoder.train_features,
                    ),
                    verb="assess",
                    about=f"{name}{suffix}",
                )
                summary.quality.append(member_of(assessed, "quality"))
            if self.spec.projection == "umap" and not summary.control and replicate == 0:
                summary.projection.CopyFrom(self._projection(filtered, about=f"{name}{suffix}"))
        return _Set(outlined=outlined, summary=summary)

    def _projection(self, filtered: str, *, about: str) -> MemberRef:
        """What the filters took and what they did not, beside the training split, in two dimensions."""
        request = requests.projection(seed=self.spec.seed)
        request.accepted.CopyFrom(member_of(filtered, "accepted"))
        request.rejected.CopyFrom(member_of(filtered, "rejected"))
        request.train.CopyFrom(self._split("train"))
        request.encoder.CopyFrom(self.encoder.member)
        if self.encoder.train_features is not None:
            request.accepted_features.CopyFrom(member_of(filtered, "accepted_features"))
            request.rejected_features.CopyFrom(member_of(filtered, "rejected_features"))
            request.train_features.CopyFrom(self.encoder.train_features)
        projected = self._add("FilteringService/ProjectImages", request, verb="project", about=about)
        return member_of(projected, "projection")

    def _take(
        self,
        outlined: OutlinedSet,
        generator: Generator | None,
        *,
        replicate: int,
        suffix: str,
        summary: SyntheticSummary,
    ) -> Taken:
        """What a replicate of the set takes of its candidates, which are drawn or imported before."""
        item, seed = outlined.spec, outlined.spec.seed + replicate
        about = f"{item.name}{suffix}"
        if generator is None:
            images = self._import(item, summary)
            return self.filtering.imported(outlined, images, replicate=replicate, suffix=suffix)
        best = self._sought(item)
        if best is not None and replicate == 0:
            # It was trained by its search.
            trained = best.trained
            summary.MergeFrom(best.summary)
        else:
            part = best.part if best is not None else None
            trained = self.generators.train(
                item, generator, seed=seed, about=about, summary=summary, add=self._add, part=part
            )
        if outlined.is_random:
            of = self.taken[item.name, replicate]
            return self.filtering.at_random(outlined, of, replicate=replicate, suffix=suffix)
        draw = partial(
            self.generators.sample,
            *(item, generator, trained),
            ratio=outlined.ratio,
            seed=seed,
            about=about,
            add=self._add,
        )
        limit = limit_of(outlined, generator)
        taken = self.filtering.in_rounds(outlined, draw, replicate=replicate, suffix=suffix, limit=limit)
        self.taken[item.name, replicate] = taken
        if replicate == 0:
            self.drawn[item.name] = taken.candidates.key
        return taken

    def _sought(self, item: Synthetic) -> Found | None:
        """What the set's search came to; None where it has none, or that is yet to be decided."""
        if item.tune is None:
            return None
        if item.name not in self.searches:
            trials = GeneratorTrials(
                self.spec,
                item,
                generators=self.generators,
                judge=Judge(train=self._split("train"), validation=self._split("validation"), encoder=self.encoder),
                add=self._add,
                add_of_trial=self._add_of_trial,
            )
            chosen = self._choice(trials)
            self.searches[item.name] = None if chosen is None else trials.found(chosen)
        return self.searches[item.name]

    def _choice(self, trials: Searched[M]) -> Chosen[M] | None:
        """What a search came to, with its steps as far as they are known."""
        search = Search(trials, decisions=self.decisions, add=self._add)
        chosen = search.chosen()
        self.awaits += search.awaits
        return chosen

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
                task=task_message(self.spec.dataset.task),
                audit=requests.audit_policy(self.spec.dataset.audit),
                scale=self._split("scale"),
            ),
            verb="import",
            about=item.name,
        )
        summary.audit.CopyFrom(member_of(imported, "audit"))
        return member_of(imported, "images")

    # Cells

    def _compare_cells(self, sets: Sequence[_Set]) -> None:
        """The primary comparison of a cell with any other one, and what else is compared with that."""
        reference = self.spec.reference
        if reference is None:
            return
        made = {item.summary.name: item for item in sets}

        def cell(side: Side, *, primary: bool) -> Cell:
            uses = made[side.synthetic.name] if side.synthetic else None
            return self._cell(uses, side.arm, side.classifier, seeds=replicates(self.spec, primary=primary))

        against = cell(reference, primary=True)
        role = CellComparison.Role
        self._add_comparison(cell(self.spec.primary, primary=True), against, role=role.ROLE_PRIMARY)
        for rival in rivals(self.spec):
            self._add_comparison(cell(rival, primary=False), against, role=role.ROLE_EXPLORATORY)
        self.compared = {(found.arm, found.control) for found in self.comparisons}

    def _compare(self, item: _Set | None, contest: Contest, classifier: Classifier) -> None:
        is_main = is_primary(self.spec, classifier)
        has_reference = self.spec.reference is not None
        decides = contest.is_primary and is_main and not has_reference
        # The control of the primary has the primary's replicates, whoever asks for it first.
        shared = is_main and contest.control == self.primary_control and not has_reference
        against = self._cell(None, contest.control, classifier, seeds=replicates(self.spec, primary=shared))
        uses = item if contest.needs_synthetic else None
        cell = self._cell(uses, contest.arm, classifier, seeds=replicates(self.spec, primary=decides))
        role = CellComparison.Role
        if (cell.name, against.name) in self.compared:
            return
        self._add_comparison(
            cell,
            against,
            role=role.ROLE_PRIMARY if decides else role.ROLE_CONTROL if contest.is_extra else role.ROLE_EXPLORATORY,
            shuffled_labels=contest.arm.shuffled_labels,
        )

    def _add_comparison(self, cell: Cell, against: Cell, *, role: Any, shuffled_labels: bool = False) -> None:
        self.comparisons.append(
            CellComparison(arm=cell.name, control=against.name, role=role, shuffled_labels=shuffled_labels)
        )

    def _cell(self, uses: _Set | None, arm: Arm, classifier: Classifier, *, seeds: int) -> Cell:
        name = " ".join(part for part in (arm.name, uses.summary.name if uses else "", classifier.title) if part)
        if name in self.cells:
            return self.cells[name]
        cell = Cell(name=name, arm=arm.name, synthetic=uses.summary.name if uses else "", classifier=classifier.title)
        members: list[MemberRef | None] = list(uses.accepted) if uses else [None]
        trained_as = self._trained_as(classifier)
        for generator, accepted in enumerate(members if trained_as is not None else ()):
            assert trained_as is not None
            shown = self._shown(uses, accepted)
            for replicate in range(seeds):
                number = f"{name} {generator * seeds + replicate + 1}/{len(members) * seeds}"
                trained = self.classifiers.train(
                    trained_as, arm, replicate=replicate, shown=shown, about=number, add=self._add
                )
                evaluation = EvaluateClassifierRequest(
                    classifier=member_of(trained, "classifier"), images=self._split("test")
                )
                if classifier.probe is not None:
                    features = self.networks.features(self._split("test"), trained_as, about="test")
                    evaluation.features.CopyFrom(features)
                evaluated = self._add(
                    "ClassificationService/EvaluateClassifier",
                    evaluation,
                    verb="evaluate",
                    about=number,
                    part=self.evaluation,
                )
                cell.replicates.append(
                    Replicate(
                        training=member_of(trained, "training"),
                        predictions=member_of(evaluated, "predictions"),
                        generator=generator,
                        seed=seed_of(self.spec, replicate),
                    )
                )
        self.cells[name] = cell
        return cell

    def _shown(self, item: _Set | None, accepted: MemberRef | None) -> Shown | None:
        if item is None or accepted is None:
            return None
        number, count = item.accepted.index(accepted) + 1, len(item.accepted)
        about = f"{item.summary.name} {number}/{count}" if count > 1 else item.summary.name
        return Shown(images=accepted, about=about, balance=requests.balance_name(item.outlined.spec))

    def _trained_as(self, classifier: Classifier) -> Classifier | None:
        """How all arms train a classifier: as it is written, or as its search chose; None while that is undecided."""
        if classifier.tune is None:
            return classifier
        if classifier.title not in self.classifiers_chosen:
            trials = ClassifierTrials(
                self.spec, classifier, classifiers=self.classifiers, add_of_trial=self._add_of_trial
            )
            self.classifiers_chosen[classifier.title] = self._choice(trials)
        chosen = self.classifiers_chosen[classifier.title]
        return None if chosen is None else chosen.made

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
            pretraining=self.networks.pretraining,
            classifiers=[
                ClassifierSummary(classifier=item.title, search=chosen.decision, replicates=item.tune.replicates)
                for item in self.spec.classifiers
                if item.tune is not None and (chosen := self.classifiers_chosen[item.title]) is not None
            ],
        )
        part: dict[str, Step] = {}
        self._add("AnalysisService/WriteReport", request, verb="write", about="the report", part=part)
        return tuple(part.values())

    def _add_of_trial(self, method: str, request: Any, **words: Any) -> str:
        """Adds a step without which a search goes on; raises Spoiled where it failed for good."""
        return self._add(method, request, of_trial=True, **words)

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
        of_trial: bool = False,
        waits_for: tuple[str, ...] = (),
    ) -> str:
        """Adds a step unless one of the same key is there; returns its key.

        Raises Spoiled for a step of a search's trial (`of_trial`) that failed for good.
        """
        step = step_of(
            f"syntrial.v1.{method}", request, label=f"{verb} {about}", about=about, work=work, program=program
        )
        part = self.training if part is None else part
        if of_trial and step.key in self.decisions.failed:
            raise Spoiled(self.decisions.failed[step.key])
        after = tuple(dict.fromkeys([*step.after, *waits_for]))
        there = part.setdefault(step.key, replace(step, of_trial=of_trial, after=after))
        if there.of_trial and not of_trial:
            part[step.key] = replace(there, of_trial=False)
        return step.key


def _qualifications(spec: Spec) -> list[str]:
    """What the user's choices take from the verdict, in words."""
    found: list[str] = []
    if spec.controls == "none" and spec.synthetic:
        found.append("Negative controls and the pca baseline were switched off.")
    found += [
        f"{classifier.title} starts from weights whose training data cannot be shown to exclude these test images."
        for classifier in spec.classifiers
        if classifier.pretraining != "none"
    ]
    return found
