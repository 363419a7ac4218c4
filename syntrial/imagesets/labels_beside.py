"""The layout of detection and segmentation: `images/` beside `labels/`, with masks, boxes or a table in the latter.

Classes are folders or stand in a table, so it is refused; with words that go by what lies in `labels/`.
"""

import contextlib
import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath
from typing import Final

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets.companions import IMAGE_FOLDERS
from syntrial.imagesets.filetypes import UNREADABLE, is_picture
from syntrial.imagesets.sheets import SPREADSHEETS, TABLE_SUFFIXES
from syntrial.imagesets.split_words import split_word
from syntrial.imagesets.trees import Tree

_LABEL_FOLDERS: Final = frozenset({"labels", "label", "labelstxt", "labeltxt", "labels_txt", "targets", "annotations"})
_TABLES: Final = (*TABLE_SUFFIXES, *SPREADSHEETS)
_BOX: Final = re.compile(rb"\d+([ \t]+[-+0-9.eE]+){4,}[ \t]*")
_LOOKED_AT: Final = 5
_MOST_BYTES: Final = 1 << 16
_BY_TABLE: Final = "Write a table with a row for each image (its path and its class) and name it by `table:`"


def refuse_labels_beside(tree: Tree) -> None:
    """Raises SourceError where pictures that lie in no class stand beside a folder of labels for them."""
    images: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    labels: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for name in tree.names():
        parts = tuple(name.split("/"))
        for place, part in enumerate(parts[:-1]):
            if part.lower() in IMAGE_FOLDERS and is_picture(name):
                images[parts[:place]].append(parts)
            elif part.lower() in _LABEL_FOLDERS:
                labels[parts[:place]].append(parts)
    for above in sorted(images.keys() & labels.keys()):
        found, beside = images[above], labels[above]
        depth = len(above) + 1
        if any(not _in_no_class(parts[depth:-1]) for parts in found):
            # Classes lie below, and what is no picture of them is left out and told.
            continue
        suffixes = Counter(PurePosixPath(parts[-1]).suffix.lower() for parts in beside)
        suffix = suffixes.most_common(1)[0][0]
        tables = [parts for parts in beside if parts[-1].lower().endswith(_TABLES)]
        stems = {PurePosixPath(parts[-1]).stem for parts in found}
        if not tables and stems.isdisjoint(PurePosixPath(parts[-1]).stem for parts in beside):
            continue
        where, other = "/".join((*above, found[0][depth - 1])), "/".join((*above, beside[0][depth - 1]))
        what, remedy = _told(tree, beside, suffix=suffix, tables=tables)
        raise SourceError(
            field=tree.title,
            rule="images lie in a folder for each class, or a table says the class of each",
            received=f"{counted(len(found), 'image')} in {where!r} beside {other!r}, which holds {what}",
            remedy=remedy,
        )


def _in_no_class(folders: tuple[str, ...]) -> bool:
    return all(split_word(folder) is not None for folder in folders)


def _told(tree: Tree, beside: list[tuple[str, ...]], *, suffix: str, tables: list[tuple[str, ...]]) -> tuple[str, str]:
    """What the folder holds, and what to do."""
    if tables:
        table = "/".join(tables[0])
        return f"the table {table!r}", f"Read it as `table: {{folder: …, file: {table}}}` in place of `folder:`."
    count = counted(len(beside), f"{suffix} file")
    if is_picture("/".join(beside[0])):
        return f"{count}: masks of regions", f"{_BY_TABLE}; regions in images are not told by a trial, classes are."
    if suffix == ".txt":
        some = [_head(tree, "/".join(parts)) for parts in beside[:_LOOKED_AT]]
        lines = [line.strip() for text in some for line in text.splitlines() if line.strip()]
        if lines and all(_BOX.fullmatch(line) for line in lines):
            return (
                f"{count} of boxes, as YOLO reads them",
                "Write a table with a row for each image (its path, and the classes of its boxes as several labels, "
                "joined by a sign) and name it by `table:`; the boxes themselves are not read.",
            )
        return f"{count}, one for each image", f"{_BY_TABLE}."
    kinds = {".xml": ", as of Pascal VOC", ".json": ", as of COCO or labelme"}
    return f"{count}{kinds.get(suffix, '')}", f"{_BY_TABLE}; the boxes and outlines themselves are not read."


def _head(tree: Tree, name: str) -> bytes:
    with contextlib.suppress(*UNREADABLE), tree.open(name) as file:
        return file.read(_MOST_BYTES)
    return b""
