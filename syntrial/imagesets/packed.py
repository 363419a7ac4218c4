"""Archives as trees: zip, tar, and tar packed by gzip, bzip2 or xz. Files are read where they lie.

An archive is a stranger's: its list of names is checked whole before anything of it is read. No name and no link leads
out of it, no name stands twice, and it unpacks to no more than limits allow. A zip has its list at its end, so that
files are found at once; a tar is walked through once; a packed tar can be read from its start alone, and is unpacked
once into an unnamed file of the scratch folder, which is gone when the tree is closed.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import DAMAGED_ZIP, NPZ, TORCH, kind_of_zip
from syntrial.imagesets.regions import Growing, Region

MOST_FILES: Final = 4_000_000
"""In an archive."""
MOST_RATIO: Final = 200
"""How many times its own length an archive may unpack to, above `SURELY_SMALL`: pictures hardly shrink at all."""
SURELY_SMALL: Final = 256 << 20
MOST_FILE_BYTES: Final = 1 << 30
"""Of one file in a packed archive: it may have to lie in memory. A longer one cannot be opened; others can."""

PACKED: Final[Mapping[bytes, tuple[str, Callable[[BinaryIO], BinaryIO]]]] = {
    b"\x1f\x8b": ("tar.gz", lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))),
    b"BZh": ("tar.bz2", lambda file: cast(BinaryIO, bz2.BZ2File(file))),
    b"\xfd7zXZ\0": ("tar.xz", lambda file: cast(BinaryIO, lzma.LZMAFile(file))),  # noqa: SIM115 - closed by who asks
}
"""By how a packed file begins: what it is called, and what unpacks it."""

_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_UNIX: Final = 3
_BLOCK: Final = 512
_CHUNK_BYTES: Final = 1 << 20
_MOST_LINKS: Final = 16
_UNPACKING: Final = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)

_AGAIN: Final = "Download or copy it again, or pack it anew."


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A file of an archive, before its name is checked."""

    name: str
    length: int
    link: str | None = None
    """Where it points to, if it is a link."""
    opened: Callable[[], BinaryIO] | None = None


class ArchiveTree:
    """The files of an archive. Closed when nothing refers to it any more, or by `close`."""

    def __init__(self, entries: Sequence[_Entry], *, title: str) -> None:
        """Raises SourceError for names and links that lead out of the archive, and for names that stand twice."""
        self.title = title
        self._entries = _checked(entries, title=title)

    def names(self) -> Sequence[str]:
        """As `Tree` has it."""
        return tuple(self._entries)

    def length(self, name: str, /) -> int:
        """As `Tree` has it."""
        return self._entries[name].length

    def open(self, name: str, /) -> BinaryIO:
        """As `Tree` has it."""
        opened = self._entries[name].opened
        assert opened is not None
        try:
            return opened()
        except DAMAGED_ZIP as error:
            raise OSError(str(error) or type(error).__name__) from error


def open_archive(path: Path, *, title: str, scratch: Path | None = None) -> ArchiveTree | None:
    """The archive at `path` as a tree; None where it is of no kind that is read.

    `scratch` is where a packed tar is unpacked to, by default the system's folder for temporary files. Raises
    SourceError, which calls the archive `title`, for one that is damaged, encrypted, a bomb, or leads out of itself;
    OSError where the file cannot be read.
    """
    whole = Region.of(path)
    head = whole.at(0, _BLOCK)
    if head[:4] in {b"PK\3\4", b"PK\5\6"}:
        tree = _zip_tree(whole, title=title)
        return None if kind_of_zip(tree.names()) in {NPZ, TORCH} else tree
    for start, (kind, unpack) in PACKED.items():
        if head.startswith(start):
            unpacked = _unpacked(whole, unpack, kind=kind, title=title, scratch=scratch)
            return _tar_tree(unpacked, kind=kind, title=title)
    return _tar_tree(whole, kind="tar", title=title) if is_tar(head) else None


