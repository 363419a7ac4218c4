"""Archives read where they lie, and those that are refused."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from syntrial.errors import SourceError
from syntrial.imagesets import packed
from syntrial.imagesets.trees import tree_at

FILES = {"set/a/1.png": b"one" * 1000, "set/b/ü.png": b"two" * 2000, "set/a/empty": b""}


def zipped(
    path: Path, files: dict[str, bytes] = FILES, *, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(
    path: Path, mode: str = "w", files: dict[str, bytes] = FILES, *, links: dict[str, str] | None = None
) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "a zip": zipped,
    "a zip whose files are stored": lambda path: zipped(path, method=zipfile.ZIP_STORED),
    "a zip of LZMA": lambda path: zipped(path, method=zipfile.ZIP_LZMA),
    "a zip with a comment": lambda path: zipped(path, comment=b"made by hand"),
    "a tar": tarred,
    "a tar.gz": lambda path: tarred(path, "w:gz"),
    "a tar.bz2": lambda path: tarred(path, "w:bz2"),
    "a tar.xz": lambda path: tarred(path, "w:xz"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_gives_the_files_that_were_packed(name: str, tmp_path: Path) -> None:
    """Its kind is known by its content: what it is called does not matter."""
    tree = tree_at(ARCHIVES[name](tmp_path / "set.dat"))
    assert list(tree.names()) == sorted(FILES)
    for file, content in FILES.items():
        assert tree.length(file) == len(content)
        with tree.open(file) as opened:
            assert opened.read() == content
            opened.seek(max(0, len(content) - 2))
            assert opened.read() == content[-2:]
            opened.seek(0)
            assert opened.read(5) == content[:5]


@pytest.mark.parametrize("name", ["a zip", "a tar"])
def test_files_of_an_archive_are_read_by_several_threads_at_once(name: str, tmp_path: Path) -> None:
    files = {f"a/{number}.png": os.urandom(200_000) for number in range(8)}
    path = zipped(tmp_path / "x", files) if name == "a zip" else tarred(tmp_path / "x", "w", files)
    tree, wrong = tree_at(path), []

    def read(name: str) -> None:
        for _ in range(5):
            with tree.open(name) as file:
                if file.read() != files[name]:
                    wrong.append(name)

    threads = [threading.Thread(target=read, args=(name,)) for name in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_hidden_files_and_what_macos_adds_are_not_listed(tmp_path: Path) -> None:
    files = dict.fromkeys(("a/1.png", "__MACOSX/a/._1.png", "a/.DS_Store", ".git/config", "./b/2.png"), b"x")
    assert list(tree_at(zipped(tmp_path / "x.zip", files)).names()) == ["a/1.png", "b/2.png"]


def test_folders_of_a_windows_packer_are_folders(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a\\1.png": b"1", "b\\2.png": b"2"})
    assert list(tree_at(path).names()) == ["a/1.png", "b/2.png"]


def test_a_link_within_an_archive_is_followed(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", links={"set/b/again.png": "../a/1.png"})
    with tree_at(path).open("set/b/again.png") as file:
        assert file.read() == FILES["set/a/1.png"]


def test_no_file_stays_open_and_none_is_left_when_the_tree_is_gone(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tgz", "w:gz")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    tree = tree_at(path, scratch=scratch)
    assert tree.names()
    assert list(scratch.iterdir()) == []
    del tree
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_header_of_a_long_file_costs_its_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "x.zip", {"a/1.png": os.urandom(1 << 22)})
    read = 0
    at = packed.Region.at

    def counted(region: packed.Region, offset: int, size: int, /) -> bytes:
        nonlocal read
        data = at(region, offset, size)
        read += len(data)
        return data

    monkeypatch.setattr(packed.Region, "at", counted)
    with tree_at(path).open("a/1.png") as file:
        file.read(16)
    assert read < 1 << 19


def encrypted(path: Path) -> Path:
    data = bytearray(zipped(path).read_bytes())
    for sign, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = -1
        while (start := data.find(sign, start + 1)) >= 0:
            data[start + place] |= 1
    path.write_bytes(data)
    return path


def bomb(path: Path) -> Path:
    """300 MB of zeros in 300 kB, five times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(5):
            with archive.open(f"a/{number}.png", "w") as file:
                for _ in range(60):
                    file.write(bytes(1 << 20))
    return path


