"""How a folder of pictures is read: by its names, a folder for each class and splits above them or not; by headers.

Plans and preparation go by this one rule, so what is wrong with a folder is told in a second. No picture is decoded.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from syntrial.errors import SourceError
from syntrial.imagesets.classes import quoted
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.facts import FileFacts, facts_of
from syntrial.imagesets.filetypes import PICTURE_SUFFIXES, UNREADABLE, is_picture, open_picture, tell_apart
from syntrial.imagesets.limits import MOST_PIXELS, check_side, is_grey
from syntrial.imagesets.patterns import patient_rule
from syntrial.imagesets.splits import SPLIT_NAMES, UNSPLIT
from syntrial.imagesets.trees import Tree, open_tree
from syntrial.v1.data_preparation_pb2 import Source

MOST_UNREADABLE = 0.05
"""The share of a folder's images that may be unreadable: above it something else is wrong."""
MOST_HEADERS = 4000
"""Picture files whose headers are read to plan, evenly spread over a larger folder: about a second."""


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
class PictureHeader:
    """A picture file whose header was read."""

    name: str
    split: str
    label: str
    mode: str
    """Pillow's."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    facts: FileFacts | None = None
    """None for a picture that is too large to be opened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderLayout:
    """A folder's pictures."""

    pictures: tuple[PlacedPicture, ...]
    strays: int
    """Files that are no pictures, or lie in no class."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted by name, as labels count them."""
        return tuple(sorted({picture.label for picture in self.pictures}))

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that there are, sorted by name."""
        return tuple(sorted({picture.split for picture in self.pictures}))


def lay_out(names: Sequence[str], *, title: str) -> FolderLayout:
    """The layout of a folder that holds files of these names (relative, with '/'); `title` is what errors call it.

    Raises SourceError for a folder without pictures, for pictures in no class, and for splits beside other folders.
    """
    paths = [PurePosixPath(name) for name in names if is_picture(name)]
    if not paths:
        dicom = any(PurePosixPath(name).suffix.lower() in {".dcm", ".dicom"} for name in names)
        raise SourceError(
            field=title,
            rule=f"the folder holds images ({', '.join(sorted(PICTURE_SUFFIXES))})",
            received="DICOM files" if dicom else f"{len(names)} other files",
            remedy="Convert them to 8- or 16-bit PNG first." if dicom else "Check the path.",
        )
    depth = 2 if _has_splits(paths, title=title) else 1
    placed = tuple(
        PlacedPicture(
            name=path.as_posix(),
            split=SPLIT_NAMES[path.parts[0].lower()] if depth == 2 else UNSPLIT,
            label=path.parts[depth - 1],
        )
        for path in paths
        if len(path.parts) > depth
    )
    if not placed:
        raise SourceError(
            field=title,
            rule="images lie in a folder for each class, with or without train, val and test above them",
            received=f"{paths[0]} and {len(paths) - 1} more in no class",
            remedy="Make a folder for each class, named like it, and move the images there.",
        )
    return FolderLayout(pictures=placed, strays=len(names) - len(placed))


def _has_splits(paths: Iterable[PurePosixPath], *, title: str) -> bool:
    """Whether the topmost folders are splits; one that is called like a split and holds classes is one."""
    tops: dict[str, bool] = {}
    for path in paths:
        if len(path.parts) > 1:
            tops[path.parts[0]] = tops.get(path.parts[0], False) or len(path.parts) > 2
    splits = {top: holds_classes for top, holds_classes in tops.items() if top.lower() in SPLIT_NAMES}
    if not any(splits.values()) and len(splits) < len(tops):
        # Classes that happen to be called so.
        return False
    others = sorted(tops.keys() - splits.keys())
    if others:
        raise SourceError(
            field=title,
            rule="beside the folders of splits there are no others with images",
            received=f"the splits {quoted(sorted(splits))} beside {quoted(others)}",
            remedy="Move the other folders out, or give the folder of one split's classes.",
        )
    empty = sorted(top for top, holds_classes in splits.items() if not holds_classes)
    if empty and len(empty) < len(splits):
        raise SourceError(
            field=title,
            rule="in each split's folder, images lie in a folder for each class",
            received=f"images of {quoted(empty)} in no class",
            remedy="Sort them into classes, or move them out: Syntrial then cuts that split from the training images.",
        )
    return bool(splits)


def contents(source: Source, path: Path, field: str) -> Contents:
    """What the folder that an experiment names in `field` holds; raises SourceError for what preparation refuses."""
    title = f"{field} ({path.name})"
    with open_tree(path, title=title, field=field) as tree:
        if not tree.names():
            raise SourceError(
                field=field,
                rule="the folder holds images",
                received=f"{path}, which is empty",
                remedy="Check the path.",
            )
        layout = lay_out(tree.names(), title=title)
        channels = channels_by_headers(layout.pictures, tree=tree)
    pattern = source.folder.patient_pattern
    patient_of = patient_rule(pattern, field=f"{field}.patientPattern") if pattern else lambda name: name
    splits = {}
    for split in layout.splits:
        members = [picture for picture in layout.pictures if picture.split == split]
        numbers = {name: number for number, name in enumerate(layout.classes)}
        splits[split] = SplitContents(
            labels=np.array([numbers[picture.label] for picture in members], dtype=np.int64),
            patients=tuple(patient_of(picture.name) for picture in members),
        )
    return Contents(classes=layout.classes, splits=splits, channels=channels)


def channels_by_headers(pictures: Sequence[PlacedPicture], *, tree: Tree) -> int:
    """As `Contents` has them, by the pictures' headers; raises SourceError where too many have none."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(MOST_HEADERS, len(pictures))).astype(np.int64))
    headers, damaged = read_headers([pictures[row] for row in chosen.tolist()], tree=tree)
    if damaged and len(chosen) == len(pictures):
        refuse_damaged(damaged, of=len(pictures), tree=tree)
    grey = {is_grey(header.mode) for header in headers}
    return 0 if len(grey) == 2 else 1 if True in grey else 3


