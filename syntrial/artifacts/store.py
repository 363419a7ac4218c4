"""The artifact store: immutable artifacts under the keys of the steps that make them.

    blobs/sha256/<digest>                the bytes of all members
    artifacts/<key>/manifest.json        written last, and only if absent
    requests/<key>                       what was asked
    attempts/<key>/<experiment>/<n>      outcome, reason, log and resources of each attempt
    checkpoints/<key>/                   of steps under way
    experiments/<uid>/<file>             specification, plan and report: the roots of garbage collection
    experiments/<uid>/preregistrations/  what was declared before the test split was opened, append-only
    uploads/<algorithm>/<digest>         raw content by its digest: which blobs it consists of (`uploads.py`)
    ingests/<address's hash>             what was read from a bucket, so that it is read once (`sources.ingest`)
    ledger/<split digest>/<n>            looks at a test split, append-only
    damaged/<key>/<digest>               manifests that were set aside

A step is done when its manifest exists and the inputs that it records are those that are in the store now. `Backend`
says what a place must offer; `open_store` finds the place that an address names.
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from syntrial.artifacts.backend import Backend, check_name
from syntrial.artifacts.checkpoints import StoredCheckpoints
from syntrial.artifacts.directory import DirectoryBackend
from syntrial.artifacts.keys import KEY_PATTERN, canonical_json
from syntrial.artifacts.manifest import Manifest, parse_manifest
from syntrial.artifacts.members import ArtifactWriter, MemberReader
from syntrial.artifacts.memory import MemoryBackend
from syntrial.errors import ArtifactMissing, DataLoss, StoreRefused
from syntrial.v1.artifacts_pb2 import MemberRef

__all__ = ["ArtifactStore", "ArtifactWriter", "AttemptRecord", "Backend", "MemberReader", "open_store"]

RECORD_BYTES: Final = 16 << 20
"""More than any manifest, plan or record has: one that has more is damaged, and is not read into memory."""

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One attempt at a step, as recorded when it ended."""

    experiment: str
    number: int
    """Counted from 1, for each experiment."""
    entry: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        """succeeded, failed or cancelled; retry: no attempt, but the user's wish for another."""
        return str(self.entry.get("outcome", "failed"))

    @property
    def reason(self) -> str:
        """The kind of failure, for example "UserError"."""
        return str(self.entry.get("reason", ""))

    @property
    def message(self) -> str:
        """What the step said last."""
        return str(self.entry.get("message", ""))

    @property
    def retryable(self) -> bool:
        """Whether it may succeed where it is tried again as it is."""
        return bool(self.entry.get("retryable", True))

    @property
    def log(self) -> str:
        """The log of the step's stage while it ran, a JSON object a line."""
        return str(self.entry.get("log", ""))


