"""Uploads: raw content in the store under its digest, so that any machine which reaches the store can read it.

    uploads/<algorithm>/<hex>   JSON {"kind": "file"|"folder", "name", "files": [{"name", "sha256", "size"}]}

The bytes are blobs. The record is written last, so an upload that is under way counts for nothing, and the next attempt
sends only the blobs that are missing. A record says no more than its digest allows: a folder's digest is that of its
list of files, a file's that of its bytes, so a changed record is noticed.
"""

import functools
import json
import os
import shutil
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from syntrial.artifacts.backend import CHUNK_BYTES, DIGEST_PATTERN, Backend, copy_hashed, storage_errors
from syntrial.artifacts.content import check_within, file_digest, folder_files
from syntrial.artifacts.keys import canonical_digest, canonical_json
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import DataLoss, SourceError, UserError

SMALL_BYTES: Final = 4 << 20
"""Files up to this length are sent several at a time, longer ones one after another: memory stays low."""

Kind = Literal["file", "folder"]

_LENGTHS = {"sha256": 64, "md5": 32}
_LONGEST_NAME = 255
"""Bytes that a file system takes for the name of one file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadedFile:
    """A file of an upload."""

    name: str
    """Relative to the folder, with '/' between parts; of a single file its own name."""
    sha256: str
    """In lower-case hexadecimal: the name of its blob."""
    size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """What an upload holds."""

    kind: Kind
    name: str
    """What the file or folder was called where it came from; no part of its identity."""
    files: tuple[UploadedFile, ...]
    """Sorted by name."""

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """sha256:… of the content, as `syntrial.artifacts.content` computes it from files on a disk."""
        if self.kind == "file":
            return f"sha256:{self.files[0].sha256}"
        return f"sha256:{canonical_digest([[file.name, file.size, file.sha256] for file in self.files])}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A file that is to be uploaded, wherever it comes from."""

    name: str
    size: int
    """In bytes, as far as is known beforehand."""
    read: Callable[[], Iterable[bytes]]
    """Its content, from the start; asked for once. Raises UserError or StoreUnavailable."""
    known: str | None = None
    """The SHA-256 that it had when it was read before, if it is the same still: a blob that is there is not sent."""
    note: Callable[[str], None] = lambda _sha256: None
    """Called with its SHA-256 once its blob is in the store."""


Progress = Callable[[int, int], None]
"""Called with the bytes that are in the store, and with all that there are; may raise to stop."""


def unchecked(_: Path, /) -> None:
    """What is looked at of a file before it is sent: nothing."""


def record_name(digest: str) -> str | None:
    """The name of an upload's record, or None for what is no digest."""
    algorithm, _, value = digest.partition(":")
    if len(value) != _LENGTHS.get(algorithm) or not set(value) <= set("0123456789abcdef"):
        return None
    return f"uploads/{algorithm}/{value}"


def find_upload(store: ArtifactStore, digest: str, /) -> Upload | None:
    """The upload of this digest, or None; raises DataLoss for a record that is damaged."""
    name = record_name(digest)
    data = store.backend.read(name) if name else None
    return None if data is None else parse_upload(data, digest=digest)


def has_upload(store: ArtifactStore, digest: str, /) -> bool:
    """Whether the content is in the store; a damaged record counts as none, so that it is uploaded again."""
    try:
        return find_upload(store, digest) is not None
    except DataLoss:
        return False


def put_upload(
    store: ArtifactStore,
    path: Path,
    /,
    *,
    digest: str,
    reads: Callable[[str], bool] | None = None,
    on_progress: Progress | None = None,
) -> int:
    """Puts a file or folder into the store; returns how many bytes had to be sent.

    `digest` is that of the content ("sha256:…" as `syntrial.sources.digests` resolves it, or "md5:…" of one file):
    content that changed since then is not recorded. Blobs that are there are not sent again, so an upload that was
    broken off goes on where it was. Raises SourceError for files that cannot be read or that change meanwhile.
    """
    kind, parts = local_parts(path, reads=reads)
    return put_parts(store, parts, kind=kind, name=path.name, digest=digest, on_progress=on_progress)[1]


