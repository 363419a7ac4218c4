"""Export: what a researcher takes home of a trial, as files that need no Syntrial to be read.

    experiment.yaml  preregistration.json  report.html  report.json
    steps.csv                   each step: label, method, key, whether it is done, digests, versions
    tables/comparisons.csv      the report's tables, a row each
    tables/arms.csv
    provenance/<key>.json       the manifest of each finished step: its request, what it read, the machine it ran on
    images/<set>                on request: the accepted synthetic images, in a layout of `syntrial.imagesets.layouts`,
                                with a card that says how they are given to Syntrial again
    mixed/<set>                 on request: real training images and synthetic ones, by percentage, likewise
    predictions/<step>.csv      on request: each test image's patient, label and scores
    generators/<step>/          on request: weights (safetensors), their description, and how images are drawn
                                (sampling.json); classifiers/<step>/ likewise, with checkpoints/ where weights were kept
                                on the way
    README.md  SHA256SUMS       what lies here, and its checksums (`sha256sum -c SHA256SUMS`)

Reads a store by the identifier under which it files the experiment, so a laptop's trial and a cluster's are exported
alike. Beside what the report shows, and what a mixed set is asked for, no real image is exported; none by its name.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from syntrial import __version__
from syntrial.artifacts.backend import hash_file
from syntrial.artifacts.members import MemberReader
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import UserError
from syntrial.imagesets.files import file_name
from syntrial.imagesets.layouts import LAYOUTS, Layout
from syntrial.trial.record import TrialRecord, read_trial_record, sampling_of
from syntrial.trial.sets import Mix, Sets, verdict_words
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import SampleImagesRequest

_EVALUATE: Final = "syntrial.v1.ClassificationService/EvaluateClassifier"


class ExportPart(StrEnum):
    """What is exported on request."""

    IMAGES = "images"
    PREDICTIONS = "predictions"
    GENERATORS = "generators"
    CLASSIFIERS = "classifiers"


_WEIGHTS: Final = {
    ExportPart.GENERATORS: ("syntrial.v1.GenerationService/TrainGenerator", "generator"),
    ExportPart.CLASSIFIERS: ("syntrial.v1.ClassificationService/TrainClassifier", "classifier"),
}


_KEPT: Final = "checkpoints"
"""The member with weights that a training kept on the way, and their folder."""


def chosen_parts(names: Iterable[str]) -> frozenset[ExportPart]:
    """The parts that a user names, one by one, with commas, or "all"; raises UserError for another name."""
    words = [word.strip() for name in names for word in name.split(",") if word.strip()]
    if "all" in words:
        return frozenset(ExportPart)
    for word in words:
        if word not in set(ExportPart):
            raise UserError(
                field="--include",
                rule=f"is one of {', '.join(ExportPart)} and all",
                received=word,
                remedy="Name one of these.",
            )
    return frozenset(map(ExportPart, words))


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an export wrote."""

    folder: Path
    files: int
    bytes: int
    images: int
    steps_missing: int
    """Steps of the plan that are not done: their results are not in the export."""


def write_report(store: ArtifactStore, *, key: str, uid: str, out: Path) -> dict[str, Any]:
    """Writes report.json, report.html and the experiment that ran into `out`; returns the report.

    Raises ArtifactMissing where there is no such report.
    """
    files = _blobs(store, key, "report")
    experiment = store.experiment_file(uid, "experiment.yaml")
    if experiment is not None:
        files["experiment.yaml"] = experiment
    for name, data in files.items():
        write_whole(out / name, data)
    report: dict[str, Any] = json.loads(files["report.json"])
    return report


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file, or replaces it whole: whoever reads it finds all of one or all of the other.

    Raises UserError where it cannot be written.
    """
    with _writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.part")
        draft.write_bytes(data)
        draft.replace(path)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Words what keeps a folder of the user's from being written to."""
    try:
        yield
    except OSError as error:
        raise UserError(
            field="DIR",
            rule="is a folder that may be written to, on a disk with room",
            received=f"{error.filename or folder}: {error.strerror}",
            remedy="Name another place, or change what is there.",
        ) from error


