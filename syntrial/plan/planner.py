"""Expands an experiment into a plan: a graph of steps with their keys. Pure.

Keys are known before anything runs, because sources are: each source of data is a digest of its content. The report is
planned once the looks at the test split are known; that decision is read from the store's ledger by
`syntrial.trial.run`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from syntrial.artifacts.references import member_refs
from syntrial.experiment.arms import Arm
from syntrial.experiment.base import words_of
from syntrial.experiment.endpoint import Side
from syntrial.experiment.file import to_yaml
from syntrial.experiment.model import (
    Classifier,
    Experiment,
    Spec,
)
from syntrial.plan import requests
from syntrial.plan.classifier_trials import ClassifierTrials
from syntrial.plan.classifiers import Classifiers, Shown
from syntrial.plan.networks import Networks, seed_of
from syntrial.plan.outline import Contest, is_primary, real_contests, replicates, rivals
from syntrial.plan.search import DECIDING, NONE, Chosen, Decisions, Search, Spoiled
from syntrial.plan.sets import Set, Sets
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan, Program, Step, member_of, require_shares, step_of
from syntrial.sources.named import (
    DATASET,
    science_of,
)
from syntrial.v1.analysis_pb2 import (
    Cell,
    CellComparison,
    ClassifierSummary,
    Endpoint,
    Look,
    Replicate,
    WriteReportRequest,
)
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import (
    EvaluateClassifierRequest,
    ExtractFeaturesRequest,
    TrainClassifierRequest,
)
from syntrial.v1.data_preparation_pb2 import Source
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
        self.classifiers_chosen: dict[str, Chosen[Classifier] | None] = {}
        self.awaits: list[str] = []
        """Keys of steps whose decisions searches wait for."""
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
        sets = None
        if self.spec.synthetic:
            sets = Sets(
                self.spec,
                self.sources,
                dataset=self.dataset,
                earlier=self.earlier,
                networks=self.networks,
                decisions=self.decisions,
                awaits=self.awaits,
                add=self._add,
                add_of_trial=self._add_of_trial,
            )
        made = sets.made if sets is not None else []
        self.primary_control = self.spec.control_of(self.spec.primary.arm)
        self._compare_cells(made)
        for classifier in self.spec.classifiers:
            for contest in real_contests(self.spec):
                self._compare(None, contest, classifier)
            for item in made:
                for contest in item.outlined.wanted(self.spec, primary=is_primary(self.spec, classifier)):
                    self._compare(item, contest, classifier)
        self._assert_held_out()
        require_shares(self.training.values(), devices=self.spec.resources.devices)
        undecided = (*self.awaits, *(sets.short if sets is not None else ()))
        assert not looks or not undecided, "the test split was opened before all was decided"
        report = self._report(made, looks) if looks else ()
        more = sets.more if sets is not None else 0
        if self.awaits:
            size, planned = size_of(self.spec), len(self.training) + len(self.evaluation) + 1
            more = max(size.steps + size.further - planned, 1)
        return Plan(
            undecided=undecided,
            more=more,
            training=tuple(self.training.values()),
            evaluation=tuple(self.evaluation.values()),
            report=report,
            dataset=self.dataset,
            cells=tuple(self.cells.values()),
            comparisons=tuple(self.comparisons),
            drawn=sets.drawn if sets is not None else {},
            given=sets.given if sets is not None else frozenset(),
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

    # Cells

    def _compare_cells(self, sets: Sequence[Set]) -> None:
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

    def _compare(self, item: Set | None, contest: Contest, classifier: Classifier) -> None:
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

    def _cell(self, uses: Set | None, arm: Arm, classifier: Classifier, *, seeds: int) -> Cell:
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

    def _shown(self, item: Set | None, accepted: MemberRef | None) -> Shown | None:
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
            search = Search(trials, decisions=self.decisions, add=self._add, awaits=self.awaits)
            self.classifiers_chosen[classifier.title] = search.chosen()
        chosen = self.classifiers_chosen[classifier.title]
        return None if chosen is None else chosen.made

    # Report

    def _report(self, sets: Iterable[Set], looks: Sequence[Look]) -> tuple[Step, ...]:
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
