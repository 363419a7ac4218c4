"""What is read from a store for a trial's runs: its record, its report, and the documents of its finished steps."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from syntrial.analysis.findings import SCHEMA
from syntrial.artifacts.keys import canonical_digest
from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactStore
from syntrial.documents.decisions import Decisions
from syntrial.documents.document import read
from syntrial.documents.quality import Quality
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.documents.training import ClassifierTraining, Curves
from syntrial.errors import VersionMismatch
from syntrial.trial.attempts import is_given_up
from syntrial.trial.handle import what_is_asked
from syntrial.trial.record import TrialRecord, read_trial_record, sources_on_record
from syntrial.v1.artifacts_pb2 import MemberRef

_D = TypeVar("_D")


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """A trial as its store has it; documents by the keys of their steps."""

    name: str
    trial: str
    """Digest of what is asked of which data: of an Experiment that was changed, another."""
    record: TrialRecord
    is_stuck: bool
    """Whether a step failed that is not tried again by itself."""
    report: Mapping[str, Any] | None
    curves: Mapping[str, Curves]
    """Of what was trained but classifiers."""
    trainings: Mapping[str, ClassifierTraining]
    validations: Mapping[str, Mapping[str, Any]]
    """Of classifiers: figures on the validation split."""
    filterings: Mapping[str, Decisions]
    qualities: Mapping[str, Quality]
    decisions: Mapping[str, Decision]
    """Of searches: what to try, what goes on, and the best."""
    seconds: Mapping[str, float]
    """What finished steps took, all attempts together; 0 where none is on record."""


def read_material(store: ArtifactStore, *, name: str, uid: str, before: Material | None = None) -> Material:
    """What the store has of the trial by now; documents that were read `before` are not read again.

    Raises ArtifactMissing where it has no such trial, VersionMismatch for documents of another release, and the
    store's errors.
    """
    record = read_trial_record(store, uid=uid)
    filed = store.experiment_file(uid, "experiment.yaml")
    asked = what_is_asked(filed.decode()) if filed is not None else {}
    report = record.report
    made = record.manifests

    def each(member: str, name: str, known: Mapping[str, _D], read_one: Callable[[str], _D]) -> dict[str, _D]:
        having = [key for key in made if _holds(made[key], member, name)]
        new = [key for key in having if key not in known]
        found = {**known, **dict(zip(new, store.each(read_one, new), strict=True))}
        return {key: found[key] for key in having}

    def documents(kind: type[_D], member: str, name: str, known: Mapping[str, _D]) -> dict[str, _D]:
        return each(member, name, known, lambda key: read(kind, store.open(MemberRef(key=key, member=member)), name))

    def validation(key: str) -> Mapping[str, Any]:
        return _json(store, key, "validation", "metrics.json")

    return Material(
        name=name,
        trial=canonical_digest({"spec": asked, "sources": sources_on_record(store, uid=uid)}),
        record=record,
        is_stuck=report is None and _is_stuck(store, record),
        report=_report(store, report) if report is not None else None,
        curves=documents(Curves, "curves", "curves.json", before.curves if before else {}),
        trainings=documents(ClassifierTraining, "training", "training.json", before.trainings if before else {}),
        validations=each("validation", "metrics.json", before.validations if before else {}, validation),
        filterings=documents(Decisions, "decisions", "decisions.json", before.filterings if before else {}),
        qualities=documents(Quality, "quality", "quality.json", before.qualities if before else {}),
        decisions=documents(Decision, MEMBER, NAME, before.decisions if before else {}),
        seconds=_seconds(store, [*made], before.seconds if before else {}),
    )


def _seconds(store: ArtifactStore, keys: list[str], known: Mapping[str, float]) -> dict[str, float]:
    def taken(key: str) -> float:
        used = (attempt.entry.get("resources") or {} for attempt in store.attempts(key))
        return sum(float(found.get("wall_seconds", 0.0)) for found in used)

    new = [key for key in keys if key not in known]
    return {**known, **dict(zip(new, store.each(taken, new), strict=True))}


def _holds(manifest: Manifest, member: str, name: str) -> bool:
    """Whether an artifact has that document; data preparation has a member `validation` too, of images."""
    return member in manifest.members and any(blob.name == name for blob in manifest.members[member].blobs)


def _json(store: ArtifactStore, key: str, member: str, name: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(store.open(MemberRef(key=key, member=member)).read(name))
    return tree


def _report(store: ArtifactStore, key: str) -> dict[str, Any]:
    tree = _json(store, key, "report", "report.json")
    if tree.get("schema") != SCHEMA:
        raise VersionMismatch(f"the report {key[:12]} is of another release: its schema is not {SCHEMA}")
    return tree


def _is_stuck(store: ArtifactStore, record: TrialRecord) -> bool:
    open_ = [key for key in record.labels if key not in record.manifests]
    return any(store.each(lambda key: is_given_up(store.attempts(key, experiment=record.uid)), open_))


def referred(request: Mapping[str, Any], name: str) -> str | None:
    """The key of the artifact that a field of a request refers to."""
    found = request.get(name)
    return str(found["key"]) if isinstance(found, Mapping) and "key" in found else None