def check_archive(path: Path, *, title: str) -> bool:
    """Whether a file is an archive of a kind that is read, as far as can be told without unpacking a packed tar.

    Raises SourceError and OSError as `open_archive` does.
    """
    whole = Region.of(path)
    head = whole.at(0, _BLOCK)
    for start, (_, unpack) in PACKED.items():
        if head.startswith(start):
            try:
                with unpack(whole.opened()) as source:
                    return is_tar(source.read(_BLOCK))
            except _UNPACKING:
                return False
    return open_archive(path, title=title) is not None


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar, by the checksum in its first header: old ones bear no other sign."""
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _zip_tree(whole: Region, *, title: str) -> ArchiveTree:
    rule = "a zip archive is whole"
    try:
        archive = zipfile.ZipFile(whole.opened())
        infos = archive.infolist()
    except DAMAGED_ZIP as error:
        raise SourceError(
            field=title,
            rule=rule,
            received=f"one whose list of files, at its end, is missing or damaged ({error})",
            remedy=_AGAIN,
        ) from None
    # Not by `is_dir`, which trips over a name that begins with a zero byte.
    files = [info for info in infos if info.orig_filename and not info.orig_filename.endswith("/")]
    _check_sizes([info.file_size for info in files], packed=whole.length, title=title)
    shown = [info for info in files if not is_hidden(_zip_name(info))]
    for info in shown:
        if info.flag_bits & _ENCRYPTED:
            raise SourceError(
                field=title,
                rule="an archive is not encrypted",
                received=f"{_zip_name(info)}, which needs a password",
                remedy="Unpack it with its password and give the folder, or pack it anew without one.",
            ).about(_zip_name(info))
        if info.compress_type not in _METHODS:
            raise SourceError(
                field=title,
                rule="files of a zip archive are stored as they are, or packed by deflate, bzip2 or LZMA",
                received=f"{_zip_name(info)}, packed by method {info.compress_type}",
                remedy="Unpack it and give the folder, or pack it anew.",
            ).about(_zip_name(info))

    def entry(info: zipfile.ZipInfo) -> _Entry:
        is_link = stat.S_ISLNK(info.external_attr >> 16) and info.create_system == _UNIX
        link = None
        if is_link:
            try:
                link = os.fsdecode(archive.read(info)) if info.file_size <= os.pathconf("/", "PC_PATH_MAX") else ""
            except DAMAGED_ZIP:
                link = ""

        def opened() -> BinaryIO:
            if info.file_size > MOST_FILE_BYTES:
                raise OSError(f"{info.file_size} bytes are more than one file of an archive may have")
            return Growing(lambda: archive.open(info), length=info.file_size).buffered()

        return _Entry(name=_zip_name(info), length=info.file_size, link=link, opened=opened)

    entries = [entry(info) for info in shown]
    if entries and not any("/" in entry.name for entry in entries):
        # Old packers of Windows wrote their own sign between folders.
        entries = [replace(entry, name=entry.name.replace("\\", "/")) for entry in entries]
    return ArchiveTree(entries, title=title)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A file's name. macOS writes UTF-8 without saying so, and Python takes it for the letters of old PCs then."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode()
    except UnicodeError:
        return info.orig_filename


def _tar_tree(whole: Region, *, kind: str, title: str) -> ArchiveTree:
    entries: list[_Entry] = []
    damage = ""
    try:
        archive = tarfile.TarFile(fileobj=whole.opened(), mode="r", errors="surrogateescape")
        while (info := archive.next()) is not None:
            # The list that tarfile keeps for itself would hold every header.
            archive.members.clear()  # type: ignore[attr-defined]
            if len(entries) >= MOST_FILES:
                raise _too_many(len(entries), title=title)
            if info.isfile():
                if info.issparse():
                    raise SourceError(
                        field=title,
                        rule="files of a tar are whole, not sparse",
                        received=info.name,
                        remedy="Pack it anew without --sparse.",
                    ).about(info.name)
                region = whole.part(info.offset_data, info.size)
                if info.offset_data + info.size > whole.length:
                    raise EOFError
                entries.append(_Entry(name=_readable(info.name), length=info.size, opened=region.opened))
            elif info.issym():
                entries.append(_Entry(name=_readable(info.name), length=0, link=_readable(info.linkname)))
            elif info.islnk():
                # From the archive's root, unlike a symbolic one.
                above = "../" * (len(PurePosixPath(info.name).parts) - 1)
                entries.append(_Entry(name=_readable(info.name), length=0, link=above + _readable(info.linkname)))
        # Where a header is damaged, tarfile takes that for the end, which a block of zeros marks.
        if whole.at(archive.offset, _BLOCK) != bytes(_BLOCK):
            damage = "one that breaks off"
    except EOFError:
        damage = "one that breaks off"
    except (tarfile.TarError, ValueError, OSError, IndexError) as error:
        damage = f"one that breaks off or is damaged ({error})"
    if damage:
        raise SourceError(field=title, rule=f"a {kind} archive is whole", received=damage, remedy=_AGAIN)
    return ArchiveTree(entries, title=title)


def _readable(name: str) -> str:
    """A name that is no UTF-8, as the letters of Western Europe, which name any byte."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode(errors="surrogateescape").decode("latin-1")
    return name


