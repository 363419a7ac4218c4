"""What uploads promise, against each backend: content by its digest, sent once, noticed where it is damaged."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from syntrial.artifacts.backend import ObjectInfo, blob_name
from syntrial.artifacts.content import file_digest, folder_digest
from syntrial.artifacts.gc import collect
from syntrial.artifacts.s3 import S3Backend
from syntrial.artifacts.s3_client import connect, settings_from
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.tombstones import forget, mark, take_census
from syntrial.artifacts.uploads import SMALL_BYTES, Part, find_upload, has_upload, materialise, put_parts, put_upload
from syntrial.errors import Cancelled, DataLoss, SourceError
from syntrial.sources.ingest import record_source

UID = "0b1c2d3e-0000-4000-8000-00000000000{}"

SENDER = """
import sys
from pathlib import Path
from syntrial.artifacts.content import folder_digest
from syntrial.artifacts.store import open_store
from syntrial.artifacts.uploads import put_upload
folder = Path(sys.argv[2])
def tell(done, total):
    print(done, flush=True)
    sys.stdin.readline()
put_upload(open_store(sys.argv[1]), folder, digest=folder_digest(folder), on_progress=tell)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of many small files, one large one, and two that are the same."""
    root = tmp_path / "images"
    chance = random.Random(0)
    for label in ("benign", "malignant"):
        (root / label).mkdir(parents=True)
        for index in range(20):
            (root / label / f"{index}.png").write_bytes(chance.randbytes(1000 + index))
    (root / "benign" / "copy.png").write_bytes((root / "benign" / "0.png").read_bytes())
    (root / "large.bin").write_bytes(chance.randbytes(SMALL_BYTES + 5))
    (root / ".hidden").write_bytes(b"left out")
    (root / unicodedata.normalize("NFD", "Größe")).write_bytes(b"")
    return root


def sent_blobs(store: ArtifactStore) -> dict[str, float]:
    return {info.name: info.modified for info in store.backend.scan("blobs/")}


def damage(store: ArtifactStore, digest: str, data: bytes) -> None:
    """Replaces a blob's bytes in the place itself, and lets this machine forget what it verified."""
    store.backend.delete(blob_name(digest))
    spool = store.backend.spool_path()
    spool.write_bytes(data)
    store.backend.put_blob(spool, digest=digest)
    if store.url.startswith("s3"):
        cache = Path(os.environ["SYNTRIAL_CACHE_DIR"]) / "sha256" / digest
        cache.unlink()


def test_a_folder_comes_back_as_it_was(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = folder_digest(folder)
    told: list[tuple[int, int]] = []
    sent = put_upload(store, folder, digest=digest, on_progress=lambda *numbers: told.append(numbers))
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".hidden")
    assert sent == total - 1000, "two equal files are one blob"
    assert told[-1] == (total, total)
    assert sorted(done for done, _ in told) == [done for done, _ in told]

    laid = materialise(store, digest, folder=tmp_path / "scratch")
    assert laid is not None
    assert laid.name == "images"
    assert folder_digest(laid) == digest
    assert (laid / "benign" / "3.png").read_bytes() == (folder / "benign" / "3.png").read_bytes()
    assert not (laid / ".hidden").exists()


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_comes_back_as_it_was(store: ArtifactStore, tmp_path: Path, algorithm: str) -> None:
    file = tmp_path / "breastmnist.npz"
    file.write_bytes(b"images")
    digest = file_digest(file, algorithm=algorithm)
    assert not has_upload(store, digest)
    put_upload(store, file, digest=digest)
    assert has_upload(store, digest)
    laid = materialise(store, digest, folder=tmp_path / "scratch")
    assert laid is not None
    assert (laid.name, laid.read_bytes()) == ("breastmnist.npz", b"images")


def test_what_was_never_uploaded_is_not_there(store: ArtifactStore, tmp_path: Path) -> None:
    for digest in ("sha256:" + "0" * 64, "md5:" + "0" * 32, "", "sha256:1", "sha256:" + "../" * 21 + "x", "sha1:00"):
        assert not has_upload(store, digest)
        assert materialise(store, digest, folder=tmp_path / "scratch") is None


