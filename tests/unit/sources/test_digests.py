import importlib.util
import io
import json
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntrial.errors import SourceError, UserError
from syntrial.sources import digests
from syntrial.sources.digests import check_phantom, resolve, resolve_weights
from syntrial.sources.medmnist import MEDMNIST, SIZES
from syntrial.v1.data_preparation_pb2 import FolderSource, MedMnistSource, NpzSource, PhantomSource, Source


def medmnist(name: str = "pneumoniamnist", size: int = 28) -> Source:
    return Source(medmnist=MedMnistSource(name=name, size=size))


def phantom(**changes: Any) -> Source:
    fields: dict[str, Any] = {
        "variant": PhantomSource.VARIANT_CHEST,
        "size": 28,
        "train_patients": 10,
        "validation_patients": 5,
        "test_patients": 5,
        "images_per_patient": 2,
        "difficulty": 0.5,
        "prevalence": 0.5,
    }
    return Source(phantom=PhantomSource(**(fields | changes)))


def npz(path: Path) -> Path:
    np.savez_compressed(path, train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.zeros(2, np.int64))
    return path


def image_folder(path: Path) -> Path:
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        (path / name / "1.png").write_bytes(name.encode())
    return path


def safetensors(tensors: dict[str, Any], data: bytes) -> bytes:
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def test_the_table_equals_the_official_one() -> None:
    spec = importlib.util.find_spec("medmnist")
    if spec is None or spec.origin is None:
        pytest.skip("the medmnist package is not installed")
    info_spec = importlib.util.spec_from_file_location("medmnist_info", Path(spec.origin).with_name("info.py"))
    assert info_spec is not None
    assert info_spec.loader is not None
    info = importlib.util.module_from_spec(info_spec)
    info_spec.loader.exec_module(info)
    assert set(MEDMNIST) == {name for name in info.INFO if "3d" not in name}
    for name, row in MEDMNIST.items():
        official = info.INFO[name]
        assert row.classes == tuple(official["label"][str(label)] for label in range(len(official["label"])))
        assert row.channels == official["n_channels"]
        assert row.images == tuple(official["n_samples"][split] for split in ("train", "val", "test"))
        assert (row.task == "multi-label") == ("multi-label" in official["task"])
        assert row.licence == official["license"]
        for size in SIZES:
            suffix = "" if size == 28 else f"_{size}"
            assert row.md5[size] == official[f"MD5{suffix}"]
            assert f"/{row.filename(size)}?" in official[f"url{suffix}"]


def test_medmnist_needs_no_file_since_its_digest_is_the_official_checksum() -> None:
    resolved = resolve(medmnist(size=64))
    assert resolved.source.digest == f"md5:{MEDMNIST['pneumoniamnist'].md5[64]}"
    assert resolved.path is None


def test_the_real_medmnist_files_have_the_official_checksum(shared_data: Path, tmp_path: Path) -> None:
    for name in ("pneumoniamnist", "breastmnist"):
        resolved = resolve(medmnist(name), shared_data / "medmnist", cache=tmp_path)
        assert resolved.source.digest == f"md5:{MEDMNIST[name].md5[28]}"


def test_a_part_of_a_medmnist_file_is_refused_for_its_checksum(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"checksum md5:a8b0.*`npz: PATH`"):
        resolve(medmnist("pathmnist"), shared_data / "pathmnist-test", cache=tmp_path)


def test_a_folder_has_one_digest_wherever_it_lies_and_another_when_anything_in_it_changes(tmp_path: Path) -> None:
    source = Source(folder=FolderSource())
    here, there = image_folder(tmp_path / "here"), image_folder(tmp_path / "deeper" / "there")
    (there / ".hidden").write_text("left out")
    digest = resolve(source, here, cache=tmp_path / "cache").source.digest
    assert resolve(source, there, cache=tmp_path / "cache").source.digest == digest
    (there / "a" / "1.png").rename(there / "a" / "2.png")
    assert resolve(source, there, cache=tmp_path / "cache").source.digest != digest


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    source = Source(folder=FolderSource())
    real, linked = image_folder(tmp_path / "real"), tmp_path / "linked"
    linked.mkdir()
    for label in ("a", "b"):
        (linked / label).symlink_to(real / label, target_is_directory=True)
    expected = resolve(source, real, cache=tmp_path / "cache").source.digest
    assert resolve(source, linked, cache=tmp_path / "cache").source.digest == expected
    (real / "a" / "circle").symlink_to(real, target_is_directory=True)
    assert resolve(source, real, cache=tmp_path / "cache").source.digest == expected


def test_a_second_resolve_reads_nothing_but_a_changed_file_is_read_again(tmp_path: Path) -> None:
    source, cache = Source(npz=NpzSource()), tmp_path / "cache"
    file = npz(tmp_path / "set.npz")
    first = resolve(source, file, cache=cache).source.digest
    (entry,) = cache.iterdir()
    known = json.loads(entry.read_text())["files"]
    entry.write_text(json.dumps({"files": {name: [*marks[:3], "remembered"] for name, marks in known.items()}}))
    assert resolve(source, file, cache=cache).source.digest == "sha256:remembered"
    file.write_bytes(file.read_bytes() + b"\0")
    assert resolve(source, file, cache=cache).source.digest not in {first, "sha256:remembered"}