def read_headers(
    pictures: Sequence[PlacedPicture],
    *,
    tree: Tree,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> tuple[list[PictureHeader], list[str]]:
    """The headers of the pictures that can be opened, and the names of those that cannot.

    `on_progress` is told now and then how many are done. Raises SourceError for a side that no trial can use.
    """
    entries: list[PictureHeader] = []
    damaged: list[str] = []
    for number, picture in enumerate(pictures):
        name = picture.name
        try:
            with warnings.catch_warnings():
                # Size is judged below, by a rule of our own.
                warnings.simplefilter("ignore")
                with tree.open(name) as file, open_picture(file) as image:
                    mode, size = image.mode, image.size
                    facts: FileFacts | None = facts_of(image, length=tree.length(name))
        except Image.DecompressionBombError:
            mode, size, facts = "L", (MOST_PIXELS, 2), None
        except UNREADABLE:
            damaged.append(name)
            continue
        check_side(*size, name=name)
        entries.append(
            PictureHeader(name=name, split=picture.split, label=picture.label, mode=mode, size=size, facts=facts)
        )
        if number % 256 == 0:
            on_progress(number)
    return entries, damaged


def refuse_damaged(damaged: Sequence[str], *, of: int, tree: Tree) -> str:
    """What the damaged ones of a folder's `of` pictures are; raises SourceError for too many to leave out."""
    kinds, remedy = tell_apart(damaged, opened=tree.open)
    if len(damaged) > MOST_UNREADABLE * of:
        raise SourceError(
            field=f"{tree.title}: {damaged[0]}",
            rule=f"at most {MOST_UNREADABLE:.0%} of a folder's images are unreadable",
            received=f"{len(damaged)} of {of}: {kinds}",
            remedy=f"{remedy} Or remove the files.",
        )
    return kinds
