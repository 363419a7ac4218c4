"""How a folder of pictures is read: by the structure of its names, by headers, and by what a few pictures show.

Plans and preparation go by this one rule, so what is wrong with a folder is told in seconds.
"""

import contextlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from syntrial.counting import counted
from syntrial.errors import SourceError
from syntrial.imagesets.companions import MASK, SHEET, THUMBNAIL, Reason
from syntrial.imagesets.contents import Contents, SplitContents
from syntrial.imagesets.filetypes import DECODERS, UNREADABLE, may_be_dicom, open_picture, tell_apart
from syntrial.imagesets.headers import EIGHT, Header
from syntrial.imagesets.labels_beside import refuse_labels_beside
from syntrial.imagesets.limits import check_side
from syntrial.imagesets.outer import check_outer
from syntrial.imagesets.patterns import patient_rule
from syntrial.imagesets.pictures import DICOM_HEAD, is_dicom_head, read_header
from syntrial.imagesets.pseudonyms import spelling_notes
from syntrial.imagesets.structure import (
    FolderLayout,
    LeftOut,
    PlacedPicture,
    lay_out,
    lay_out_unlabelled,
    of_classes,
    told,
)
from syntrial.imagesets.trees import Tree, open_tree
from syntrial.v1.data_preparation_pb2 import Source

MOST_UNREADABLE = 0.05
"""The share of a folder's images that may be unreadable: above it something else is wrong."""
MOST_HEADERS = 4000
"""Picture files whose headers are read to plan, evenly spread over a larger folder: about a second."""
MOST_TAIL_BYTES = 1 << 20
"""Of files up to this length the end is looked at too: in an archive all before it has to be unpacked."""
LIST = "dataset.json"
"""What StyleGAN's tools call the list of labels."""
MOST_LIST_BYTES = 256 << 20
MOST_GROUPS = 64
"""Folders within a class of which a few pictures are looked at: more are patients."""
LOOKED_AT = 4
LOOKED_AT_PIXELS = 16_000_000
"""Larger pictures are not decoded for a plan."""
MOST_LEVELS = 4
"""Grey levels or colours of a drawing."""
SMALLEST_DRAWING = 64
"""Pixels below which a picture has few levels anyway."""
SMALLEST_SET = 8
MOST_USUAL = 0.8
"""The share of pictures that have the usual size, where another size says something."""
MOST_SHEETS = 0.1
"""Where more are so large, they are images of another size."""

_ENDS = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
_TAIL_BYTES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureHeader:
    """A picture file whose header was read."""

    name: str
    split: str
    label: str
    header: Header

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.header.facts.width, self.header.facts.height


def layout_of(
    tree: Tree, *, called: Callable[[str], str] = lambda name: name, patient_pattern: str = ""
) -> FolderLayout:
    """The layout of a tree, by names, by a generator's list of labels, and by what a few pictures show.

    `called` is what errors call a file of this name; `patient_pattern` is the source's. Raises SourceError as `lay_out`
    does.
    """
    names = tree.names()
    labels = listed_labels(tree)
    unnamed = unnamed_dicom(names, opened=tree.open)
    if labels is None:
        refuse_labels_beside(tree)
    layout = lay_out(names, title=tree.title, labels=labels, called=called, unnamed=unnamed)
    layout = without_drawings(layout, tree=tree)
    if labels is None:
        check_outer(layout, title=tree.title, has_patients="/" in patient_pattern)
    return layout


def unlabelled_layout_of(tree: Tree) -> FolderLayout:
    """The layout of a tree whose folders say no classes, by names and by what a few pictures show."""
    names = tree.names()
    layout = lay_out_unlabelled(names, title=tree.title, unnamed=unnamed_dicom(names, opened=tree.open))
    return without_drawings(layout, tree=tree)


def unnamed_dicom(names: Iterable[str], *, opened: Callable[[str], BinaryIO]) -> frozenset[str]:
    """Which of the files are DICOM without a suffix that says so, by how they begin; what can't be opened is not."""
    found = set()
    for name in names:
        if may_be_dicom(name):
            with contextlib.suppress(*UNREADABLE), opened(name) as file:
                if is_dicom_head(file.read(DICOM_HEAD)):
                    found.add(name)
    return frozenset(found)