class ArtifactStore:
    """The store upon one backend; it may be used from several threads and processes at once."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._inside = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        if backend.parallel > 1:
            # Its threads start when they are needed.
            self._pool = ThreadPoolExecutor(backend.parallel, "store", initializer=self._enter)

    def through(self, backend: Backend, /) -> "ArtifactStore":
        """The same store by another way to what this one's backend holds; its threads are shared."""
        other = ArtifactStore.__new__(ArtifactStore)
        other.backend, other._inside, other._pool = backend, self._inside, self._pool
        return other

    @property
    def url(self) -> str:
        """The store's address, as `open_store` takes it."""
        return self.backend.url

    # Artifacts

    def manifest(self, key: str, /) -> Manifest | None:
        """The artifact's manifest, or None where there is none; raises DataLoss for a damaged one."""
        data = self.backend.read(_manifest_name(key), limit=RECORD_BYTES)
        return None if data is None else parse_manifest(data, key=key)

    def done(self, keys: Iterable[str], /) -> set[str]:
        """Those of `keys` whose artifacts stand.

        An artifact stands when its manifest exists, all inputs that it records stand, and their members' digests
        still are those that it read. A damaged manifest does not stand. When an artifact is made anew, its dependants
        stand again if it came out the same: so ask again before starting each of them.
        """
        wanted = list(dict.fromkeys(keys))
        manifests: dict[str, Manifest | None] = {}
        frontier = wanted
        while frontier:
            manifests.update(zip(frontier, self.each(self.sound_manifest, frontier), strict=True))
            found = (manifests[key] for key in frontier)
            frontier = sorted({k for m in found if m is not None for k in m.input_keys} - manifests.keys())
        standing = _standing(manifests)
        return {key for key in wanted if key in standing}

    def is_done(self, key: str, /) -> bool:
        """Whether the artifact stands; see `done`, which is the faster way to ask for many."""
        return bool(self.done([key]))

    def open(self, ref: MemberRef, /) -> MemberReader:
        """A reader of an artifact's member; raises ArtifactMissing, or DataLoss for a damaged manifest."""
        manifest = self.manifest(ref.key)
        if manifest is None:
            raise ArtifactMissing(f"artifact {ref.key} is not in the store {self.url}")
        return MemberReader(self.backend, key=ref.key, name=ref.member, member=manifest.member(ref.member))

    def writer(self, key: str, /, *, method: str, stage_version: int, request: Mapping[str, Any]) -> ArtifactWriter:
        """A writer of the artifact `key`; `request` is the request in canonical form (`keys.canonical_request`)."""
        _check_key(key)
        return ArtifactWriter(self.backend, key=key, method=method, stage_version=stage_version, request=request)

    def commit(self, writer: ArtifactWriter, /, *, provenance: Mapping[str, str] | None = None) -> Manifest:
        """Makes the artifact exist and returns its manifest, or the one that another worker committed before.

        A manifest in the way that is damaged, or that was made from inputs that the store no longer has, is moved to
        `damaged/` first. The step's checkpoint is deleted.
        """
        manifest = Manifest(
            key=writer.key,
            method=writer.method,
            stage_version=writer.stage_version,
            request=writer.request,
            inputs=dict(writer.inputs),
            members=writer.members(),
            provenance=dict(provenance or {}),
        )
        data = manifest.to_bytes()
        while not self.backend.create(_manifest_name(writer.key), data):
            present = self.backend.read(_manifest_name(writer.key))
            if present is None:
                continue
            try:
                other = parse_manifest(present, key=writer.key)
                if dict(other.inputs) == dict(manifest.inputs) or self.is_done(writer.key):
                    manifest = other
                    break
            except DataLoss:
                pass
            self._set_aside(writer.key, present)
        self.checkpoints(writer.key).delete()
        return manifest

    def quarantine(self, key: str, /) -> bool:
        """After a DataLoss: moves the artifact's manifest to `damaged/`, so that its step runs again.

        Reads all its blobs first and returns False, with nothing moved, if they are sound: then somebody has already
        made it again. A manifest that is not there gives False too.
        """
        data = self.backend.read(_manifest_name(key))
        if data is None:
            return False
        try:
            manifest = parse_manifest(data, key=key)
            for member in manifest.members.values():
                for blob in member.blobs:
                    self.backend.blob_path(blob.digest, size=blob.size, fresh=True)
        except DataLoss:
            self._set_aside(key, data)
            return True
        return False

    def _set_aside(self, key: str, data: bytes) -> None:
        self.backend.write(f"damaged/{_check_key(key)}/{sha256(data).hexdigest()}", data)
        # Between the comparison and the deletion another worker may put a good manifest: its step then runs once more.
        if self.backend.read(_manifest_name(key)) == data:
            self.backend.delete(_manifest_name(key))

    def sound_manifest(self, key: str, /) -> Manifest | None:
        """The artifact's manifest, or None where there is none or it is damaged."""
        try:
            return self.manifest(key)
        except DataLoss:
            return None

    # What surrounds artifacts

    def put_request(self, key: str, value: Mapping[str, Any], /) -> None:
        """Records what was asked, as JSON."""
        self.backend.write(f"requests/{_check_key(key)}", canonical_json(value))

    def request(self, key: str, /) -> dict[str, Any] | None:
        """What was asked, or None."""
        data = self.backend.read(f"requests/{_check_key(key)}", limit=RECORD_BYTES)
        return None if data is None else _tree(f"requests/{key}", data)

    def add_attempt(self, key: str, entry: Mapping[str, Any], /, *, experiment: str, number: int | None = None) -> int:
        """Records an attempt that has ended, as JSON; returns its number, counted from 1 for each experiment.

        With `number` it is recorded under that one, or not at all where one is: of several that tell of the same end,
        one is kept.
        """
        folder = check_name(f"attempts/{_check_key(key)}/{experiment}")
        if number is not None:
            self.backend.create(f"{folder}/{number:06d}", canonical_json(entry))
            return number
        number = len(self.backend.scan(f"{folder}/"))
        data = canonical_json(entry)
        while True:
            number += 1
            if self.backend.create(f"{folder}/{number:06d}", data):
                return number

    def attempts(self, key: str, /, *, experiment: str | None = None) -> list[AttemptRecord]:
        """Attempts at a step in the order of their numbers: those of one experiment, or of all."""
        folder = f"attempts/{_check_key(key)}/" + ("" if experiment is None else f"{experiment}/")
        names = [info.name for info in self.backend.scan(folder)]
        found = []
        for name, data in zip(names, self.each(self._record, names), strict=True):
            *_, owner, number = name.split("/")
            # What nobody recorded here is no attempt.
            if data is not None and number.isascii() and number.isdigit():
                found.append(AttemptRecord(experiment=owner, number=int(number), entry=_tree(name, data)))
        return found

    def checkpoints(self, key: str, /) -> StoredCheckpoints:
        """The checkpoint of the step `key`."""
        return StoredCheckpoints(self.backend, key=_check_key(key))

    def put_experiment_file(self, uid: str, name: str, data: bytes, /) -> None:
        """Writes, or replaces whole, a file of an experiment; `plan.json` with its "keys" is a root of collection."""
        self.backend.write(f"experiments/{uid}/{name}", data)

    def experiment_file(self, uid: str, name: str, /) -> bytes | None:
        """A file of an experiment, or None; raises DataLoss for one of more than `RECORD_BYTES`."""
        return self.backend.read(f"experiments/{uid}/{name}", limit=RECORD_BYTES)

    def experiments(self) -> list[str]:
        """Identifiers of the experiments that have files here."""
        return sorted({info.name.split("/")[1] for info in self.backend.scan("experiments/")})

    def append_look(self, split_digest: str, entry: Mapping[str, Any], /) -> tuple[int, list[dict[str, Any]]]:
        """Records a look at a test split; returns its number and all looks up to it, itself last.

        `entry` has "evaluations", the hash of the keys that it evaluates, and "endpoint", that of what decides: a look
        that is recorded already is found by both and not recorded again.
        """
        while True:
            looks, is_known = self._looks(
                split_digest, evaluations=entry["evaluations"], endpoint=entry.get("endpoint", "")
            )
            if is_known:
                return len(looks), looks
            self.backend.create(_look_name(split_digest, len(looks) + 1), canonical_json(entry))

    def looks(self, split_digest: str, /, *, evaluations: str, endpoint: str) -> list[dict[str, Any]]:
        """The looks at a test split up to the one at these keys for this endpoint; none where that one is not there."""
        looks, is_known = self._looks(split_digest, evaluations=evaluations, endpoint=endpoint)
        return looks if is_known else []

    def add_registration(self, uid: str, number: int, entry: Mapping[str, Any], /) -> bool:
        """Records what an experiment declares, as JSON; False where that number is taken: none is written again."""
        return self.backend.create(_registration_name(uid, number), canonical_json(entry))

    def registrations(self, uid: str, /) -> list[dict[str, Any]]:
        """What an experiment has declared, in order."""
        found: list[dict[str, Any]] = []
        name = _registration_name(uid, 1)
        while (data := self._record(name)) is not None:
            found.append(_tree(name, data))
            name = _registration_name(uid, len(found) + 1)
        return found

    def _looks(self, split_digest: str, *, evaluations: str, endpoint: str) -> tuple[list[dict[str, Any]], bool]:
        """All looks, or those up to the one that is meant; and whether that one is there."""
        looks: list[dict[str, Any]] = []
        while (data := self._record(_look_name(split_digest, len(looks) + 1))) is not None:
            looks.append(_tree(_look_name(split_digest, len(looks) + 1), data))
            # One that an earlier version recorded names no endpoint.
            if (looks[-1]["evaluations"], looks[-1].get("endpoint", endpoint)) == (evaluations, endpoint):
                return looks, True
        return looks, False

    def each(self, function: Callable[[_T], _R], items: list[_T], /) -> list[_R]:
        """`function` of each item in order, as many at a time as the backend can use.

        Those who ask at the same time share that; what `function` asks in turn is done one after another.
        """
        if self._pool is None or len(items) < 2 or getattr(self._inside, "each", False):
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def _record(self, name: str) -> bytes | None:
        return self.backend.read(name, limit=RECORD_BYTES)

    def _enter(self) -> None:
        self._inside.each = True