def export_trial(
    store: ArtifactStore,
    *,
    uid: str,
    name: str,
    out: Path,
    parts: Collection[ExportPart] = (),
    layout: Layout = LAYOUTS["png"],
    mix: Mix | None = None,
    on_file: Callable[[str], None] = lambda _name: None,
) -> Exported:
    """Writes what the store has of the trial into the new folder `out`; it appears when it is whole.

    `mix` asks for mixed sets beside the others. `on_file` is told what is being written. Raises UserError where `out`
    exists and is not empty, ArtifactMissing where the store knows no such trial.
    """
    trial = read_trial_record(store, uid=uid)
    images = 0
    with whole_folder(out) as draft:
        _write_records(trial, store=store, folder=draft)
        report = _blobs(store, trial.report, "report")["report.json"] if trial.report is not None else None
        verdict = verdict_words(json.loads(report) if report is not None else None)
        sets = Sets(trial=trial, store=store, name=name, layout=layout, verdict=verdict, on_file=on_file)
        if ExportPart.IMAGES in parts:
            images = sets.write(draft / "images")
        if mix is not None:
            images += sets.write_mixed(draft / "mixed", mix)
        if ExportPart.PREDICTIONS in parts:
            _write_predictions(trial, store=store, folder=draft / "predictions", on_file=on_file)
        for part in _WEIGHTS.keys() & parts:
            _write_weights(trial, part, store=store, folder=draft / part, on_file=on_file)
        (draft / "README.md").write_text(_readme(trial, name=name, folder=draft), encoding="utf-8")
        paths = add_checksums(draft)
        size = sum(path.stat().st_size for path in paths)
    return Exported(
        folder=out,
        files=len(paths) + 1,
        bytes=size,
        images=images,
        steps_missing=len(trial.labels) - len(trial.manifests),
    )


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that becomes the new or empty folder `out` when the block ends; on an error, nothing.

    Raises UserError where `out` holds something, and where what is written has no room or no permission.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            field="DIR",
            rule="an export goes into a new or empty folder",
            received=str(out),
            remedy="Name another folder, or remove this one.",
        )
    whole = out.resolve()
    draft = whole.with_name(f".{whole.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with _writable(whole.parent):
            draft.mkdir(parents=True)
            yield draft
            out.mkdir(exist_ok=True)
            for path in draft.iterdir():
                path.rename(out / path.name)
            draft.rmdir()
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def add_checksums(folder: Path) -> list[Path]:
    """Writes SHA256SUMS of all files in a folder; returns these."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hash_file(path)[0]}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return paths


def _write_records(trial: TrialRecord, *, store: ArtifactStore, folder: Path) -> None:
    data = store.experiment_file(trial.uid, "experiment.yaml")
    if data is not None:
        (folder / "experiment.yaml").write_bytes(data)
    registered = store.registrations(trial.uid)
    if registered:
        (folder / "preregistration.json").write_text(json.dumps(registered, indent=1, sort_keys=True) + "\n")
    (folder / "provenance").mkdir()
    rows = []
    for key, label in trial.labels.items():
        manifest = trial.manifests.get(key)
        row = {"step": label, "method": "", "key": key, "state": "to do"}
        if manifest is not None:
            (folder / "provenance" / f"{key}.json").write_bytes(manifest.to_bytes())
            row |= {
                "method": manifest.method.partition("/")[2],
                "state": "done",
                "artifact_digest": manifest.artifact_digest,
                "stage_version": str(manifest.stage_version),
                **manifest.provenance,
            }
        rows.append(row)
    _write_csv(folder / "steps.csv", rows)
    if trial.report is not None:
        blobs = _blobs(store, trial.report, "report")
        for name, data in blobs.items():
            (folder / name).write_bytes(data)
        report = json.loads(blobs["report.json"])
        for table in ("comparisons", "arms"):
            _write_csv(folder / "tables" / f"{table}.csv", [_flat(item) for item in report.get(table, ())])


def _write_predictions(
    trial: TrialRecord, *, store: ArtifactStore, folder: Path, on_file: Callable[[str], None]
) -> None:
    for key in trial.keys_of(_EVALUATE):
        name = file_name(trial.about[key])
        on_file(f"predictions/{name}.csv")
        # The names of the classes are those of the classifier that gave the scores.
        asked = trial.manifests[key].request["classifier"]
        head = store.open(MemberRef(key=asked["key"], member=asked["member"])).json("classifier.json")
        reader = store.open(MemberRef(key=key, member="predictions"))
        _write_csv(folder / f"{name}.csv", _prediction_rows(reader, classes=[str(one) for one in head["classes"]]))


def _prediction_rows(reader: MemberReader, *, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each test image: its position in the split, its patient, its label or labels, and all scores."""
    scores_NK, labels, patients = (reader.array(f"{name}.npy") for name in ("scores", "labels", "patients"))
    rows = []
    for image in range(len(scores_NK)):
        row: dict[str, Any] = {"image": image, "patient": int(patients[image])}
        if labels.ndim == 1:
            row["label"] = classes[int(labels[image])]
        else:
            row |= {f"label {name}": int(labels[image, k]) for k, name in enumerate(classes)}
        row |= {f"score {name}": repr(float(scores_NK[image, k])) for k, name in enumerate(classes)}
        rows.append(row)
    return rows


def _write_weights(
    trial: TrialRecord, part: ExportPart, *, store: ArtifactStore, folder: Path, on_file: Callable[[str], None]
) -> None:
    method, member = _WEIGHTS[part]
    for key in trial.keys_of(method):
        place = folder / file_name(trial.about[key])
        on_file(f"{part}/{place.name}")
        place.mkdir(parents=True)
        reader = store.open(MemberRef(key=key, member=member))
        for name in reader.names():
            shutil.copyfile(reader.path(name), place / name)
        if _KEPT in trial.manifests[key].members:
            (place / _KEPT).mkdir()
            kept = store.open(MemberRef(key=key, member=_KEPT))
            for name in kept.names():
                shutil.copyfile(kept.path(name), place / _KEPT / name)
        sampling = sampling_of(store, key) if part is ExportPart.GENERATORS else None
        if sampling is not None:
            _write_sampling(sampling, store=store, folder=place)


def _write_sampling(sampling: SampleImagesRequest, *, store: ArtifactStore, folder: Path) -> None:
    """Writes how images are drawn from a generator, and the classifier that guides it, for `syntrial generate`."""
    if sampling.HasField("classifier"):
        reader = store.open(sampling.classifier)
        (folder / "guide").mkdir()
        for name in reader.names():
            shutil.copyfile(reader.path(name), folder / "guide" / name)
        sampling.ClearField("classifier")
    text = json_format.MessageToJson(sampling, preserving_proto_field_name=True, indent=1, sort_keys=True)
    (folder / "sampling.json").write_text(text + "\n", encoding="utf-8")


def _readme(trial: TrialRecord, *, name: str, folder: Path) -> str:
    """What lies in the folder, in words."""
    lines = {
        "report.html": "the report: one page, works offline",
        "report.json": "the same figures for programs; each names the artifacts that it came from",
        "experiment.yaml": "the experiment that ran: `syntrial run experiment.yaml` runs it again, with the same keys",
        "preregistration.json": "the comparison that decides, as declared: each time it was, when, and how many of its "
        "evaluations were there by then",
        "steps.csv": "each step with its key, the digest of its result, and the machine it ran on",
        "tables": "the report's comparisons and arms as CSV",
        "provenance": "the manifest of each finished step, by key: its request, its inputs with their digests",
        "images": "accepted synthetic images, each set with its card: where they come from, what is known against "
        "them, and how an experiment reads them again",
        "mixed": "real training images and synthetic ones by percentage, likewise. Real images are of patients",
        "predictions": "for each evaluation, each test image's patient, label and scores",
        "generators": "trained generators: weights as safetensors and what is needed to build the network; "
        "`syntrial generate generators/NAME` draws from them",
        "classifiers": "trained classifiers, likewise; in `checkpoints` what was kept on the way",
    }
    present = [f"- `{name}`: {words}" for name, words in lines.items() if (folder / name).exists()]
    missing = len(trial.labels) - len(trial.manifests)
    state = f"\nNot done, and so without results here: {missing} of {len(trial.labels)} steps.\n" if missing else ""
    heading = f"# Trial `{name}`\n\nExported by Syntrial {__version__}. `sha256sum -c SHA256SUMS` checks the files.\n"
    return heading + state + "\n" + "\n".join(present) + "\n"


def _blobs(store: ArtifactStore, key: str, member: str) -> dict[str, bytes]:
    reader = store.open(MemberRef(key=key, member=member))
    return {name: reader.read(name) for name in reader.names()}


def _flat(item: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """A row of a table: nested names joined by '.', intervals as two columns; lists of keys and notes are left out."""
    row: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, Mapping):
            row |= _flat(value, prefix=f"{prefix}{name}.")
        elif name.startswith("interval_") and isinstance(value, Sequence) and len(value) == 2:
            row[f"{prefix}{name}_low"], row[f"{prefix}{name}_high"] = value
        elif not isinstance(value, list):
            row[f"{prefix}{name}"] = value
    return row


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(rows), newline="", encoding="utf-8")


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a column for each name in the order in which names first appear."""
    rows = list(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