def test_what_is_there_is_not_sent_again(store: ArtifactStore, folder: Path) -> None:
    digest = folder_digest(folder)
    put_upload(store, folder, digest=digest)
    before = sent_blobs(store)
    assert put_upload(store, folder, digest=digest) == 0
    (folder / "new.png").write_bytes(b"new")
    assert put_upload(store, folder, digest=folder_digest(folder)) == 3
    after = sent_blobs(store)
    assert len(after) == len(before) + 1


def test_an_upload_that_was_stopped_goes_on_where_it_was(store: ArtifactStore, folder: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 3:
            raise Cancelled("stop")

    # Largest last: it is the one that the stop comes upon.
    (folder / "large.bin").write_bytes(random.Random(1).randbytes(SMALL_BYTES + 1))
    digest = folder_digest(folder)
    with pytest.raises(Cancelled):
        put_upload(store, folder, digest=digest, on_progress=stop)
    assert not has_upload(store, digest)
    already = sum(info.size for info in store.backend.scan("blobs/"))
    assert already > 0
    sent = put_upload(store, folder, digest=digest)
    assert sent == sum(info.size for info in store.backend.scan("blobs/")) - already


def test_a_sender_may_be_killed_at_any_moment(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    if store.url.startswith("memory"):
        pytest.skip("a store in memory belongs to one process")
    digest = folder_digest(folder)
    command = [sys.executable, "-c", SENDER, store.url, os.fspath(folder)]
    for steps in (3, 25):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as sender:
            assert sender.stdin is not None
            assert sender.stdout is not None
            for _ in range(steps):
                sender.stdout.readline()
                sender.stdin.write("go on\n")
            sender.stdout.readline()
            sender.send_signal(signal.SIGKILL)
        assert not has_upload(store, digest)
    assert store.backend.scan("blobs/")
    put_upload(store, folder, digest=digest)
    laid = materialise(store, digest, folder=tmp_path / "scratch")
    assert laid is not None
    assert folder_digest(laid) == digest


def test_content_that_changed_since_it_was_digested_is_not_recorded(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    digest = folder_digest(folder)
    (folder / "benign" / "1.png").write_bytes(b"other")
    with pytest.raises(SourceError, match="stays as it was"):
        put_upload(store, folder, digest=digest)
    file = tmp_path / "file.npz"
    file.write_bytes(b"one")
    digests = [file_digest(file), file_digest(file, algorithm="md5")]
    file.write_bytes(b"two")
    for digest in digests:
        with pytest.raises(SourceError, match="stays as it was"):
            put_upload(store, file, digest=digest)
    assert store.backend.scan("uploads/") == []


def test_a_file_that_grows_while_it_is_read_is_refused(store: ArtifactStore) -> None:
    part = Part(name="a", size=3, read=lambda: [b"abc", b"d"])
    with pytest.raises(SourceError, match="3 bytes"):
        put_parts(store, [part], kind="folder", name="x")
    assert store.backend.scan("uploads/") == []


def test_a_damaged_blob_is_noticed_and_can_be_uploaded_again(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    digest = folder_digest(folder)
    put_upload(store, folder, digest=digest)
    content = (folder / "benign" / "7.png").read_bytes()
    damage(store, hashlib.sha256(content).hexdigest(), bytes(len(content)))
    with pytest.raises(DataLoss, match="damaged"):
        materialise(store, digest, folder=tmp_path / "one")
    assert not has_upload(store, digest)
    with pytest.raises(DataLoss, match="not uploaded again yet"):
        materialise(store, digest, folder=tmp_path / "two")
    assert put_upload(store, folder, digest=digest) == len(content)
    laid = materialise(store, digest, folder=tmp_path / "three")
    assert laid is not None
    assert folder_digest(laid) == digest


def test_a_missing_blob_is_noticed_and_sent_again(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = folder_digest(folder)
    put_upload(store, folder, digest=digest)
    content = (folder / "malignant" / "7.png").read_bytes()
    store.backend.delete(blob_name(hashlib.sha256(content).hexdigest()))
    with pytest.raises(DataLoss):
        materialise(store, digest, folder=tmp_path / "one")
    assert put_upload(store, folder, digest=digest) == len(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: {**tree, "files": tree["files"][1:]},
        lambda tree: {**tree, "files": [{**tree["files"][0], "name": "../outside"}, *tree["files"][1:]]},
        lambda tree: {**tree, "kind": "socket"},
        lambda _: {"kind": "file"},
        lambda _: [],
    ],
)
def test_a_corrupt_record_counts_for_nothing(
    store: ArtifactStore, folder: Path, tmp_path: Path, change: Callable[[object], object]
) -> None:
    digest = folder_digest(folder)
    put_upload(store, folder, digest=digest)
    (record,) = store.backend.scan("uploads/")
    data = store.backend.read(record.name)
    assert data is not None
    store.backend.write(record.name, json.dumps(change(json.loads(data))).encode())
    assert not has_upload(store, digest)
    with pytest.raises(DataLoss):
        find_upload(store, digest)
    with pytest.raises(DataLoss):
        materialise(store, digest, folder=tmp_path / "scratch")
    assert list((tmp_path / "scratch").rglob("*")) == []
    assert put_upload(store, folder, digest=digest) == 0
    assert has_upload(store, digest)


def test_a_record_that_passes_one_file_off_as_another_is_noticed(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(b"a")
    digest = file_digest(file, algorithm="md5")
    put_upload(store, file, digest=digest)
    file.write_bytes(b"b")
    put_upload(store, file, digest=file_digest(file))
    other = store.backend.read(f"uploads/sha256/{hashlib.sha256(b'b').hexdigest()}")
    assert other is not None
    store.backend.write(f"uploads/md5/{hashlib.md5(b'a', usedforsecurity=False).hexdigest()}", other)
    with pytest.raises(DataLoss, match="its file has the digest"):
        materialise(store, digest, folder=tmp_path / "scratch")


def test_a_blob_is_made_young_without_being_sent(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntrial.artifacts.s3.RENEWED_AFTER", 0.0)
    digest = hashlib.sha256(b"content").hexdigest()
    assert not store.backend.renew(digest, size=7)
    spool = store.backend.spool_path()
    spool.write_bytes(b"content")
    store.backend.put_blob(spool, digest=digest)
    (before,) = sent_blobs(store).values()
    time.sleep(1.1)
    assert not store.backend.renew(digest, size=8)
    assert store.backend.renew(digest, size=7)
    (after,) = sent_blobs(store).values()
    assert after > before
    assert store.backend.blob_path(digest, size=7, fresh=True).read_bytes() == b"content"


def test_names_that_differ_in_their_unicode_form_alone_are_refused(store: ArtifactStore) -> None:
    parts = [Part(name="é", size=1, read=lambda: [b"a"]), Part(name="é", size=1, read=lambda: [b"b"])]
    with pytest.raises(SourceError, match="Unicode"):
        put_parts(store, parts, kind="folder", name="x")


# Garbage


def test_collection_keeps_uploads_that_plans_and_ingests_name(store: ArtifactStore, tmp_path: Path) -> None:
    digests = {}
    for name in ("planned", "ingested", "lost"):
        file = tmp_path / name
        file.write_bytes(name.encode())
        digests[name] = file_digest(file)
        put_upload(store, file, digest=digests[name])
    store.put_experiment_file("a", "plan.json", json.dumps({"keys": [], "sources": [digests["planned"]]}).encode())
    record_source(store, uid="b", name="dataset", address="s3://x/y", digest=digests["ingested"])

    assert collect(store, dry_run=False).objects == 0, "young ones stay"
    assert collect(store, older_than=-60.0).objects == 2
    found = collect(store, older_than=-60.0, dry_run=False)
    assert (found.objects, found.removed, found.kept) == (2, (), ())
    assert [name for name, digest in digests.items() if has_upload(store, digest)] == ["planned", "ingested"]
    for name in ("planned", "ingested"):
        laid = materialise(store, digests[name], folder=tmp_path / f"{name}-laid")
        assert laid is not None
        assert laid.read_bytes() == name.encode()
    with pytest.raises(DataLoss):
        store.backend.blob_path(hashlib.sha256(b"lost").hexdigest(), size=4, fresh=True)


def test_an_unreadable_note_of_an_ingest_stops_the_collection(store: ArtifactStore) -> None:
    store.put_experiment_file("b", "source-dataset.json", b"{")
    with pytest.raises(DataLoss, match="nothing is removed"):
        collect(store, older_than=-60.0, dry_run=False)


def test_deleted_experiments_get_a_tombstone_and_lose_their_roots_only_when_told(store: ArtifactStore) -> None:
    live, gone, retained, unreadable = (UID.format(number) for number in range(4))
    for uid in (live, gone, retained, unreadable, "a-laptop-s-name"):
        store.put_experiment_file(uid, "plan.json", b'{"keys": []}')
        store.add_registration(uid, 1, {})
        record_source(store, uid=uid, name="dataset", address="s3://x/y", digest="sha256:" + "0" * 64)
        name = uid if uid == "a-laptop-s-name" else "some-name"
        retention = "retain" if uid == retained else "collect"
        spec = f"metadata: {{name: {name}}}\nspec: {{retention: {retention}}}"
        store.put_experiment_file(uid, "experiment.yaml", b"{" if uid == unreadable else spec.encode())
    census = take_census(store, living=lambda: {live})
    assert (dict(census.gone), census.filed) == ({gone: None}, {live})
    mark(store, census)
    census = take_census(store, living=lambda: {live})
    assert [when is not None for when in census.gone.values()] == [True]
    forget(store, census, {gone})
    left = {info.name for info in store.backend.scan(f"experiments/{gone}/")}
    assert left == {f"experiments/{gone}/{name}" for name in ("experiment.yaml", "preregistrations/000001.json")}
    assert len(store.backend.scan(f"experiments/{live}/")) == 4
    assert not take_census(store, living=lambda: {live}).gone


def test_an_experiment_that_begins_while_others_are_counted_is_not_gone(store: ArtifactStore) -> None:
    uid = UID.format(0)

    def living() -> set[str]:
        store.put_experiment_file(uid, "plan.json", b'{"keys": []}')
        return {uid}

    assert not take_census(store, living=living).gone


def test_a_blob_that_an_upload_counts_on_since_the_listing_stays(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    digest = file_digest(file)
    put_upload(store, file, digest=digest)
    record = store.backend.scan("uploads/")[0].name
    store.backend.delete(record)
    time.sleep(2.1)
    scan = store.backend.scan

    def scan_then_upload(prefix: str) -> list[ObjectInfo]:
        if prefix == "experiments/":
            spool = store.backend.spool_path()
            spool.write_bytes(file.read_bytes())
            store.backend.put_blob(spool, digest=digest.removeprefix("sha256:"))
        return scan(prefix)

    monkeypatch.setattr(store.backend, "scan", scan_then_upload)
    assert collect(store, older_than=1.0, dry_run=False).objects == 0
    assert len(scan("blobs/")) == 1


def test_parts_of_an_upload_that_was_never_completed_go_when_they_are_old(
    store: ArtifactStore, minio: dict[str, str]
) -> None:
    if not isinstance(store.backend, S3Backend):
        pytest.skip("only S3 has uploads in parts")
    bucket, prefix = store.url.removeprefix("s3://").split("/")
    client, _ = connect(settings_from(minio))
    names = [f"{prefix}/blobs/sha256/{'0' * 64}", "another-tenant/blobs/sha256/x"]
    uploads = [client._create_multipart_upload(bucket, name, {}) for name in names]
    for name, upload in zip(names, uploads, strict=True):
        client._upload_part(bucket, name, b"x" * (5 << 20), {}, upload, 1)
    assert collect(store, dry_run=False).objects == 0
    assert collect(store, older_than=-60.0).objects == 1
    assert collect(store, older_than=-60.0, dry_run=False).objects == 1
    left = client._list_multipart_uploads(bucket, prefix="").uploads
    assert [upload.object_name for upload in left if upload.object_name in names] == names[1:]
    client._abort_multipart_upload(bucket, names[1], uploads[1])
