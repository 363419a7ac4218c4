"""Running a stage's verbs without a server: a shipped fake of `StepContext`, and whole steps on a store.

context = FakeContext(inputs={(KEY, "train"): image_set})
train_generator(request, context)
curves = context.result("curves").json("curves.json")
"""

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message

from syntrial.artifacts.keys import step_key
from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactStore, ArtifactWriter, MemberReader, open_store
from syntrial.errors import ArtifactMissing, Cancelled
from syntrial.imagesets.imageset import ImageSet, write_image_set
from syntrial.rpc.context import StepContext
from syntrial.rpc.ranks import Ranks
from syntrial.rpc.step import StepRunner
from syntrial.stages import METHODS, stage_of
from syntrial.v1.artifacts_pb2 import MemberRef

MemberValue = ImageSet | Mapping[str, Any]
"""An image set, or blobs by name: bytes, an array (.npy) or a JSON value."""

_M = TypeVar("_M", bound=Message)


def fake_key(name: str) -> str:
    """A key for an artifact that a test makes up."""
    return hashlib.sha256(name.encode()).hexdigest()


def put_member(writer: ArtifactWriter, member: str, value: MemberValue) -> None:
    """Writes a member from an image set or from blobs by name."""
    if isinstance(value, ImageSet):
        write_image_set(writer, member, value)
        return
    for name, content in value.items():
        if isinstance(content, bytes):
            writer.write(member, name, content)
        elif isinstance(content, np.ndarray):
            writer.array(member, name, content)
        else:
            writer.json(member, name, content)


def put_artifact(store: ArtifactStore, members: Mapping[str, MemberValue], *, key: str) -> str:
    """Puts an artifact that no step made into a store, and returns its key."""
    writer = store.writer(key, method="syntrial.testing/Put", stage_version=1, request={})
    for member, value in members.items():
        put_member(writer, member, value)
    store.commit(writer)
    return key


