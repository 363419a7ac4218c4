"""Reads a folder of images with a table of their labels, as `syntrial.imagesets.tables` says.

The table names files, and what it says of them goes no further by name: from the start a file is called by its
pseudonym, and messages tell the line of the table and what is wrong with it, not what stands in the cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from syntrial.errors import SourceError
from syntrial.imagesets.pseudonyms import file_words
from syntrial.imagesets.splits import UNSPLIT
from syntrial.imagesets.tables import Table, listed, opened_images, read_table, reads
from syntrial.imagesets.trees import Renamed, Tree, below_top
from syntrial.v1.data_preparation_pb2 import Source, TableSource
from syntrial_data_prep.sources import folder
from syntrial_data_prep.sources.folder import Known, checked_secret, nameless_tree, raw_of
from syntrial_data_prep.sources.raw import Place, Raw


def open_source(source: Source, place: Place) -> Raw:
    """Opens the folder, or the archive of one, that the source names by its digest."""
    path = place.existing()
    title, is_read = path.resolve().name, reads(source)
    secret = checked_secret(path, digest=source.digest, title=title, on_progress=place.on_progress, reads=is_read)
    whole = nameless_tree(path, title=title, scratch=place.scratch)
    try:
        whole = opened_images(whole, source.table, title=title, scratch=place.scratch)
    except SourceError as error:
        raise error.nameless() from None
    if not path.is_dir():
        whole = below_top(whole)
    names = list(filter(is_read, whole.names()))
    return raw_of_table(whole, names, table=source.table, secret=secret, on_progress=place.on_progress)


def open_folder(source: Source, place: Place) -> Raw:
    """Opens a folder of classes, or one whose images a table names."""
    path = place.existing()
    whole = nameless_tree(path, title=path.name, scratch=place.scratch)
    is_unlabelled = source.folder.unlabelled
    table = None if is_unlabelled else listed(whole, patient_pattern=source.folder.patient_pattern)
    if table is None:
        return folder.open_source(source, place)
    secret = checked_secret(path, digest=source.digest, title=path.name, on_progress=place.on_progress)
    return raw_of_table(whole, whole.names(), table=table, secret=secret, on_progress=place.on_progress)


def raw_of_table(
    whole: Tree, names: Sequence[str], *, table: TableSource, secret: bytes, on_progress: Callable[[int], None]
) -> Raw:
    """The images of the files of these names that the table names; `secret` is the key of their pseudonyms."""
    found = read_table(names, open_file=whole.open, table=table, title=whole.title, show=lambda _: "")
    known, tree = named_apart(found, whole, secret=secret)
    return raw_of(known, tree=tree, secret=secret, on_progress=on_progress)


def named_apart(found: Table, whole: Tree, *, secret: bytes) -> tuple[Known, Tree]:
    """The table's images by their pseudonyms, and the tree that holds them by these."""
    words = file_words((picture.name for picture in found.pictures), secret=secret)
    originals = {
        words[picture.name] if picture.split == UNSPLIT else f"{picture.split}/{words[picture.name]}": picture.name
        for picture in found.pictures
    }
    known = Known(
        pictures=tuple(replace(picture, name=shown) for picture, shown in zip(found.pictures, originals, strict=True)),
        originals=originals,
        classes=found.classes,
        labels=found.labels,
        identities=found.patients or tuple(picture.name for picture in found.pictures),
        has_patients=found.patients is not None,
        columns=found.columns,
        notes=found.notes,
    )
    return known, Renamed(whole, originals)