def other_method(path: Path) -> Path:
    data = zipped(path).read_bytes()
    path.write_bytes(data.replace(b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x09\0"))
    return path


def cut(path: Path, *, by: Callable[[Path], Path], share: float) -> Path:
    data = by(path).read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def twice(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/1.png", b"2")
    return path


def damaged_header(path: Path) -> Path:
    data = bytearray(tarred(path, "w", {"a": b"1", "b": b"2"}).read_bytes())
    data[1024] ^= 0xFF
    path.write_bytes(data)
    return path


def linked_zip(path: Path) -> Path:
    info = zipfile.ZipInfo("a/1.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "../../etc/passwd")
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a name that leads out": (lambda p: zipped(p, {"../1.png": b""}), "stays below"),
    "an absolute name": (lambda p: tarred(p, "w", {"/etc/1.png": b""}), "stays below"),
    "a drive of Windows": (lambda p: zipped(p, {"C:/a/1.png": b""}), "stays below"),
    "a control character": (lambda p: tarred(p, "w", {"a/\n1.png": b""}), "control characters"),
    "a link that leads out": (lambda p: tarred(p, links={"set/c": "../../etc/passwd"}), "leads out of it"),
    "an absolute link": (lambda p: tarred(p, links={"set/c": "/etc/passwd"}), "leads out of it"),
    "a link to nothing": (lambda p: tarred(p, links={"set/c": "nowhere"}), "leads to none"),
    "a link to itself": (lambda p: tarred(p, links={"set/c": "c"}), "a link in an archive"),
    "a link in a zip": (linked_zip, "leads out of it"),
    "a zip under a password": (encrypted, "not encrypted"),
    "a method that nobody reads": (other_method, "packed by method 9"),
    "a bomb": (bomb, "unpacks to at most 200 times"),
    "half a zip": (lambda p: cut(p, by=zipped, share=0.6), "missing or damaged"),
    "half a tar": (lambda p: cut(p, by=tarred, share=0.3), "breaks off"),
    "a tar without its end": (lambda p: cut(p, by=lambda q: tarred(q, "w", {"a": b""}), share=0.05), "breaks off"),
    "half a tar.gz": (lambda p: cut(p, by=lambda q: tarred(q, "w:gz"), share=0.6), "breaks off"),
    "half a tar.xz": (lambda p: cut(p, by=lambda q: tarred(q, "w:xz"), share=0.6), "breaks off"),
    "a damaged header in a tar": (damaged_header, "breaks off"),
    "a name that stands twice": (twice, "a/1.png twice"),
    "names that differ in their Unicode form": (lambda p: zipped(p, {"ü": b"", "u\u0308": b""}), "twice"),
    "a file below a file": (lambda p: zipped(p, {"a": b"", "a/1.png": b""}), "below another file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_archive_is_refused_with_what_is_wrong(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    with pytest.raises(SourceError, match=message) as caught:
        tree_at(make(tmp_path / "set.dat"))
    assert all(violation.remedy for violation in caught.value.violations)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "an empty file"), (b"Rar!\x1a\7\1\0", "a RAR archive"), (b"text", "a text file")]
)
def test_what_is_no_archive_is_called_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        tree_at(tmp_path / "x.zip")


def test_a_packed_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"volume" * 1000))
    with pytest.raises(SourceError, match="holds none"):
        tree_at(tmp_path / "x.gz")


def test_a_packed_bomb_ends_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SURELY_SMALL", 1 << 20)
    path = tarred(tmp_path / "x.tgz", "w:gz", {"a/1.png": bytes(8 << 20)})
    with pytest.raises(SourceError, match="unpacks to at most"):
        tree_at(path)


def test_a_file_that_was_changed_in_an_archive_cannot_be_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/1.png": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with tree_at(path).open("a/1.png") as file, pytest.raises(OSError, match="CRC"):
        file.read()


def test_a_full_disk_of_temporary_files_is_told_from_a_damaged_archive(tmp_path: Path) -> None:
    path = tarred(tmp_path / "set.tar.gz", "w:gz", {"a/1.png": os.urandom(1 << 20)})
    # A limit on the length of files is to a process what a full disk is to all, and needs nobody's permission.
    code = (
        "import pathlib, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from syntrial.errors import SourceError\n"
        "from syntrial.imagesets.trees import tree_at\n"
        "try:\n    tree_at(pathlib.Path(sys.argv[1]))\n"
        "except SourceError as error:\n    sys.stdout.write(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=60)
    assert "folder of temporary files" in done.stdout
    assert "TMPDIR" in done.stdout


def test_a_folder_of_temporary_files_that_is_not_there_is_told_from_a_damaged_archive(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="folder of temporary files"):
        tree_at(tarred(tmp_path / "set.tar.gz", "w:gz"), scratch=tmp_path / "none")


def test_a_name_in_a_zip_that_begins_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"abcd.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"abcd.png", b"\0bcd.png"))
    with pytest.raises(SourceError, match="control characters"):
        tree_at(path)
