"""Reads an .npz file in MedMNIST's layout (`syntrial.imagesets.arrays` says which).

Images are read picture by picture out of the compressed file, so memory does not grow with it.
"""

import functools
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.content import file_digest
from syntrial.documents.names import Names
from syntrial.errors import SourceError
from syntrial.imagesets.archives import array_header, exactly, member, opened
from syntrial.imagesets.arrays import read_arrays
from syntrial.imagesets.pseudonyms import patient_word, secret_of_file
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep.samples import Samples, by_bands, over_black
from syntrial_data_prep.sources.raw import Deferred, Place, Raw, RawSplit


def open_source(source: Source, place: Place) -> Raw:
    """Opens the file that the source names by its digest."""
    npz = source.npz
    return read(place.existing(), digest=source.digest, classes=tuple(npz.classes), several_labels=npz.several_labels)


def read(path: Path, *, digest: str, classes: tuple[str, ...], several_labels: bool = False, title: str = "") -> Raw:
    """Opens the file; `digest` is what its content must be, `classes` its labels' names or empty for "0", "1", …

    `several_labels` says that rows of labels which each sum to one are no one-hot codes.
    """
    check_digest(path, digest=digest)
    title = title or path.name
    found = read_arrays(path, classes=classes, several_labels=several_labels, title=title)
    patients = {split: part.patients for split, part in found.splits.items() if part.patients is not None}
    secret = secret_of_file(path) if patients else b""
    words = {name: patient_word(name, secret=secret) for column in patients.values() for name in column}
    splits: dict[str, RawSplit] = {}
    for split, part in found.splits.items():

        def pictures(name: str = part.images) -> Iterator[Deferred]:
            with opened(path, title=title) as archive:
                for picture in _stream(archive, name, title=title):
                    yield functools.partial(of_array, picture)

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
        numbers=frozenset(found.numbers),
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


def of_array(picture: NDArray[Any]) -> Samples:
    """One image of an array, (H, W) or (H, W, 1, 3 or 4), of any type of numbers."""
    values = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim == 2 or values.shape[2] == 3:
        return Samples(values=values)
    if values.dtype == np.uint8:
        height, width = values.shape[:2]
        return Samples(values=by_bands(height, width, lambda top, end: over_black(values[top:end])))
    return Samples(values=values[:, :, :3], alpha=values[:, :, 3])
