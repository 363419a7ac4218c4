"""A store in a bucket of an S3 server; how it is reached is `s3_client.py`'s to say.

An object is created only if absent by a signed PUT sent with `If-None-Match: *`, since the client's own `put_object`
has no condition; `open_s3` checks that the server heeds it.
"""

import io
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from uuid import uuid4
from xml.etree.ElementTree import ParseError

import tenacity
import urllib3
from minio.commonconfig import ComposeSource
from minio.error import S3Error

from syntrial.artifacts.backend import CHUNK_BYTES, ObjectInfo, blob_name, check_count, check_name, check_size
from syntrial.artifacts.cache import BlobCache, CacheBudget
from syntrial.artifacts.connections import RequestLimits, headers_size
from syntrial.artifacts.s3_client import (
    LIMITS,
    PARALLEL,
    Conflict,
    Place,
    S3Settings,
    connect,
    s3_errors,
    settings_from,
)
from syntrial.errors import DataLoss, StoreRefused, StoreUnavailable

DOWNLOADS: Final = 3
"""How often a download that broke off is begun anew."""
PART_BYTES: Final = 16 << 20
"""Part of a large upload; three are in memory at a time."""
RENEWED_AFTER: Final = 86400.0
"""Seconds after which a blob is made young again: garbage collection must leave younger ones alone."""

_STORE: Final = Place(
    field="store",
    needs="reading, writing and deleting",
    remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those of a user who may.",
    refusal=StoreRefused,
)