def _unpacked(
    whole: Region, unpack: Callable[[BinaryIO], BinaryIO], *, kind: str, title: str, scratch: Path | None
) -> Region:
    """The tar in a packed file, in an unnamed file that is gone with the region."""
    most = max(SURELY_SMALL, MOST_RATIO * whole.length)
    done = 0
    with contextlib.ExitStack() as stack:
        with _room_to_unpack(title):
            # Unbuffered: what a full disk refuses, it refuses here, and not when the file is closed.
            spool = stack.enter_context(tempfile.TemporaryFile(dir=scratch, buffering=0))
        try:
            source = stack.enter_context(unpack(whole.opened()))
            while chunk := source.read(_CHUNK_BYTES):
                if not done and not is_tar(chunk):
                    raise SourceError(
                        field=title,
                        rule="a packed archive holds a tar",
                        received=f"a file packed by {kind.partition('.')[2]} that holds none",
                        remedy="Give a folder, a zip or a tar.",
                    )
                done += len(chunk)
                if done > most:
                    raise _bomb(f"more than {most} bytes, of {whole.length} packed ones", title=title)
                with _room_to_unpack(title):
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[spool.write(rest) :]
        except _UNPACKING as error:
            raise SourceError(
                field=title,
                rule=f"a {kind} archive is whole",
                received=f"one that breaks off or is damaged ({error or type(error).__name__})",
                remedy=_AGAIN,
            ) from None
        return Region.of_file(spool)


@contextlib.contextmanager
def _room_to_unpack(title: str) -> Iterator[None]:
    """What the disk of temporary files refuses, as an error of that disk: the archive may be sound."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            field=title,
            rule="a packed tar can be unpacked once into the folder of temporary files",
            received=error.strerror or str(error),
            remedy="Make room there or set TMPDIR, or pack the files as a zip or a plain tar, which are read in place.",
        ) from None


def _check_sizes(lengths: Sequence[int], *, packed: int, title: str) -> None:
    if len(lengths) > MOST_FILES:
        raise _too_many(len(lengths), title=title)
    total = sum(lengths)
    if total > max(SURELY_SMALL, MOST_RATIO * packed):
        raise _bomb(f"{total} bytes, of {packed} packed ones", title=title)


def _too_many(count: int, *, title: str) -> SourceError:
    return SourceError(
        field=title,
        rule=f"an archive holds at most {MOST_FILES} files",
        received=f"{count} or more",
        remedy="Give several, or a folder.",
    )


def _bomb(received: str, *, title: str) -> SourceError:
    return SourceError(
        field=title,
        rule=f"an archive unpacks to at most {MOST_RATIO} times its length, and up to {SURELY_SMALL >> 20} MiB to any",
        received=received,
        remedy="Check where it comes from; pictures do not pack so well. Unpack it yourself if it is sound.",
    )


def is_hidden(name: str) -> bool:
    """Whether a file or a folder above it is hidden, or is what macOS adds to archives."""
    return any((part.startswith(".") and part not in {".", ".."}) or part == "__MACOSX" for part in name.split("/"))


def _checked(entries: Sequence[_Entry], *, title: str) -> dict[str, _Entry]:
    """The files by name, sorted, links replaced by what they point to."""
    files: dict[str, _Entry] = {}
    for entry in entries:
        plain = _plain(entry.name, title=title)
        if is_hidden(plain):
            continue
        if plain in files:
            raise SourceError(
                field=title,
                rule="every name stands once in an archive",
                received=f"{plain} twice",
                remedy="Pack it anew: which of them is meant is not known.",
            ).about(plain)
        files[plain] = entry
    for name in files:
        above = next((str(folder) for folder in PurePosixPath(name).parents if str(folder) in files), None)
        if above is not None:
            raise SourceError(
                field=title,
                rule="a name is that of a file or of a folder, not of both",
                received=f"{name}, below another file",
                remedy="Pack it anew.",
            ).about(name)
    return {name: _followed(name, files, title=title) for name in sorted(files)}


def _plain(name: str, *, title: str) -> str:
    """The name without '.', in Unicode's composed form; raises SourceError where it leads out or cannot be read."""
    is_outside = name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:[\\/]", name) is not None
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if is_outside or not parts or any(ord(letter) < ord(" ") for letter in name):
        raise SourceError(
            field=title,
            rule="a name in an archive is relative, stays below where it begins, and has no control characters",
            received=ascii(name),
            remedy="Check where it comes from; pack it anew if it is sound.",
        ).about(name)
    return unicodedata.normalize("NFC", "/".join(parts))


def _followed(name: str, files: Mapping[str, _Entry], *, title: str) -> _Entry:
    entry, place = files[name], name
    for _ in range(_MOST_LINKS):
        if entry.link is None:
            return entry
        target = _joined(place, entry.link)
        if target is None or target not in files:
            break
        entry, place = files[target], target
    raise SourceError(
        field=title,
        rule="a link in an archive leads to a file in it",
        received=f"{name}, which leads {'out of it' if target is None else 'to none'}",
        remedy="Pack it anew with the files themselves (tar --dereference), or without the link.",
    ).about(name)


def _joined(place: str, link: str) -> str | None:
    """Where a link leads to; None for a place outside."""
    if link.startswith("/"):
        return None
    parts = place.split("/")[:-1]
    for part in link.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return unicodedata.normalize("NFC", "/".join(parts))
