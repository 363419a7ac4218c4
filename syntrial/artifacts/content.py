"""Digests of raw content: what a file or a folder of the user's holds, wherever it lies and whenever it was written.

Called by `syntrial.sources.digests`, which plans with these digests, and by services, which check that what they read
is what was planned.
"""

import contextlib
import errno
import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from syntrial.workers import in_order

CHUNK_BYTES = 1 << 20
TOGETHER: Final = 8
"""Files that a thread hashes before it takes the next: of small ones, handing over takes as long as hashing."""
ALONE_BYTES: Final = 64 << 20
"""A file from here on is hashed in the caller's thread, which an interrupt ends at once."""


def is_code(name: str) -> bool:
    """Whether a file of a folder of code counts: what Python keeps beside it does not."""
    return "__pycache__/" not in name


def file_digest(path: Path, *, algorithm: str = "sha256") -> str:
    """The digest of the file's bytes, as "sha256:…" or "md5:…"; memory stays at one chunk. Raises OSError."""
    with path.open("rb") as file:
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return f"{algorithm}:{hasher.hexdigest()}"


def file_digests(paths: Iterable[str], *, algorithm: str = "sha256") -> Iterator[tuple[int, str]]:
    """Of each file its length and digest ("sha256:…"), in order, by all cores.

    Raises OSError for a file that cannot be read once those before it were given.
    """
    return in_order(_hashing(paths, algorithm), together=TOGETHER)


def _hashing(paths: Iterable[str], algorithm: str) -> Iterator[Callable[[], tuple[int, str]]]:
    for path in paths:
        piece = partial(_hashed, path, algorithm)
        if _length(path) >= ALONE_BYTES:
            # An error is raised in its turn.
            with contextlib.suppress(OSError):
                piece = partial(_given, piece())
        yield piece


def _given(found: tuple[int, str]) -> tuple[int, str]:
    return found


def _length(path: str) -> int:
    """0 for a file that cannot be read, of which is told in its turn."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - paths are text
    except OSError:
        return 0


def _hashed(path: str, algorithm: str) -> tuple[int, str]:
    return os.stat(path).st_size, file_digest(Path(path), algorithm=algorithm)  # noqa: PTH116


def folder_files(
    folder: Path, *, within: Path | None = None, reads: Callable[[str], bool] | None = None
) -> Iterator[tuple[str, Path]]:
    """Every file under `folder` as (relative POSIX name, path), sorted by name; hidden files and folders left out.

    Links are followed, but not into a folder that holds them. Names are in Unicode's composed form, so that a folder
    copied from macOS has the digest that it had there. `reads` tells of a name whether the file counts; None: all do.
    Raises OSError where a folder cannot be read, where a link leads out of `within`, and where one that counts leads
    to nothing: what it stood for would be missed by nobody.
    """
    for name, path in folder_places(folder, within=within, reads=reads):
        yield name, Path(path)


def folder_places(
    folder: Path, *, within: Path | None = None, reads: Callable[[str], bool] | None = None
) -> list[tuple[str, str]]:
    """As `folder_files` has them, with paths as text: of a hundred thousand files that saves seconds."""
    bounds = within.resolve() if within is not None else None
    found: list[tuple[str, str]] = []
    to_nothing: set[str] = set()
    for name, path, is_there in _walk(folder, prefix="", above=(), within=bounds):
        composed = name if name.isascii() else unicodedata.normalize("NFC", name)
        if reads is None or reads(composed):
            found.append((composed, path))
            if not is_there:
                to_nothing.add(path)
    found.sort()
    for _, path in found if to_nothing else ():
        if path in to_nothing:
            raise FileNotFoundError(errno.ENOENT, "a link to a file that is not there", path)
    return found


def _walk(
    folder: Path, *, prefix: str, above: tuple[Path, ...], within: Path | None
) -> Iterator[tuple[str, str, bool]]:
    """Files by name and path, and whether each is there or a link to nothing."""
    real = folder.resolve()
    if real in above:
        return
    check_within(folder, within=within)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), prefix=f"{prefix}{entry.name}/", above=(*above, real), within=within)
            elif entry.is_file():
                if entry.is_symlink():
                    check_within(Path(entry.path), within=within)
                yield f"{prefix}{entry.name}", entry.path, True
            elif entry.is_symlink() and not Path(entry.path).exists():
                yield f"{prefix}{entry.name}", entry.path, False


def check_within(path: Path, *, within: Path | None) -> None:
    """Raises PermissionError where `path` leads out of the folder `within`; None allows all."""
    if within is not None and not path.resolve().is_relative_to(within):
        raise PermissionError(errno.EPERM, f"it is a link out of {within}", str(path))


def folder_listing(
    folder: Path, *, on_progress: Callable[[int], None] | None = None, reads: Callable[[str], bool] | None = None
) -> list[list[str | int]]:
    """Name, size and SHA-256 of each of a folder's files, sorted by name: what its digest is over.

    `reads` as `folder_files` has it. `on_progress` is called after every file with how many are done. Raises OSError
    where a file cannot be read.
    """
    entries: list[list[str | int]] = []
    places = folder_places(folder, reads=reads)
    for (name, _), (length, digest) in zip(places, file_digests(path for _, path in places), strict=True):
        entries.append([name, length, digest.removeprefix("sha256:")])
        if on_progress is not None:
            on_progress(len(entries))
    return entries


def listing_digest(listing: list[list[str | int]]) -> str:
    """The digest of a folder with this listing, as "sha256:…": over its canonical JSON (RFC 8785).

    Of lists of text and whole numbers that is what Python's own encoder writes, in a twentieth of the time.
    """
    encoded = json.dumps(listing, ensure_ascii=False, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def folder_digest(
    folder: Path, *, on_progress: Callable[[int], None] | None = None, reads: Callable[[str], bool] | None = None
) -> str:
    """The digest of a folder; progress, files and errors as `folder_listing` has them."""
    return listing_digest(folder_listing(folder, on_progress=on_progress, reads=reads))