class FakeCheckpoints:
    """A checkpoint in memory; hand the same one to the next `FakeContext` to resume."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] | None = None
        self.saves = 0

    def load(self) -> dict[str, bytes] | None:
        """The last checkpoint saved, or None."""
        return None if self.blobs is None else dict(self.blobs)

    def save(self, blobs: Mapping[str, bytes]) -> None:
        """Replaces the checkpoint."""
        self.blobs = {name: bytes(data) for name, data in blobs.items()}
        self.saves += 1

    def add(self, blobs: Mapping[str, bytes], /) -> None:
        """Adds blobs beside those that there are."""
        self.save({**(self.blobs or {}), **blobs})

    def read(self, name: str, /) -> bytes | None:
        """One blob, or None."""
        return (self.blobs or {}).get(name)


class FakeContext:
    """A `StepContext` on a store in memory."""

    def __init__(
        self,
        inputs: Mapping[tuple[str, str], MemberValue] | None = None,
        *,
        store: ArtifactStore | None = None,
        key: str | None = None,
        sources: Mapping[str, Path] | None = None,
        checkpoints: FakeCheckpoints | None = None,
        cancel_after: int | None = None,
        checkpoint_every: int | None = None,
    ) -> None:
        """`inputs`: members by (key, member), see `MemberValue`; `sources`: places of raw sources by digest.

        `cancel_after` raises Cancelled in that call of `progress` (counted from 1); `checkpoint_every` makes a
        checkpoint due in every so-manieth call of `checkpoint_due`.
        """
        self.store = store or open_store("memory://")
        self.key = key or fake_key("the step under test")
        self.checkpoints = checkpoints or FakeCheckpoints()
        self.reports: list[dict[str, Any]] = []
        """What `progress` was told, in order."""
        self.output = self.store.writer(self.key, method="syntrial.testing/Step", stage_version=1, request={})
        self._scratch: Path | None = None
        self._sources = dict(sources or {})
        self._cancel_after = cancel_after
        self._checkpoint_every = checkpoint_every
        self._asked = 0
        self._is_committed = False
        artifacts: dict[str, dict[str, MemberValue]] = {}
        for (source, member), value in (inputs or {}).items():
            artifacts.setdefault(source, {})[member] = value
        for source, members in artifacts.items():
            put_artifact(self.store, members, key=source)

    @property
    def devices(self) -> int:
        """One: what is shared needs a store that other processes reach, see `run_step`."""
        return 1

    @property
    def devices_here(self) -> int:
        """That one."""
        return 1

    @property
    def rank(self) -> int:
        """The one that writes."""
        return 0

    def ranks(self) -> Ranks:
        """The step's own process alone."""
        return Ranks(number=0, count=1, meeting=str(self.scratch / "meeting"))

    @property
    def scratch(self) -> Path:
        """An empty folder that goes with the context."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="syntrial-test-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    def open(self, ref: MemberRef, /) -> MemberReader:
        """Opens an input; raises ArtifactMissing."""
        reader = self.store.open(ref)
        self.output.record_input(ref, digest=reader.digest)
        return reader

    def manifest(self, key: str, /) -> Manifest | None:
        """The manifest of a step in the fake's store."""
        return self.store.manifest(key)

    def source_path(self, digest: str, /) -> Path | None:
        """The place that the test gave for this digest."""
        return self._sources.get(digest)

    def progress(
        self, done: int, *, total: int, unit: str, activity: str, figures: Mapping[str, float] | None = None
    ) -> None:
        """Notes the report in `reports`; raises Cancelled where the test asked for it."""
        report = {"done": done, "total": total, "unit": unit, "activity": activity, "figures": dict(figures or {})}
        self.reports.append(report)
        if self._cancel_after is not None and len(self.reports) >= self._cancel_after:
            raise Cancelled("cancelled by the test")

    def check_cancelled(self) -> None:
        """Raises Cancelled once the test's number of reports is reached."""
        if self._cancel_after is not None and len(self.reports) >= self._cancel_after:
            raise Cancelled("cancelled by the test")

    def checkpoint_due(self) -> bool:
        """Whether this is a call at which the test wants a checkpoint."""
        self._asked += 1
        return self._checkpoint_every is not None and self._asked % self._checkpoint_every == 0

    def result(self, member: str, /) -> MemberReader:
        """A member that the step wrote; commits the artifact. Raises ArtifactMissing."""
        if member not in self.output.members():
            raise ArtifactMissing(f"the step wrote no member {member!r}, but {sorted(self.output.members())}")
        if not self._is_committed:
            self.store.commit(self.output)
            self._is_committed = True
        return self.store.open(MemberRef(key=self.key, member=member))


def with_header(request: _M, *, method: str = "", sources: Mapping[str, Path] | None = None, devices: int = 1) -> _M:
    """A copy of a request with its key, version and places filled in, as the planner and the executor do."""
    full = type(request)()
    full.CopyFrom(request)
    name = method or method_of(request)
    header = full.header  # type: ignore[attr-defined]
    header.stage_version = stage_of(name).version
    header.key = step_key(name, full, stage_version=header.stage_version)
    for digest, path in (sources or {}).items():
        header.execution.source_locations.add(digest=digest, path=str(path))
    if devices > 1:
        header.execution.devices = devices
    return full


def method_of(request: Message) -> str:
    """The method that takes this kind of request."""
    for name, kind in METHODS.items():
        if isinstance(request, kind):
            return name
    raise KeyError(type(request).__name__)


def run_step(
    verb: Callable[[Any, StepContext], None],
    request: Message,
    store: ArtifactStore,
    *,
    sources: Mapping[str, Path] | None = None,
    devices: int = 1,
) -> str:
    """Runs a step as a server does, without one, and returns the key of its artifact in `store`.

    A step that is done already is not run again. Raises what the verb raises.
    """
    method = method_of(request)
    full = with_header(request, method=method, sources=sources, devices=devices)
    key = str(full.header.key)  # type: ignore[attr-defined]
    if not store.is_done(key):
        stage = stage_of(method)
        runner = StepRunner(
            store=store,
            verbs=lambda: {method.rpartition("/")[2]: verb},
            stage_version=stage.version,
            threads=stage.footprint.threads,
            module=stage.module,
        )
        runner.run(method, full)
    return key
