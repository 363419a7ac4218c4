"""The structure of a folder of pictures, by names alone: classes, splits above or below them, and what is no image.

    normal/1.png                       a class
    train/normal/1.png                 a split above, by any usual word for one: TRAIN, dev, test-images
    normal/train/1.png                 a split below
    chest_xray/images/normal/1.png     folders that wrap all, and those called images, say nothing
    normal/p7/1.png                    a folder below a class is a patient, a series: the class is that above

Companions of images are left out and named (`companions`). What can be read in two ways is refused with the names,
since one of the ways is silently wrong.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets.classes import quoted
from syntrial.imagesets.companions import NO_CLASS, NO_PICTURE, Reason, Row, bare, companions_among
from syntrial.imagesets.filetypes import is_picture
from syntrial.imagesets.nothing import by_table, no_class, no_pictures
from syntrial.imagesets.numbered import are_parts, patients_among
from syntrial.imagesets.split_words import further_words, split_word
from syntrial.imagesets.splits import UNSPLIT

UNLABELLED: Final = "unlabelled"
"""The one class of images whose labels are not there, or do not count."""
_NO_CLASSES: Final = frozenset(
    """
    synthetic synth generated fake fakes augmented augmentation augmentations samples outputs output results backup old
    copy tmp temp unused unlabelled unlabeled unannotated unsorted todo discarded duplicates duplicate corrupted trash
    """.split()  # noqa: SIM905
)
"""What holds images, but of no class of its own, where it lies beside classes."""
_COUNTER: Final = re.compile(r"\d{5,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedPicture:
    """A picture file and what its place says of it."""

    name: str
    """Relative to the folder, with '/' between parts."""
    split: str
    """train, validation, test or UNSPLIT."""
    label: str
    """The name of its class: that of the folder it lies in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A file that is not read, and why."""

    name: str
    """Relative to the folder, with '/' between parts."""
    reason: Reason
    split: str = ""
    """As of a picture there; "" where it lies in none."""
    label: str = ""
    """As of a picture there; "" where it lies in no class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderLayout:
    """A folder's pictures."""

    pictures: tuple[PlacedPicture, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted by name, as labels count them."""
        return tuple(sorted({picture.label for picture in self.pictures}))

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that there are, sorted by name."""
        return tuple(sorted({picture.split for picture in self.pictures}))


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a picture lies."""

    split: str
    label: str
    deeper: tuple[str, ...]
    """The folders below its class, and below its split where that lies there."""


_Place = Callable[[tuple[str, ...]], _Spot | None]
"""Of a picture by the parts of its name; None where it lies in no class."""


def lay_out(
    names: Sequence[str],
    *,
    title: str,
    labels: Mapping[str, str] | None = None,
    called: Callable[[str], str] = lambda name: name,
    unnamed: Collection[str] = (),
) -> FolderLayout:
    """The layout of a folder that holds files of these names (relative, with '/'); `title` is what errors call it.

    `labels` gives the class of each file where a list says it; files that it does not name are left out. `called` is
    what errors call a file of this name, `unnamed` are pictures whose names do not say it. Raises SourceError for a
    folder without pictures, for pictures in no class,
    and for a structure that can be read in two ways.
    """
    pictures = {name for name in names if is_picture(name) or name in unnamed}
    rows = [Row(name, tuple(name.split("/"))) for name in names if name in pictures]
    if not rows:
        raise no_pictures(names, title=title)
    left = {name: NO_PICTURE for name in names if name not in pictures}
    if labels is not None:
        placed = {row.name: _Spot(UNSPLIT, labels[row.name], ()) for row in rows if row.name in labels}
        left |= {row.name: NO_CLASS for row in rows if row.name not in labels}
        if not placed:
            raise no_class([row.name for row in rows], title=title, called=called)
        return _layout(names, placed, left)
    companions = companions_among(rows)
    left |= companions
    plain = {row.name: bare(row, is_companion=row.name in companions) for row in rows}
    images = [plain[row.name] for row in rows if row.name not in companions]
    if not images:
        raise SourceError(
            field=title,
            rule="the folder holds images beside their masks and thumbnails",
            received=f"{len(companions)} of those alone",
            remedy="Give the folder of the images, or rename it where the images are these.",
        )
    place = _structure(images, title=title, called=called, beside=names)
    placed = {row.name: found for row in images if (found := place(row.parts)) is not None}
    left |= {row.name: NO_CLASS for row in images if row.name not in placed}
    if not placed or len(images) > 2 * len(placed):
        strays = [row.name for row in images if row.name not in placed]
        raise no_class(strays, title=title, called=called, beside=names)
    _check_nested(placed.values(), title=title)
    known = {found.label for found in placed.values()}
    of_left: dict[str, _Spot] = {}
    for name in left:
        parts = plain[name].parts if name in plain else tuple(name.split("/"))
        found = place(parts)
        if found is not None and found.label in known:
            of_left[name] = found
    return _layout(names, placed, left, of_left=of_left)


def lay_out_unlabelled(names: Sequence[str], *, title: str, unnamed: Collection[str] = ()) -> FolderLayout:
    """`lay_out` of a folder whose folders say no classes: every picture, but companions of others, is of one class.

    Where all lie in folders of splits they are split so. Raises SourceError for a folder without pictures.
    """
    rows = [Row(name, tuple(name.split("/"))) for name in names if is_picture(name) or name in unnamed]
    companions = companions_among(rows)
    images = [row for row in rows if row.name not in companions]
    if not images:
        raise no_pictures(names, title=title)
    words = {row.name: next(filter(None, map(split_word, row.parts[:-1])), UNSPLIT) for row in images}
    if UNSPLIT in words.values():
        words = dict.fromkeys(words, UNSPLIT)
    left: dict[str, Reason] = {name: companions.get(name, NO_PICTURE) for name in names if name not in words}
    return _layout(names, {name: _Spot(split, UNLABELLED, ()) for name, split in words.items()}, left)


def _layout(
    names: Sequence[str],
    placed: Mapping[str, _Spot],
    left: Mapping[str, Reason],
    *,
    of_left: Mapping[str, _Spot] | None = None,
) -> FolderLayout:
    known = of_left or {}
    return FolderLayout(
        pictures=tuple(
            PlacedPicture(name=name, split=placed[name].split, label=placed[name].label)
            for name in names
            if name in placed
        ),
        left_out=tuple(
            LeftOut(
                name=name,
                reason=left[name],
                split=known[name].split if name in known else "",
                label=known[name].label if name in known else "",
            )
            for name in names
            if name in left
        ),
    )


def told(left_out: Iterable[LeftOut]) -> list[str]:
    """A sentence on each reason: "Left out: 3 masks or other drawings beside images ('ill': 3)."."""
    by_reason: dict[Reason, Counter[str]] = defaultdict(Counter)
    for item in left_out:
        by_reason[item.reason][item.label] += 1
    sentences = []
    for reason, counts in by_reason.items():
        total = sum(counts.values())
        sentences.append(f"Left out: {counted(total, *reason)}{of_classes(counts)}.")
    return sentences


def of_classes(counts: Mapping[str, int]) -> str:
    """ " ('ill': 3)": on which classes left-out files fall, "" for none standing for no class."""
    where = ", ".join(f"{label!r}: {count}" for label, count in sorted(counts.items()) if label)
    return f" ({where})" if where else ""


def _structure(rows: Sequence[Row], *, title: str, called: Callable[[str], str], beside: Sequence[str] = ()) -> _Place:
    skip = _wrapped(rows)
    inner = [row.parts[len(skip) :] for row in rows if row.parts[: len(skip)] == skip]
    splits = _splits_above(inner, title=title)
    if splits:
        doubled = {top for top in splits if _is_doubled(top, inner)}

        def below_a_split(parts: tuple[str, ...]) -> _Spot | None:
            if parts[: len(skip)] != skip or len(parts) < len(skip) + 3 or parts[len(skip)] not in splits:
                return None
            top, *rest = parts[len(skip) :]
            rest = rest[1:] if top in doubled and len(rest) > 1 else rest
            return _Spot(splits[top], rest[0], tuple(rest[1:-1])) if len(rest) > 1 else None

        return below_a_split
    if len(inner) == sum(len(parts) == 1 for parts in inner):
        raise no_class([row.name for row in rows], title=title, called=called, beside=beside)
    _check_classes(inner, title=title, beside=beside)
    if _has_splits_below(inner, title=title):

        def above_a_split(parts: tuple[str, ...]) -> _Spot | None:
            if parts[: len(skip)] != skip or len(parts) < len(skip) + 3:
                return None
            split = split_word(parts[len(skip) + 1], strictly=False)
            return _Spot(split, parts[len(skip)], parts[len(skip) + 2 : -1]) if split else None

        return above_a_split

    def in_a_class(parts: tuple[str, ...]) -> _Spot | None:
        is_in_one = parts[: len(skip)] == skip and len(parts) > len(skip) + 1
        return _Spot(UNSPLIT, parts[len(skip)], parts[len(skip) + 1 : -1]) if is_in_one else None

    return in_a_class


def _wrapped(rows: Sequence[Row]) -> tuple[str, ...]:
    """The folders, one in the other, that wrap all pictures in folders, and are neither splits nor classes."""
    skip: tuple[str, ...] = ()
    inner = [row.parts for row in rows if len(row.parts) > 1]
    while inner:
        tops = {parts[0] for parts in inner}
        if len(tops) > 1 or any(len(parts) < 3 for parts in inner) or split_word(next(iter(tops))):
            break
        if all(split_word(parts[1]) for parts in inner) and not all(len(parts) > 3 for parts in inner):
            # One class, with its splits below.
            break
        skip = (*skip, *tops)
        inner = [parts[1:] for parts in inner]
    return skip


def _splits_above(inner: Sequence[tuple[str, ...]], *, title: str) -> dict[str, str]:
    """The topmost folders that are splits, each with its split; empty where they are classes.

    One that is called like a split and holds folders is one.
    """
    tops: dict[str, bool] = {}
    for parts in inner:
        if len(parts) > 1:
            tops[parts[0]] = tops.get(parts[0], False) or len(parts) > 2
    strict = {top: found for top in tops if (found := split_word(top)) is not None}
    splits = {top: found for top in tops if (found := split_word(top, strictly=False)) is not None}
    if not strict and len(splits) == len(tops) and len(set(splits.values())) > 1:
        if not all(tops.values()):
            raise SourceError(
                field=title,
                rule="the topmost folders are classes, or splits with the classes in them",
                received=f"{quoted(sorted(tops))}, each called by a split and more",
                remedy="Make a folder for each split and one for each class in it: train_a becomes train/a.",
            )
    elif not strict and _are_alike(splits) and all(tops[top] for top in splits):
        # xray_train and xray_test: a third folder is none of their classes.
        pass
    elif not strict or (not any(tops[top] for top in strict) and len(strict) < len(tops)):
        # Classes that happen to be called so.
        return {}
    others = sorted(tops.keys() - splits.keys())
    if others:
        raise SourceError(
            field=title,
            rule="beside the folders of splits there are no others with images",
            received=f"the splits {quoted(sorted(splits))} beside {quoted(others)}",
            remedy="Move the other folders out, or give the folder of one split's classes.",
        )
    twice = {name: [top for top in sorted(splits) if splits[top] == name] for name in sorted(set(splits.values()))}
    doubled = {name: found for name, found in twice.items() if len(found) > 1}
    if doubled:
        raise SourceError(
            field=title,
            rule="one folder holds each split",
            received="; ".join(f"{quoted(found)} for {name}" for name, found in doubled.items()),
            remedy="Move all but one of them out, or their images together: which is meant is not known.",
        )
    empty = sorted(top for top in splits if not tops[top])
    if empty and len(empty) < len(splits):
        raise SourceError(
            field=title,
            rule="in each split's folder, images lie in a folder for each class",
            received=f"images of {quoted(empty)} in no class",
            remedy="Sort them into classes, or move them out: Syntrial then cuts that split from the training images.",
        )
    return splits


def _are_alike(splits: Mapping[str, str]) -> bool:
    """Whether folders of several splits are called alike but for the split."""
    return len(set(splits.values())) > 1 and len({further_words(top) for top in splits}) == 1


def _is_doubled(top: str, inner: Sequence[tuple[str, ...]]) -> bool:
    """Whether a split's folder holds but one folder, of the same split, with the classes: train/train/normal."""
    below = {parts[1] for parts in inner if parts[0] == top and len(parts) > 2}
    deep = all(len(parts) > 3 for parts in inner if parts[0] == top and len(parts) > 2)
    return len(below) == 1 and deep and split_word(next(iter(below)), strictly=False) is not None


def _has_splits_below(inner: Sequence[tuple[str, ...]], *, title: str) -> bool:
    """Whether each class holds its splits: normal/train/1.png."""
    below: dict[str, set[str]] = defaultdict(set)
    for parts in inner:
        if len(parts) > 1:
            below[parts[0]].add(parts[1] if len(parts) > 2 else "")
    found = {top: {part for part in parts if part and split_word(part)} for top, parts in below.items()}
    if not any(found.values()):
        return False
    others = sorted(
        f"{top}/{part}".rstrip("/")
        for top, parts in below.items()
        for part in parts
        if not (part and split_word(part, strictly=False))
    )
    if others:
        splits = sorted(f"{top}/{part}" for top, parts in found.items() for part in parts)
        raise SourceError(
            field=title,
            rule="where classes hold folders of splits, all their images lie in those",
            received=f"the splits {quoted(splits)} beside images in {quoted(others)}",
            remedy="Move the other images out, or into the folder of a split.",
        )
    for top, held in below.items():
        words = Counter(split_word(part, strictly=False) for part in held)
        if max(words.values()) > 1:
            raise SourceError(
                field=title,
                rule="one folder holds each split",
                received=quoted(sorted(f"{top}/{part}" for part in held)),
                remedy="Move all but one of them out: which is meant is not known.",
            )
    return True


def _check_classes(inner: Sequence[tuple[str, ...]], *, title: str, beside: Sequence[str]) -> None:
    """Refuses topmost folders that are no classes: a generator's counters, other sets beside classes, parts, patients.

    `beside` are all files.
    """
    counts = Counter(parts[0] for parts in inner if len(parts) > 1)
    tops = sorted(counts)
    if all(_COUNTER.fullmatch(top) for top in tops):
        numbers = [int(top) for top in tops]
        if numbers in (list(range(len(tops))), list(range(0, 1000 * len(tops), 1000))):
            raise SourceError(
                field=title,
                rule="images lie in a folder for each class, or a file dataset.json gives their labels",
                received=f"{quoted(tops)}, which a generator counts its images by, and no labels",
                remedy='Put dataset.json beside them, {"labels": [["00000/img00000000.png", 0], ...]}, or a folder for '
                "each class.",
            )
    strange = [top for top in tops if top.strip("_- ").lower() in _NO_CLASSES]
    if strange and len(tops) - len(strange) >= 2:
        raise SourceError(
            field=title,
            rule="beside the classes' folders there are no others with images",
            received=f"{quoted(strange)} beside {quoted([top for top in tops if top not in strange])}",
            remedy="Move it out; as a class of its own, rename it.",
        )
    # Parts that all hold the same folders are told as sites and folds are, by what they hold.
    within = {top: {parts[1] for parts in inner if parts[0] == top and len(parts) > 2} for top in tops}
    if are_parts(tops) and not (all(within.values()) and len(set(map(frozenset, within.values()))) == 1):
        raise SourceError(
            field=title,
            rule="the topmost folders are classes or splits",
            received=f"{quoted(tops[:3])}{' …' if tops[3:] else ''}, which look like parts of one set",
            remedy="Make a folder for each class, named like it, and move the images there; if these are classes, give "
            f"them names that say so, as class_1.{by_table(beside)}",
        )
    patients = patients_among(counts)
    if patients:
        others = [top for top in tops if top not in patients]
        raise SourceError(
            field=title,
            rule="the topmost folders are classes or splits",
            received=f"{counted(len(patients), 'folder')} called alike, {quoted(patients[:3])} …, which look like "
            "patients" + (f", beside {quoted(others)}" if others else ""),
            remedy="Make a folder for each class, with the patients' folders in it (`patientPattern` finds them), or a "
            "table of images and labels; if they are classes, give them names that say so, as class_1.",
        )


def _check_nested(spots: Iterable[_Spot], *, title: str) -> None:
    """Refuses classes within classes: another set inside this one, the same data twice, sites taken for classes."""
    distinct = set(spots)
    labels = {spot.label.casefold(): spot.label for spot in distinct}
    for spot in sorted(distinct, key=lambda spot: (spot.label, spot.split, spot.deeper)):
        split, label, deeper = spot.split, spot.label, spot.deeper
        for part in deeper:
            if part.casefold() in labels and len(labels) > 1:
                raise SourceError(
                    field=title,
                    rule="no class lies within a class",
                    received=f"{label!r}, which holds a folder {part!r}, beside the class {labels[part.casefold()]!r}",
                    remedy=f"Move {label!r} out: it is another set, or the same once more."
                    if part.casefold() != label.casefold()
                    else "Move the inner one out: it is the same once more.",
                )
            if split_word(part) and split != UNSPLIT:
                raise SourceError(
                    field=title,
                    rule="splits lie above the classes or below them",
                    received=f"{part!r} within {label!r}, in {split}",
                    remedy="Give the folder that holds the classes, or that which holds the splits.",
                )
    wrong = sorted({spot.label for spot in distinct if spot.split != UNSPLIT and split_word(spot.label)})
    if wrong:
        raise SourceError(
            field=title,
            rule="in each split's folder, images lie in a folder for each class",
            received=f"{quoted(wrong)}, which are words for splits",
            remedy="Give the folder that holds the splits.",
        )
