"""Reads an .npz file in MedMNIST's layout (`syntrial.imagesets.arrays` says which).

Images are read picture by picture out of the compressed file, so memory does not grow with it.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.content import file_digest
from syntrial.documents.names import Names
from syntrial.errors import SourceError
from syntrial.imagesets.archives import array_header, exactly, member, opened
from syntrial.imagesets.arrays import read_arrays
from syntrial.imagesets.pseudonyms import patient_word, secret_of_file
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep import pixels
from syntrial_data_prep.sources.raw import Picture, Place, Raw, RawSplit


def open_source(source: Source, place: Place) -> Raw:
    """Opens the file that the source names by its digest."""
    return read(place.existing(), digest=source.digest, classes=tuple(source.npz.classes))


def read(path: Path, *, digest: str, classes: tuple[str, ...], title: str = "") -> Raw:
    """Opens the file; `digest` is what its content must be, `classes` its labels' names or empty for "0", "1", …"""
    check_digest(path, digest=digest)
    title = title or path.name
    found = read_arrays(path, classes=classes, title=title)
    with opened(path, title=title) as archive:
        bits = max(_bits(archive, part.images, part.dtype, title=title) for part in found.splits.values())
    patients = {split: part.patients for split, part in found.splits.items() if part.patients is not None}
    secret = secret_of_file(path) if patients else b""
    words = {name: patient_word(name, secret=secret) for column in patients.values() for name in column}
    splits: dict[str, RawSplit] = {}
    for split, part in found.splits.items():

        def pictures(name: str = part.images) -> Iterator[Picture | None]:
            with opened(path, title=title) as archive:
                for picture in _stream(archive, name, title=title):
                    yield pixels.from_array(picture, bits=bits, name=f"{title}: {name}")

        count, height, width = part.shape[:3]
        splits[split] = RawSplit(
            labels=part.labels,
            names=tuple(f"{split}/{row}" for row in range(count)),
            patients=part.patients and tuple(words[name] for name in part.patients),
            identities=part.patients or tuple(f"{split}/{row}" for row in range(count)),
            pictures=pictures,
            sides=(min(height, width), max(height, width)),
            oblong=count if height != width else 0,
        )
    return Raw(
        title=title,
        splits=splits,
        classes=found.classes,
        multi_label=found.multi_label,
        channels=found.channels,
        notes=found.notes,
        originals=Names(version=1, secret=secret.hex(), files={}, patients={word: name for name, word in words.items()})
        if patients
        else None,
    )


def check_digest(path: Path, *, digest: str) -> None:
    """Raises SourceError where the file's content is not what was planned; an empty digest is not checked."""
    found = file_digest(path, algorithm=digest.partition(":")[0]) if digest else ""
    if found != digest:
        raise SourceError(
            field=str(path),
            rule=f"the content is the one that was planned, {digest}",
            received=found,
            remedy="The file has changed since: run again. If it was downloaded, download it again.",
        )


def _stream(archive: zipfile.ZipFile, name: str, *, title: str) -> Iterator[NDArray[np.generic]]:
    """The images of one array, each read as it is needed."""
    with member(archive, name, title=title) as file:
        header = array_header(file, archive, name, title=title)
        if header.is_fortran:
            # Written column by column: there is no reading it in parts, so it is unpacked beside the memory.
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(file, unpacked, 1 << 20)
                yield from np.memmap(unpacked, dtype=header.dtype, mode="r", shape=header.shape, order="F")
            return
        shape = header.shape[1:]
        for _ in range(header.shape[0]):
            yield np.frombuffer(exactly(file, header.bytes // header.shape[0]), dtype=header.dtype).reshape(shape)


def _bits(archive: zipfile.ZipFile, name: str, dtype: np.dtype[np.generic], *, title: str) -> int:
    """How many bits the images use: 16-bit files often hold 10 or 12."""
    if dtype != np.uint16:
        return 8
    return pixels.bits_of(max(int(picture.max()) for picture in _stream(archive, name, title=title)))
