"""What `syntrial submit` sends: an experiment whose local sources are named by their content, and that content.

A cluster's pods see no path of this machine. So each local file or folder goes into the namespace's store under the
digest of its content, and the experiment says `sha256:…` in its place: keys are those of the same trial on a laptop.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import put_upload
from syntrial.errors import SourceError
from syntrial.experiment.file import read_experiment, validate
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import DATASET, plan, source_fields
from syntrial.sources.addresses import LocalPath, parse_address
from syntrial.sources.digests import resolve, resolve_weights
from syntrial.sources.medmnist import MEDMNIST
from syntrial.v1.data_preparation_pb2 import FolderSource, NpzSource, Source

UNREAD: Final = f"sha256:{'0' * 64}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSource:
    """A file or folder of this machine that a trial reads."""

    field: str
    """Where the experiment names it, for example "spec.dataset"."""
    path: Path
    digest: str
    """Of its content, "sha256:…" or MedMNIST's "md5:…"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """An experiment ready to be applied."""

    experiment: Experiment
    """As a cluster reads it."""
    tree: Mapping[str, Any]
    """The file's own tree with other addresses: labels, annotations and what else it says are kept."""
    sources: tuple[LocalSource, ...]
    """What must be in the store first."""


def prepare(file: Path, *, data_root: Path | None = None) -> Submission:
    """Reads an experiment and digests its local sources; relative paths begin at the file's folder.

    MedMNIST's official file counts as local where `data_root` holds it; else the preparing pod downloads it. Raises
    UserError and SourceError.
    """
    experiment = read_experiment(file)
    tree = copy.deepcopy(yaml.safe_load(file.read_text(encoding="utf-8")))
    found: list[LocalSource] = []
    resolved: dict[str, Source] = {}
    for name, (source, given) in source_fields(experiment).items():
        part, _, item = name.partition("/")
        resolved[name] = Source()
        resolved[name].CopyFrom(source)
        if given is None:
            official = _official_file(source, data_root)
            resolved[name] = resolve(source, official, field=f"spec.{part}").source
            if official is not None:
                found.append(LocalSource(field=f"spec.{part}", path=official, digest=resolved[name].digest))
            continue
        place, key, field = _place(tree, experiment, part=part, item=item)
        address = parse_address(given, field=field)
        if isinstance(address, LocalPath):
            path = file.parent / address.path.expanduser()
            if part == "weights":
                digest = resolve_weights(path, field=field)
            else:
                digest = resolve(source, path, field=field).source.digest
            place[key] = resolved[name].digest = digest
            found.append(LocalSource(field=field, path=path, digest=digest))
        else:
            # What lies elsewhere has a digest once the cluster has read it; any will do to see that a plan can be made.
            resolved[name].digest = UNREAD
    plan(experiment, resolved)
    return Submission(experiment=validate(tree), tree=tree, sources=tuple(found))


def digest_of(path: Path) -> str:
    """The digest under which a trial names the content of a file or folder; raises SourceError for what none reads."""
    if path.suffix == ".safetensors":
        return resolve_weights(path, field="PATH")
    source = Source(folder=FolderSource()) if path.is_dir() else Source(npz=NpzSource())
    return resolve(source, path, field="PATH").source.digest


def send(
    source: LocalSource, *, store: ArtifactStore, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> int:
    """Puts the source into the store, or goes on where that was broken off; returns how many bytes were sent.

    `on_progress` is told the bytes that are in the store, and all there are.
    """
    return put_upload(store, source.path, digest=source.digest, on_progress=on_progress)


def _official_file(source: Source, data_root: Path | None) -> Path | None:
    """The official file of a MedMNIST set where the data root holds it."""
    if data_root is None or source.WhichOneof("kind") != "medmnist":
        return None
    if not data_root.is_dir():
        raise SourceError(
            field="--data-root",
            rule="the data root is a folder that holds MedMNIST's .npz files",
            received=str(data_root),
            remedy="Check the path, or leave it out: the preparing pod then downloads the data.",
        )
    known = MEDMNIST.get(source.medmnist.name)
    file = data_root / known.filename(source.medmnist.size) if known else None
    return file if file is not None and file.is_file() else None


def _place(tree: dict[str, Any], experiment: Experiment, *, part: str, item: str) -> tuple[dict[str, Any], str, str]:
    """The mapping that holds a source's address, the address's name in it, and how messages call the place."""
    spec = tree["spec"]
    if part == DATASET:
        place, field = spec["dataset"], "spec.dataset"
    elif part == "synthetic":
        number = [one.name for one in experiment.spec.synthetic].index(item)
        place, field = spec["synthetic"][number]["images"], f"spec.synthetic[{number}].images"
    else:
        number = [one.title for one in experiment.spec.classifiers].index(item)
        return spec["classifiers"][number], "pretraining", f"spec.classifiers[{number}].pretraining"
    return place, "npz" if place.get("npz") is not None else "folder", field
