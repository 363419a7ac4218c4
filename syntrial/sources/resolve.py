"""Resolve: every source that an experiment names becomes the digest of its content, so that keys are known.

On a laptop files are read, and buckets and weights of the hub copied into the store; on a cluster only what is on
record in the store counts, and the rest is pending until a Job has brought it. Called by the command line and the
controller.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import Progress, find_upload, has_upload
from syntrial.errors import SourceError, UserError, Violation
from syntrial.experiment.model import Experiment
from syntrial.imagesets.contents import Contents
from syntrial.sources.addresses import ClaimAddress, HttpsAddress, HubAddress, LocalPath, S3Address, StoredContent
from syntrial.sources.contents import look_into
from syntrial.sources.digests import check_content, resolve, resolve_code, resolve_generator, resolve_weights
from syntrial.sources.earlier import earlier_generators
from syntrial.sources.ingest import ingest, record_source, recorded_source
from syntrial.sources.medmnist import MEDMNIST
from syntrial.sources.named import CODE, GENERATOR, LPIPS, WEIGHTS, SourceRef, sources_of
from syntrial.v1.data_preparation_pb2 import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The resolved sources of an experiment."""

    by_name: Mapping[str, Source]
    """As `SourceRef.name` has it."""
    locations: Mapping[str, Path]
    """Where the content of each digest lies on this machine."""
    earlier: Mapping[str, str] = field(default_factory=dict)
    """By the key of each earlier generator in the store that a training begins with: the key of the data set whose
    training split is all that it was made from; "" where that is not so, or cannot be shown."""
    contents: Mapping[str, Contents] = field(default_factory=dict)
    """By name, of those that lie on this machine or are drawn: what was seen of them at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingSources:
    """An experiment whose sources are not all in the store yet."""

    refs: tuple[SourceRef, ...]
    """What has to be brought there: each at an s3://, claim:// or hub:// address."""


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
    step. What lies at an s3:// address or on the hub is copied into `store`, where sha256: addresses are looked up too.
    Raises UserError and SourceError.
    """
    by_name: dict[str, Source] = {}
    locations: dict[str, Path] = {}
    paths = local_paths(experiment, base=base, data_root=data_root)
    contents = look_into(experiment, paths)
    for ref in sources_of(experiment):
        address = ref.located()
        match address:
            case ClaimAddress():
                raise UserError(
                    field=ref.field,
                    rule="a PersistentVolumeClaim is reached from inside its cluster alone",
                    received=str(address),
                    remedy="Run the experiment there (`syntrial submit`, or kubectl apply), or give a path.",
                )
            case S3Address() | HttpsAddress() | HubAddress() | StoredContent():
                if store is None:
                    raise UserError(
                        field=ref.field,
                        rule="content at an address is read by way of a store",
                        received="no store",
                        remedy="Name one with --store.",
                    )
                digest = _bring(address, ref, store=store, uid=experiment.metadata.name, on_progress=on_progress)
                by_name[ref.name] = _checked(ref, digest, store=store)
            case _:
                path = paths.get(ref.name)
                by_name[ref.name] = read_here(ref, path, on_progress=on_progress)
                if path is not None:
                    locations[by_name[ref.name].digest] = path if ref.kind in {WEIGHTS, LPIPS} else path.resolve()
    earlier = earlier_generators(experiment, store=store)
    return Sources(by_name=by_name, locations=locations, earlier=earlier, contents=contents)


def resolve_recorded(experiment: Experiment, *, store: ArtifactStore, uid: str) -> Sources | PendingSources:
    """Resolves every source from what is in the store, as a cluster's controller does: no file and no bucket is read.

    What lies at an s3://, claim:// or hub:// address counts once an ingest has noted its digest for this address beside
    the experiment, and as long as the content is there; else it is pending. Raises UserError, with all that is wrong: a
    path of some machine, content that was never uploaded, a file where a folder is meant.
    """
    by_name: dict[str, Source] = {}
    pending: list[SourceRef] = []
    violations: list[Violation] = []
    earlier: Mapping[str, str] = {}
    try:
        earlier = earlier_generators(experiment, store=store)
    except UserError as error:
        violations += error.violations
    for ref in sources_of(experiment):
        try:
            address = ref.located()
            if address is None or ref.address is None:
                by_name[ref.name] = read_here(ref, None)
                continue
            digest: str | None
            match address:
                case LocalPath():
                    raise UserError(
                        field=ref.field,
                        rule="a cluster reads s3://bucket/path, claim://NAME/path, https://, sha256:HEX or hub:// for "
                        "weights, and no path of yours",
                        received=ref.address,
                        remedy="Use `syntrial submit`, which uploads the data and puts its digest in.",
                    )
                case StoredContent():
                    digest = _stored(address, ref, store=store)
                case HttpsAddress():
                    digest = address.digest
                case _:
                    digest = recorded_source(store, uid=uid, name=ref.name, address=ref.noted)
            if digest is None or not has_upload(store, digest):
                pending.append(ref)
            else:
                by_name[ref.name] = _checked(ref, digest, store=store)
        except UserError as error:
            violations += error.violations
    if violations:
        raise UserError(violations=violations)
    if pending:
        return PendingSources(refs=tuple(pending))
    return Sources(by_name=by_name, locations={}, earlier=earlier)


def local_paths(experiment: Experiment, *, base: Path, data_root: Path | None) -> dict[str, Path]:
    """Where sources lie on this machine, by name: those that the experiment gives as paths, which begin at `base`, and
    MedMNIST's official files in `data_root`.

    Raises UserError for an address of no known form, SourceError for a root that is none.
    """
    found: dict[str, Path] = {}
    for ref in sources_of(experiment):
        address = ref.located()
        if isinstance(address, LocalPath):
            found[ref.name] = base / address.path.expanduser()
        elif address is None and (official := official_file(ref, data_root)) is not None:
            found[ref.name] = official
    return found


def read_here(ref: SourceRef, path: Path | None, *, on_progress: Progress | None = None) -> Source:
    """The source with the digest of what lies at `path` on this machine; None where it needs nothing of this machine.

    Raises UserError for an unknown name, size or parameter, SourceError for a missing, damaged or wrong file.
    """
    if ref.kind in {WEIGHTS, LPIPS}:
        assert path is not None
        return ref.with_digest(resolve_weights(path, field=ref.field, kind=ref.kind))
    if ref.kind == CODE:
        assert path is not None
        return ref.with_digest(resolve_code(path, field=ref.field))
    if ref.kind == GENERATOR:
        assert path is not None
        return ref.with_digest(resolve_generator(path, field=ref.field, family=ref.family))
    return resolve(ref.request, path, field=ref.field, on_progress=on_progress).source


def official_file(ref: SourceRef, data_root: Path | None) -> Path | None:
    """The official file of a MedMNIST set where the data root holds it; raises SourceError for a root that is none."""
    if data_root is None or ref.kind != "medmnist":
        return None
    if not data_root.is_dir():
        raise SourceError(
            field="--data-root",
            rule="the data root is a folder that holds MedMNIST's .npz files",
            received=str(data_root),
            remedy="Check the path, or leave it out: the data is then downloaded.",
        )
    known = MEDMNIST.get(ref.request.medmnist.name)
    file = data_root / known.filename(ref.request.medmnist.size) if known else None
    return file if file is not None and file.is_file() else None


def _bring(
    address: S3Address | HttpsAddress | HubAddress | StoredContent,
    ref: SourceRef,
    *,
    store: ArtifactStore,
    uid: str,
    on_progress: Progress | None,
) -> str:
    """The digest of what an address stands for, once the store has it.

    A bucket is looked at each time; what a revision on the hub stands for, once for an experiment.
    """
    if isinstance(address, StoredContent):
        return _stored(address, ref, store=store)
    if isinstance(address, HubAddress):
        recorded = recorded_source(store, uid=uid, name=ref.name, address=str(address))
        if recorded is not None and has_upload(store, recorded):
            return recorded
    found = ingest(address, store=store, kind=ref.kind, field=ref.field, reads=ref.reads, on_progress=on_progress)
    if isinstance(address, HubAddress):
        record_source(store, uid=uid, name=ref.name, address=str(address), digest=found.digest, origin=found.origin)
    return found.digest


def _stored(address: StoredContent, ref: SourceRef, *, store: ArtifactStore) -> str:
    if not has_upload(store, address.digest):
        raise UserError(
            field=ref.field,
            rule="the content of a sha256: address is in the store",
            received=f"{address.digest}, which is not in {store.url}",
            remedy="Upload it first: `syntrial upload PATH`.",
        )
    return address.digest


def _checked(ref: SourceRef, digest: str, *, store: ArtifactStore) -> Source:
    """The source with its digest, if the content is a file where one is meant, and a folder where one is meant."""
    upload = find_upload(store, digest)
    if upload is not None:
        check_content(upload.kind, kind=ref.kind, field=ref.field, title=upload.name)
    return ref.with_digest(digest)
