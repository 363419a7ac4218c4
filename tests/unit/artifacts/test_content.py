"""Digests of many files: in order, whole, and an error told after what was read before it."""

import hashlib
from pathlib import Path

import pytest

from syntrial.artifacts import content
from syntrial.artifacts.content import file_digest, file_digests, folder_listing


def files(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number:03d}.bin" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number % 256]) * (1 + 37 * number))
    return paths


@pytest.mark.parametrize("alone", [0, 1000, 1 << 30], ids=["each alone", "large ones alone", "none alone"])
@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_digests_come_in_order_whatever_is_hashed_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: int, algorithm: str
) -> None:
    monkeypatch.setattr(content, "ALONE_BYTES", alone)
    paths = files(tmp_path / "set", 50)
    found = list(file_digests(map(str, paths), algorithm=algorithm))
    assert found == [(path.stat().st_size, file_digest(path, algorithm=algorithm)) for path in paths]


def test_a_listing_is_of_each_file_by_name(tmp_path: Path) -> None:
    paths = files(tmp_path / "set", 30)
    told: list[int] = []
    found = folder_listing(tmp_path / "set", on_progress=told.append)
    assert found == [[path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()] for path in paths]
    assert told == list(range(1, 31))


@pytest.mark.parametrize("alone", [0, 1 << 30], ids=["each alone", "none alone"])
@pytest.mark.parametrize("bad", [0, 11, 29])
def test_a_file_that_cannot_be_read_is_told_after_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int, alone: int
) -> None:
    monkeypatch.setattr(content, "ALONE_BYTES", alone)
    paths = files(tmp_path / "set", 30)
    paths[bad].unlink()
    paths[bad].mkdir()
    given: list[tuple[int, str]] = []
    with pytest.raises(IsADirectoryError):
        given.extend(file_digests(map(str, paths)))
    assert len(given) == bad
