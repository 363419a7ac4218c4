"""Reads data of the user's from a bucket that is no store: lists objects and streams them. Called by `ingest`.

An object's ETag is no digest of its content (that of a large upload is a hash of hashes), but while it stays the same
the object does: it guards a download that is taken up again, and tells whether an object has changed since.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import tenacity
from minio.error import S3Error

from syntrial.artifacts.backend import CHUNK_BYTES
from syntrial.artifacts.s3 import DOWNLOADS
from syntrial.artifacts.s3_client import Place, connect, s3_errors, settings_from
from syntrial.errors import SourceError, StoreUnavailable, UserError

PREFIX: Final = "SOURCE_"
"""Before the names of the variables that say how a source's bucket is reached: SOURCE_AWS_ACCESS_KEY_ID and so on."""

PARALLEL: Final = 16
"""Small objects at a time: an answer from a distant server takes tens of milliseconds."""

_KEYS: Final = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
_ABSENT = {"NoSuchKey", "NoSuchObject", "XMinioInvalidObjectName"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceObject:
    """An object as it was listed."""

    name: str
    """In the bucket."""
    size: int
    """In bytes."""
    etag: str
    modified: float
    """Seconds since 1970, by the server's clock."""


class S3Source:
    """A bucket that is read from."""

    def __init__(self, environment: Mapping[str, str], /, *, bucket: str, field: str) -> None:
        """`environment` as of `source_environment`; `field` is what errors call the source."""
        self._settings = settings_from(environment, anonymous=True, refusal=SourceError)
        self._client, _ = connect(self._settings)
        self._bucket = bucket
        self._place = Place(
            field=field,
            needs="listing and reading",
            prefix=PREFIX,
            remedy="On a cluster, name a Secret of the source's own by `secret`; elsewhere set "
            f"{PREFIX}AWS_ACCESS_KEY_ID and {PREFIX}AWS_SECRET_ACCESS_KEY.",
            refusal=SourceError,
        )

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return self._settings.endpoint

    def find(self, name: str, /) -> SourceObject | None:
        """The object of that name, or None."""
        # Of the names that begin with it, an equal one is listed first. An answer to HEAD would not say what is wrong.
        with s3_errors(self._settings, bucket=self._bucket, place=self._place):
            first = next(iter(self._client.list_objects(self._bucket, prefix=name, recursive=True)), None)
        return _source_object(first) if first is not None and first.object_name == name else None

    def under(self, prefix: str, /) -> Iterator[SourceObject]:
        """The objects whose names begin with `prefix`, by name, without those that only stand for folders."""
        with s3_errors(self._settings, bucket=self._bucket, place=self._place):
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                if not str(found.object_name).endswith("/"):
                    yield _source_object(found)

    def read(self, found: SourceObject, /) -> Iterator[bytes]:
        """The object's content in pieces; a connection that breaks is taken up where it broke.

        Raises SourceError where it is gone or was changed since it was listed.
        """
        done = 0
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            stop=tenacity.stop_after_attempt(DOWNLOADS),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        for attempt in attempts:
            with attempt:
                while done < found.size:
                    for chunk in self._from(found, offset=done):
                        done += len(chunk)
                        yield chunk

    def _from(self, found: SourceObject, *, offset: int) -> Iterator[bytes]:
        with s3_errors(self._settings, bucket=self._bucket, place=self._place):
            try:
                response = self._client.get_object(
                    self._bucket, found.name, offset=offset, request_headers={"If-Match": f'"{found.etag}"'}
                )
            except S3Error as error:
                if error.code in _ABSENT or error.code == "PreconditionFailed":
                    raise SourceError(
                        field=f"s3://{self._bucket}/{found.name}",
                        rule="the object stays as it was when it was listed",
                        received="it is gone" if error.code in _ABSENT else "it was replaced meanwhile",
                        remedy="Run it again once nothing writes to the data any more.",
                    ).about(found.name) from None
                raise
            try:
                yield from response.stream(CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()


def source_environment(environment: Mapping[str, str], /, *, is_users: bool) -> dict[str, str]:
    """The variables that say how a source's bucket is reached: those that begin with `PREFIX`, where there are any.

    Without them it is reached as the environment says. On a laptop (`is_users`) the keys in there are the user's own
    and are used; those of a pod are the store's, which may open what is another tenant's, and stay out: the bucket is
    read without credentials. Raises UserError where only half of what begins with `PREFIX` is there.
    """
    own = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    if not own:
        return {name: value for name, value in environment.items() if is_users or name not in _KEYS}
    if own.get("AWS_ACCESS_KEY_ID") and not own.get("AWS_SECRET_ACCESS_KEY"):
        raise UserError(
            field=f"{PREFIX}AWS_SECRET_ACCESS_KEY",
            rule="a source's credentials have both halves",
            received="nothing",
            remedy="Add AWS_SECRET_ACCESS_KEY to the Secret.",
        )
    return own


def _source_object(found: Any) -> SourceObject:
    return SourceObject(
        name=str(found.object_name),
        size=int(found.size or 0),
        etag=str(found.etag or "").strip('"'),
        modified=found.last_modified.timestamp() if found.last_modified else 0.0,
    )
