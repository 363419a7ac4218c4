"""Sources that come into the store by themselves: from a bucket of a real MinIO, and from a mounted volume."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import unicodedata
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from syntrial.artifacts.content import file_digest, folder_digest
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import find_upload, has_upload, materialise
from syntrial.errors import Cancelled, SourceError, UserError
from syntrial.experiment.file import validate
from syntrial.plan.planner import plan
from syntrial.sources import bucket as s3_source
from syntrial.sources.addresses import ClaimAddress, parse_address
from syntrial.sources.digests import resolve
from syntrial.sources.ingest import ingest, recorded_source
from syntrial.sources.named import SourceRef, sources_of
from syntrial.sources.resolve import PendingSources, Sources, resolve_recorded, resolve_sources
from syntrial.v1.data_preparation_pb2 import Source, TableFile, TableSource


class Bucket:
    """A folder of a bucket on a real MinIO, of one test's own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        from minio import Minio

        self.environment = {name: value for name, value in environment.items() if name != "BUCKET"}
        self.name = environment["BUCKET"]
        self.folder = f"sources-{uuid.uuid4().hex}"
        self.client = Minio(
            environment["SYNTRIAL_S3_ENDPOINT"].partition("://")[2],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            secure=False,
        )

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(self.name, f"{self.folder}/{name}", io.BytesIO(data), len(data))

    def put_folder(self, path: Path, name: str) -> None:
        for file in path.rglob("*"):
            if file.is_file():
                self.put(f"{name}/{file.relative_to(path).as_posix()}", file.read_bytes())

    def address(self, name: str) -> str:
        return f"s3://{self.name}/{self.folder}/{name}"


@pytest.fixture
def bucket(minio: dict[str, str]) -> Bucket:
    return Bucket(minio)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "store")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    chance = np.random.default_rng(0)
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for index in range(12):
            pixels_HW = chance.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels_HW).save(root / label / f"{index}.png")
    (root / "a" / unicodedata.normalize("NFD", "Größe.png")).write_bytes((root / "a" / "0.png").read_bytes())
    (root / "a" / ".DS_Store").write_bytes(b"x")
    return root


def npz(path: Path) -> Path:
    np.savez_compressed(path, train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.zeros(2, np.int64))
    return path


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def experiment(**dataset: Any) -> Any:
    pretraining = dataset.pop("pretraining", "none")
    return validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {
                "dataset": {"size": 8, **dataset},
                "synthetic": [{"name": "s", "generator": {"pca": {}}}],
                "classifiers": [{"model": "small-cnn", "name": "c", "pretraining": pretraining}],
            },
        }
    )


def bring(bucket: Bucket, store: ArtifactStore, name: str, *, kind: str = "folder", **changes: str) -> str:
    address = parse_address(bucket.address(name))
    return ingest(address, store=store, kind=kind, environment=bucket.environment | changes).digest


def run_job(store: ArtifactStore, *words: str, environment: Mapping[str, str], wait: bool = True) -> Any:
    command = [sys.executable, "-m", "syntrial.sources.ingest", f"--store={store.url}", "--experiment=uid", *words]
    if not any(word.startswith("--kind=") for word in words):
        command.append("--kind=folder")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SYNTRIAL_", "SOURCE_"))}
    process = subprocess.Popen(command, env={**clean, **environment}, stderr=subprocess.PIPE, text=True)
    if not wait:
        return process
    process.stderr_text = process.communicate(timeout=60)[1]  # type: ignore[attr-defined]
    return process


# One content, one digest


