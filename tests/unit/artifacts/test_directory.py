"""The store in a folder, where the file system shows its limits."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.backend import blob_name
from syntrial.artifacts.directory import DirectoryBackend
from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import DataLoss, StoreFull, StoreUnavailable, UserError
from syntrial.v1.artifacts_pb2 import MemberRef

KEY = "a" * 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["/bin/umount", "--lazy", folder], check=True)


def write(store: ArtifactStore, data: bytes) -> None:
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    writer.write("data", "x", data)
    store.commit(writer)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_is_named_with_what_to_do_and_nothing_is_half_written(small_disk: Path) -> None:
    store = open_store(small_disk)
    with pytest.raises(StoreFull, match=r"no space .*syntrial gc"):
        write(store, b"x" * (2 << 20))
    assert names(small_disk) == []
    write(store, b"x" * 1000)
    assert store.is_done(KEY)


def test_a_file_over_the_limit_of_the_process_is_a_full_store_too(tmp_path: Path) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from syntrial.artifacts.store import open_store\n"
        "from syntrial.errors import StoreFull\n"
        f"writer = open_store({os.fspath(tmp_path)!r}).writer('a' * 64, method='m', stage_version=1, request={{}})\n"
        "try:\n    writer.write('data', 'x', b'x' * 1_000_000)\n"
        "except StoreFull as error:\n    sys.stdout.write(str(error))\n"
    )
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert "no space to write" in printed
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_space_that_runs_out_at_the_manifest_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = open_store(tmp_path)
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    writer.write("data", "x", b"1")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreFull):
            store.commit(writer)
    assert store.manifest(KEY) is None
    assert names(tmp_path / "tmp") == []
    store.commit(writer)
    assert store.is_done(KEY)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    script = (
        "import os, sys\n"
        "from syntrial.artifacts.store import open_store\n"
        "from syntrial.errors import StoreFull\n"
        "if os.getuid() == 0:\n    os.seteuid(65534)\n"
        f"try:\n    open_store({os.fspath(folder)!r})\n"
        "except StoreFull as error:\n    sys.stdout.write(str(error))\n"
    )
    tmp_path.chmod(0o555)
    try:
        printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    finally:
        tmp_path.chmod(0o755)
    assert "may not be read or written" in printed
    assert os.fspath(tmp_path) in printed


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(UserError, match="a store is a folder"):
        open_store(path)


def test_a_file_system_without_hard_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    store = open_store(tmp_path)
    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(UserError, match="hard links"):
        write(store, b"1")


def test_blobs_are_read_only_files(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write(store, b"1")
    path = store.open(MemberRef(key=KEY, member="data")).path("x")
    assert path.is_relative_to(tmp_path)
    assert path.stat().st_mode & 0o222 == 0


def test_a_blob_is_hashed_once_a_process_and_again_when_it_changed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write(store, b"1234")
    reader = store.open(MemberRef(key=KEY, member="data"))
    path = reader.path("x")
    path.chmod(0o644)
    path.write_bytes(b"1235")
    with pytest.raises(DataLoss):
        reader.path("x")


def test_damage_that_leaves_the_time_stamp_is_found_when_asked_afresh(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path)
    store = ArtifactStore(backend)
    write(store, b"1234")
    digest = store.manifest(KEY).member("data").blobs[0].digest  # type: ignore[union-attr]
    path = backend.blob_path(digest, size=4)
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert backend.blob_path(digest, size=4) == path
    with pytest.raises(DataLoss):
        backend.blob_path(digest, size=4, fresh=True)
    assert store.quarantine(KEY)


def test_files_of_dead_writers_are_swept_once_they_are_old(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path)
    old, new = backend.spool_path(), backend.spool_path()
    for path in (old, new):
        path.write_bytes(b"123")
    os.utime(old, (time.time() - 1000, time.time() - 1000))
    assert [info.size for info in backend.sweep(before=time.time() - 500, dry_run=True)] == [3]
    assert old.exists()
    backend.sweep(before=time.time() - 500, dry_run=False)
    assert not old.exists()
    assert new.exists()


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path)
    for name in ["../x", "/etc/passwd", "a/../../x", "a//b", ".x", "", "a/"]:
        with pytest.raises(ValueError, match="not a valid name"):
            backend.read(name)
    with pytest.raises(ValueError, match="not a SHA-256"):
        blob_name("../x")


def test_deleting_the_last_file_of_a_folder_removes_the_folder(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path)
    backend.write("attempts/k/e/1", b"")
    backend.delete("attempts/k/e/1")
    backend.delete("attempts/k/e/1")
    assert not (tmp_path / "attempts" / "k").exists()


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = DirectoryBackend(tmp_path / "store")
    backend.write("experiments/e/plan.json", b"{}")
    scandir = os.scandir

    def fail(path: Path | str) -> object:
        if os.fspath(path).endswith("/e"):
            raise OSError(errno.EIO, "Input/output error", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        backend.scan("experiments/")
    assert backend.scan("absent/") == []