def local_parts(
    path: Path, /, *, within: Path | None = None, reads: Callable[[str], bool] | None = None
) -> tuple[Kind, list[Part]]:
    """What there is to upload at a path, without hidden files; `reads` tells of a folder's file whether it counts.

    Raises SourceError where it cannot be read, and where a link leads out of the folder `within`.
    """
    with _readable(path):
        if path.is_dir():
            files = list(folder_files(path, within=within, reads=reads))
        else:
            check_within(path, within=within.resolve() if within is not None else None)
            files = [(path.name, path)]
        parts = [
            Part(name=name, size=file.stat().st_size, read=functools.partial(_chunks, file)) for name, file in files
        ]
        return "folder" if path.is_dir() else "file", parts


def put_parts(
    store: ArtifactStore,
    parts: Iterable[Part],
    /,
    *,
    kind: Kind,
    name: str,
    digest: str | None = None,
    check: Callable[[Path], None] = unchecked,
    parallel: int = 1,
    on_progress: Progress | None = None,
) -> tuple[str, int]:
    """Puts files into the store as one upload; returns its digest, and how many bytes had to be sent.

    `digest`, where it is given, is what the content must have. `check` looks at each file, on this machine, before it
    is sent. `parallel` is how many small files at a time are worth reading. Raises SourceError for other content, and
    for names that no folder can hold.
    """
    ordered = sorted(parts, key=lambda part: part.name)
    if kind == "folder":
        check_names([part.name for part in ordered], title=name)
    if digest is not None and _renewed(store, digest):
        return digest, 0
    counter = _Counter(total=sum(part.size for part in ordered), on_progress=on_progress)

    numbers = {part.name: number for number, part in enumerate(ordered)}

    def put(part: Part) -> UploadedFile:
        expected = digest if kind == "file" else None
        try:
            file = _put_part(store.backend, part, digest=expected, check=check, counter=counter)
        except SourceError as error:
            if kind == "folder":
                error.about(error.file or part.name, number=numbers[part.name])
            raise
        return replace(file, name=_plain(file.name)) if kind == "file" else file

    small = [part for part in ordered if part.size <= SMALL_BYTES]
    with ThreadPoolExecutor(max(parallel, store.backend.parallel)) as pool:
        files = list(pool.map(put, small))
    files += [put(part) for part in ordered if part.size > SMALL_BYTES]
    upload = Upload(kind=kind, name=_plain(name), files=tuple(sorted(files, key=lambda file: file.name)))
    found = upload.digest
    if digest is not None and digest.startswith("sha256:") and found != digest:
        raise _changed(name, expected=digest, found=found)
    if not _renewed(store, digest or found):
        _write_record(store, upload, digest=digest or found)
    return digest or found, counter.sent


def parse_upload(data: bytes, *, digest: str) -> Upload:
    """The record of an upload; raises DataLoss where it is damaged, is another's, or names a file outside its folder.

    A digest other than SHA-256 is of a single file's bytes, which `materialise` checks.
    """
    try:
        tree = json.loads(data)
        upload = Upload(
            kind=tree["kind"],
            name=_plain(_text(tree["name"])),
            files=tuple(
                UploadedFile(name=_text(file["name"]), sha256=_text(file["sha256"]), size=_count(file["size"]))
                for file in tree["files"]
            ),
        )
        if upload.kind not in {"file", "folder"} or (upload.kind == "file" and len(upload.files) != 1):
            raise ValueError("a file is one file")
        if not all(DIGEST_PATTERN.fullmatch(file.sha256) for file in upload.files):
            raise ValueError("a digest is no SHA-256")
        names = [file.name for file in upload.files]
        check_names(names, title=upload.name)
        if names != sorted(names):
            raise ValueError("its files are not in the order that the digest of a folder takes them in")
        if digest.startswith("sha256:") and upload.digest != digest:
            raise ValueError("its content has another digest")
        if not digest.startswith("sha256:") and upload.kind != "file":
            raise ValueError("only a single file has another digest than SHA-256")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UserError) as error:
        raise DataLoss(f"the record of upload {digest} is damaged: {error}") from error
    return upload


