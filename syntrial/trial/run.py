"""Runs a trial: sources to plan, plan to steps on an executor, and the report at the end.

The one place that knows the order of things: what is registered before the test split is opened, and when it is opened.
Called by the command line. A trial may be killed anywhere and run again: every finished step stays finished.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf import json_format

from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.keys import canonical_digest, canonical_json
from syntrial.artifacts.store import ArtifactStore
from syntrial.executors.drive import Outcome, drive
from syntrial.executors.executor import Event, Executor
from syntrial.experiment.file import to_yaml
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.search import NONE, Decisions
from syntrial.plan.steps import Plan, Step
from syntrial.sources.named import science_of
from syntrial.sources.resolve import Sources
from syntrial.stages import stage_of
from syntrial.trial.batches import check_batches
from syntrial.trial.growth import grown
from syntrial.v1.analysis_pb2 import Look
from syntrial.v1.artifacts_pb2 import MemberRef

BESIDE_THE_RESULT: Final = frozenset({"suspend", "retention", "cluster", "resources"})
"""Fields of a specification that never bear on a result."""

UNDECIDED: Final = "undecided"
"""In place of what is evaluated, in a registration that was made before the searches came to their ends."""

_EVALUATED: Final = "evaluated"
"""In place of an experiment's fields, in the record of a look at one classifier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """An experiment with its sources and its plan."""

    uid: str
    """What the store files the experiment under: on a laptop its name, so that a changed one replaces it."""
    experiment: Experiment
    sources: Sources
    plan: Plan
    decisions: Decisions = NONE
    """What the plan was made with."""
    is_kept: bool = False
    """Whether the plan was read back from the store: another version made and finished it (`syntrial.trial.kept`)."""


def draft(
    experiment: Experiment, sources: Sources, *, uid: str | None = None, store: ArtifactStore | None = None
) -> Trial:
    """The trial as planned before the test split is opened: all but the report; `uid` is by default its name.

    With `store` it is planned as far as the decisions go that are on record there. Raises UserError for what its data
    does not allow.
    """
    check_batches(experiment, sources)
    first = Trial(
        uid=uid or experiment.metadata.name,
        experiment=experiment,
        sources=sources,
        plan=plan(experiment, sources.by_name, earlier=sources.earlier),
    )
    return first if store is None else grow(first, store=store)


def grow(trial: Trial, *, store: ArtifactStore) -> Trial:
    """The trial planned anew with all decisions that are on record by now."""
    if not trial.plan.undecided:
        return trial
    found, decisions = grown(
        trial.experiment,
        trial.sources.by_name,
        uid=trial.uid,
        store=store,
        known=trial.decisions,
        earlier=trial.sources.earlier,
    )
    return replace(trial, plan=found, decisions=decisions)


def prepare(trial: Trial, *, store: ArtifactStore, executor: Executor) -> Outcome:
    """Prepares the data set alone, with one attempt."""
    return drive(trial.plan.training[:1], store=store, executor=executor, attempts=1)


def run(
    trial: Trial,
    *,
    store: ArtifactStore,
    executor: Executor,
    on_event: Callable[[Event], None],
    on_plan: Callable[[Plan], None] = lambda _plan: None,
) -> tuple[Trial, Outcome]:
    """Runs what is not done yet; returns the trial with its whole plan, and what became of the part that ran last.

    Data comes first and alone, so that what is wrong with it is told before anything is trained; then generation and
    training, while whose searches decide the plan grows; when all of it is done and decided the look at the test split
    is recorded, then the evaluations and the report run. An outcome with failures ends the run early. `on_plan` is told
    of a plan that has grown. No server starts where nothing is to do.
    """
    register(trial, store=store)
    trial = grow(trial, store=store)
    outcome = drive(data_steps(trial.plan), store=store, executor=executor, on_event=on_event)
    if not outcome.is_complete:
        return trial, outcome

    def more() -> Sequence[Step]:
        nonlocal trial
        trial = grow(trial, store=store)
        on_plan(trial.plan)
        return trial.plan.training

    outcome = drive(trial.plan.training, store=store, executor=executor, on_event=on_event, more=more)
    if not outcome.is_complete:
        return trial, outcome
    whole = with_looks(trial, open_test_split(trial, store=store))
    register(whole, store=store)
    for part in (whole.plan.evaluation, whole.plan.report):
        outcome = drive(part, store=store, executor=executor, on_event=on_event)
        if not outcome.is_complete:
            break
    return whole, outcome


def data_steps(plan: Plan) -> tuple[Step, ...]:
    """The steps that read sources: the data set's preparation and the imports of ready-made images."""
    return tuple(step for step in plan.training if stage_of(step.method).name == "data_prep")


def register(trial: Trial, *, store: ArtifactStore) -> None:
    """Files the experiment and its plan in the store: the roots of garbage collection, and the pre-registration.

    The comparison that decides is thereby on record before anything is trained. One that is declared otherwise later is
    a further registration, which says how many of its evaluations were there by then. The plan is filed last. Of a kept
    plan all is on record but what the experiment asks beside its result.
    """
    if trial.is_kept:
        _file(trial, "experiment.yaml", to_yaml(trial.experiment).encode(), store=store)
        return
    _preregister(trial, store=store)
    keys = {
        "keys": [step.key for step in trial.plan.steps],
        "labels": {s.key: s.label for s in trial.plan.steps},
        "about": {s.key: s.about for s in trial.plan.steps},
        "drawn": dict(trial.plan.drawn),
        "given": sorted(trial.plan.given),
        "sources": sorted({source.digest for source in trial.sources.by_name.values() if source.digest}),
    }
    for name, data in (
        ("experiment.yaml", to_yaml(trial.experiment).encode()),
        (PLAN, canonical_json(keys)),
    ):
        _file(trial, name, data, store=store)


