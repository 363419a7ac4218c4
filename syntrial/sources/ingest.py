"""Brings a source into the store: `python -m syntrial.sources.ingest`, which Jobs on a cluster run; a laptop likewise.

What lies at an s3://, claim://, https:// or hub:// address becomes an upload, named by the digest of its content, and a
small record beside the experiment says which digest the address had. From then on the trial reads the upload alone:
what happens at the address later changes nothing of it.

An S3 server says nothing of an object's SHA-256, so everything is read once. What was read is noted in the store, with
the object's ETag, so that an ingest that is stopped goes on where it was and a second one reads only what changed.
"""

import functools
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import structlog
import typer
from google.protobuf import json_format

from syntrial.artifacts.keys import canonical_digest, canonical_json
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import Part, Progress, local_parts, put_parts, unchecked
from syntrial.errors import Cancelled, SourceError, SourceUnavailable, SyntrialError, UserError
from syntrial.experiment.dataset import SOURCES
from syntrial.rpc.logs import configure_logging
from syntrial.sources.addresses import (
    Address,
    ClaimAddress,
    HttpsAddress,
    HubAddress,
    S3Address,
    last_part,
    parse_address,
)
from syntrial.sources.digests import check_content, check_file
from syntrial.sources.named import noted
from syntrial.sources.web import bring_file
from syntrial.v1.data_preparation_pb2 import Source

if TYPE_CHECKING:
    from syntrial.sources.bucket import SourceObject

FAILED: Final = 1
USER_ERROR: Final = 2
STOPPED: Final = 143
"""Exit statuses, as those of a stage's job."""

_NOTE_SECONDS: Final = 15.0
"""Between two writings of what was read so far: what a killed ingest reads again."""

_LOG_SECONDS: Final = 10.0
"""Between two lines of progress in the log."""