def materialise(
    store: ArtifactStore, digest: str, /, *, folder: Path, on_progress: Callable[[int], None] = lambda _count: None
) -> Path | None:
    """Lays the content out under `folder`, an own one; its path there, or None where the store does not have it.

    Files are hard links to verified blobs where the file system allows it, else copies, and must not be changed.
    `on_progress` is called after every file with how many are done, and may raise to stop. Raises DataLoss where a blob
    or the record is damaged, or was found so before: it is set aside then, so that the content can be uploaded again.
    """
    name = record_name(digest)
    if name is None:
        return None
    try:
        upload = find_upload(store, digest)
        if upload is None:
            if store.backend.read(_damaged_name(digest)) is not None:
                raise DataLoss(f"the upload {digest} was damaged and is not uploaded again yet")
            return None
        target = folder / name.rpartition("/")[2][:16] / upload.name
        with storage_errors(folder):
            _lay_out(store, upload, target=target, on_progress=on_progress)
        if upload.kind == "file" and not digest.startswith("sha256:"):
            found = file_digest(target, algorithm=digest.partition(":")[0])
            if found != digest:
                raise DataLoss(f"the upload {digest} is damaged: its file has the digest {found}")
    except DataLoss:
        set_aside(store, digest)
        raise
    return target


def set_aside(store: ArtifactStore, digest: str, /) -> None:
    """After a DataLoss: removes the blobs of an upload that are damaged, and moves its record to `damaged/`.

    Blobs that turn out sound stay, and are not sent again.
    """
    name = record_name(digest)
    data = store.backend.read(name) if name else None
    if name is None or data is None:
        return
    try:
        files = parse_upload(data, digest=digest).files
    except DataLoss:
        files = ()
    for file in files:
        try:
            store.backend.blob_path(file.sha256, size=file.size, fresh=True)
        except DataLoss:
            store.backend.delete(f"blobs/sha256/{file.sha256}")
    store.backend.write(_damaged_name(digest), data)
    store.backend.delete(name)


def check_names(names: Sequence[str], *, title: str) -> None:
    """Raises SourceError unless a folder can hold files of these names, and `folder_files` finds them all there."""
    nearest = {above for name in names if (above := name.rpartition("/")[0])}
    folders = nearest | {folder for above in nearest for folder in _folders_of(above)}
    seen: set[str] = set()
    for name in names:
        if not _is_safe(name):
            rule = "a file's name stays below its folder: no empty, hidden or '..' part, no control character, UTF-8"
        elif name in seen:
            rule = "names differ by more than the form of their Unicode letters"
        elif name in folders:
            rule = "a name is that of a file or of a folder, not of both"
        else:
            seen.add(name)
            continue
        wrong = SourceError(field=title, rule=rule, received=ascii(name), remedy="Rename it.")
        raise wrong.about(name, number=sorted(names).index(name))


def _put_part(
    backend: Backend,
    part: Part,
    *,
    digest: str | None,
    check: Callable[[Path], None],
    counter: "_Counter",
) -> UploadedFile:
    """Puts one file; `digest` is what it must have, if that is known."""
    if part.known is not None and backend.renew(part.known, size=part.size):
        part.note(part.known)
        counter.skip(part.size)
        return UploadedFile(name=part.name, sha256=part.known, size=part.size)
    # What is hashed is what is sent, whatever happens to the file meanwhile.
    spool = backend.spool_path()
    try:
        with storage_errors(spool.parent), spool.open("xb") as target:
            sha256, size = copy_hashed(counter.watched(part.read()), target)
        if size != part.size:
            raise _changed(part.name, expected=f"{part.size} bytes", found=f"{size} bytes")
        if digest is not None:
            algorithm = digest.partition(":")[0]
            found = f"sha256:{sha256}" if algorithm == "sha256" else file_digest(spool, algorithm=algorithm)
            if found != digest:
                raise _changed(part.name, expected=digest, found=found)
        check(spool)
        is_there = backend.renew(sha256, size=size)
        if not is_there:
            backend.put_blob(spool, digest=sha256)
        part.note(sha256)
        counter.finish(size, sent=not is_there)
    finally:
        with storage_errors(spool.parent):
            spool.unlink(missing_ok=True)
    return UploadedFile(name=part.name, sha256=sha256, size=size)


