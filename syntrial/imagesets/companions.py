"""Pictures that are no images of a class: masks, thumbnails and sheets of samples, told by names and folders alone.

A picture is a companion where its name says so and what it accompanies lies beside it, or where its folder says so.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from syntrial.imagesets.split_words import split_word

Reason = tuple[str, str]
"""Why files are left out: what one of them is, and what several are."""

MASK: Final[Reason] = ("mask or other drawing beside an image", "masks or other drawings beside images")
THUMBNAIL: Final[Reason] = ("thumbnail", "thumbnails")
SHEET: Final[Reason] = ("sheet of samples", "sheets of samples")
NO_CLASS: Final[Reason] = ("image in no class", "images in no class")
NO_PICTURE: Final[Reason] = ("file that is no image", "files that are no images")

IMAGE_FOLDERS: Final = frozenset({"images", "image", "imgs", "img", "pictures", "pngs", "jpgs", "jpegimages"})
"""What says nothing of what lies there."""
_SERVER_FOLDERS: Final = frozenset(
    "@eadir #recycle thumbs thumb thumbnails thumbnail _thumbs _thumbnails previews $recycle.bin lost+found".split()  # noqa: SIM905
)
_MASK_WORDS: Final = frozenset(
    "mask masks segmentation segmentations seg segs groundtruth groundtruths annotation annotations".split()  # noqa: SIM905
)
_SEGMENTS: Final = frozenset({"seg", "segs"})
"""Masks, or parts of the whole."""
_NO_MASKS: Final = frozenset({"no", "non", "with", "without", "wearing", "not"})
"""Beside the word mask they make a class of it."""
_MASK_NAME: Final = re.compile(
    r"(?P<before>.*?)[ _.-]*(?:masks?|seg|segmentation|gt|groundtruth|ground_truth|annotation|annotated|overlay"
    r"|heat[_-]?map|grad[_-]?cam|saliency|contours?|outlines?|bbox)"
    r"(?:[ _-]?\d{1,3})?$",
    re.IGNORECASE,
)
_MASK_FIRST: Final = re.compile(r"(?:masks?|seg|segmentation|gt|overlay)[ _.-]+(?P<after>.+)$", re.IGNORECASE)
_THUMBNAIL_NAME: Final = re.compile(
    r"(?P<before>.+?)[ _.-]+(?:thumb|thumbnail|tn)$|(?:thumb|thumbnail|tn)[ _.-]+(?P<after>.+)$", re.IGNORECASE
)
_SHEET_NAME: Final = re.compile(
    r"(?:(?:reals|fakes|grid|sample[_-]?grid|contact[_-]?sheet|montage|collage|mosaic)"
    r"(?:[_-]?(?:init|final|\d+|(?:epoch|iter|step)[_-]?\d+))?)$",
    re.IGNORECASE,
)
_MOST_SHEETS: Final = 0.1
"""Of a folder's pictures: where more are called so, it is their name."""
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Row:
    """A picture's name and the parts of it that may say something: the last is the file's own name."""

    name: str
    parts: tuple[str, ...]


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", _CAMEL.sub(" ", text).lower()) if word]


def companions_among(rows: Sequence[Row]) -> dict[str, Reason]:
    """Pictures that are no images of a class, by their names and folders, each with why."""
    folders: dict[tuple[str, ...], set[str]] = defaultdict(set)
    stems: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        stems[row.parts[:-1]].add(_stem(row.parts[-1]))
    for above in stems:
        for depth, part in enumerate(above):
            folders[above[:depth]].add(part)
    masks = {
        (*above, part)
        for above, parts in folders.items()
        for part in parts
        if _is_of_masks(part)
        # Of a folder within one of its name the outer one says what it is.
        and above[-1:] != (part,)
        and not any(_NO_MASKS & set(_words(other)) for other in parts if "mask" in other.lower())
        and not (_MASK_WORDS.intersection(_words(part)) <= _SEGMENTS and _are_segments(parts))
    }
    sheets = Counter(row.parts[:-1] for row in rows if _SHEET_NAME.fullmatch(_stem(row.parts[-1])))
    sizes = Counter(row.parts[:-1] for row in rows)
    of_servers = {above for above in sizes if any(part.lower() in _SERVER_FOLDERS for part in above)}
    of_masks = {above for above in sizes if any(above[: depth + 1] in masks for depth in range(len(above)))}
    found: dict[str, Reason] = {}
    for row in rows:
        above, stem = row.parts[:-1], _stem(row.parts[-1])
        if above in of_servers or stem.startswith(("SYNOPHOTO_", "SYNOFILE_")):
            found[row.name] = THUMBNAIL
        elif (
            above in of_masks
            or _beside(_MASK_NAME.fullmatch(stem), stems[above])
            or _beside(_MASK_FIRST.fullmatch(stem), stems[above])
        ):
            found[row.name] = MASK
        elif _beside(_THUMBNAIL_NAME.fullmatch(stem), stems[above]):
            found[row.name] = THUMBNAIL
        elif sheets[above] and _SHEET_NAME.fullmatch(stem) and sheets[above] <= _MOST_SHEETS * sizes[above]:
            found[row.name] = SHEET
    return found


def _is_of_masks(folder: str) -> bool:
    words = set(_words(folder))
    return bool(words & _MASK_WORDS) or {"ground", "truth"} <= words


def _are_segments(folders: set[str]) -> bool:
    """Whether seg_train is a split: where no folder beside it is of the same split, whose masks it would hold."""
    split = {folder: split_word(" ".join(set(_words(folder)) - _SEGMENTS)) for folder in folders}
    called = {folder for folder in folders if split[folder] and not _SEGMENTS.isdisjoint(_words(folder))}
    return bool(called) and {split[folder] for folder in called}.isdisjoint(split[other] for other in folders - called)


def _beside(match: re.Match[str] | None, stems: set[str]) -> bool:
    """Whether the picture that a companion is named after lies beside it."""
    if match is None:
        return False
    groups = match.groupdict()
    base = groups.get("before") or groups.get("after") or ""
    return bool(base) and not stems.isdisjoint({base, f"image_{base}", f"img_{base}", f"{base}_image", f"{base}_img"})


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def bare(row: Row, *, is_companion: bool) -> Row:
    """Without folders that say nothing: those called images, and a companion's own."""
    return Row(row.name, (*_bare(row.parts[:-1], is_companion=is_companion), row.parts[-1]))


@lru_cache(maxsize=4096)
def _bare(folders: tuple[str, ...], *, is_companion: bool) -> tuple[str, ...]:
    return tuple(
        part
        for part in folders
        if part.lower() not in IMAGE_FOLDERS
        and not (is_companion and (part.lower() in _SERVER_FOLDERS or _is_of_masks(part)))
    )
