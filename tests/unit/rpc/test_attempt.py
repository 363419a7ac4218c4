"""An attempt's context: when checkpoints are due, and how a step is stopped."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from syntrial.artifacts.content import file_digest, folder_digest
from syntrial.artifacts.references import member_refs, source_digests
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import put_upload
from syntrial.errors import Cancelled, DataLoss
from syntrial.rpc.attempt import Attempt
from syntrial.rpc.scripted import scripted
from syntrial.v1.analysis_pb2 import Cell, Replicate, WriteReportRequest
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import FolderSource, PrepareDatasetRequest, Source
from syntrial.v1.progress_pb2 import StepProgress


@pytest.fixture
def store() -> ArtifactStore:
    return open_store("memory://")


def attempt(
    store: ArtifactStore,
    *,
    stop: threading.Event,
    interval: float = 1000.0,
    patience: float = 1000.0,
    scratch: Path = Path(),
    places: Mapping[str, Path] = MappingProxyType({}),
) -> tuple[Attempt, StepProgress]:
    request = scripted({"value": "x"})
    for digest, path in places.items():
        request.header.execution.source_locations.add(digest=digest, path=str(path))
    writer = store.writer(request.header.key, method="m", stage_version=1, request={})
    progress = StepProgress()
    made = Attempt(
        store,
        request=request,
        writer=writer,
        scratch=scratch,
        stop=stop,
        report=lambda change: change(progress),
        checkpoint_interval=interval,
        stop_patience=patience,
    )
    return made, progress


def tick(context: Attempt, done: int = 1) -> None:
    context.progress(done, total=10, unit="x", activity="y", figures={"loss": 1.0})


def test_progress_is_passed_on(store: ArtifactStore) -> None:
    context, progress = attempt(store, stop=threading.Event())
    tick(context, 1)
    tick(context, 3)
    assert (progress.done, progress.total, progress.unit, progress.activity) == (3, 10, "x", "y")
    assert progress.figures["loss"] == 1.0
    assert progress.rate > 0


def test_a_checkpoint_is_due_after_the_interval(store: ArtifactStore) -> None:
    context, _ = attempt(store, stop=threading.Event(), interval=0.0)
    assert context.checkpoint_due()
    context, _ = attempt(store, stop=threading.Event(), interval=1000.0)
    assert not context.checkpoint_due()


def test_a_step_without_checkpoints_stops_at_once(store: ArtifactStore) -> None:
    stop = threading.Event()
    context, _ = attempt(store, stop=stop)
    tick(context)
    stop.set()
    with pytest.raises(Cancelled):
        tick(context)
    with pytest.raises(Cancelled):
        context.check_cancelled()


@pytest.mark.parametrize("asks_first", [True, False])
def test_a_step_with_checkpoints_stops_after_the_next_one(store: ArtifactStore, asks_first: bool) -> None:
    stop = threading.Event()
    context, _ = attempt(store, stop=stop)
    assert not context.checkpoint_due()
    context.checkpoints.save({"n": b"0"})
    stop.set()
    if not asks_first:
        tick(context)
    assert context.checkpoint_due()
    context.checkpoints.save({"n": b"1"})
    assert not context.checkpoint_due()
    with pytest.raises(Cancelled):
        tick(context)
    assert store.checkpoints(context.key).load() == {"n": b"1"}


def test_patience_with_a_step_that_saves_no_more_checkpoints_ends(store: ArtifactStore) -> None:
    stop = threading.Event()
    context, _ = attempt(store, stop=stop, patience=0.0)
    context.checkpoint_due()
    stop.set()
    with pytest.raises(Cancelled):
        tick(context)


def test_the_references_of_a_request_are_found_however_deep() -> None:
    ref = MemberRef(key="k", member="predictions")
    cell = Cell(name="c", replicates=[Replicate(predictions=ref)])
    request = WriteReportRequest(audit=MemberRef(key="a", member="audit"), cells=[cell, cell])
    found = [(item.key, item.member) for item in member_refs(request)]
    assert found == [("a", "audit"), ("k", "predictions"), ("k", "predictions")]


def test_a_source_lies_where_the_caller_says(store: ArtifactStore, tmp_path: Path) -> None:
    context, _ = attempt(store, stop=threading.Event(), scratch=tmp_path, places={"sha256:1": tmp_path / "x.npz"})
    assert context.source_path("sha256:1") == tmp_path / "x.npz"
    assert context.source_path("sha256:2") is None


def test_an_uploaded_source_is_laid_out_in_scratch_once(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.png").write_bytes(b"1")
    digest = folder_digest(tmp_path / "set")
    put_upload(store, tmp_path / "set", digest=digest)
    context, _ = attempt(store, stop=threading.Event(), scratch=tmp_path / "scratch")
    path = context.source_path(digest)
    assert path is not None
    assert path.is_relative_to(tmp_path / "scratch")
    assert folder_digest(path) == digest
    assert context.source_path(digest) == path


def test_an_uploaded_file_is_found_by_medmnist_s_checksum(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "breastmnist.npz"
    file.write_bytes(b"images")
    digest = file_digest(file, algorithm="md5")
    put_upload(store, file, digest=digest)
    context, _ = attempt(store, stop=threading.Event(), scratch=tmp_path / "scratch")
    path = context.source_path(digest)
    assert path is not None
    assert path.read_bytes() == b"images"


def test_a_damaged_upload_is_data_loss_until_it_is_uploaded_again(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(b"images")
    digest = file_digest(file)
    put_upload(store, file, digest=digest)
    spool = store.backend.spool_path()
    spool.write_bytes(b"damage")
    store.backend.put_blob(spool, digest=digest.removeprefix("sha256:"))
    for _ in range(2):
        context, _ = attempt(store, stop=threading.Event(), scratch=tmp_path / "scratch")
        with pytest.raises(DataLoss):
            context.source_path(digest)
    put_upload(store, file, digest=digest)
    assert context.source_path(digest) is not None


def test_laying_a_source_out_can_be_stopped(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(b"images")
    put_upload(store, file, digest=file_digest(file))
    stop = threading.Event()
    stop.set()
    context, _ = attempt(store, stop=stop, scratch=tmp_path / "scratch")
    with pytest.raises(Cancelled):
        context.source_path(file_digest(file))


def test_the_sources_of_a_request_are_those_in_its_digests_and_no_other_text() -> None:
    digest, other = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    request = PrepareDatasetRequest(source=Source(digest=digest, folder=FolderSource(patient_pattern=other)))
    request.header.execution.source_locations.add(digest=other, path="/elsewhere")
    assert source_digests(request) == {digest}
