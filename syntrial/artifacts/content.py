"""Digests of raw content: what a file or a folder of the user's holds, wherever it lies and whenever it was written.

Called by `syntrial.sources`, which plans with these digests, and by services, which check that what they read is what
was planned.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from syntrial.artifacts.keys import canonical_digest

CHUNK_BYTES = 1 << 20


def file_digest(path: Path, *, algorithm: str = "sha256") -> str:
    """The digest of the file's bytes, as "sha256:…" or "md5:…"; memory stays at one chunk. Raises OSError."""
    with path.open("rb") as file:
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return f"{algorithm}:{hasher.hexdigest()}"


def folder_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file under `folder` as (relative POSIX name, path), sorted by name; hidden files and folders left out.

    Names are in Unicode's composed form, so that a folder copied from macOS has the digest that it had there.
    """
    found: list[tuple[str, Path]] = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        found.append((unicodedata.normalize("NFC", relative.as_posix()), path))
    yield from sorted(found)


def folder_digest(folder: Path, *, each: Callable[[int], None] | None = None) -> str:
    """The digest of a folder, as "sha256:…": over (relative name, size, SHA-256) of its files, sorted by name.

    `each` is called after every file with how many are done. Raises OSError where a file cannot be read.
    """
    entries: list[list[str | int]] = []
    for name, path in folder_files(folder):
        entries.append([name, path.stat().st_size, file_digest(path).removeprefix("sha256:")])
        if each is not None:
            each(len(entries))
    return f"sha256:{canonical_digest(entries)}"