def listed_labels(tree: Tree) -> dict[str, str] | None:
    """The class of each file by StyleGAN's `dataset.json`, {"labels": [["00000/img00000000.png", 6], ...]}; else None.

    Raises SourceError for a list that is damaged, or gives several classes.
    """
    lists = [name for name in tree.names() if name.rpartition("/")[2] == LIST]
    if not lists:
        return None
    place = min(lists, key=lambda name: (name.count("/"), name))
    title = f"{tree.title}: {LIST}"
    if tree.length(place) > MOST_LIST_BYTES:
        raise SourceError(
            field=title,
            rule=f"a list of labels has at most {MOST_LIST_BYTES >> 20} MiB",
            received=f"{tree.length(place)} bytes",
            remedy="Check the file.",
        )
    try:
        with tree.open(place) as file:
            content = json.load(file)
        if not isinstance(content, dict) or content.get("labels") is None:
            # Of an unconditional generator, or of another program.
            return None
        rows = content["labels"]
        pairs = list(rows.items() if isinstance(rows, dict) else rows)
        above = place.rpartition("/")[0]
        return {f"{above}/{name}".lstrip("/"): _class_of(label) for name, label in pairs}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise SourceError(
            field=title,
            rule='the list of labels is {"labels": [["00000/img00000000.png", 6], ...]}, one class an image',
            received=str(error) or type(error).__name__,
            remedy="Write it anew, or take it away where folders say the classes.",
        ) from None


def _class_of(label: object) -> str:
    if isinstance(label, list):
        # A row of 0 and 1.
        if sorted(label) != [*[0] * (len(label) - 1), 1]:
            raise ValueError(f"a label {label}")
        return str(label.index(1))
    if isinstance(label, bool) or not isinstance(label, int):
        raise ValueError(f"a label {label!r}")
    return str(label)


def without_drawings(layout: FolderLayout, *, tree: Tree) -> FolderLayout:
    """The layout without the folders within classes whose pictures have a few grey levels, where others have more.

    A few pictures of each folder are decoded: masks under another name.
    """
    groups: dict[str, dict[str, list[PlacedPicture]]] = {}
    for picture in layout.pictures:
        folder = picture.name.rpartition("/")[0].rpartition("/")[2]
        groups.setdefault(picture.label, {}).setdefault(folder, []).append(picture)
    drawn: set[str] = set()
    for folders in groups.values():
        if not 1 < len(folders) <= MOST_GROUPS:
            continue
        found = {folder: _is_drawn(members, tree=tree) for folder, members in folders.items()}
        if not all(found.values()):
            drawn |= {picture.name for folder, members in folders.items() if found[folder] for picture in members}
    if not drawn:
        return layout
    return leave_out(layout, dict.fromkeys(drawn, MASK))


def leave_out(layout: FolderLayout, reasons: Mapping[str, Reason]) -> FolderLayout:
    """The layout without some of its pictures, by name, each with why."""
    more = tuple(
        LeftOut(name=picture.name, reason=reasons[picture.name], split=picture.split, label=picture.label)
        for picture in layout.pictures
        if picture.name in reasons
    )
    return FolderLayout(
        pictures=tuple(picture for picture in layout.pictures if picture.name not in reasons),
        left_out=tuple(sorted((*layout.left_out, *more), key=lambda item: item.name)),
    )


def _is_drawn(members: Sequence[PlacedPicture], *, tree: Tree) -> bool:
    """Whether the first few of a folder's pictures have a few grey levels each."""
    seen = 0
    for picture in members[:LOOKED_AT]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with tree.open(picture.name) as file, open_picture(file) as image:
                    if image.width * image.height < SMALLEST_DRAWING or image.getcolors(MOST_LEVELS) is None:
                        return False
        except UNREADABLE:
            continue
        seen += 1
    return seen > 0


def sheets_among(headers: Sequence[PictureHeader]) -> dict[str, Reason]:
    """The pictures that are sheets of others: few, and several times as large as nearly all."""
    if len(headers) < SMALLEST_SET:
        return {}
    (usual, count), *_ = Counter(header.size for header in headers).most_common(1)
    found = {header.name: SHEET for header in headers if _is_sheet(header.size, of=usual)}
    return found if count >= MOST_USUAL * len(headers) and len(found) <= MOST_SHEETS * len(headers) else {}


def resized_among(
    headers: Sequence[PictureHeader], *, own_name: Callable[[str], str] = lambda name: name
) -> dict[str, Reason]:
    """The pictures of folders that hold nothing but smaller copies of those beside the folder, by names and sizes.

    `own_name` gives a file's own name by the one that it is called.
    """
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    folders: dict[str, list[tuple[str, PictureHeader]]] = {}
    for header in headers:
        folder, _, name = own_name(header.name).rpartition("/")
        stem = name.rpartition(".")[0]
        sizes[folder, stem] = header.size
        folders.setdefault(folder, []).append((stem, header))
    found: dict[str, Reason] = {}
    for folder, members in folders.items():
        above = folder.rpartition("/")[0]
        larger = [sizes.get((above, stem), (0, 0)) for stem, _ in members]
        own = [header.size for _, header in members]
        if all(whole[0] > copy[0] and whole[1] > copy[1] for whole, copy in zip(larger, own, strict=True)):
            found |= {header.name: THUMBNAIL for _, header in members}
    return found


