"""Reads a folder of images: a folder for each class, with or without a folder for each split above them.

Every header is opened first, so that sizes and modes are known before anything is decoded; each picture is then
decoded once. A file that cannot be read is left out and named in the audit, by its pseudonym, unless many cannot.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ImageOps

from syntrial.artifacts.content import file_digest, folder_listing, listing_digest
from syntrial.documents.names import Names
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import PICTURE_SUFFIXES, UNREADABLE, open_picture
from syntrial.imagesets.folders import (
    PictureHeader,
    PlacedPicture,
    lay_out,
    read_headers,
    refuse_damaged,
)
from syntrial.imagesets.limits import SIXTEEN_BIT_MODES, is_grey
from syntrial.imagesets.patterns import patient_rule
from syntrial.imagesets.pseudonyms import file_words, patient_word, secret_of_file, secret_of_listing
from syntrial.imagesets.splits import UNSPLIT
from syntrial.imagesets.trees import Renamed, Tree, tree_at
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep import pixels
from syntrial_data_prep.sources.raw import Picture, Place, Raw, RawSplit


def open_source(source: Source, place: Place) -> Raw:
    """Opens the folder that the source names by its digest."""
    pattern = source.folder.patient_pattern
    return read(
        place.existing(), digest=source.digest, pattern=pattern, scratch=place.scratch, on_progress=place.on_progress
    )


def read(
    path: Path, *, digest: str, pattern: str, scratch: Path | None = None, on_progress: Callable[[int], None]
) -> Raw:
    """Opens a folder or an archive of one.

    `digest` is what its content must be, `pattern` gives the patient from a file's name, or "". `scratch` as in
    `sources.read`.
    """
    title = path.name
    secret = checked_secret(path, digest=digest, title=title, on_progress=on_progress)
    whole = nameless_tree(path, title=title, scratch=scratch)
    # From here on a file is called by its pseudonym: messages, logs and the audit go to others.
    words = file_words(whole.names(), secret=secret)
    masked = {_masked(name, words[name]): name for name in whole.names()}
    layout = lay_out(list(masked), title=title)
    originals = {_shown(picture, words[masked[picture.name]]): masked[picture.name] for picture in layout.pictures}
    pictures_shown = [replace(picture, name=shown) for picture, shown in zip(layout.pictures, originals, strict=True)]
    tree = Renamed(whole, originals)
    entries, damaged = read_headers(pictures_shown, tree=tree, on_progress=on_progress)
    identities, patients = {entry.name: originals[entry.name] for entry in entries}, {}
    if pattern:
        shown_as = {name: shown for shown, name in originals.items()}
        rule = patient_rule(pattern, field="source.folder.patient_pattern", called=shown_as.__getitem__)
        identities = {shown: rule(name) for shown, name in identities.items()}
        patients = {name: patient_word(name, secret=secret) for name in identities.values()}
    notes = []
    if layout.strays:
        notes.append(f"{layout.strays} files that are no images, or lie in no class, were left out.")
    if damaged:
        kinds = refuse_damaged(damaged, of=len(layout.pictures), tree=tree)
        some = ", ".join(damaged[:8])
        notes.append(f"{len(damaged)} images could not be read and were left out ({kinds}): {some}.")
    classes = tuple(sorted({entry.label for entry in entries}))
    deep = [entry for entry in entries if entry.mode in SIXTEEN_BIT_MODES]
    bits = pixels.bits_of(max((_highest(entry, tree=tree) for entry in deep), default=0))
    if 8 < bits < 16:
        notes.append(f"The 16-bit images use {bits} bits and were scaled by that.")
    of_damaged = set(damaged)
    lost = Counter((picture.split, picture.label) for picture in pictures_shown if picture.name in of_damaged)
    splits: dict[str, RawSplit] = {}
    for split in sorted({entry.split for entry in entries}):
        members = [entry for entry in entries if entry.split == split]

        def pictures(members: list[PictureHeader] = members) -> Iterator[Picture | None]:
            for entry in members:
                yield _decode(entry, tree=tree, bits=bits)

        sides = [side for entry in members for side in entry.size]
        facts = [entry.facts for entry in members if entry.facts is not None]
        splits[split] = RawSplit(
            labels=np.array([classes.index(entry.label) for entry in members], dtype=np.int64),
            names=tuple(entry.name for entry in members),
            patients=tuple(patients[identities[entry.name]] for entry in members) if pattern else None,
            identities=tuple(identities[entry.name] for entry in members),
            pictures=pictures,
            sides=(min(sides), max(sides)),
            oblong=sum(entry.size[0] != entry.size[1] for entry in members),
            files=tuple(facts) if len(facts) == len(members) else None,
            lost=tuple(lost[split, name] for name in classes) if lost else (),
        )
    grey = {is_grey(entry.mode) for entry in entries}
    if len(grey) == 2:
        notes.append("Grey and colour files are mixed.")
    return Raw(
        title=title,
        splits=splits,
        classes=classes,
        multi_label=False,
        channels=0 if len(grey) == 2 else (1 if True in grey else 3),
        originals=Names(
            version=1,
            secret=secret.hex(),
            files={shown: _text(name) for shown, name in originals.items()},
            patients={word: _text(name) for name, word in patients.items()},
        ),
        notes=tuple(notes),
    )


def nameless_tree(path: Path, *, title: str, scratch: Path | None) -> Tree:
    """The folder or archive at `path`; its errors name no file in it."""
    try:
        return tree_at(path, title=title, scratch=scratch)
    except SourceError as error:
        raise error.nameless() from None


def checked_secret(path: Path, *, digest: str, title: str, on_progress: Callable[[int], None]) -> bytes:
    """The key of the pseudonyms of a folder or an archive, whose content must have the digest, unless that is "".

    Raises SourceError for other content.
    """
    if path.is_dir():
        listing = _listing(path, title=title, on_progress=on_progress)
        found, secret = listing_digest(listing), secret_of_listing(listing)
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


def _listing(path: Path, *, title: str, on_progress: Callable[[int], None]) -> list[list[str | int]]:
    """The folder's listing; raises SourceError, which names no file, where one cannot be read."""
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done = count
        on_progress(count)

    try:
        return folder_listing(path, on_progress=told)
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
    known = suffix if suffix.lower() in {*PICTURE_SUFFIXES, ".dcm", ".dicom"} else ""
    return (PurePosixPath(name).parent / f"{word}{known}").as_posix()


def _shown(picture: PlacedPicture, word: str) -> str:
    return f"{picture.label}/{word}" if picture.split == UNSPLIT else f"{picture.split}/{picture.label}/{word}"


def _text(name: str) -> str:
    """A file's name as JSON can hold it, where it is no UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _highest(entry: PictureHeader, *, tree: Tree) -> int:
    try:
        with tree.open(entry.name) as file, open_picture(file) as image:
            return int(np.asarray(image).max())
    except UNREADABLE:
        return 0


def _decode(entry: PictureHeader, *, tree: Tree, bits: int) -> Picture | None:
    """The first frame of a file, upright as its camera meant it; None where it breaks off."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tree.open(entry.name) as file, open_picture(file) as image:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return pixels.from_image(image, bits=bits, name=f"{tree.title}: {entry.name}")
    except UNREADABLE:
        return None
