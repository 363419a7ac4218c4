"""What reads bytes of users and stores, as functions of bytes that end well, in a user's error or in damage.

Run by `python -m tests.fuzz` for long with bytes that a fuzzer makes up, and by `test_replay.py` on what it kept.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError
from syntrial_data_prep.scales import levels
from syntrial_data_prep.sources import folder, npz

from syntrial.artifacts.keys import canonical_digest, step_key
from syntrial.artifacts.manifest import parse_manifest
from syntrial.artifacts.references import member_refs, source_digests
from syntrial.artifacts.uploads import parse_upload
from syntrial.documents.generator import OWN, read_description
from syntrial.documents.scale import Scale
from syntrial.errors import DataLoss, UserError
from syntrial.experiment.file import parse_experiment
from syntrial.imagesets.filetypes import tell_apart
from syntrial.imagesets.folders import read_headers
from syntrial.imagesets.packed import check_archive
from syntrial.imagesets.patterns import patient_rule
from syntrial.imagesets.sheets import read_list
from syntrial.imagesets.splits import UNSPLIT
from syntrial.imagesets.structure import PlacedPicture
from syntrial.imagesets.tables import read_table
from syntrial.imagesets.trees import tree_at
from syntrial.sources.digests import check_npz, check_safetensors
from syntrial.stages import METHODS
from syntrial.v1.data_preparation_pb2 import TableSource

KEY: Final = "a" * 64
PICTURES: Final = 8
"""Of an archive: what is wrong with further ones is wrong with these."""


@contextlib.contextmanager
def file_of(data: bytes, suffix: str) -> Iterator[Path]:
    """The bytes as a file, in memory where the machine has a folder there."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.NamedTemporaryFile(suffix=suffix, dir=memory if memory.is_dir() else None) as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


class OneFile:
    """A tree that holds one file, whatever it is called."""

    title = "set"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def names(self) -> list[str]:
        """One."""
        return ["a/0"]

    def length(self, _: str, /) -> int:
        """Of the file."""
        return len(self._data)

    def open(self, _: str, /) -> BinaryIO:
        """The file."""
        return io.BytesIO(self._data)


def image(data: bytes) -> None:
    """A picture: its header, then its pixels."""
    with contextlib.suppress(UserError):
        placed = PlacedPicture(name="a/0", split=UNSPLIT, label="a")
        tree = OneFile(data)
        headers, damaged = read_headers([placed], tree=tree)
        for header in headers:
            found = folder.decode_from(tree, header.name)
            if found is not None and not found.is_deep:
                levels(found, Scale())
            elif found is not None:
                levels(found, Scale(by="window", low=0, high=4095, opaque=65535))
        if damaged:
            tell_apart(damaged, opened=tree.open)


def arrays(data: bytes) -> None:
    """An .npz: headers, labels, patients, and the first images."""
    with file_of(data, ".npz") as path, contextlib.suppress(UserError):
        found = npz.read(path, digest="", classes=())
        for split in found.splits.values():
            for read in islice(split.pictures(), PICTURES):
                read()


def archive(data: bytes) -> None:
    """A zip archive or any other file, by its head and its names."""
    with file_of(data, ".npz") as path, contextlib.suppress(UserError):
        tell_apart([path.name], opened=lambda _: path.open("rb"))
        check_npz(path, field="f")


def packed(data: bytes) -> None:
    """An archive as a tree, then its first files from their ends and from their starts."""
    with file_of(data, ".zip") as path, contextlib.suppress(UserError):
        check_archive(path, title="set")
        tree = tree_at(path, title="set")
        for name in tree.names()[:PICTURES]:
            assert not name.startswith("/")
            assert ".." not in name.split("/")
            with contextlib.suppress(OSError), tree.open(name) as file:
                file.seek(max(0, tree.length(name) - 16))
                file.read(16)
                file.seek(0)
                while file.read(65536):
                    pass


def table(data: bytes) -> None:
    """A table of images by itself, with a list of a split beside it, and as such a list."""
    files = {"set.csv": data, "train.txt": data[len(data) // 2 :]}
    names = ["a/1.png", "a/2.png", "b/3.png", "b/4.png", "ü.png", *files]
    beside = TableSource(partial=True)
    beside.lists.train = "train.txt"
    for source in (TableSource(), TableSource(partial=True), beside):
        with contextlib.suppress(UserError):
            read_table(names, open_file=lambda name: io.BytesIO(files[name]), table=source, title="f")
    with contextlib.suppress(UserError):
        read_list(io.BytesIO(data), title="f")


def safetensors(data: bytes) -> None:
    """The header of a file of weights."""
    with file_of(data, ".safetensors") as path, contextlib.suppress(UserError):
        check_safetensors(path, field="f")


def generator(data: bytes) -> None:
    """The description of a generator that somebody else exported."""
    with contextlib.suppress(UserError):
        found = read_description(data, title="f", families=("gan", "pca", OWN))
        assert found.family == OWN or not found.files
        for blob, name in found.files.items():
            # Names that lead nowhere else, and that a file can have.
            assert Path("/a", blob).parent == Path("/a")
            assert Path("/a", name).resolve().is_relative_to("/a")


def manifest(data: bytes) -> None:
    """A manifest, as it came and with its digest put right."""
    with contextlib.suppress(DataLoss):
        parse_manifest(data, key=KEY)
    try:
        tree = json.loads(data)
        tree["manifest_digest"] = canonical_digest(
            {name: part for name, part in tree.items() if name != "manifest_digest"}
        )
        mended = json.dumps(tree).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return
    with contextlib.suppress(DataLoss):
        parse_manifest(mended, key=KEY)


def upload(data: bytes) -> None:
    """The record of an upload."""
    with contextlib.suppress(DataLoss):
        parse_upload(data, digest=f"md5:{'a' * 32}")


def experiment(data: bytes) -> None:
    """An experiment in YAML."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    with contextlib.suppress(UserError):
        parse_experiment(text)


def pattern(data: bytes) -> None:
    """A patient pattern and a name, parted by a line's end."""
    expression, _, name = data.decode(errors="replace").partition("\n")
    with contextlib.suppress(UserError):
        patient_rule(expression, field="f")(name)


def request(data: bytes) -> None:
    """A request of each method by the first byte: its key, and what it refers to."""
    method, kind = list(METHODS.items())[data[0] % len(METHODS) if data else 0]
    message = kind()
    try:
        message.ParseFromString(data[1:])
    except DecodeError:
        return
    list(member_refs(message))
    source_digests(message)
    with contextlib.suppress(UserError):
        step_key(method, message, stage_version=1)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        *(image, arrays, archive, packed, table, safetensors),
        *(generator, manifest, upload, experiment, pattern, request),
    )
}
