"""What `syntrial submit` sends: an experiment whose local sources are named by their content, and that content.

A cluster's pods see no path of this machine. So each local file or folder goes into the namespace's store under the
digest of its content, and the experiment says `sha256:…` in its place: keys are those of the same trial on a laptop.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import put_upload
from syntrial.experiment.dataset import SOURCES
from syntrial.experiment.file import read_experiment, validate
from syntrial.experiment.model import Experiment
from syntrial.experiment.on_cluster import check_on_cluster
from syntrial.experiment.trees import read_tree
from syntrial.plan.planner import plan
from syntrial.plan.size import check_size, step_limit
from syntrial.sources.contents import look_into
from syntrial.sources.digests import resolve, resolve_weights
from syntrial.sources.named import sources_of
from syntrial.sources.resolve import local_paths, read_here
from syntrial.v1.data_preparation_pb2 import Source

UNREAD: Final = f"sha256:{'0' * 64}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSource:
    """A file or folder of this machine that a trial reads."""

    field: str
    """Where the experiment names it, for example "spec.dataset"."""
    path: Path
    digest: str
    """Of its content, "sha256:…" or MedMNIST's "md5:…"."""
    reads: Callable[[str], bool] | None = None
    """Tells of a folder's file whether the trial may read it; None: all are sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedExperiment:
    """An experiment ready to be applied."""

    experiment: Experiment
    """As a cluster reads it."""
    tree: Mapping[str, Any]
    """The file's own tree with other addresses: labels, annotations and what else it says are kept."""
    sources: tuple[LocalSource, ...]
    """What must be in the store first."""


def prepare(file: Path, *, data_root: Path | None = None) -> PreparedExperiment:
    """Reads an experiment and digests its local sources; relative paths begin at the file's folder.

    MedMNIST's official file counts as local where `data_root` holds it; else the preparing pod downloads it. Raises
    UserError and SourceError.
    """
    experiment = read_experiment(file)
    check_on_cluster(experiment)
    check_size(experiment, limit=step_limit())
    tree = copy.deepcopy(read_tree(file.read_text(encoding="utf-8"), name=str(file)))
    found: list[LocalSource] = []
    resolved: dict[str, Source] = {}
    paths = local_paths(experiment, base=file.parent, data_root=data_root)
    look_into(experiment, paths)
    for ref in sources_of(experiment):
        path = paths.get(ref.name)
        if ref.address is not None and path is None:
            # What lies elsewhere has a digest once the cluster has read it; any will do to see that a plan can be made.
            resolved[ref.name] = ref.with_digest(UNREAD)
            continue
        resolved[ref.name] = read_here(ref, path)
        if path is not None:
            digest = resolved[ref.name].digest
            found.append(LocalSource(field=ref.field, path=path, digest=digest, reads=ref.reads))
            if ref.address is not None:
                _put(tree, ref.place, digest)
    plan(experiment, resolved)
    return PreparedExperiment(experiment=validate(tree), tree=tree, sources=tuple(found))


def digest_of(path: Path) -> str:
    """The digest under which a trial names the content of a file or folder; raises SourceError for what none reads."""
    if path.suffix == ".safetensors":
        return resolve_weights(path, field="PATH")
    of_files = {row.suffix: name for name, row in SOURCES.items() if row.content == "file" and path.is_file()}
    of_folders = next(name for name, row in SOURCES.items() if row.content == "folder")
    source = Source()
    getattr(source, of_files.get(path.suffix, of_folders)).SetInParent()
    return resolve(source, path, field="PATH").source.digest


def send(
    source: LocalSource, *, store: ArtifactStore, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> int:
    """Puts the source into the store, or goes on where that was broken off; returns how many bytes were sent.

    `on_progress` is told the bytes that are in the store, and all there are.
    """
    return put_upload(store, source.path.resolve(), digest=source.digest, reads=source.reads, on_progress=on_progress)


def _put(tree: Any, place: tuple[str | int, ...], value: str) -> None:
    """Puts a value at a path of a tree of mappings and lists."""
    *parents, last = place
    for part in parents:
        tree = tree[part]
    tree[last] = value