def test_content_has_one_digest_wherever_it_comes_from(
    bucket: Bucket, store: ArtifactStore, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_folder(images, "set")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    by_path = resolve_sources(experiment(folder=str(images)), base=tmp_path)
    by_s3 = resolve_sources(experiment(folder=bucket.address("set")), base=tmp_path, store=store)
    digest = by_path.by_name["dataset"].digest
    by_digest = resolve_sources(experiment(folder=digest), base=tmp_path, store=store)
    on_cluster = resolve_recorded(experiment(folder=digest), store=store, uid="uid")
    assert isinstance(on_cluster, Sources)
    by_volume = ingest(parse_address("claim://scans/images"), store=store, kind="folder", mount=tmp_path).digest
    assert digest == folder_digest(images) == by_volume
    keys = [
        [step.key for step in plan(experiment(folder=address), sources.by_name).steps]
        for address, sources in (
            (str(images), by_path),
            (bucket.address("set"), by_s3),
            (digest, by_digest),
            (digest, on_cluster),
        )
    ]
    assert keys.count(keys[0]) == len(keys)
    laid = materialise(store, digest, folder=tmp_path / "scratch")
    assert laid is not None
    assert laid.name == "set"
    assert folder_digest(laid) == digest


def test_a_file_and_weights_come_in_by_content(bucket: Bucket, store: ArtifactStore, tmp_path: Path) -> None:
    file = npz(tmp_path / "x.npz")
    bucket.put("x.npz", file.read_bytes())
    bucket.put("w.safetensors", safetensors())
    assert bring(bucket, store, "x.npz", kind="npz") == file_digest(file)
    digest = bring(bucket, store, "w.safetensors", kind="weights")
    laid = materialise(store, digest, folder=tmp_path / "scratch")
    assert laid is not None
    assert (laid.name, laid.read_bytes()) == ("w.safetensors", safetensors())


# Resuming


def test_a_second_ingest_reads_only_what_changed(
    bucket: Bucket, store: ArtifactStore, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_folder(images, "set")
    read: list[str] = []
    original = s3_source.S3Source.read

    def counted(self: s3_source.S3Source, found: s3_source.SourceObject, /) -> Any:
        read.append(found.name.rpartition("/")[2])
        return original(self, found)

    monkeypatch.setattr(s3_source.S3Source, "read", counted)
    first = bring(bucket, store, "set")
    assert len(read) == 25
    read.clear()
    assert bring(bucket, store, "set") == first
    assert read == []
    bucket.put("set/b/3.png", b"other")
    assert bring(bucket, store, "set") != first
    assert read == ["3.png"]


def test_an_ingest_that_was_stopped_goes_on_where_it_was(bucket: Bucket, store: ArtifactStore, images: Path) -> None:
    bucket.put_folder(images, "set")
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if done > total / 2:
            raise Cancelled("stop")

    address = parse_address(bucket.address("set"))
    with pytest.raises(Cancelled):
        ingest(address, store=store, kind="folder", environment=bucket.environment, on_progress=stop)
    kept = {info.name: info.modified for info in store.backend.scan("blobs/")}
    assert 0 < len(kept) < 24
    (notes,) = store.backend.scan("ingests/")
    assert len(json.loads(store.backend.read(notes.name) or b"")) >= len(kept)
    assert bring(bucket, store, "set") == folder_digest(images)


def test_damaged_notes_of_an_ingest_are_not_used(bucket: Bucket, store: ArtifactStore, images: Path) -> None:
    bucket.put_folder(images, "set")
    first = bring(bucket, store, "set")
    (notes,) = store.backend.scan("ingests/")
    for data in (b"{", b"[]", b'{"x": 1}', json.dumps({f"{bucket.folder}/set/b/3.png": [1, "e"]}).encode()):
        store.backend.write(notes.name, data)
        assert bring(bucket, store, "set") == first


# As a Job


def test_a_job_brings_a_source_in_and_notes_its_digest(bucket: Bucket, store: ArtifactStore, images: Path) -> None:
    bucket.put_folder(images, "set")
    address = bucket.address("set")
    wanted = experiment(folder=address, secret="own")
    pending = resolve_recorded(wanted, store=store, uid="uid")
    assert pending == PendingSources(refs=sources_of(wanted))
    environment = {f"SOURCE_{name}": value for name, value in bucket.environment.items()}
    done = run_job(store, "--name=dataset", f"--address={address}", environment=environment)
    assert done.returncode == 0, done.stderr_text
    assert bucket.environment["AWS_SECRET_ACCESS_KEY"] not in done.stderr_text
    assert recorded_source(store, uid="uid", name="dataset", address=address) == folder_digest(images)
    resolved = resolve_recorded(wanted, store=store, uid="uid")
    assert isinstance(resolved, Sources)
    assert resolved.by_name["dataset"].digest == folder_digest(images)
    moved = resolve_recorded(experiment(folder=address + "/a"), store=store, uid="uid")
    assert isinstance(moved, PendingSources), "what was noted of another address counts for nothing"


def test_a_job_reads_a_mounted_volume(store: ArtifactStore, images: Path, tmp_path: Path) -> None:
    address = "claim://scans/images"
    done = run_job(store, "--name=dataset", f"--address={address}", f"--mount={tmp_path}", environment={})
    assert done.returncode == 0, done.stderr_text
    assert recorded_source(store, uid="uid", name="dataset", address=address) == folder_digest(images)


def test_a_job_stops_on_sigterm_and_goes_on_later(bucket: Bucket, store: ArtifactStore) -> None:
    for index in range(300):
        bucket.put(f"set/a/{index}.png", os.urandom(50_000))
    words = ("--name=dataset", f"--address={bucket.address('set')}")
    environment = {f"SOURCE_{name}": value for name, value in bucket.environment.items()}
    process = run_job(store, *words, environment=environment, wait=False)
    deadline = time.monotonic() + 60
    while not store.backend.scan("blobs/") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143, error
    kept = len(store.backend.scan("blobs/"))
    assert 0 < kept < 300
    (notes,) = store.backend.scan("ingests/")
    assert len(json.loads(store.backend.read(notes.name) or b"")) == kept, "what is there is known"
    assert run_job(store, *words, environment=environment).returncode == 0
    assert len(store.backend.scan("blobs/")) == 300


# Bad input


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("absent", {}, "there is nothing"),
        ("set", {"SOURCE_AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "SOURCE_AWS_SECRET_ACCESS_KEY: the credentials"),
        ("set", {"SOURCE_AWS_ACCESS_KEY_ID": "nobody"}, "SOURCE_AWS_ACCESS_KEY_ID: the credentials"),
        ("set", {"SOURCE_AWS_ACCESS_KEY_ID": "", "SOURCE_AWS_SECRET_ACCESS_KEY": ""}, "AccessDenied"),
        ("text.npz", {}, "whole zip archive"),
    ],
)
def test_what_is_wrong_with_a_source_ends_the_job_with_2_and_a_reason(
    bucket: Bucket, store: ArtifactStore, name: str, changes: dict[str, str], said: str
) -> None:
    bucket.put("set/a/1.png", b"1")
    bucket.put("text.npz", b"no archive")
    environment = {f"SOURCE_{key}": value for key, value in bucket.environment.items()} | changes
    kind = ["--kind=npz"] if name.endswith(".npz") else []
    done = run_job(store, "--name=dataset", f"--address={bucket.address(name)}", *kind, environment=environment)
    assert done.returncode == 2, done.stderr_text
    assert said in done.stderr_text
    assert "Traceback" not in done.stderr_text
    assert "wrong-secret" not in done.stderr_text
    assert store.backend.scan("uploads/") == []
    assert store.backend.scan("experiments/") == []


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket, store: ArtifactStore) -> None:
    with pytest.raises(UserError, match="no-such-bucket"):
        ingest(parse_address("s3://no-such-bucket/x"), store=store, kind="folder", environment=bucket.environment)


def test_a_server_that_does_not_answer_may_be_tried_again(store: ArtifactStore) -> None:
    environment = {"SOURCE_SYNTRIAL_S3_ENDPOINT": "http://127.0.0.1:9", "SOURCE_AWS_ACCESS_KEY_ID": "a"}
    environment |= {"SOURCE_AWS_SECRET_ACCESS_KEY": "b"}
    done = run_job(store, "--name=dataset", "--address=s3://bucket/x", environment=environment)
    assert done.returncode == 1
    assert "SOURCE_SYNTRIAL_S3_ENDPOINT" in done.stderr_text


def test_a_pickle_is_no_weights(bucket: Bucket, store: ArtifactStore) -> None:
    bucket.put("w.pt", b"PK\x03\x04 a torch.save archive")
    with pytest.raises(SourceError, match="pickle"):
        bring(bucket, store, "w.pt", kind="weights")
    assert store.backend.scan("") == [], "not even its bytes are kept"


def test_an_object_that_is_replaced_while_it_is_read_is_refused(bucket: Bucket, store: ArtifactStore) -> None:
    bucket.put("x.npz", b"one")
    source = s3_source.S3Source(bucket.environment, bucket=bucket.name, field="x")
    found = source.find(f"{bucket.folder}/x.npz")
    assert found is not None
    bucket.put("x.npz", b"two")
    with pytest.raises(SourceError, match="replaced meanwhile"):
        list(source.read(found))
    bucket.client.remove_object(bucket.name, found.name)
    with pytest.raises(SourceError, match="it is gone"):
        list(source.read(found))


def test_a_link_out_of_the_volume_is_refused(store: ArtifactStore, images: Path, tmp_path: Path) -> None:
    (images / "a" / "link.png").symlink_to("/proc/self/environ")
    done = run_job(store, "--name=dataset", "--address=claim://v/a", f"--mount={images}", environment={})
    assert done.returncode == 2
    assert "a link out of" in done.stderr_text
    absent = run_job(store, "--name=dataset", "--address=claim://v/nothing", f"--mount={images}", environment={})
    assert absent.returncode == 2
    assert "which does not" in absent.stderr_text


# Resolution


def test_what_a_cluster_cannot_read_is_said_all_at_once(store: ArtifactStore) -> None:
    absent = "sha256:" + "0" * 64
    with pytest.raises(UserError) as caught:
        resolve_recorded(experiment(npz="/home/me/x.npz", pretraining=absent), store=store, uid="uid")
    path, weights = caught.value.violations
    assert (path.field, weights.field) == ("spec.dataset", "spec.classifiers[0].pretraining")
    assert "syntrial submit" in path.remedy
    assert "syntrial upload" in weights.remedy


def test_a_file_is_no_folder(store: ArtifactStore, tmp_path: Path) -> None:
    npz(tmp_path / "x.npz")
    digest = ingest(parse_address("claim://v/x.npz"), store=store, kind="npz", mount=tmp_path).digest
    with pytest.raises(UserError, match=r"the file x\.npz"):
        resolve_recorded(experiment(folder=digest), store=store, uid="uid")
    assert isinstance(resolve_recorded(experiment(npz=digest), store=store, uid="uid"), Sources)


def test_content_that_is_gone_is_brought_in_again(bucket: Bucket, store: ArtifactStore, images: Path) -> None:
    bucket.put_folder(images, "set")
    environment = {f"SOURCE_{name}": value for name, value in bucket.environment.items()}
    words = ("--name=dataset", f"--address={bucket.address('set')}")
    assert run_job(store, *words, environment=environment).returncode == 0
    (record,) = store.backend.scan("uploads/")
    store.backend.delete(record.name)
    assert isinstance(
        resolve_recorded(experiment(folder=bucket.address("set")), store=store, uid="uid"), PendingSources
    )


def test_sources_without_an_address_are_resolved_at_once(store: ArtifactStore) -> None:
    for dataset in ({"medmnist": "breastmnist", "size": 28}, {"phantom": {}, "size": 16}):
        assert isinstance(resolve_recorded(experiment(**dataset), store=store, uid="uid"), Sources)


def test_a_laptop_reads_no_claim_and_no_content_that_it_has_not(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="syntrial submit"):
        resolve_sources(experiment(folder="claim://v/x"), base=tmp_path, store=store)
    with pytest.raises(UserError, match="syntrial upload"):
        resolve_sources(experiment(folder="sha256:" + "0" * 64), base=tmp_path, store=store)
    with pytest.raises(UserError, match="--store"):
        resolve_sources(experiment(folder="s3://bucket/x"), base=tmp_path)


def test_an_upload_says_what_it_was_called(bucket: Bucket, store: ArtifactStore, images: Path) -> None:
    bucket.put_folder(images, "set")
    upload = find_upload(store, bring(bucket, store, "set"))
    assert upload is not None
    assert (upload.kind, upload.name, len(upload.files)) == ("folder", "set", 25)
    assert has_upload(store, upload.digest)


def test_of_a_table_s_folder_a_claim_gives_what_is_read_under_the_laptop_s_digest(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1.png").write_bytes(b"one")
    (folder / "labels.csv").write_text("image,label\na/1.png,x\n")
    (folder / "notes.txt").write_text("of no account")
    source = Source(table=TableSource(files=[TableFile(names=["labels.csv"])], images=["a"]))
    expected = resolve(source, folder, cache=tmp_path / "digests").source.digest
    ref = SourceRef(name="dataset", field="dataset", kind="table", address="claim://scans/set", request=source)
    store = open_store(str(tmp_path / "store"))
    found = ingest(ClaimAddress(claim="scans", path="set"), store=store, kind="table", mount=tmp_path, reads=ref.reads)
    assert found.digest == expected
    upload = find_upload(store, found.digest)
    assert upload is not None
    assert [file.name for file in upload.files] == ["a/1.png", "labels.csv"]
