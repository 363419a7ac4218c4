"""Runs a trial: sources to plan, plan to steps on an executor, and the report at the end.

The one place that knows the order of things: what is registered before the test split is opened, and when it is opened.
Called by the command line. A trial may be killed anywhere and run again: every finished step stays finished.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.keys import canonical_json
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import Progress, find_upload, has_upload
from syntrial.errors import SourceError, UserError, Violation
from syntrial.executors.drive import Outcome, drive
from syntrial.executors.executor import Event, Executor
from syntrial.experiment.file import to_yaml
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import DATASET, plan, science_of, source_fields
from syntrial.plan.steps import Plan, Step
from syntrial.sources.addresses import ClaimAddress, LocalPath, S3Address, StoredContent, parse_address
from syntrial.sources.digests import resolve, resolve_weights
from syntrial.sources.ingest import WEIGHTS, ingest, recorded_source
from syntrial.sources.medmnist import MEDMNIST
from syntrial.stages import stage_of
from syntrial.v1.analysis_pb2 import Look
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The resolved sources of an experiment."""

    by_name: Mapping[str, Source]
    """As `syntrial.plan.planner.source_fields` names them."""
    locations: Mapping[str, Path]
    """Where the content of each digest lies on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """An experiment with its sources and its plan."""

    uid: str
    """What the store files the experiment under: on a laptop its name, so that a changed one replaces it."""
    experiment: Experiment
    sources: Sources
    plan: Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingest:
    """A source that has to be brought into the store before the trial can be planned."""

    name: str
    """As `syntrial.plan.planner.source_fields` names it."""
    address: str
    """s3://… or claim://…, as the experiment has it."""
    secret: str | None
    """The Secret with the credentials of an s3:// address; None: those of the store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """An experiment whose sources are not all in the store yet."""

    ingests: tuple[Ingest, ...]


def resolve_sources(
    experiment: Experiment,
    *,
    base: Path,
    data_root: Path | None = None,
    store: ArtifactStore | None = None,
    on_progress: Progress | None = None,
) -> Sources:
    """Resolves every source that the experiment names; relative paths begin at `base`, the experiment file's folder.

    `data_root` is the folder that holds MedMNIST's files; those that are not there are downloaded by the preparing
    step. What lies at an s3:// address is copied into `store`, where sha256: addresses are looked up too. Raises
    UserError and SourceError.
    """
    by_name: dict[str, Source] = {}
    locations: dict[str, Path] = {}
    for name, (source, given) in source_fields(experiment).items():
        field = _field_of(experiment, name)
        address = parse_address(given, field=field) if given is not None else None
        if isinstance(address, ClaimAddress):
            raise UserError(
                field=field,
                rule="a PersistentVolumeClaim is reached from inside its cluster alone",
                received=str(address),
                remedy="Run the experiment there (`syntrial submit`, or kubectl apply), or give a path.",
            )
        if isinstance(address, S3Address | StoredContent):
            if store is None:
                raise UserError(
                    field=field,
                    rule="content at an address is read by way of a store",
                    received="no store",
                    remedy="Name one with --store.",
                )
            digest = _bring(address, name, store=store, field=field, on_progress=on_progress)
            by_name[name] = _with_digest(source, digest, store=store, field=field)
            continue
        path = base / address.path.expanduser() if address is not None else None
        if name.startswith(WEIGHTS):
            assert path is not None
            digest = resolve_weights(path, field=field)
            by_name[name], locations[digest] = Source(digest=digest), path
            continue
        if source.WhichOneof("kind") == "medmnist":
            path = _medmnist_root(source, data_root)
        resolved = resolve(source, path, field=field)
        by_name[name] = resolved.source
        if resolved.path is not None:
            locations[resolved.source.digest] = resolved.path.resolve()
    return Sources(by_name=by_name, locations=locations)


def resolve_recorded(experiment: Experiment, *, store: ArtifactStore, uid: str) -> Sources | Pending:
    """Resolves every source from what is in the store, as a cluster's controller does: no file and no bucket is read.

    What lies at an s3:// or claim:// address counts once an ingest has noted its digest for this address beside the
    experiment, and as long as the content is there; else it is pending. Raises UserError, with all that is wrong: a
    path of some machine, content that was never uploaded, a file where a folder is meant.
    """
    by_name: dict[str, Source] = {}
    ingests: list[Ingest] = []
    violations: list[Violation] = []
    for name, (source, given) in source_fields(experiment).items():
        field = _field_of(experiment, name)
        try:
            if given is None:
                by_name[name] = resolve(source, field=field).source
                continue
            address = parse_address(given, field=field)
            digest: str | None
            match address:
                case LocalPath():
                    raise UserError(
                        field=field,
                        rule="a cluster reads s3://bucket/path, claim://NAME/path or sha256:HEX, and no path of yours",
                        received=given,
                        remedy="Use `syntrial submit`, which uploads the data and puts its digest in.",
                    )
                case StoredContent():
                    digest = _bring(address, name, store=store, field=field, on_progress=None)
                case _:
                    digest = recorded_source(store, uid=uid, name=name, address=given)
            if digest is None or not has_upload(store, digest):
                ingests.append(Ingest(name=name, address=given, secret=_secret_of(experiment, name)))
            else:
                by_name[name] = _with_digest(source, digest, store=store, field=field)
        except UserError as error:
            violations += error.violations
    if violations:
        raise UserError(violations=violations)
    return Pending(ingests=tuple(ingests)) if ingests else Sources(by_name=by_name, locations={})


def _field_of(experiment: Experiment, name: str) -> str:
    """The path in the experiment of the field that says where a source lies; names as `source_fields` gives them."""
    spec = experiment.spec
    part, _, item = name.partition("/")
    if part == "weights":
        number = next(n for n, classifier in enumerate(spec.classifiers) if classifier.title == item)
        return f"spec.classifiers[{number}].pretraining"
    if part == "synthetic":
        number = next(n for n, synthetic in enumerate(spec.synthetic) if synthetic.name == item)
        return f"spec.synthetic[{number}].images"
    return f"spec.{part}"


def _secret_of(experiment: Experiment, name: str) -> str | None:
    part, _, item = name.partition("/")
    if part == "synthetic":
        images = next(synthetic.images for synthetic in experiment.spec.synthetic if synthetic.name == item)
        return images.secret if images else None
    return experiment.spec.dataset.secret if part == DATASET else None


def _bring(
    address: S3Address | StoredContent, name: str, *, store: ArtifactStore, field: str, on_progress: Progress | None
) -> str:
    """The digest of what an address stands for, once the store has it."""
    if isinstance(address, S3Address):
        return ingest(address, store=store, weights=name.startswith(WEIGHTS), field=field, on_progress=on_progress)
    if not has_upload(store, address.digest):
        raise UserError(
            field=field,
            rule="the content of a sha256: address is in the store",
            received=f"{address.digest}, which is not in {store.url}",
            remedy="Upload it first: `syntrial upload PATH`.",
        )
    return address.digest


def _with_digest(source: Source, digest: str, *, store: ArtifactStore, field: str) -> Source:
    """The source with its digest, if the content is a file where one is meant, and a folder where one is meant."""
    upload = find_upload(store, digest)
    wanted = "folder" if source.WhichOneof("kind") == "folder" else "file"
    if upload is not None and upload.kind != wanted:
        raise UserError(
            field=field,
            rule=f"the content is a {wanted}",
            received=f"the {upload.kind} {upload.name}",
            remedy="Use `npz:` for a file and `folder:` for a folder of images.",
        )
    resolved = Source()
    resolved.CopyFrom(source)
    resolved.digest = digest
    return resolved


def _medmnist_root(source: Source, data_root: Path | None) -> Path | None:
    """The folder of MedMNIST's files where it holds this set."""
    if data_root is None:
        return None
    if not data_root.is_dir():
        raise SourceError(
            field="--data-root",
            rule="the data root is a folder that holds MedMNIST's .npz files",
            received=str(data_root),
            remedy="Check the path, or leave it out to download the data.",
        )
    known = MEDMNIST.get(source.medmnist.name)
    present = known is not None and (data_root / known.filename(source.medmnist.size)).exists()
    return data_root if present else None


