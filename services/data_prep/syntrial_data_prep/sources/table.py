"""Reads a folder of images with a table of their labels, as `syntrial.imagesets.tables` says.

The table names files, and what it says of them goes no further by name: from the start a file is called by its
pseudonym, and messages tell the line of the table and what is wrong with it, not what stands in the cell.
"""

from dataclasses import replace

from syntrial.imagesets.pseudonyms import file_words
from syntrial.imagesets.splits import UNSPLIT
from syntrial.imagesets.tables import Table, read_table, reads
from syntrial.imagesets.trees import Renamed, Tree
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep.sources.folder import Known, checked_secret, nameless_tree, raw_of
from syntrial_data_prep.sources.raw import Place, Raw


def open_source(source: Source, place: Place) -> Raw:
    """Opens the folder, or the archive of one, that the source names by its digest."""
    path = place.existing()
    title, is_read = path.resolve().name, reads(source)
    secret = checked_secret(path, digest=source.digest, title=title, on_progress=place.on_progress, reads=is_read)
    whole = nameless_tree(path, title=title, scratch=place.scratch)
    names = list(filter(is_read, whole.names()))
    found = read_table(names, open_file=whole.open, table=source.table, title=title, show=lambda _: "")
    known, tree = named_apart(found, whole, secret=secret)
    return raw_of(known, tree=tree, secret=secret, on_progress=place.on_progress)


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
