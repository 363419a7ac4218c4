"""A layer read from the builder's storage is the tar that it was made of, to the last byte."""

import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import containers_storage
from tests.cluster.containers_storage import Image, Layer, open_layer, read_image
from tests.cluster.load_images import pinned, superseded, write_archive


def tar_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as stream:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            stream.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def store(root: Path, identity: str, files: dict[str, bytes]) -> tuple[dict[str, Any], bytes]:
    """A layer as containers/storage keeps it: files unpacked, all other bytes of the tar in tar-split form."""
    tar = tar_of(files)
    entries: list[dict[str, Any]] = []
    position = 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as stream:
        for member in stream.getmembers():
            headers = tar[position : member.offset_data]
            entries.append({"type": 2, "payload": base64.b64encode(headers).decode()})
            entries.append({"type": 1, "name": member.name, "size": member.size, "payload": "AAAA"})
            position = member.offset_data + member.size
    entries.append({"type": 2, "payload": base64.b64encode(tar[position:]).decode()})
    (root / "overlay-layers").mkdir(parents=True, exist_ok=True)
    with gzip.open(root / "overlay-layers" / f"{identity}.tar-split.gz", "wt") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
    for name, content in files.items():
        path = root / "overlay" / identity / "diff" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    digest = f"sha256:{hashlib.sha256(tar).hexdigest()}"
    return {"id": identity, "diff-digest": digest, "diff-size": len(tar)}, tar


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[bytes]]:
    """A storage with one image of two layers, and the layers' tars."""
    base, base_tar = store(tmp_path, "one", {"opt/torch.bin": bytes(range(256)) * 40, "opt/empty": b""})
    code, code_tar = store(tmp_path, "two", {"opt/café.py": b"print(1)\n"})
    rows = [base, code | {"parent": "one"}]
    (tmp_path / "overlay-layers/layers.json").write_text(json.dumps(rows))
    (tmp_path / "overlay-images").mkdir()
    (tmp_path / "overlay-images/images.json").write_text(json.dumps([{"id": "ff", "layer": "two"}]))
    layers = [{"digest": row["diff-digest"], "size": row["diff-size"]} for row in rows]
    told = {"FromImageID": "ff", "Manifest": json.dumps({"layers": layers}), "Config": "{}"}

    def inspect(command: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[:2] == ("buildah", "inspect")
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(told))

    monkeypatch.setattr(containers_storage.subprocess, "run", inspect)
    return tmp_path, [base_tar, code_tar]


def test_layers_come_from_the_base_up_and_byte_for_byte(built: tuple[Path, list[bytes]]) -> None:
    root, tars = built
    image = read_image("localhost/x:1", root=root)
    found = []
    for layer in image.layers:
        with open_layer(layer) as content:
            found.append(content.read())
    assert found == tars


def test_another_chain_of_layers_than_the_manifest_names_is_refused(built: tuple[Path, list[bytes]]) -> None:
    root, _ = built
    rows = json.loads((root / "overlay-layers/layers.json").read_text())
    (root / "overlay-layers/layers.json").write_text(json.dumps([rows[0] | {"diff-size": 7}, rows[1]]))
    with pytest.raises(ValueError, match="other layers"):
        read_image("localhost/x:1", root=root)


def test_an_archive_holds_each_layer_once_and_leaves_out_what_is_there(built: tuple[Path, list[bytes]]) -> None:
    root, tars = built
    image = read_image("localhost/x:1", root=root)
    base, code = image.layers
    target = io.BytesIO()
    written = write_archive([("localhost/x:1", image), ("localhost/y:1", image)], target, without=[base.digest])
    with tarfile.open(fileobj=io.BytesIO(target.getvalue())) as stream:
        names = stream.getnames()
        layer = stream.extractfile(f"blobs/sha256/{code.digest.removeprefix('sha256:')}")
        index_file = stream.extractfile("index.json")
        assert layer is not None
        assert index_file is not None
        assert layer.read() == tars[1]
        index = json.load(index_file)
    assert written == len(tars[1])
    assert len([name for name in names if name.endswith(code.digest.removeprefix("sha256:"))]) == 1
    assert not any(base.digest.removeprefix("sha256:") in name for name in names)
    digest = f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    assert [row["annotations"]["io.containerd.image.name"] for row in index["manifests"]] == [
        *("localhost/x:1", f"localhost/x@{digest}"),
        *("localhost/y:1", f"localhost/y@{digest}"),
    ]
    assert {row["digest"] for row in index["manifests"]} == {digest}


def test_what_a_name_was_before_is_superseded_and_nothing_else(built: tuple[Path, list[bytes]]) -> None:
    root, _ = built
    image = read_image("localhost/x:1", root=root)
    old, other = f"localhost/x@sha256:{'0' * 64}", f"localhost/x-base@sha256:{'0' * 64}"
    held = ["localhost/x:1", pinned("localhost/x:1", image), old, other, "localhost/x:0", f"sha256:{'0' * 64}"]
    assert superseded(held, [("localhost/x:1", image)]) == [old]


def test_a_layer_whose_files_are_gone_ends_in_an_error_and_no_shorter_tar(tmp_path: Path) -> None:
    row, _ = store(tmp_path, "one", {"opt/a": b"abc"})
    (tmp_path / "overlay/one/diff/opt/a").unlink()
    layer = Layer(
        digest=row["diff-digest"],
        size=row["diff-size"],
        folder=tmp_path / "overlay/one/diff",
        headers=tmp_path / "overlay-layers/one.tar-split.gz",
    )
    image = Image(manifest=b"{}", config=b"{}", layers=(layer,))
    with pytest.raises(FileNotFoundError):
        write_archive([("localhost/x:1", image)], io.BytesIO())