def _is_sheet(size: tuple[int, int], *, of: tuple[int, int]) -> bool:
    """Whether a size is that of four tiles or more, without a margin or with one of 2 pixels (torchvision's)."""
    for margin in (0, 2):
        tiles = [divmod(side - margin, tile + margin) for side, tile in zip(size, of, strict=True)]
        if all(rest == 0 for _, rest in tiles) and all(number > 1 for number, _ in tiles):
            return True
    return False


def contents(source: Source, path: Path, field: str) -> Contents:
    """What the folder that an experiment names in `field` holds; raises SourceError for what preparation refuses."""
    with open_tree(path, title=f"{field} ({path.name})", field=field) as tree:
        return contents_of_tree(source, tree, path=path, field=field)


def contents_of_tree(source: Source, tree: Tree, *, path: Path, field: str) -> Contents:
    """`contents`, of a folder that is open."""
    if not tree.names():
        raise SourceError(
            field=field,
            rule="the folder holds images",
            received=f"{path}, which is empty",
            remedy="Check the path.",
        )
    pattern = source.folder.patient_pattern
    layout = unlabelled_layout_of(tree) if source.folder.unlabelled else layout_of(tree, patient_pattern=pattern)
    headers, damaged = sample_headers(layout.pictures, tree=tree)
    notes = []
    if damaged and len(headers) + len(damaged) == len(layout.pictures):
        kinds = refuse_damaged(damaged, of=len(layout.pictures), tree=tree)
        of_damaged = Counter(picture.label for picture in layout.pictures if picture.name in set(damaged))
        count = counted(len(damaged), "image")
        notes.append(f"Left out: {count} that cannot be read{of_classes(of_damaged)}: {kinds}.")
    refuse_stacks(headers, title=tree.title)
    refuse_undecodable(headers, tree=tree)
    of_dicom = {} if source.folder.patient_pattern else all_patients(layout.pictures, headers, tree=tree)
    layout = leave_out(layout, sheets_among(headers) | resized_among(headers))
    lost = set(damaged)
    pattern = source.folder.patient_pattern
    patient_of: Callable[[str], str] = lambda name: of_dicom.get(name, name)  # noqa: E731
    if pattern:
        patient_of = patient_rule(pattern, field=f"{field}.patientPattern")
    splits = {}
    for split in layout.splits:
        members = [picture for picture in layout.pictures if picture.split == split and picture.name not in lost]
        numbers = {name: number for number, name in enumerate(layout.classes)}
        splits[split] = SplitContents(
            labels=np.array([numbers[picture.label] for picture in members], dtype=np.int64),
            patients=tuple(patient_of(picture.name) for picture in members),
        )
    if pattern or of_dicom:
        notes += spelling_notes(patient for part in splits.values() for patient in part.patients)
    return Contents(
        classes=layout.classes,
        splits=splits,
        channels=channels_of_headers(headers),
        numbers=numbers_of_headers(headers),
        notes=(*told(layout.left_out), *notes),
    )


def some_headers(pictures: Sequence[PlacedPicture], *, tree: Tree) -> list[PictureHeader]:
    """The headers of up to `MOST_HEADERS` of the pictures; raises SourceError where too many have none."""
    headers, damaged = sample_headers(pictures, tree=tree)
    if damaged and len(headers) + len(damaged) == len(pictures):
        refuse_damaged(damaged, of=len(pictures), tree=tree)
    return headers


def refuse_stacks(headers: Sequence[PictureHeader], *, title: str) -> None:
    """Raises SourceError where more files than may be unreadable hold several pages: a volume's slices, a film."""
    stacks = [header for header in headers if header.header.facts.frames > 1]
    if len(stacks) > MOST_UNREADABLE * len(headers):
        pages = sum(header.header.facts.frames for header in stacks)
        raise SourceError(
            field=f"{title}: {stacks[0].name}",
            rule=f"at most {MOST_UNREADABLE:.0%} of a folder's files hold several pages, of which the first is read",
            received=f"{len(stacks)} of {len(headers)}, with {pages} pages",
            remedy="Write each page as a picture of its own, or keep one page of each file.",
        )


