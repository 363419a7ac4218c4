"""What files and patients are called wherever a name could leave: a number to look up, and a short keyed hash.

A file's name is often a person's. Whoever reads a source gives its names away at once; the names themselves stay in
one member of the artifact (`syntrial.documents.names`). The key of the hashes follows from the content of all files, so
that the same data has the same pseudonyms wherever it is prepared, and no one can try names without having the data:
the public digest of the data does not give it.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from syntrial.artifacts.content import CHUNK_BYTES
from syntrial.artifacts.keys import canonical_json
from syntrial.counting import counted

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


def spelling(patient: str) -> tuple[str, ...]:
    """What is left of a patient's name without case, spaces, signs and leading zeros: ("p", "1") for P-001 and p1."""
    plain = unicodedata.normalize("NFKC", patient).casefold()
    return tuple(part.lstrip("0") or "0" for part in re.findall(r"\d+|[^\W\d_]+", plain)) or (plain,)


def spelled_otherwise(patients: Iterable[str]) -> list[list[str]]:
    """The names that differ from others by no more than `spelling` leaves out, together, in the order of names.

    Names that begin with a line's end are those of images without a patient (`columns.patients_of`).
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for patient in sorted({patient for patient in patients if not patient.startswith("\n")}):
        found.setdefault(spelling(patient), []).append(patient)
    return [names for names in found.values() if len(names) > 1]


def spelling_notes(patients: Iterable[str]) -> tuple[str, ...]:
    """A sentence that counts them, or none."""
    several = spelled_otherwise(patients)
    if not several:
        return ()
    return (
        f"{counted(len(several), 'patient')} may be spelled in several ways: names that differ in case, spaces, signs "
        "or leading zeros alone count as different patients.",
    )


def _hash(text: str, secret: bytes) -> str:
    return hmac.new(secret, text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