def _preregister(trial: Trial, *, store: ArtifactStore) -> None:
    declared = {
        "endpoint": endpoint_of(trial.experiment),
        "comparisons": [json_format.MessageToDict(item) for item in trial.plan.comparisons],
        # What a search comes to says what is evaluated: that is a registration of its own, before it is. So is what
        # follows where a filtering decides that more images are drawn.
        "evaluations": trial.plan.evaluations_digest if trial.plan.is_whole else UNDECIDED,
    }
    while True:
        known = store.registrations(trial.uid)
        if known and {name: known[-1].get(name) for name in declared} == declared:
            return
        keys = [step.key for step in trial.plan.evaluation]
        evaluated = sum(manifest is not None for manifest in store.each(store.sound_manifest, keys))
        when = datetime.fromtimestamp(store.backend.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {**declared, "registered": when, "evaluated": evaluated}
        # Another controller may have been faster, and with the same.
        if store.add_registration(trial.uid, len(known) + 1, entry):
            return


def endpoint_of(experiment: Experiment) -> dict[str, Any]:
    """What decides: the metric, the margin, and the primary comparison with its defaults filled in."""
    spec = experiment.spec
    decides, other = spec.primary, spec.reference
    primary: dict[str, Any] = {
        "arm": decides.arm.name,
        "synthetic": spec.primary_synthetic.name if spec.primary_synthetic else "",
        "classifier": decides.classifier.title,
    }
    if other is not None:
        primary["against"] = dict(zip(("arm", "synthetic", "classifier"), other.parts, strict=True))
    return {"metric": spec.endpoint.metric, "smallestEffect": spec.endpoint.smallest_effect, "primary": primary}


def _file(trial: Trial, name: str, data: bytes, *, store: ArtifactStore) -> None:
    if store.experiment_file(trial.uid, name) != data:
        store.put_experiment_file(trial.uid, name, data)


def open_test_split(trial: Trial, *, store: ArtifactStore) -> list[Look]:
    """Records this trial's look at the test split and returns all looks up to it, this one last.

    That is once all decisions are on record: none may be taken by what the test split shows.
    A trial whose evaluations are on record keeps its number, unless something else is to decide now. Raises
    ArtifactMissing where the data set is not prepared.
    """
    assert not trial.plan.undecided, "the test split is opened once all is decided"
    split = store.open(MemberRef(key=trial.plan.dataset, member="test")).digest
    entry = {
        "evaluations": trial.plan.evaluations_digest,
        "endpoint": canonical_digest(endpoint_of(trial.experiment)),
        "name": trial.experiment.metadata.name,
        "spec": _spec_tree(trial),
    }
    _, entries = store.append_look(split, entry)
    return _looks(entries)


def known_looks(trial: Trial, *, store: ArtifactStore) -> list[Look]:
    """The looks up to this trial's own, or none where it has not opened the test split yet."""
    manifest = store.manifest(trial.plan.dataset)
    if manifest is None or trial.plan.undecided:
        return []
    return _looks(
        store.looks(
            manifest.member("test").digest,
            evaluations=trial.plan.evaluations_digest,
            endpoint=canonical_digest(endpoint_of(trial.experiment)),
        )
    )


def _looks(entries: Sequence[Mapping[str, Any]]) -> list[Look]:
    looks: list[Look] = []
    before: Any = None
    for number, this in enumerate(entries, start=1):
        look = Look(number=number, evaluations=this["evaluations"])
        # Between two trials single classifiers may have been looked at, which ask nothing of an experiment.
        if not is_of_one_classifier(this):
            look.changed.extend(changed_fields(before, this["spec"]) if before is not None else [])
            before = this["spec"]
        looks.append(look)
    return looks


def look_of_one_classifier(key: str, *, title: str, evaluations: Sequence[str]) -> dict[str, Any]:
    """What is on record of a look that no trial took: its classifier's step, and the keys of what it evaluated."""
    return {
        "evaluations": canonical_digest(sorted(evaluations)),
        "endpoint": canonical_digest("one classifier"),
        "name": title,
        "spec": {_EVALUATED: {"classifier": key}},
    }


def is_of_one_classifier(entry: Mapping[str, Any]) -> bool:
    """Whether a look on record is one of `look_of_one_classifier`."""
    return _EVALUATED in entry["spec"]


def with_looks(trial: Trial, looks: Sequence[Look]) -> Trial:
    """The trial planned anew with its report, now that the looks are known."""
    whole = plan(
        trial.experiment,
        trial.sources.by_name,
        decisions=trial.decisions,
        earlier=trial.sources.earlier,
        looks=looks,
    )
    return replace(trial, plan=whole)


def changed_fields(before: Any, after: Any, *, path: str = "spec") -> list[str]:
    """The paths of the fields that differ between two specifications, sorted."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = sorted(before.keys() | after.keys())
        return [
            found
            for name in names
            for found in changed_fields(before.get(name), after.get(name), path=f"{path}.{name}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [found for i, (b, a) in enumerate(pairs) for found in changed_fields(b, a, path=f"{path}[{i}]")]
    return [] if before == after else [path]


def _spec_tree(trial: Trial) -> dict[str, Any]:
    """What of the specification bears on the result."""
    tree: dict[str, Any] = science_of(trial.experiment, trial.sources.by_name).spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude=set(BESIDE_THE_RESULT)
    )
    return tree