def refuse_undecodable(headers: Sequence[PictureHeader], *, tree: Tree) -> None:
    """Raises SourceError where of a few pictures, evenly spread, none can be decoded: their headers alone are sound.

    Looks at what Pillow decodes by itself; preparation looks at all.
    """
    plain = [
        header
        for header in headers
        if header.header.numbers == EIGHT
        and header.header.facts.format in DECODERS
        and header.size[0] * header.size[1] <= LOOKED_AT_PIXELS
    ]
    chosen = np.unique(np.linspace(0, len(plain) - 1, min(LOOKED_AT, len(plain))).astype(np.int64)).tolist()
    if not chosen:
        return
    for row in chosen:
        with contextlib.suppress(*UNREADABLE), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tree.open(plain[row].name) as file, open_picture(file) as image:
                image.load()
                return
    raise SourceError(
        field=f"{tree.title}: {plain[0].name}",
        rule="images can be decoded",
        received=f"none of {len(chosen)} that were looked at, of {len(headers)}: their headers are sound, their pixels "
        "are damaged",
        remedy="Copy or download them again.",
    )


def patients_of_headers(headers: Sequence[PictureHeader]) -> dict[str, str]:
    """The patient of each picture by DICOM's identifier; empty where not all of them have one."""
    found = {header.name: header.header.patient for header in headers}
    return found if all(found.values()) else {}


def all_patients(pictures: Sequence[PlacedPicture], headers: Sequence[PictureHeader], *, tree: Tree) -> dict[str, str]:
    """As `patients_of_headers`, of all pictures: where the `headers` of some have them, those of all are read."""
    if not patients_of_headers(headers):
        return {}
    if len(headers) < min(len(pictures), MOST_HEADERS) or len(pictures) > MOST_HEADERS:
        headers, _ = read_headers(pictures, tree=tree)
    return patients_of_headers(headers)


def channels_of_headers(headers: Iterable[PictureHeader]) -> int:
    """1 where all are grey, 3 where all are in colour, else 0."""
    found = {picture.header.channels for picture in headers}
    return found.pop() if len(found) == 1 else 0


def numbers_of_headers(headers: Iterable[PictureHeader]) -> frozenset[str]:
    """As `Contents` has them."""
    return frozenset(picture.header.numbers for picture in headers)


def sample_headers(pictures: Sequence[PlacedPicture], *, tree: Tree) -> tuple[list[PictureHeader], list[str]]:
    """The headers of some pictures, evenly spread, and the names of those among them that have none."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(MOST_HEADERS, len(pictures))).astype(np.int64))
    return read_headers([pictures[row] for row in chosen.tolist()], tree=tree)


def read_headers(
    pictures: Sequence[PlacedPicture],
    *,
    tree: Tree,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> tuple[list[PictureHeader], list[str]]:
    """The headers of the pictures that can be used, and the names of those that cannot: damaged, too large, too small.

    `on_progress` is told now and then how many are done. Raises SourceError for more files than may be unreadable where
    some are whole and of a form that is not read.
    """
    entries: list[PictureHeader] = []
    damaged: list[str] = []
    refused: SourceError | None = None
    for number, picture in enumerate(pictures):
        name = picture.name
        try:
            with warnings.catch_warnings():
                # Size is judged below, by a rule of our own.
                warnings.simplefilter("ignore")
                with tree.open(name) as file:
                    length = tree.length(name)
                    header = read_header(file, length=length)
                    if length <= MOST_TAIL_BYTES and _breaks_off(file, form=header.facts.format):
                        # Most decoders tell; some readers of old files do without an end.
                        file.seek(0)
                        with open_picture(file) as image:
                            image.load()
        except UNREADABLE:
            damaged.append(name)
            continue
        except SourceError as error:
            refused = refused or error.at(f"{tree.title}: {name}")
            damaged.append(name)
            continue
        try:
            check_side(header.facts.width, header.facts.height, name=name)
        except SourceError:
            damaged.append(name)
            continue
        entries.append(PictureHeader(name=name, split=picture.split, label=picture.label, header=header))
        if number % 256 == 0:
            on_progress(number)
    if refused is not None and len(damaged) > MOST_UNREADABLE * len(pictures):
        raise refused
    return entries, damaged


def _breaks_off(file: BinaryIO, *, form: str | None) -> bool:
    """Whether a picture's file lacks the end that its form has."""
    if form not in _ENDS:
        return False
    position = file.tell()
    file.seek(0, io.SEEK_END)
    file.seek(max(0, file.tell() - _TAIL_BYTES))
    tail = file.read()
    file.seek(position)
    return _ENDS[form] not in tail


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