def _lay_out(store: ArtifactStore, upload: Upload, *, target: Path, on_progress: Callable[[int], None]) -> None:
    paths = [target if upload.kind == "file" else target / file.name for file in upload.files]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    done = 0

    def lay(pair: tuple[UploadedFile, Path]) -> None:
        nonlocal done
        file, path = pair
        blob = store.backend.blob_path(file.sha256, size=file.size)
        path.unlink(missing_ok=True)
        try:
            os.link(blob, path)
        except OSError:
            # Another file system, one without links, a blob of too many names, or one that the cache just gave up.
            shutil.copyfile(store.backend.blob_path(file.sha256, size=file.size), path)
        with lock:
            done += 1
            on_progress(done)

    store.each(lay, list(zip(upload.files, paths, strict=True)))


def _renewed(store: ArtifactStore, digest: str) -> bool:
    """Whether the upload is there, under the name that it was given first.

    It is young again then, so that garbage collection leaves it to the experiment that is about to name it.
    """
    name = record_name(digest)
    data = store.backend.read(name) if name is not None and has_upload(store, digest) else None
    if name is None or data is None:
        return False
    store.backend.write(name, data)
    return True


def _write_record(store: ArtifactStore, upload: Upload, *, digest: str) -> None:
    name = record_name(digest)
    if name is None:
        raise ValueError(f"not a digest of content: {digest!r}")
    files = [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in upload.files]
    store.backend.write(name, canonical_json({"kind": upload.kind, "name": upload.name, "files": files}))


class _Counter:
    """Adds up bytes over threads: half of a file's when they are read, half when they are in the store."""

    def __init__(self, *, total: int, on_progress: Progress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._halves = 0
        self.sent = 0

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._count(len(chunk))
            yield chunk

    def finish(self, size: int, *, sent: bool) -> None:
        self._count(size, sent=size if sent else 0)

    def skip(self, size: int) -> None:
        self._count(2 * size)

    def _count(self, halves: int, *, sent: int = 0) -> None:
        with self._lock:
            self._halves += halves
            self.sent += sent
            if self._on_progress is not None:
                self._on_progress(min(self._halves // 2, self._total), self._total)


def _chunks(path: Path) -> Iterator[bytes]:
    with _readable(path), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            field=str(error.filename or path),
            rule="the file can be read",
            received=error.strerror or str(error),
            remedy="Check the path, its permissions and the disk.",
        ).about(str(error.filename or path)) from error


def _changed(name: str, *, expected: str, found: str) -> SourceError:
    return SourceError(
        field=name,
        rule=f"the content stays as it was when it was looked at first, {expected}",
        received=found,
        remedy="Run it again once nothing writes to the data any more.",
    )


def _damaged_name(digest: str) -> str:
    return f"damaged/{digest.partition(':')[2]}/upload"


def _plain(name: str) -> str:
    """The name of a file or folder itself, or "source" where that is none to be used as it is."""
    return name if "/" not in name and _is_safe(name) else "source"


def _is_safe(name: str) -> bool:
    above, slash, last = name.rpartition("/")
    return _is_safe_part(last) and (not slash or _is_safe_folder(above))


@functools.lru_cache(maxsize=4096)
def _is_safe_folder(name: str) -> bool:
    return all(map(_is_safe_part, name.split("/")))


def _is_safe_part(part: str) -> bool:
    if not part or part[0] == ".":
        return False
    if part.isascii() and part.isprintable():
        return len(part) <= _LONGEST_NAME
    try:
        length = len(part.encode())
    except UnicodeEncodeError:
        return False
    is_plain = not any(ord(letter) < 32 for letter in part) and unicodedata.is_normalized("NFC", part)
    return length <= _LONGEST_NAME and is_plain


def _folders_of(name: str) -> Iterator[str]:
    """The folders that a file lies in."""
    at = name.find("/")
    while at >= 0:
        yield name[:at]
        at = name.find("/", at + 1)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is text, not {value!r}")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"a size is a whole number, not {value!r}")
    return value
