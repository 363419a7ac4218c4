"""What names of folders say beside classes: numbers as patients and parts have, and opposed words as labels are.

Called by `structure` and `outer`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

_OF_PATIENTS: Final = frozenset(
    """
    patient patients patientid pat pt pts pid subject subjects subj sub case cases person participant participants
    volunteer individual proband patienten fall mrn accession study exam examination series scan session visit animal
    donor slide slides wsi specimen specimens biopsy volume
    """.split()  # noqa: SIM905
)
"""What is numbered and is never a class."""
_OF_PARTS: Final = frozenset(
    """
    part parts batch batches chunk chunks shard shards disk disc disks discs archive image images img imgs folder dir
    set sets data dataset datasets fold folds site sites center centers centre centres hospital hospitals clinic
    clinics institution scanner scanners zip
    """.split()  # noqa: SIM905
)
"""What is numbered and holds a part of a whole, of all classes."""
_OPPOSED: Final = (
    ("negative", "positive"),
    ("neg", "pos"),
    ("abnormal", "normal"),
    ("benign", "malignant"),
    ("diseased", "healthy"),
    ("healthy", "sick"),
    ("absent", "present"),
    ("no", "yes"),
)
"""Words of which one is said of what the other is not: labels, wherever they stand."""
_MANY_FOLDERS: Final = 30
"""Above so many numbered folders of few pictures they are no classes, whatever they are called."""
_SEVERAL_FOLDERS: Final = 8
"""The same, of numbers as patients have: with leading zeros (p01), or long ones that do not count on."""
_FEW_PICTURES: Final = 20


def are_parts(tops: Collection[str]) -> bool:
    """Whether folders are called alike but for a number, or a letter at the end, and by a word for parts of a set."""
    alike = {re.sub(r"\d+|(?<=[_ -])[a-z]$", "#", top.lower()) for top in tops}
    stem = next(iter(alike), "")
    is_numbered = len(tops) > 1 and len(alike) == 1 and "#" in stem
    return is_numbered and not _OF_PARTS.isdisjoint(re.split(r"[^a-z]+", stem))


def patients_among(counts: Mapping[str, int]) -> list[str]:
    """Of folders, with their numbers of pictures, those that patients have by their names; none where in doubt."""
    words = {top: [word for word in re.split(r"[^a-z]+", top.lower()) if word] for top in counts}
    named = sorted(top for top in counts if re.search(r"\d", top) and _OF_PATIENTS.intersection(words[top]))
    if len(named) >= 2 and (len(named) == len(counts) or len(named) >= _SEVERAL_FOLDERS):
        return named
    tops = sorted(counts)
    alike = {re.sub(r"\d+", "#", top) for top in tops}
    if len(alike) != 1 or "#" not in next(iter(alike)) or sum(counts.values()) >= _FEW_PICTURES * len(tops):
        return []
    if len(tops) > _MANY_FOLDERS:
        return tops
    stem = next(iter(alike)).replace("#", "").strip("_- ")
    digits = [re.findall(r"\d+", top)[-1] for top in tops]
    numbers = sorted(map(int, digits))
    width = len(digits[0])
    padded = all(len(text) == width for text in digits) and any(text[0] == "0" for text in digits)
    # p01, 001; not 01, which may be a class, nor n01440764, which is one of WordNet's.
    padded = padded and len(stem) <= 1 and (2 if stem else 3) <= width <= 6
    apart = not stem and numbers[-1] > 100 and numbers[-1] - numbers[0] >= 2 * len(numbers)
    return tops if len(tops) >= _SEVERAL_FOLDERS and (padded or apart) else []


def opposed_within(folders: Iterable[str]) -> tuple[str, str] | None:
    """Two words that folders within one class are told apart by, as labels are: study1_positive and study2_negative."""
    words = {word for folder in folders for word in re.split(r"[^a-z]+", folder.lower())}
    return next((pair for pair in _OPPOSED if words.issuperset(pair)), None)
