"""Reads a folder of images: a folder for each class, with or without a folder for each split above them.

Every header is opened first, so that sizes and modes are known before anything is decoded; each picture is then
decoded once. A file that cannot be read is left out and named in the audit, by its pseudonym, unless many cannot.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from syntrial.artifacts.content import file_digest, folder_listing, listing_digest
from syntrial.counting import counted
from syntrial.documents.names import Names
from syntrial.errors import SourceError
from syntrial.imagesets.classes import Labels
from syntrial.imagesets.filetypes import PICTURE_SUFFIXES, UNREADABLE
from syntrial.imagesets.folders import (
    PictureHeader,
    layout_of,
    patients_of_headers,
    read_headers,
    refuse_damaged,
    refuse_stacks,
    resized_among,
    sheets_among,
    unlabelled_layout_of,
)
from syntrial.imagesets.patterns import patient_rule
from syntrial.imagesets.pseudonyms import file_words, patient_word, secret_of_file, secret_of_listing
from syntrial.imagesets.splits import UNSPLIT
from syntrial.imagesets.structure import PlacedPicture, told
from syntrial.imagesets.trees import Renamed, Tree, tree_at
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep.decoding import decode
from syntrial_data_prep.samples import Samples
from syntrial_data_prep.sources.raw import Place, Raw, RawSplit, by_row


def open_source(source: Source, place: Place) -> Raw:
    """Opens the folder that the source names by its digest."""
    pattern = source.folder.patient_pattern
    return read(
        place.existing(),
        digest=source.digest,
        pattern=pattern,
        scratch=place.scratch,
        on_progress=place.on_progress,
        is_unlabelled=source.folder.unlabelled,
    )


def read(
    path: Path,
    *,
    digest: str,
    pattern: str,
    scratch: Path | None = None,
    on_progress: Callable[[int], None],
    is_unlabelled: bool = False,
) -> Raw:
    """Opens a folder or an archive of one.

    `digest` is what its content must be, `pattern` gives the patient from a file's name, or "". `scratch` as in
    `sources.read`; `is_unlabelled` where its folders say no classes.
    """
    title = path.name
    secret = checked_secret(path, digest=digest, title=title, on_progress=on_progress)
    whole = nameless_tree(path, title=title, scratch=scratch)
    # From here on a file is called by its pseudonym: messages, logs and the audit go to others.
    words = file_words(whole.names(), secret=secret)
    if is_unlabelled:
        layout = unlabelled_layout_of(whole)
    else:
        layout = layout_of(whole, called=lambda name: _masked(name, words[name]), patient_pattern=pattern)
    originals = {_shown(picture, words[picture.name]): picture.name for picture in layout.pictures}
    pictures_shown = [replace(picture, name=shown) for picture, shown in zip(layout.pictures, originals, strict=True)]
    tree = Renamed(whole, originals)
    identities = tuple(originals.values())
    if pattern:
        shown_as = {name: shown for shown, name in originals.items()}
        rule = patient_rule(pattern, field="source.folder.patient_pattern", called=shown_as.__getitem__)
        identities = tuple(map(rule, identities))
    numbers = {name: number for number, name in enumerate(layout.classes)}
    return raw_of(
        Known(
            pictures=tuple(pictures_shown),
            originals=originals,
            classes=layout.classes,
            labels=np.array([numbers[picture.label] for picture in layout.pictures], dtype=np.int64),
            identities=identities,
            has_patients=bool(pattern),
            notes=tuple(told(layout.left_out)),
            may_be_sheets=True,
        ),
        tree=tree,
        secret=secret,
        on_progress=on_progress,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Known:
    """What is known of picture files before one of them is opened."""

    pictures: tuple[PlacedPicture, ...]
    """By the names they are called from now on."""
    originals: Mapping[str, str]
    """Their own names by those."""
    classes: tuple[str, ...]
    labels: Labels
    """int64 (N,), or uint8 (N, K)."""
    identities: tuple[str, ...]
    """As `RawSplit` has them."""
    has_patients: bool
    """Whether identities are patients."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """As `RawSplit` has them."""
    notes: tuple[str, ...] = ()
    may_be_sheets: bool = False
    """Whether sheets of others may be among them."""


def raw_of(known: Known, *, tree: Tree, secret: bytes, on_progress: Callable[[int], None]) -> Raw:
    """Reads the headers of picture files; `tree` holds them by the names they are called."""
    title, notes, originals = tree.title, list(known.notes), known.originals
    entries, damaged = read_headers(known.pictures, tree=tree, on_progress=on_progress)
    if known.may_be_sheets:
        odd = sheets_among(entries) | resized_among(entries, own_name=originals.__getitem__)
        entries = [entry for entry in entries if entry.name not in odd]
        notes += [f"Left out: {counted(count, *reason)}." for reason, count in Counter(odd.values()).items()]
    refuse_stacks(entries, title=title)
    places = {picture.name: row for row, picture in enumerate(known.pictures)}
    of_dicom = {} if known.has_patients else patients_of_headers(entries)
    if of_dicom:
        # Those of files that could not be read stand nowhere.
        identities = tuple(of_dicom.get(picture.name, picture.name) for picture in known.pictures)
        known = replace(known, identities=identities, has_patients=True)
    patients = {}
    if known.has_patients:
        patients = {name: patient_word(name, secret=secret) for name in known.identities}
    if damaged:
        kinds = refuse_damaged(damaged, of=len(known.pictures), tree=tree)
        some = ", ".join(damaged[:8])
        notes.append(f"Left out: {counted(len(damaged), 'image')} that could not be read ({kinds}): {some}.")
    of_damaged = set(damaged)
    is_single = known.labels.ndim == 1
    lost = Counter(
        (picture.split, int(label))
        for picture, label in zip(known.pictures, known.labels, strict=True)
        if is_single and picture.name in of_damaged
    )
    splits: dict[str, RawSplit] = {}
    for split in sorted({entry.split for entry in entries}):
        members = [entry for entry in entries if entry.split == split]

        def picture(row: int, members: list[PictureHeader] = members) -> Samples | None:
            return decode_from(tree, members[row].name)

        rows = [places[entry.name] for entry in members]
        identities = tuple(known.identities[row] for row in rows)
        sides = [side for entry in members for side in entry.size]
        facts = [entry.header.facts for entry in members]
        splits[split] = RawSplit(
            labels=known.labels[rows],
            names=tuple(entry.name for entry in members),
            patients=tuple(patients[name] for name in identities) if known.has_patients else None,
            identities=identities,
            columns={name: tuple(column[row] for row in rows) for name, column in known.columns.items()},
            pictures=by_row(picture, count=len(members)),
            sides=(min(sides), max(sides)),
            oblong=sum(entry.size[0] != entry.size[1] for entry in members),
            files=tuple(facts),
            lost=tuple(lost[split, label] for label in range(len(known.classes))) if lost else (),
        )
    grey = {entry.header.channels == 1 for entry in entries}
    notes += mixtures(entries)
    return Raw(
        title=title,
        splits=splits,
        classes=known.classes,
        multi_label=known.labels.ndim == 2,
        channels=0 if len(grey) == 2 else (1 if True in grey else 3),
        numbers=frozenset(entry.header.numbers for entry in entries),
        originals=Names(
            version=1,
            secret=secret.hex(),
            files={shown: text_of(name) for shown, name in originals.items()},
            patients={word: text_of(name) for name, word in patients.items()},
        ),
        notes=tuple(notes),
    )


def nameless_tree(path: Path, *, title: str, scratch: Path | None) -> Tree:
    """The folder or archive at `path`; its errors name no file in it."""
    try:
        return tree_at(path, title=title, scratch=scratch)
    except SourceError as error:
        raise error.nameless() from None


def checked_secret(
    path: Path,
    *,
    digest: str,
    title: str,
    on_progress: Callable[[int], None],
    reads: Callable[[str], bool] | None = None,
) -> bytes:
    """The key of the pseudonyms of a folder or an archive, whose content must have the digest, unless that is "".

    `reads` tells of a folder's file whether the source may read it. What was uploaded by hand has the digest of the
    whole folder, whatever of it is read. Raises SourceError for other content.
    """
    if path.is_dir():
        listing = listing_of(path, title=title, on_progress=on_progress, reads=reads)
        found, secret = listing_digest(listing), secret_of_listing(listing)
        if reads is not None and digest and found != digest:
            whole = listing_digest(listing_of(path, title=title, on_progress=on_progress))
            found = whole if whole == digest else found
    else:
        found, secret = file_digest(path), secret_of_file(path)
    if digest and found != digest:
        raise SourceError(
            field=str(path),
            rule=f"the content is the one that was planned, {digest}",
            received=found,
            remedy="Files have changed since: run again.",
        )
    return secret


def listing_of(
    path: Path, *, title: str, on_progress: Callable[[int], None], reads: Callable[[str], bool] | None = None
) -> list[list[str | int]]:
    """The folder's listing; raises SourceError, which names no file, where one cannot be read.

    `reads` tells of a file's name whether it counts; None: all do.
    """
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done = count
        on_progress(count)

    try:
        return folder_listing(path, on_progress=told, reads=reads)
    except OSError as error:
        raise SourceError(
            field=title,
            rule="every file of the folder can be read",
            received=f"{error.strerror or type(error).__name__}, at file {done} in the order of names, from 0",
            remedy="Check its permissions and the disk.",
        ) from None


def _masked(name: str, word: str) -> str:
    """A file's name for `lay_out`, which goes by folders and by the suffix."""
    suffix = PurePosixPath(name).suffix
    known = suffix if suffix.lower() in PICTURE_SUFFIXES else ""
    return (PurePosixPath(name).parent / f"{word}{known}").as_posix()