def open_s3(
    *,
    bucket: str,
    prefix: str = "",
    environment: Mapping[str, str] | None = None,
    limits: RequestLimits = LIMITS,
    budget: CacheBudget | None = None,
) -> "S3Backend":
    """The store under `prefix` of `bucket`, checked: reached, allowed to write, and heeding conditions.

    Raises StoreRefused naming the setting for wrong credentials, an absent bucket or a server without conditional
    writes; StoreUnavailable where nothing answers.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise StoreRefused(
            field="store",
            rule="an S3 store is s3://bucket/prefix",
            received=f"bucket {bucket!r}",
            remedy="Give the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens.",
        )
    try:
        prefix = check_name(prefix) if prefix else ""
    except ValueError as error:
        raise StoreRefused(
            field="store",
            rule="a prefix has parts of letters, digits, '.', '_' and '-'",
            received=prefix,
            remedy="Name another prefix.",
        ) from error
    settings = settings_from(os.environ if environment is None else environment)
    backend = S3Backend(settings, bucket=bucket, prefix=prefix, limits=limits, budget=budget)
    backend.probe()
    return backend


class S3Backend:
    """Objects of a bucket; blobs are read through a local cache."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        bucket: str,
        prefix: str = "",
        limits: RequestLimits = LIMITS,
        budget: CacheBudget | None = None,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache = BlobCache(settings.cache_folder, budget=budget or CacheBudget(settings.cache_limit))
        self._client, self._http = connect(settings, limits=limits)

    @property
    def url(self) -> str:
        """The store's address, s3://bucket/prefix."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def parallel(self) -> int:
        """See `PARALLEL`."""
        return PARALLEL

    def probe(self) -> None:
        """Raises StoreRefused unless the bucket can be written and the server heeds `If-None-Match`."""
        name = f"probes/{uuid4().hex}"
        try:
            first, second = self.create(name, b"1"), self.create(name, b"2")
            kept = self.read(name)
        finally:
            self.delete(name)
        if (first, second, kept) != (True, False, b"1"):
            raise StoreRefused(
                field="SYNTRIAL_S3_ENDPOINT",
                rule="the server must heed conditional writes (If-None-Match: *)",
                received=f"{self._settings.endpoint}, which overwrote an object that it was asked to keep",
                remedy="Use a server that has them (MinIO, AWS S3 since 2024), or a folder as the store.",
            )

    def read(self, name: str, /, *, limit: int | None = None) -> bytes | None:
        """See `Backend.read`."""
        with self._errors():
            try:
                response = self._client.get_object(self._bucket, self._object(name))
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            try:
                check_size(name, headers_size(response.headers), limit=limit)
                # A server need not say how much it is going to send, nor stop there.
                data = bytes(response.read() if limit is None else response.read(limit + 1))
                check_size(name, len(data), limit=limit)
                return data
            finally:
                response.close()
                response.release_conn()

    def write(self, name: str, data: bytes, /) -> None:
        """See `Backend.write`; checkpoints of any size pass through here, in parts."""
        with self._errors():
            self._client.put_object(self._bucket, self._object(name), io.BytesIO(data), len(data), part_size=PART_BYTES)

    def create(self, name: str, data: bytes, /) -> bool:
        """See `Backend.create`."""
        with self._errors():
            return self._create(self._object(name), data)

    def scan(self, prefix: str, /, *, limit: int | None = None) -> list[ObjectInfo]:
        """See `Backend.scan`."""
        try:
            with self._errors():
                listed = self._client.list_objects(self._bucket, prefix=self._prefix + prefix, recursive=True)
                entries = (
                    ObjectInfo(
                        name=str(found.object_name).removeprefix(self._prefix),
                        size=int(found.size or 0),
                        modified=found.last_modified.timestamp() if found.last_modified else 0.0,
                    )
                    for found in listed
                )
                infos = check_count(prefix, entries, limit=limit)
        except (ParseError, ValueError) as error:
            raise StoreUnavailable(f"{self._settings.endpoint} gave a listing that cannot be read: {error}") from None
        # A listing whose pages do not follow one another has left something out.
        if len({info.name for info in infos}) < len(infos):
            raise StoreUnavailable(f"{self._settings.endpoint} listed objects of {self.url}/{prefix} twice")
        return infos

    def delete(self, name: str, /) -> None:
        """See `Backend.delete`; a blob leaves the local cache too."""
        with self._errors():
            self._client.remove_object(self._bucket, self._object(name))
        if name.startswith("blobs/"):
            self._cache.drop(name.rpartition("/")[2])

    def delete_old(self, name: str, /, *, before: float) -> bool:
        """See `Backend.delete_old`."""
        with self._errors():
            try:
                modified = self._client.stat_object(self._bucket, self._object(name)).last_modified
            except S3Error as error:
                if error.code in {"NoSuchKey", "NoSuchObject"}:
                    return False
                raise
        if modified is None or modified.timestamp() >= before:
            return False
        self.delete(name)
        return True

    def clock(self) -> float:
        """The time in the `Date` of the server's answer, to the second."""
        with self._errors():
            url = self._client.get_presigned_url("HEAD", self._bucket, self._object("probes/clock"))
            response = self._http.request("HEAD", url)
        date = response.headers.get("Date")
        return parsedate_to_datetime(date).timestamp() if date else time.time()

    def spool_path(self) -> Path:
        """See `Backend.spool_path`; in the cache's folder, where the blob stays."""
        return self._cache.spool_path()

    def put_blob(self, spool: Path, /, *, digest: str) -> None:
        """See `Backend.put_blob`; the file becomes the cache's."""
        size = spool.stat().st_size
        with self._errors(), spool.open("rb") as file:
            self._client.put_object(self._bucket, self._object(blob_name(digest)), file, size, part_size=PART_BYTES)
        self._cache.adopt(spool, digest=digest)

    def renew(self, digest: str, /, *, size: int) -> bool:
        """See `Backend.renew`; by a copy inside the server, and only where the blob is not of today."""
        name = self._object(blob_name(digest))
        with self._errors():
            try:
                found = self._client.stat_object(self._bucket, name)
                if found.size != size:
                    return False
                # Against RENEWED_AFTER, what this machine's clock is wrong by does not matter.
                if found.last_modified is None or time.time() - found.last_modified.timestamp() > RENEWED_AFTER:
                    # A copy of an object onto itself is allowed where it changes the metadata.
                    metadata: dict[str, str | list[str] | tuple[str]] = {"renewed": str(int(time.time()))}
                    self._client.compose_object(
                        self._bucket, name, [ComposeSource(self._bucket, name)], metadata=metadata
                    )
            except S3Error as error:
                if error.code in {"NoSuchKey", "NoSuchObject"}:
                    return False
                raise
        return True

    def blob_path(self, digest: str, /, *, size: int, fresh: bool = False) -> Path:
        """See `Backend.blob_path`; verified when the cache is filled, and once by each process."""
        if fresh:
            self._cache.drop(digest)
        # The client repeats requests that fail; a connection that breaks while a large blob comes is ours to repeat.
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            stop=tenacity.stop_after_attempt(min(DOWNLOADS, self._limits.attempts)),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        return attempts(self._cache.path, digest, size=size, fetch=lambda: self._stream(digest))

    def sweep(self, *, before: float, dry_run: bool) -> list[ObjectInfo]:
        """See `Backend.sweep`: the cache's spool files, and the parts of uploads that were never completed.

        A listing of such uploads names no lengths. Whoever may not list or abort them leaves them to the bucket's own
        rules; MinIO removes them by itself after a day.
        """
        swept = self._cache.sweep(before=before, dry_run=dry_run)
        with self._errors():
            try:
                for name, upload_id, started in self._incomplete():
                    if started < before:
                        swept.append(ObjectInfo(name=name.removeprefix(self._prefix), size=0, modified=started))
                        if not dry_run:
                            self._abort(name, upload_id)
            except S3Error as error:
                if error.code not in {"AccessDenied", "NotImplemented", "MethodNotAllowed"}:
                    raise
        return swept

    def _incomplete(self) -> list[tuple[str, str, float]]:
        """Name, identifier and start of each upload in parts under the prefix that was not completed."""
        found: dict[str, tuple[str, str, float]] = {}
        # MinIO lists all for an empty prefix, and nothing for one that is no whole name.
        for prefix in dict.fromkeys((self._prefix, "")):
            after: tuple[str | None, str | None] = (None, None)
            if found:
                break
            while True:
                # The client has no public method for this and for aborting one.
                page = self._client._list_multipart_uploads(
                    self._bucket, prefix=prefix, key_marker=after[0], upload_id_marker=after[1]
                )
                for upload in page.uploads:
                    started = upload.initiated_time.timestamp() if upload.initiated_time else 0.0
                    if upload.object_name.startswith(self._prefix) and upload.upload_id:
                        found[upload.upload_id] = upload.object_name, upload.upload_id, started
                if not page.is_truncated:
                    break
                after = page.next_key_marker, page.next_upload_id_marker
        return list(found.values())

    def _abort(self, name: str, upload_id: str) -> None:
        try:
            self._client._abort_multipart_upload(self._bucket, name, upload_id)
        except S3Error as error:
            # Completed or aborted by somebody else meanwhile.
            if error.code != "NoSuchUpload":
                raise

    def _object(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _stream(self, digest: str) -> Iterator[bytes]:
        with self._errors():
            try:
                response = self._client.get_object(self._bucket, self._object(blob_name(digest)))
            except S3Error as error:
                if error.code == "NoSuchKey":
                    raise DataLoss(f"blob {digest} is missing from {self.url}") from None
                raise
            try:
                yield from response.stream(CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()

    def _create(self, name: str, data: bytes) -> bool:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((Conflict, urllib3.exceptions.HTTPError)),
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        for attempt in attempts:
            with attempt:
                # The address is signed for each attempt and lives no longer than one may take.
                url = self._client.presigned_put_object(self._bucket, name, expires=timedelta(seconds=600))
                response = self._http.request("PUT", url, body=data, headers={"If-None-Match": "*"}, retries=False)
                if response.status == 200:
                    return True
                if response.status == 412:
                    # After a lost answer, the object that is there may be what the attempt before wrote.
                    return attempt.retry_state.attempt_number > 1 and self.read(name[len(self._prefix) :]) == data
                if response.status == 409 or response.status >= 500:
                    raise Conflict(f"status {response.status}")
                raise S3Error.fromxml(response)
        raise AssertionError("tenacity reraises")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with s3_errors(self._settings, bucket=self._bucket, place=_STORE):
            yield
