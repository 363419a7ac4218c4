"""Files of the web, named by address and SHA-256: fetched once, taken up where a fetch broke off, checked, then stored.

Only what has the digest counts, so it makes no difference who answers for the address. Called by `ingest`.
"""

import contextlib
import errno
import fcntl
import http.client
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final

import platformdirs
import tenacity

from syntrial.artifacts.cache import own_folder
from syntrial.artifacts.content import CHUNK_BYTES, file_digest
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import Progress, has_upload, put_upload
from syntrial.errors import SourceError, SourceUnavailable
from syntrial.imagesets.filetypes import kind_of
from syntrial.redirects import CheckedRedirects
from syntrial.sources.addresses import HttpsAddress
from syntrial.sources.digests import check_file

ANSWER_SECONDS: Final = 60.0
"""Without an answer, or without a byte, for so long a connection counts as broken."""
_TRIES: Final = 5
_WAIT_SECONDS: Final = 1.0
_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}
"""Of the disk, not of the network."""
_ELSEWHERE: Final = "fetch the file elsewhere and give its path"


def bring_file(
    address: HttpsAddress,
    *,
    store: ArtifactStore,
    kind: str,
    field: str,
    folder: Path | None = None,
    on_progress: Progress | None = None,
) -> str:
    """Puts the file at `address` into the store, where it is not there yet; returns its digest.

    `kind` is that of the source; `folder` holds what is fetched meanwhile, by default the user's cache. Raises
    SourceError for a file of another digest, one that is absent or not open to all, SourceUnavailable without an
    answer.
    """
    if has_upload(store, address.digest):
        return address.digest
    # A folder for each digest: two addresses may end in one name.
    own = (folder or _cache()) / address.digest.partition(":")[2]
    with _disk(own, field=field), _alone(own):
        return _bring(address, own / "part", store=store, kind=kind, field=field, on_progress=on_progress)


def _bring(
    address: HttpsAddress, part: Path, *, store: ArtifactStore, kind: str, field: str, on_progress: Progress | None
) -> str:
    if has_upload(store, address.digest):
        # Another process has brought it meanwhile.
        return address.digest
    for is_last in (False, True):
        resumed = part.is_file()
        fetch(address.url, part, field=field, on_progress=on_progress)
        found = file_digest(part)
        if found == address.digest:
            break
        # What was fetched earlier may be of another file than what came now.
        what = kind_of(part)
        part.unlink()
        if is_last or not resumed:
            raise SourceError(
                field=field,
                rule=f"the file at the address has the SHA-256 that stands behind it, {address.digest}",
                received=f"{address.url}, {what.one} with {found}",
                remedy=what.remedy
                if what.one == "a web page"
                else "Check the digest with whoever publishes the file; if it is right, the file was changed.",
            )
    check_file(part, kind=kind, field=field, title=address.url)
    named = part.with_name(
        re.sub(r"[^\w.-]+", "-", address.url.rpartition("/")[2].partition("?")[0]).strip(".") or "file"
    )
    part.replace(named)
    try:
        put_upload(store, named, digest=address.digest, on_progress=on_progress)
    finally:
        named.unlink(missing_ok=True)
    return address.digest


@contextlib.contextmanager
def _alone(own: Path) -> Iterator[None]:
    """Lets one process at a time fetch what has this folder: what two append to one file is neither's."""
    name = own / "lock"
    with contextlib.ExitStack() as stack:
        while True:
            own.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                lock = stack.enter_context(name.open("wb"))
                fcntl.flock(lock, fcntl.LOCK_EX)
                # Who had it before may have taken the folder away.
                if os.fstat(lock.fileno()).st_ino == name.stat().st_ino:
                    break
        try:
            yield
        finally:
            # Where nothing is left to be taken up.
            if {path.name for path in own.iterdir()} == {name.name}:
                name.unlink()
                with contextlib.suppress(OSError):
                    own.rmdir()


@contextlib.contextmanager
def _disk(own: Path, *, field: str) -> Iterator[None]:
    """What the disk refuses, as an error of the disk and not of the network."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            field=field,
            rule="there is room for what is fetched",
            received=f"{error.filename or own}: {error.strerror or error}",
            remedy="Make room there; what came is kept, and taken up where it broke off.",
        ) from error


def fetch(url: str, part: Path, *, field: str, on_progress: Progress | None = None) -> None:
    """Fetches what `part` lacks of the file at `url`. Raises SourceError and SourceUnavailable."""
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=tenacity.wait_random_exponential(multiplier=_WAIT_SECONDS, max=10 * _WAIT_SECONDS),
        reraise=True,
    )
    try:
        attempts(_take_up, url, part, on_progress=on_progress)
        return
    except urllib.error.HTTPError as error:
        reason = f"HTTP {error.code} {error.reason}"
        if not _may_pass(error):
            raise SourceError(
                field=field,
                rule="the file is at its address, open to whoever asks",
                received=f"{url}: {reason}",
                remedy=f"Check the address; of one that asks to log in, {_ELSEWHERE}.",
            ) from None
    except (OSError, http.client.HTTPException) as error:
        if not _may_pass(error):
            raise
        reason = str(getattr(error, "reason", None) or error) or type(error).__name__
    raise SourceUnavailable(
        field=field,
        rule="the address answers",
        received=f"{url}: {reason}, {_TRIES} times",
        remedy=f"Check the network and its proxy (HTTPS_PROXY), or {_ELSEWHERE}. What came is kept.",
    )


def _may_pass(error: BaseException) -> bool:
    """Whether the same question may be answered a moment later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code == HTTPStatus.TOO_MANY_REQUESTS or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR
    is_of_disk = isinstance(error, OSError) and error.errno in _DISK
    return isinstance(error, (OSError, http.client.HTTPException)) and not is_of_disk


def _take_up(url: str, part: Path, *, on_progress: Progress | None) -> None:
    done = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "syntrial", **({"Range": f"bytes={done}-"} if done else {})}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - an address is https
    opener = urllib.request.build_opener(CheckedRedirects())
    try:
        answer = opener.open(request, timeout=ANSWER_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # It has all that there is, as far as the server says; the digest tells.
            return
        raise
    with answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT or not _begins_at(answer.headers, done):
            done = 0
        length = int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if done else "wb") as target:
            _copy(answer, target, done=done, total=done + length, on_progress=on_progress)
    if length and part.stat().st_size < done + length:
        raise ConnectionError("the connection broke off")


def _begins_at(headers: Mapping[str, str], offset: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {offset}-")


def _copy(answer: IO[bytes], target: IO[bytes], *, done: int, total: int, on_progress: Progress | None) -> None:
    while piece := answer.read(CHUNK_BYTES):
        target.write(piece)
        done += len(piece)
        if on_progress is not None:
            on_progress(done, max(done, total))


def _cache() -> Path:
    """The user's cache; in a pod, whose home cannot be written, the folder of temporary files."""
    folder = Path(platformdirs.user_cache_dir("syntrial")) / "downloads"
    try:
        own_folder(folder)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"syntrial-downloads-{os.getuid()}"
        own_folder(folder)
    return folder
