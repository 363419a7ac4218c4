"""Whether a folder's outer folders are its classes, or those within: refused where both could be meant.

Called by `folders`, of a layout that goes by the outer ones.
"""

import re
from collections import Counter, defaultdict
from typing import Final

from syntrial.errors import SourceError
from syntrial.imagesets.classes import quoted
from syntrial.imagesets.numbered import opposed_within
from syntrial.imagesets.split_words import split_word
from syntrial.imagesets.structure import FolderLayout

_MOST_INNER: Final = 30
_FEWEST_EACH: Final = 8
"""Within a class, at most so many folders with so many images each on average may be classes: others are patients."""


def check_outer(layout: FolderLayout, *, title: str, has_patients: bool = False) -> None:
    """Refuses classes that all hold the same folders: sites or folds, perhaps, and those within are the classes.

    And classes that hold nothing but folders of images that are called by different words, as classes are, unless
    patients are found in the path (`has_patients`). And classes within which folders of studies say what was found.
    """
    _check_found_within(layout, title=title)
    if not has_patients:
        _check_words_within(layout, title=title)
    below: dict[str, set[str]] = defaultdict(set)
    for picture in layout.pictures:
        parts = picture.name.split("/")
        at = parts.index(picture.label) + 1
        below[picture.label].add(parts[at] if at < len(parts) - 1 else "")
    if len(below) < 2 or len({frozenset(held) for held in below.values()}) > 1:
        return
    shared = next(iter(below.values()))
    if len(shared) > 1 and not any(part == "" or re.search(r"\d", part) or split_word(part) for part in shared):
        raise SourceError(
            field=title,
            rule="it is plain which folders are the classes",
            received=f"{quoted(sorted(below))}, each of which holds {quoted(sorted(shared))}",
            remedy="If the inner ones are the classes, bring those of one name together; if the outer ones are, "
            "move the images of each up into it.",
        )


def _check_found_within(layout: FolderLayout, *, title: str) -> None:
    """Refuses a class that holds both of two opposed words: a body part, a site, whose studies have the labels."""
    within: dict[str, set[str]] = defaultdict(set)
    for picture in layout.pictures:
        parts = picture.name.split("/")
        within[picture.label].update(parts[parts.index(picture.label) + 1 : -1])
    for label, folders in sorted(within.items()):
        found = opposed_within(folders)
        if found is not None:
            both = " and ".join(map(repr, found))
            raise SourceError(
                field=title,
                rule="it is plain which folders are the classes",
                # Those within may be called by persons' names.
                received=f"{quoted(sorted(within))}, where {label!r} holds folders of images called by {both}",
                remedy=f"If {both} are the classes, give a table of images and labels (docs/tables.md), or move each "
                "one's folders, with their patients, into a folder of that name; if the outer ones are, take these "
                "words out of the names within.",
            )


def _check_words_within(layout: FolderLayout, *, title: str) -> None:
    """Refuses a class that holds several folders of many images, called by words of their own, and no image beside."""
    within: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in layout.pictures:
        parts = picture.name.split("/")
        at = parts.index(picture.label) + 1
        within[picture.label][parts[at] if at < len(parts) - 1 else ""] += 1
    if len(within) < 2:
        return
    for label, counts in sorted(within.items()):
        words = {word for inner in counts if (word := _own_word(inner))}
        is_few = 1 < len(counts) <= _MOST_INNER and sum(counts.values()) >= _FEWEST_EACH * len(counts)
        if "" in counts or not is_few or len(words) < len(counts):
            continue
        raise SourceError(
            field=title,
            rule="it is plain which folders are the classes",
            # Those within may be called by persons' names.
            received=f"{label!r}, which holds {len(counts)} folders of images and none beside them, beside "
            f"{quoted(sorted(within.keys() - {label}))}",
            remedy="If those within are the classes, move them all into one folder, and out of it what is none; if "
            "they are patients, write `patientPattern: '/([^/]+)/[^/]+$'`; else move the images of each up.",
        )


def _own_word(folder: str) -> str:
    """What a folder's name says without numbers; "" for numbers, letters of a pattern and words for splits."""
    word = re.sub(r"[\W\d_]+", "", folder).casefold()
    return "" if len(word) < 3 or re.fullmatch("[a-f]+", word) or split_word(folder) else word