def test_of_a_folder_the_files_that_changed_alone_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cache, folder = Source(folder=FolderSource()), tmp_path / "cache", image_folder(tmp_path / "set")
    first = resolve(source, folder, cache=cache).source.digest
    read: list[str] = []
    hashed = digests.file_digests

    def counted(paths: Iterable[str], *, algorithm: str = "sha256") -> Iterator[tuple[int, str]]:
        given = list(paths)
        read.extend(Path(path).name for path in given)
        return hashed(given, algorithm=algorithm)

    monkeypatch.setattr(digests, "file_digests", counted)
    assert resolve(source, folder, cache=cache).source.digest == first
    assert read == []
    (folder / "a" / "1.png").write_bytes(b"another")
    seen: list[tuple[int, int]] = []
    resolve(source, folder, cache=cache, on_progress=lambda done, total: seen.append((done, total)))
    assert read == ["1.png"]
    assert len(seen) == 1


def test_a_damaged_or_unwritable_cache_only_costs_time(tmp_path: Path) -> None:
    file = npz(tmp_path / "set.npz")
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert resolve(Source(npz=NpzSource()), file, cache=tmp_path / "cache").source.digest.startswith("sha256:")


def test_a_phantom_is_its_parameters() -> None:
    assert resolve(phantom(), Path("/anywhere")).source.digest == ""


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(safetensors({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, b"abcd"))
    assert resolve_weights(file, cache=tmp_path / "cache").startswith("sha256:")


def pickled_weights() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickled_weights(), "a pickle"),
        (b"\x80\x04\x95 an old pickle", "a pickle"),
        (b"", "whole safetensors"),
        (b"short", "whole safetensors"),
        (struct.pack("<Q", 1 << 40) + b"{}", "whole safetensors"),
        (safetensors({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, b"ab"), "whole safetensors"),
        (safetensors({"w": 3}, b""), "whole safetensors"),
    ],
)
def test_weights_that_are_no_safetensors_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        resolve_weights(file, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        (medmnist("pnuemoniamnist"), None, "Did you mean pneumoniamnist"),
        (medmnist("nodulemnist3d"), None, "two-dimensional"),
        (medmnist(size=32), None, "Use 28"),
        (medmnist(), "empty", "no such file"),
        (medmnist(), "nowhere", "does not"),
        (Source(npz=NpzSource()), None, "no path"),
        (Source(npz=NpzSource()), "set.npy", r"Did you mean .*set\.npz"),
        (Source(npz=NpzSource()), "cut.npz", "cut short"),
        (Source(npz=NpzSource()), "empty", "content is a file; received the folder .*empty"),
        (
            Source(folder=FolderSource()),
            "set.npz",
            r"content is a folder; received the file .*set\.npz\. Use `npz:`",
        ),
        (Source(folder=FolderSource()), "empty", "which is empty"),
        (Source(), None, "one of medmnist"),
        (phantom(size=8), None, "16 to 256"),
        (phantom(difficulty=1.5), None, "difficulty: is from 0 to 1"),
        (phantom(prevalence=0.0), None, "prevalence"),
        (phantom(test_patients=0), None, "test_patients"),
        (phantom(variant=PhantomSource.VARIANT_UNSPECIFIED), None, "chest or tissue"),
    ],
)
def test_a_wrong_source_is_named_with_its_rule_and_remedy(
    source: Source, path: str | None, message: str, tmp_path: Path
) -> None:
    npz(tmp_path / "set.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "set.npz").read_bytes()[:-40])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        resolve(source, tmp_path / path if path else None, cache=tmp_path / "cache")
    assert all(violation.remedy for violation in caught.value.violations)


def test_the_tissue_phantom_needs_no_prevalence() -> None:
    check_phantom(phantom(variant=PhantomSource.VARIANT_TISSUE, prevalence=0.0).phantom)


@pytest.mark.parametrize("name", [b"\xff.png", b"new\nline.png"])
def test_a_name_that_is_no_text_is_refused(tmp_path: Path, name: bytes) -> None:
    folder = image_folder(tmp_path / "images")
    Path(os.fsdecode(os.fsencode(folder / "a") + b"/" + name)).write_bytes(b"1")
    with pytest.raises(SourceError, match="Rename it"):
        resolve(Source(folder=FolderSource()), folder, cache=tmp_path / "cache")


def test_a_folder_that_holds_itself_by_a_link_is_digested(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images")
    plain = resolve(Source(folder=FolderSource()), folder, cache=tmp_path / "cache").source.digest
    (folder / "a" / "again").symlink_to(folder)
    assert resolve(Source(folder=FolderSource()), folder, cache=tmp_path / "cache").source.digest == plain


def test_a_link_to_nothing_is_told_and_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.png").write_bytes(b"x")
    (tmp_path / "set" / "a" / "2.png").symlink_to("not-fetched.png")
    with pytest.raises(SourceError, match=r"2\.png[\s\S]*a link to a file that is not there"):
        resolve(Source(folder=FolderSource()), tmp_path / "set", cache=tmp_path / "cache")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_pipe_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.zip")
    source = Source(folder=FolderSource()) if kind == "folder" else Source(npz=NpzSource())
    with pytest.raises(SourceError, match="a pipe, a socket or a device"):
        resolve(source, tmp_path / "set.zip", cache=tmp_path / "cache")
