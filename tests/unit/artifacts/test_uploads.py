"""Records of uploads: whatever is in one, nothing is laid out outside the folder that was asked for."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.artifacts.content import file_digest, folder_digest
from syntrial.artifacts.store import open_store
from syntrial.artifacts.uploads import (
    Part,
    Upload,
    UploadedFile,
    check_names,
    has_upload,
    local_parts,
    materialise,
    parse_upload,
    put_parts,
    put_upload,
    record_name,
)
from syntrial.errors import DataLoss, SourceError, StoreUnavailable

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
NAMES = st.text(alphabet="ab/.\\\0\né", max_size=8) | st.text(max_size=8)


def record(names: list[str], *, kind: str = "folder", name: str = "x") -> tuple[bytes, str]:
    """A record whose digest is right, and that digest."""
    files = tuple(UploadedFile(name=file, sha256=EMPTY, size=0) for file in names)
    digest = Upload(kind=kind, name=name, files=files).digest  # type: ignore[arg-type]
    tree = {"kind": kind, "name": name, "files": [{"name": file, "sha256": EMPTY, "size": 0} for file in names]}
    return json.dumps(tree).encode(), digest


# A machine that is busy with other tests is no failure of this one.
@settings(deadline=None)
@given(st.lists(NAMES, max_size=4), NAMES)
def test_no_name_leads_out_of_the_folder(tmp_path_factory: Any, names: list[str], name: str) -> None:
    try:
        data, digest = record(names, name=name)
    except ValueError:
        return
    store = open_store("memory://")
    spool = store.backend.spool_path()
    spool.write_bytes(b"")
    store.backend.put_blob(spool, digest=EMPTY)
    where = record_name(digest)
    assert where is not None
    store.backend.write(where, data)
    root: Path = tmp_path_factory.mktemp("scratch")
    try:
        laid = materialise(store, digest, folder=root / "in")
    except DataLoss:
        assert not (root / "in").exists()
        return
    assert laid is not None
    assert laid.is_relative_to(root / "in")
    assert [path for path in root.rglob("*") if not path.is_relative_to(root / "in")] == []
    assert sum(path.is_file() for path in laid.rglob("*")) == len(names)
    if names:
        assert folder_digest(laid) == digest


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_other_bytes_are_data_loss(data: bytes) -> None:
    with pytest.raises(DataLoss):
        parse_upload(data, digest=f"sha256:{EMPTY}")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        ".hidden",
        "a/.hidden/b",
        "a\nb",
        "e\u0301",
        "\ud800",
        "x" * 256,
    ],
)
def test_a_name_that_a_folder_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match="Rename it"):
        check_names([name], title="x")


def test_a_name_is_not_a_file_and_a_folder_at_once() -> None:
    with pytest.raises(SourceError, match="not of both"):
        check_names(["a", "a/b"], title="x")
    check_names(["a", "ab/b", "b/a"], title="x")


def test_a_folder_whose_links_go_round_in_circles_is_uploaded_once(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.png").write_bytes(b"1")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    store = open_store("memory://")
    digest = folder_digest(tmp_path / "set")
    put_upload(store, tmp_path / "set", digest=digest)
    laid = materialise(store, digest, folder=tmp_path / "scratch")
    assert laid is not None
    assert [path.name for path in laid.rglob("*") if path.is_file()] == ["1.png"]


def test_a_link_that_leads_out_is_refused_where_bounds_are_given(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "volume" / "a").mkdir(parents=True)
    (tmp_path / "volume" / "a" / "1.png").write_bytes(b"1")
    (tmp_path / "volume" / "inside").symlink_to(tmp_path / "volume" / "a")
    assert len(local_parts(tmp_path / "volume", within=tmp_path / "volume")[1]) == 2
    for target in (tmp_path / "secret", tmp_path):
        link = tmp_path / "volume" / "a" / "link"
        link.symlink_to(target)
        with pytest.raises(SourceError, match="a link out of"):
            local_parts(tmp_path / "volume", within=tmp_path / "volume")
        with pytest.raises(SourceError, match="a link out of"):
            local_parts(link, within=tmp_path / "volume")
        link.unlink()


def test_a_file_that_cannot_be_read_is_the_users_to_mend(tmp_path: Path) -> None:
    store = open_store("memory://")
    with pytest.raises(SourceError, match="can be read"):
        put_upload(store, tmp_path / "gone.npz", digest=f"sha256:{EMPTY}")


def test_what_is_laid_out_outlives_the_blob_and_copies_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "store")
    file = tmp_path / "a.npz"
    file.write_bytes(b"content")
    digest = file_digest(file)
    put_upload(store, file, digest=digest)
    linked = materialise(store, digest, folder=tmp_path / "one")

    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    copied = materialise(store, digest, folder=tmp_path / "two")
    assert linked is not None
    assert copied is not None
    assert linked.stat().st_nlink == 2
    assert copied.stat().st_nlink == 1
    store.backend.delete(f"blobs/{digest.replace(':', '/')}")
    assert linked.read_bytes() == copied.read_bytes() == b"content"


def test_an_error_while_reading_leaves_no_record(tmp_path: Path) -> None:
    def broken() -> Any:
        yield b"a"
        raise StoreUnavailable("gone")

    store = open_store(tmp_path / "store")
    with pytest.raises(StoreUnavailable):
        put_parts(store, [Part(name="a", size=2, read=broken)], kind="folder", name="x")
    assert store.backend.scan("") == [], "no spool file either"
    assert not has_upload(store, f"sha256:{EMPTY}")