def _shown(picture: PlacedPicture, word: str) -> str:
    return f"{picture.label}/{word}" if picture.split == UNSPLIT else f"{picture.split}/{picture.label}/{word}"


def text_of(name: str) -> str:
    """A file's name as JSON can hold it, where it is no UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def decode_from(tree: Tree, name: str) -> Samples | None:
    """The first page of a file, upright as its camera meant it; None where it breaks off.

    Raises SourceError, which names the file, for what is whole and can't be read.
    """
    try:
        with tree.open(name) as file:
            return decode(file)
    except UNREADABLE:
        return None
    except SourceError as error:
        raise error.at(f"{tree.title}: {name}") from None


def mixtures(entries: Sequence[PictureHeader]) -> list[str]:
    """What of the headers is mixed, and which pages were left out, as sentences."""
    found = []
    modes = Counter(f"{entry.header.facts.mode}" for entry in entries)
    if len({entry.header.channels for entry in entries}) == 2:
        counts = Counter("grey" if entry.header.channels == 1 else "colour" for entry in entries)
        found.append(f"Grey and colour files are mixed: {counts['grey']} grey, {counts['colour']} in colour.")
    if len(modes) > 1:
        some = ", ".join(f"{count} of {mode}" for mode, count in modes.most_common(8))
        found.append(f"Files of several modes are mixed: {some}.")
    numbers = Counter(entry.header.numbers for entry in entries)
    if len(numbers) > 1:
        some = ", ".join(f"{count} {kind}" for kind, count in numbers.most_common())
        found.append(f"Pixels of several depths are mixed: {some}.")
    stacks = [entry for entry in entries if entry.header.facts.frames > 1]
    if stacks:
        pages = sum(entry.header.facts.frames - 1 for entry in stacks)
        some = ", ".join(entry.name for entry in stacks[:8])
        found.append(
            f"Left out: {counted(pages, 'page or frame', 'pages or frames')} after the first of "
            f"{counted(len(stacks), 'file')} ({some})."
        )
    burnt = [entry for entry in entries if entry.header.burnt_in]
    if burnt:
        some = ", ".join(entry.name for entry in burnt[:8])
        found.append(
            f"{counted(len(burnt), 'DICOM file')} with text burnt into the pixels by their tags, or of a kind that "
            f"often has some ({some}): look at them, since text may tell the class and name patients."
        )
    return found
