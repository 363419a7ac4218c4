"""How an S3 server is reached: the settings, the client, and what its errors mean. The one door to MinIO's client.

Settings come from the environment, where a cluster's secrets are:

    SYNTRIAL_S3_ENDPOINT     http://host:port or https://host:port (default https://s3.amazonaws.com)
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN (optional), AWS_REGION (default us-east-1)
    SYNTRIAL_S3_CA           certificates of the authority that signed the server's own, as PEM: no other counts then
    SSL_CERT_FILE            a file of such certificates, for all that this process connects to
    SYNTRIAL_CACHE_DIR       folder of the local cache (default: the user's cache folder)
    SYNTRIAL_CACHE_LIMIT     its size, for example "20GiB" (the default)

A request waits 5 s for a connection and 60 s for each answer, and is tried five times. No redirect is followed. No
message holds a secret.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import platformdirs
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from syntrial.artifacts.cache import parse_size
from syntrial.artifacts.connections import Redirected, RequestLimits, bounded_pools
from syntrial.errors import StoreFull, StoreRefused, StoreUnavailable, UserError

LIMITS: Final = RequestLimits(connect_seconds=5.0, read_seconds=60.0, attempts=5)
"""Of requests to a store that is one's own; uploads and downloads of any length pass."""
PARALLEL: Final = 16
"""Requests for small objects at a time: an answer from a distant server takes tens of milliseconds."""

_UNAVAILABLE_CODES = {"InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "XMinioServerNotInitialized"}
_FULL_CODES = {"XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "QuotaExceeded"}
_CREDENTIAL_CODES = {
    "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY",
    "AccessDenied": "AWS_ACCESS_KEY_ID",
    "InvalidToken": "AWS_SESSION_TOKEN",
    "ExpiredToken": "AWS_SESSION_TOKEN",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Settings:
    """Where an S3 server is, and as whom to speak to it."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False, default=None)
    region: str = "us-east-1"
    authority: str = ""
    """PEM of the authority that the server's certificate comes from; empty: those that the system trusts."""
    cache_folder: Path
    cache_limit: int
    """In bytes."""


def settings_from(
    environment: Mapping[str, str], /, *, anonymous: bool = False, refusal: type[UserError] = StoreRefused
) -> S3Settings:
    """The settings in `environment`, as the module's docstring lists them; raises `refusal` for what is missing.

    With `anonymous`, credentials may be missing, as for a public bucket.
    """
    endpoint = environment.get("SYNTRIAL_S3_ENDPOINT") or "https://s3.amazonaws.com"
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.path.strip("/"):
        raise refusal(
            field="SYNTRIAL_S3_ENDPOINT",
            rule="the endpoint is http://host:port or https://host:port, without credentials or path",
            received="another form" if parts.username else endpoint,
            remedy="Set the environment variable to the server's address.",
        )
    given = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if environment.get(name)]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if name not in given and (given or not anonymous):
            raise refusal(
                field=name,
                rule="an S3 store needs credentials",
                received="nothing",
                remedy=f"Set the environment variable {name}.",
            )
    authority = environment.get("SYNTRIAL_S3_CA", "").strip()
    try:
        ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError):
        raise refusal(
            field="SYNTRIAL_S3_CA",
            rule="certificates are in PEM: -----BEGIN CERTIFICATE-----, lines of base64, -----END CERTIFICATE-----",
            received=f"{len(authority)} characters of another form",
            remedy="Give the content of the authority's file, often ca.crt, and not its name.",
        ) from None
    folder = environment.get("SYNTRIAL_CACHE_DIR")
    return S3Settings(
        endpoint=endpoint,
        access_key=environment.get("AWS_ACCESS_KEY_ID", ""),
        secret_key=environment.get("AWS_SECRET_ACCESS_KEY", ""),
        session_token=environment.get("AWS_SESSION_TOKEN") or None,
        region=environment.get("AWS_REGION") or "us-east-1",
        authority=authority,
        cache_folder=Path(folder) if folder else Path(platformdirs.user_cache_dir("syntrial")) / "blobs",
        cache_limit=parse_size(environment.get("SYNTRIAL_CACHE_LIMIT") or "20GiB", setting="SYNTRIAL_CACHE_LIMIT"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """How messages speak of what lies in a bucket."""

    field: str
    """Its name in messages."""
    needs: str
    """What its credentials must allow."""
    prefix: str = ""
    """What stands before the names of its environment variables."""
    remedy: str
    """Where its credentials come from."""
    refusal: type[UserError]
    """What is raised where the user must act."""


def connect(settings: S3Settings, *, limits: RequestLimits = LIMITS) -> tuple[Minio, urllib3.PoolManager]:
    """A client of the server, and the connections that it uses; nothing is sent yet."""
    parts = urlsplit(settings.endpoint)
    retries = urllib3.Retry(
        total=limits.attempts - 1, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504], raise_on_status=False
    )
    http = bounded_pools(limits, most=PARALLEL, retries=retries, authority=settings.authority)
    client = Minio(
        parts.netloc,
        access_key=settings.access_key or None,
        secret_key=settings.secret_key or None,
        session_token=settings.session_token,
        secure=parts.scheme == "https",
        region=settings.region,
        http_client=http,
    )
    return client, http


@contextmanager
def s3_errors(settings: S3Settings, *, bucket: str, place: Place) -> Iterator[None]:
    """What the client raises becomes StoreUnavailable or, where the user must act, `refusal`; none holds a secret."""
    try:
        yield
    except S3Error as error:
        raise _translated(error, settings=settings, bucket=bucket, place=place) from None
    except Redirected as error:
        raise place.refusal(
            field=f"{place.prefix}SYNTRIAL_S3_ENDPOINT",
            rule="the server answers itself: a redirect is not followed, since it may lead to anything in reach",
            received=f"{settings.endpoint}, which answered {error}",
            remedy="Name the address of the server itself; of AWS, that of the bucket's region (AWS_REGION).",
        ) from None
    except (InvalidResponseError, ServerError, MinioException, urllib3.exceptions.HTTPError, Conflict) as error:
        # The error's own text can hold a signed address.
        raise StoreUnavailable(
            f"{settings.endpoint} did not answer as an S3 server does ({type(error).__name__}); "
            f"see that {place.prefix}SYNTRIAL_S3_ENDPOINT is its address and that it runs"
        ) from None


def _translated(error: S3Error, *, settings: S3Settings, bucket: str, place: Place) -> Exception:
    code = str(error.code)
    if code in _CREDENTIAL_CODES:
        return place.refusal(
            field=place.prefix + _CREDENTIAL_CODES[code],
            rule=f"the credentials must be valid and allow {place.needs} in bucket {bucket}",
            received=f"{code} from {settings.endpoint}",
            remedy=place.remedy,
        )
    if code == "NoSuchBucket":
        return place.refusal(
            field=place.field,
            rule="the bucket must exist",
            received=f"{bucket} on {settings.endpoint}",
            remedy="Create the bucket, or name another one.",
        )
    if code in _FULL_CODES:
        return StoreFull(
            f"bucket {bucket} on {settings.endpoint} takes no more ({code}): free space in it, or raise its quota"
        )
    if code in _UNAVAILABLE_CODES:
        return StoreUnavailable(f"{settings.endpoint} answered {code}")
    return StoreUnavailable(f"{settings.endpoint} refused a request for bucket {bucket}: {code}, {error.message}")


class Conflict(Exception):
    """The server says that another conditional write is under way, or failed by itself: to be tried again."""
