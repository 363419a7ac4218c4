"""Reading and writing the members of artifacts: what a stage's code holds in its hands.

`ArtifactStore.open` gives a `MemberReader` and `ArtifactStore.writer` an `ArtifactWriter`.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.backend import CHUNK_BYTES, Backend, storage_errors
from syntrial.artifacts.keys import canonical_json
from syntrial.artifacts.manifest import BLOB_NAME, MEMBER_NAME, Blob, Member, reference
from syntrial.artifacts.npy import read_header
from syntrial.errors import ArtifactMissing, DataLoss
from syntrial.v1.artifacts_pb2 import MemberRef


class MemberReader:
    """One member of an artifact; its blobs are verified when they are first opened."""

    def __init__(self, backend: Backend, *, key: str, name: str, member: Member) -> None:
        self._backend = backend
        self._member = member
        self._blobs = {blob.name: blob for blob in member.blobs}
        self.key = key
        """The artifact's key."""
        self.name = name
        """The member's name."""

    @property
    def digest(self) -> str:
        """SHA-256 over the member's blobs: what a manifest records of an input."""
        return self._member.digest

    def names(self) -> list[str]:
        """Names of the blobs, sorted."""
        return sorted(self._blobs)

    def size(self, name: str, /) -> int:
        """Length of a blob in bytes."""
        return self._blob(name).size

    def path(self, name: str, /) -> Path:
        """A verified local file with the blob's content, which must not be changed.

        Raises ArtifactMissing for a name that the member has not, and DataLoss for a blob that is missing or damaged.
        """
        blob = self._blob(name)
        try:
            return self._backend.blob_path(blob.digest, size=blob.size)
        except DataLoss as error:
            raise DataLoss(f"{reference(self.key, self.name)}, {name}: {error}", key=self.key) from error

    def read(self, name: str, /) -> bytes:
        """The blob's content. For large ones, use `path` or `array`."""
        return self.path(name).read_bytes()

    def json(self, name: str, /) -> Any:
        """The JSON value in a blob."""
        return json.loads(self.read(name))

    def array(self, name: str, /) -> NDArray[Any]:
        """The array in a .npy blob, read-only and memory-mapped; pickled objects are refused with ValueError.

        So is what is no array, or a shorter one than it says.
        """
        path = self.path(name)
        array = np.load(path, mmap_mode=None if _is_empty(path) else "r", allow_pickle=False)
        return cast("NDArray[Any]", array)

    def _blob(self, name: str) -> Blob:
        if name not in self._blobs:
            raise ArtifactMissing(
                f"{reference(self.key, self.name)} has no blob {name!r}; its blobs: {', '.join(self.names())}"
            )
        return self._blobs[name]


class ArtifactWriter:
    """Writes the members of one artifact. Blobs go to the store at once; the artifact exists from its commit on.

    Names of members are lower-case ([a-z0-9_-]), names of blobs are file names; each is written once.
    """

    def __init__(
        self, backend: Backend, *, key: str, method: str, stage_version: int, request: Mapping[str, Any]
    ) -> None:
        self._backend = backend
        self._blobs: dict[str, dict[str, Blob]] = {}
        self.key = key
        self.method = method
        self.stage_version = stage_version
        self.request = request
        self.inputs: dict[str, str] = {}
        """Digest of each member read so far, by "key#member"."""

    def record_input(self, ref: MemberRef, /, *, digest: str) -> None:
        """Notes that the step read this member, with the digest that it had."""
        self.inputs[reference(ref.key, ref.member)] = digest

    def members(self) -> dict[str, Member]:
        """What has been written so far."""
        return {name: Member(blobs=tuple(blobs[blob] for blob in sorted(blobs))) for name, blobs in self._blobs.items()}

    def write(self, member: str, name: str, data: bytes) -> None:
        """Writes a blob."""
        with self.open(member, name) as file:
            file.write(data)

    def adopt(self, member: str, blobs: Iterable[Blob]) -> None:
        """Takes blobs that an earlier attempt wrote; raises ArtifactMissing, and takes none, where one is gone."""
        for blob in (blobs := list(blobs)):
            self._check(member, blob.name)
            if not self._backend.renew(blob.digest, size=blob.size):
                raise ArtifactMissing(f"{reference(self.key, member)}, {blob.name}: its blob is gone")
        self._blobs.setdefault(member, {}).update({blob.name: blob for blob in blobs})

    def json(self, member: str, name: str, value: object) -> None:
        """Writes a JSON value in canonical form; raises ValueError for NaN, infinities and integers over 2^53."""
        self.write(member, name, canonical_json(value))

    def array(self, member: str, name: str, array: NDArray[Any]) -> None:
        """Writes an array as .npy (little-endian, C order); raises ValueError for an array of Python objects."""
        plain = np.asarray(array, order="C")
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        with self.open(member, name) as file:
            np.lib.format.write_array(file, plain, version=(1, 0), allow_pickle=False)

    @contextmanager
    def open(self, member: str, name: str) -> Iterator[BinaryIO]:
        """A binary file to write a blob to, in order; it is stored when the block ends without an exception."""
        self._check(member, name)
        spool = self._backend.spool_path()
        hashing = _HashingFile(spool)
        try:
            with hashing, io.BufferedWriter(hashing, CHUNK_BYTES) as file:
                yield file
            digest = hashing.sha.hexdigest()
            self._backend.put_blob(spool, digest=digest)
        finally:
            with storage_errors(spool.parent):
                spool.unlink(missing_ok=True)
        self._check(member, name)
        self._blobs.setdefault(member, {})[name] = Blob(name=name, digest=digest, size=hashing.size)

    def _check(self, member: str, name: str) -> None:
        if not MEMBER_NAME.fullmatch(member):
            raise ValueError(f"not a member's name: {member!r}")
        if not BLOB_NAME.fullmatch(name):
            raise ValueError(f"not a blob's name: {name!r}")
        if name in self._blobs.get(member, {}):
            raise ValueError(f"{member}/{name} is written already")


class _HashingFile(io.RawIOBase):
    """A new file that is hashed as it is written, in order; a disk that is full shows as StoreFull."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._folder = path.parent
        with storage_errors(self._folder):
            self._file = path.open("xb", buffering=0)
        self.sha = hashlib.sha256()
        self.size = 0

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        with storage_errors(self._folder):
            count = self._file.write(view)
        self.sha.update(view[:count])
        self.size += count
        return count

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            with storage_errors(self._folder):
                self._file.close()
        super().close()


def _is_empty(path: Path) -> bool:
    """Whether a .npy file holds no elements: an empty file region cannot be memory-mapped."""
    with path.open("rb") as file:
        return 0 in read_header(file)[0]