def draft(experiment: Experiment, sources: Sources, *, uid: str | None = None) -> Trial:
    """The trial as planned before the test split is opened: all but the report; `uid` is by default its name."""
    return Trial(
        uid=uid or experiment.metadata.name,
        experiment=experiment,
        sources=sources,
        plan=plan(experiment, sources.by_name),
    )


def prepare(trial: Trial, *, store: ArtifactStore, executor: Executor) -> Outcome:
    """Prepares the data set alone, with one attempt."""
    return drive(trial.plan.training[:1], store=store, executor=executor, attempts=1)


def run(
    trial: Trial, *, store: ArtifactStore, executor: Executor, on_event: Callable[[Event], None]
) -> tuple[Trial, Outcome]:
    """Runs what is not done yet; returns the trial with its whole plan, and what became of the part that ran last.

    Data comes first and alone, so that what is wrong with it is told before anything is trained; then generation and
    training; when all of it is done the look at the test split is recorded, then the evaluations and the report run.
    An outcome with failures ends the run early. No server starts where nothing is to do.
    """
    register(trial, store=store)
    for part in (data_steps(trial.plan), trial.plan.training):
        outcome = drive(part, store=store, executor=executor, on_event=on_event)
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

    The comparison that decides is thereby on record before anything is trained. The plan is filed last.
    """
    spec = trial.experiment.spec
    comparisons = [json_format.MessageToDict(item) for item in trial.plan.comparisons]
    registration = {
        "endpoint": spec.endpoint.model_dump(mode="json", by_alias=True, exclude_none=True),
        "comparisons": comparisons,
        "evaluations": trial.plan.evaluations_digest,
    }
    keys = {
        "keys": [step.key for step in trial.plan.steps],
        "labels": {s.key: s.label for s in trial.plan.steps},
        "sources": sorted({source.digest for source in trial.sources.by_name.values() if source.digest}),
    }
    for name, data in (
        ("experiment.yaml", to_yaml(trial.experiment).encode()),
        ("preregistration.json", canonical_json(registration)),
        (PLAN, canonical_json(keys)),
    ):
        if store.experiment_file(trial.uid, name) != data:
            store.put_experiment_file(trial.uid, name, data)


def open_test_split(trial: Trial, *, store: ArtifactStore) -> list[Look]:
    """Records this trial's look at the test split and returns all looks up to it, this one last.

    A trial whose evaluations are on record keeps its number. Raises ArtifactMissing where the data set is not prepared.
    """
    split = store.open(MemberRef(key=trial.plan.dataset, member="test")).digest
    entry = {
        "evaluations": trial.plan.evaluations_digest,
        "name": trial.experiment.metadata.name,
        "spec": _spec_tree(trial),
    }
    _, entries = store.append_look(split, entry)
    return _looks(entries)


def known_looks(trial: Trial, *, store: ArtifactStore) -> list[Look]:
    """The looks up to this trial's own, or none where it has not opened the test split yet."""
    manifest = store.manifest(trial.plan.dataset)
    if manifest is None:
        return []
    return _looks(store.looks(manifest.member("test").digest, evaluations=trial.plan.evaluations_digest))


def _looks(entries: Sequence[Mapping[str, Any]]) -> list[Look]:
    looks = []
    for number, this in enumerate(entries, start=1):
        before = entries[number - 2]["spec"] if number > 1 else this["spec"]
        looks.append(Look(number=number, evaluations=this["evaluations"], changed=changed_fields(before, this["spec"])))
    return looks


def with_looks(trial: Trial, looks: Sequence[Look]) -> Trial:
    """The trial planned anew with its report, now that the looks are known."""
    whole = plan(trial.experiment, trial.sources.by_name, looks=looks)
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
        mode="json", by_alias=True, exclude_none=True, exclude={"suspend", "retention", "cluster"}
    )
    return tree
