"""What files and patients are called wherever a name could leave: a number to look up, and a short keyed hash.

A file's name is often a person's. Whoever reads a source gives its names away at once; the names themselves stay in
one member of the artifact (`syntrial.documents.names`). The key of the hashes follows from the content of all files, so
that the same data has the same pseudonyms wherever it is prepared, and no one can try names without having the data:
the public digest of the data does not give it.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from syntrial.artifacts.content import CHUNK_BYTES
from syntrial.artifacts.keys import canonical_json

_PURPOSE: Final = b"syntrial/names/1\0"
FILE_DIGITS: Final = 8
"""A file has its number besides."""
PATIENT_DIGITS: Final = 16
"""64 bits: among a million patients two are taken for one with a chance of 3 in 100 million."""


def secret_of_listing(listing: Sequence[Sequence[str | int]]) -> bytes:
    """The key of a folder, by the name, size and SHA-256 of each of its files."""
    return hashlib.sha256(_PURPOSE + canonical_json(listing)).digest()


def secret_of_file(path: Path) -> bytes:
    """The key of a file that holds many images."""
    hasher = hashlib.sha256(_PURPOSE)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.digest()


def file_words(names: Iterable[str], *, secret: bytes) -> dict[str, str]:
    """The pseudonym of each file by its name: its number in the order of names, and its hash: "17-1f3a09bc"."""
    return {name: f"{number}-{_hash(name, secret)[:FILE_DIGITS]}" for number, name in enumerate(sorted(names))}


def patient_word(patient: str, *, secret: bytes) -> str:
    """The pseudonym of a patient: "p-1f3a09bc5d7e2460"."""
    return f"p-{_hash(f'patient/{patient}', secret)[:PATIENT_DIGITS]}"


def _hash(text: str, secret: bytes) -> str:
    return hmac.new(secret, text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