_TERMINATION_LOG = Path("/dev/termination-log")
"""What is written here, Kubernetes shows as the reason of a container's end."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """What an ingest put into the store."""

    digest: str
    """sha256:… of the content."""
    origin: str
    """Where it was read: the address, or that of the commit at which a revision on the hub stood."""


def ingest(
    address: Address,
    *,
    store: ArtifactStore,
    kind: str,
    field: str = "source",
    mount: Path | None = None,
    reads: Callable[[str], bool] | None = None,
    environment: Mapping[str, str] | None = None,
    is_users: bool = True,
    on_progress: Progress | None = None,
) -> Ingested:
    """Puts what lies at an S3 address, on the model hub, or in a claim mounted at `mount`, into the store.

    `kind` is that of the source, as in `SourceRef`: a file is looked at before it counts. `reads` tells of a folder's
    file whether the source may read it; others are not copied.
    `environment`, by default the process's, says how the bucket is reached, and `is_users` whose the keys in it are
    (`syntrial.sources.bucket`). Raises UserError for wrong credentials or an absent bucket, SourceError for what is
    missing or not of its kind, StoreUnavailable.
    """
    match address:
        case S3Address():
            # The client is imported by those who use it.
            from syntrial.sources.bucket import source_environment

            digest = _from_bucket(
                address,
                store=store,
                kind=kind,
                field=field,
                reads=reads,
                environment=source_environment(os.environ if environment is None else environment, is_users=is_users),
                on_progress=on_progress,
            )
        case ClaimAddress() if mount is not None:
            digest = _from_volume(
                address, store=store, kind=kind, field=field, mount=mount, reads=reads, on_progress=on_progress
            )
        case HubAddress():
            # The client is imported by those who use it.
            from syntrial.sources.hub import bring_weights

            digest, file = bring_weights(address, store=store, field=field, on_progress=on_progress)
            return Ingested(digest=digest, origin=str(file))
        case HttpsAddress():
            digest = bring_file(address, store=store, kind=kind, field=field, on_progress=on_progress)
        case _:
            raise UserError(
                field=field,
                rule="what is brought into the store lies in a bucket, on the web, on the hub, or in a mounted claim",
                received=str(address),
                remedy="Use `syntrial submit`, which uploads files of this machine.",
            )
    return Ingested(digest=digest, origin=str(address))


def record_source(
    store: ArtifactStore, *, uid: str, name: str, address: str, digest: str, origin: str | None = None
) -> None:
    """Notes beside an experiment which content the address of its source `name` stands for, and where that was read."""
    note = {"address": address, "digest": digest, "origin": origin or address}
    store.put_experiment_file(uid, _record_name(name), canonical_json(note))


def recorded_source(store: ArtifactStore, *, uid: str, name: str, address: str) -> str | None:
    """The digest that `record_source` noted for this address, or None where it noted another, or nothing readable."""
    data = store.experiment_file(uid, _record_name(name))
    try:
        tree = json.loads(data or b"{}")
        return str(tree["digest"]) if tree["address"] == address else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _record_name(name: str) -> str:
    # The hash keeps names apart whose other letters are the same.
    slug = re.sub(r"[^a-z0-9.-]+", "-", name.lower())[:64]
    return f"source-{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"


def _from_bucket(
    address: S3Address,
    *,
    store: ArtifactStore,
    kind: str,
    field: str,
    reads: Callable[[str], bool] | None,
    environment: Mapping[str, str],
    on_progress: Progress | None,
) -> str:
    # The client is imported by those who use it.
    from syntrial.sources.bucket import PARALLEL, S3Source

    bucket = S3Source(environment, bucket=address.bucket, field=field)
    single = bucket.find(address.path) if address.path else None
    prefix = f"{address.path}/" if address.path else ""
    listed = [single] if single else list(bucket.under(prefix))
    name = last_part(address)
    check_content("file" if single else "folder", kind=kind, field=field, title=str(address))
    named = [
        (name if single else unicodedata.normalize("NFC", item.name.removeprefix(prefix)), item) for item in listed
    ]
    objects = [
        (name, item) for name, item in named if single or (not _is_hidden(name) and (reads is None or reads(name)))
    ]
    if not objects:
        raise SourceError(
            field=field,
            rule="an address names an object, or the folder of some",
            received=f"{address} on {bucket.endpoint}, where there is nothing",
            remedy="Check the path; names of objects are case-sensitive.",
        )
    notes = _Notes(store, name=canonical_digest([bucket.endpoint, address.bucket, address.path]))
    parts = [
        Part(
            name=file,
            size=item.size,
            read=functools.partial(bucket.read, item),
            known=notes.known(item),
            note=functools.partial(notes.add, item),
        )
        for file, item in objects
    ]
    try:
        digest, _ = put_parts(
            store,
            parts,
            kind="file" if single else "folder",
            name=name or address.bucket,
            check=functools.partial(check_file, kind=kind, field=field, title=str(address)) if single else unchecked,
            parallel=PARALLEL,
            on_progress=on_progress,
        )
    finally:
        notes.save()
    return digest


def _from_volume(
    address: ClaimAddress,
    *,
    store: ArtifactStore,
    kind: str,
    field: str,
    mount: Path,
    reads: Callable[[str], bool] | None,
    on_progress: Progress | None,
) -> str:
    path = mount / address.path
    if not path.exists():
        raise SourceError(
            field=field,
            rule="the file or folder exists in the volume",
            received=f"{address}, which does not",
            remedy="Check the path: it begins at the volume's root.",
        )
    # A link could lead to files of the pod, its credentials among them.
    found, parts = local_parts(path, within=mount, reads=reads)
    if not parts:
        raise SourceError(
            field=field, rule="the folder holds images", received=f"{address}, which is empty", remedy="Check the path."
        )
    check_content(found, kind=kind, field=field, title=str(address))
    digest, _ = put_parts(
        store,
        parts,
        kind=found,
        name=last_part(address) or address.claim,
        check=functools.partial(check_file, kind=kind, field=field, title=str(address))
        if found == "file"
        else unchecked,
        on_progress=on_progress,
    )
    return digest


def _reads(kind: str, selection: str) -> Callable[[str], bool] | None:
    """Which files of a folder the source may read, by `SourceRef.selection`."""
    row = SOURCES.get(kind)
    if not selection or row is None or row.reads is None:
        return None
    return row.reads(json_format.Parse(selection, Source()))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


class _Notes:
    """What was read from a bucket, in the store: the SHA-256 of each object by its name, length and ETag."""

    def __init__(self, store: ArtifactStore, *, name: str) -> None:
        self._store = store
        self._name = f"ingests/{name}"
        self._lock = threading.Lock()
        self._saved = time.monotonic()
        self._is_new = False
        self._entries: dict[str, list[str | int]] = {}
        try:
            self._entries = dict(json.loads(store.backend.read(self._name) or b"{}"))
        except (ValueError, TypeError, RecursionError):
            _log.warning("notes of an ingest are damaged and not used", name=self._name)

    def known(self, item: "SourceObject") -> str | None:
        entry = self._entries.get(item.name)
        if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [item.size, item.etag]:
            sha256 = str(entry[2])
            return sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else None
        return None

    def add(self, item: "SourceObject", sha256: str) -> None:
        with self._lock:
            self._entries[item.name] = [item.size, item.etag, sha256]
            self._is_new = True
            is_due = time.monotonic() - self._saved > _NOTE_SECONDS
        if is_due:
            self.save()

    def save(self) -> None:
        with self._lock:
            if self._is_new:
                self._store.backend.write(self._name, canonical_json(self._entries))
                self._is_new, self._saved = False, time.monotonic()


class _Reporter:
    """Writes progress to the log now and then, and ends the ingest where it was asked to stop."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._last = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())

    def __call__(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Cancelled("the ingest was asked to stop; it goes on where it was when it is started again")
        if time.monotonic() - self._last > _LOG_SECONDS:
            self._last = time.monotonic()
            _log.info("progress", activity="copying into the store", done=done, total=total, unit="bytes")


def main(
    *,
    store: Annotated[str, typer.Option(help="Address of the artifact store: a folder or s3://bucket/prefix.")],
    experiment: Annotated[str, typer.Option(help="What the store files the experiment under.")],
    name: Annotated[str, typer.Option(help="The source's name in the experiment: dataset, synthetic/NAME, …")],
    kind: Annotated[str, typer.Option(help="What it is: a kind of source, weights or lpips.")],
    address: Annotated[str, typer.Option(help="s3://, claim://, https:// or hub:// and so on.")],
    mount: Annotated[Path | None, typer.Option(help="Where the claim is mounted.")] = None,
    selection: Annotated[str, typer.Option(help="Which files are read: the source in ProtoJSON; none: all.")] = "",
) -> None:
    """Brings a source into the store and notes its digest beside the experiment.

    Ends with 0 when it is done, 2 for an error of the user's, 143 after SIGTERM, else 1.
    """
    configure_logging()
    try:
        reporter = _Reporter()
        opened = open_store(store)
        found = ingest(
            parse_address(address, field=name),
            store=opened,
            kind=kind,
            field=name,
            mount=mount,
            reads=_reads(kind, selection),
            is_users=False,
            on_progress=reporter,
        )
        record_source(
            opened,
            uid=experiment,
            name=name,
            address=noted(address, selection),
            digest=found.digest,
            origin=found.origin,
        )
        _log.info("ingested", name=name, address=address, digest=found.digest, origin=found.origin)
    except SyntrialError as error:
        # What a pod says, others read.
        told = str(error.nameless() if isinstance(error, SourceError) else error)
        _log.error("not ingested", name=name, error=told)
        _tell_kubernetes(told)
        is_final = isinstance(error, UserError) and not isinstance(error, SourceUnavailable)
        status = USER_ERROR if is_final else STOPPED if isinstance(error, Cancelled) else FAILED
        sys.exit(status)


def _tell_kubernetes(message: str) -> None:
    if "KUBERNETES_SERVICE_HOST" in os.environ and os.access(_TERMINATION_LOG, os.W_OK):
        _TERMINATION_LOG.write_text(message[:4000])


if __name__ == "__main__":
    typer.run(main)