def open_store(url: str | Path, /) -> ArtifactStore:
    """The store at an address: "memory://", a folder's path or "file:///…", or "s3://bucket/prefix".

    S3 takes its settings from the environment, see `syntrial.artifacts.s3_client`. Raises StoreRefused for another
    address or a wrong setting, StoreFull for a folder that may not be written, StoreUnavailable where S3 does not
    answer.
    """
    text = str(url)
    parts = urlsplit(text)
    if parts.scheme == "memory":
        return ArtifactStore(MemoryBackend())
    if parts.scheme == "s3":
        from syntrial.artifacts.s3 import open_s3  # the client is imported only by those who use it

        return ArtifactStore(open_s3(bucket=parts.netloc, prefix=parts.path.strip("/")))
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return ArtifactStore(DirectoryBackend(Path(unquote(parts.path))))
    if "://" in text or not text:
        raise StoreRefused(
            field="store",
            rule="a store is a folder, file:///folder, s3://bucket/prefix or memory://",
            received=text,
            remedy="Give one of these with --store.",
        )
    return ArtifactStore(DirectoryBackend(Path(text)))


def _tree(name: str, data: bytes) -> dict[str, Any]:
    """A record that is a mapping in JSON; raises DataLoss for anything else."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataLoss(f"{name} is damaged: {error}") from error
    if not isinstance(tree, dict):
        raise DataLoss(f"{name} is damaged: it is no mapping")
    return tree


def _standing(manifests: Mapping[str, Manifest | None]) -> set[str]:
    """Keys whose artifacts stand, given all manifests that they depend on. No recursion: chains are long."""
    standing: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    stack = list(manifests)
    entered: set[str] = set()
    while stack:
        key = stack[-1]
        manifest = manifests.get(key)
        if key in seen:
            stack.pop()
            continue
        waiting = [] if manifest is None else [k for k in manifest.input_keys if k not in seen and k not in entered]
        entered.add(key)
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        seen.add(key)
        if manifest is not None and manifest.stands_upon(standing):
            standing[key] = manifest.member_digests
    return set(standing)


def _check_key(key: str) -> str:
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(f"not a step's key: {key!r}")
    return key


def _look_name(split_digest: str, number: int) -> str:
    return f"ledger/{split_digest}/{number:06d}"


def _registration_name(uid: str, number: int) -> str:
    return f"experiments/{uid}/preregistrations/{number:06d}.json"


def _manifest_name(key: str) -> str:
    return f"artifacts/{_check_key(key)}/manifest.json"
