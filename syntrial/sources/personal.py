"""Signs that files name persons, looked for before data goes anywhere: the user is warned, and nothing is refused.

Precise rather than complete: a warning that comes with every data set is read by nobody. What is looked for:

    MUELLER_Anna, Mueller^Anna       a family name in capitals and a given name, or DICOM's form of names
    …_born1957, geb-1957, dob_…      a word for birth with a number
    1957-03-02, 02.03.1957           whole dates; digits alone (19570302) may be any number
    .dcm files, and pictures whose texts hold DICOM's PatientName, PatientID or PatientBirthDate
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import is_picture
from syntrial.imagesets.trees import Tree, tree_at

MOST_FILES: Final = 2000
"""Whose first bytes are looked at."""
_HEAD_BYTES: Final = 1 << 14

_NAME: Final = re.compile(r"(?<![^\W_])([A-ZÄÖÜÉÈØÅ]{4,})[_, -]{1,2}([A-ZÄÖÜÉÈØÅ][a-zäöüßéèøåñ]{2,})(?![^\W\d_])")
_CARET: Final = re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}")
_BORN: Final = re.compile(
    r"(?<![^\W_])(born|dob|geb|geboren|birth|birthdate|birthday|ne[e]?_le)[_. -]?[0-9]{2,8}(?![0-9])", re.IGNORECASE
)
_YEAR: Final = r"(?:19|20)[0-9]{2}"
_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
_DATE: Final = re.compile(rf"(?<![0-9])(?:{_YEAR}([-._]){_MONTH}\1{_DAY}|{_DAY}([-.]){_MONTH}\2{_YEAR})(?![0-9])")
_TAGS: Final = (b"PatientName", b"PatientID", b"PatientBirthDate", b"PatientsName")

_NO_GIVEN_NAMES: Final = frozenset(
    """
    normal abnormal positive negative benign malignant left right axial coronal sagittal frontal lateral image img train
    training test testing val valid validation case patient subject scan slice view series study chest lung brain breast
    skin bone hand knee heart liver kidney none other mass mask label viral bacterial pneumonia
    """.split()  # noqa: SIM905 - forty words on lines of their own
)
"""What stands after an abbreviation in capitals in the names of public data sets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """What looks personal, and where it was seen first."""

    what: str
    example: str
    count: int


def personal_signs(path: Path) -> tuple[Sign, ...]:
    """What of a file, a folder or an archive of the user's looks personal; raises OSError where it cannot be read."""
    tree = _tree(path)
    names = [path.name] if tree is None else tree.names()
    found: dict[str, list[str]] = {}
    for name in names:
        if (what := sign_in_name(name)) is not None:
            found.setdefault(what, []).append(name)
    for name in names[:MOST_FILES]:
        with path.open("rb") if tree is None else tree.open(name) as file:
            what = sign_in_content(name, file.read(_HEAD_BYTES))
        if what is not None:
            found.setdefault(what, []).append(name)
    return tuple(Sign(what=what, example=names[0], count=len(names)) for what, names in found.items())


def sign_in_name(name: str) -> str | None:
    """What looks personal in a file's name (relative, with '/'), or None."""
    path = PurePosixPath(name)
    for part in (*path.parts[:-1], path.stem):
        given = _NAME.search(part)
        if _CARET.search(part) or (given is not None and given[2].lower() not in _NO_GIVEN_NAMES):
            return "a person's name"
        if _BORN.search(part):
            return "a birth date or year"
        if _DATE.search(part):
            return "a date"
    return None


def _tree(path: Path) -> Tree | None:
    """The folder or archive at a path; None for another file."""
    try:
        return tree_at(path)
    except SourceError as error:
        if path.is_dir():
            raise OSError(str(error)) from error
        return None


def sign_in_content(name: str, head: bytes) -> str | None:
    """What looks personal in a file's first bytes, or None."""
    if head[128:132] == b"DICM":
        return "DICOM, which holds the patient's name and more"
    if is_picture(name) and any(tag in head for tag in _TAGS):
        return "a patient's data in the picture's texts (DICOM tags)"
    return None


def warnings_for(signs: Iterable[Sign]) -> list[str]:
    """A sentence on each."""
    return [f"{counted(sign.count, 'file')} with {sign.what}, for example {sign.example}" for sign in signs]
