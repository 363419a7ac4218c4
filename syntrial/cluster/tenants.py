"""Prepares a MinIO for the stores of several namespaces, and checks a store: the one door to MinIO's administration.

    python -m syntrial.cluster.tenants create --bucket NAME --tenants FOLDER
        makes the bucket, and for each file of the folder (named for a namespace, holding a secret key) the user
        `syntrial-<namespace>`, who may read and write that namespace's prefix of the bucket and nothing else; users of
        namespaces without a file go. A namespace with a `--quota NAMESPACE=SIZE` has a bucket of its own in place of
        it, NAME-NAMESPACE, since MinIO limits buckets. The environment is the administrator's, as
        `syntrial.artifacts.s3_client` lists it.
    python -m syntrial.cluster.tenants check
        opens the store that SYNTRIAL_STORE names, as the pods of experiments do.

Both may be repeated. They wait for a server that does not answer yet. Exit codes: 0 done, 1 the server did not answer,
2 a setting is wrong. Run by the chart; no message holds a secret.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import tenacity
import typer
import urllib3
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from minio.minioadmin import MinioAdmin

from syntrial.artifacts.cache import parse_size
from syntrial.artifacts.s3_client import LIMITS, S3Settings, connect, settings_from
from syntrial.artifacts.store import open_store
from syntrial.errors import StoreUnavailable, SyntrialError, UserError

USER_PREFIX: Final = "syntrial-"
"""What the names of users made here begin with; others are never touched."""

KEPT_FOR_GOOD: Final = (
    "ledger/*",
    "experiments/*/preregistrations/*",
    "experiments/*/experiment.yaml",
    "owner.json",
)
"""Names in a store that its namespace's user may not delete."""

KEY_LENGTH: Final = 32
"""Characters that a secret key has at least: a shorter one could be guessed."""

_EXISTS = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"}

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def user_of(namespace: str, /) -> str:
    """The user, and access key, of a namespace's store."""
    return USER_PREFIX + namespace


def bucket_of(namespace: str, /, *, bucket: str, quotas: Mapping[str, int]) -> str:
    """The bucket with a namespace's prefix: the one of all, or one of its own where it has a quota."""
    return f"{bucket}-{namespace}" if namespace in quotas else bucket


def policy_of(namespace: str, /, *, bucket: str) -> dict[str, Any]:
    """What a namespace's user may do: everything under its prefix, in the form of AWS policies.

    But for deleting what shows later whether a trial kept to what it declared: looks at test splits, what experiments
    registered and asked, and whose the store is. No policy can forbid to write over an object and allow to make one;
    that is for a bucket that keeps versions.

    Listing is allowed too, since a server says "no such key" only to who may list, and "access denied" to others.
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/{namespace}/*"],
            },
            {
                "Effect": "Deny",
                "Action": ["s3:DeleteObject"],
                "Resource": [f"arn:aws:s3:::{bucket}/{namespace}/{name}" for name in KEPT_FOR_GOOD],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
                "Condition": {"StringLike": {"s3:prefix": [f"{namespace}/*"]}},
            },
        ],
    }


def create_tenants(
    tenants: Mapping[str, str],
    /,
    *,
    bucket: str,
    quotas: Mapping[str, int] = MappingProxyType({}),
    environment: Mapping[str, str],
) -> list[str]:
    """Makes the buckets and the users (secret keys by namespace); returns the names of users that went.

    `quotas` are in bytes, by namespace. Raises UserError for credentials that are not an administrator's, a key that is
    too short and a quota of a namespace without a key, StoreUnavailable where nothing answers.
    """
    _check(tenants, quotas)
    settings = settings_from(environment)
    parts = urlsplit(settings.endpoint)
    with _errors(settings):
        client, http = connect(settings, limits=replace(LIMITS, attempts=2))
        buckets = {namespace: bucket_of(namespace, bucket=bucket, quotas=quotas) for namespace in tenants}
        for name in sorted({bucket, *buckets.values()}):
            try:
                client.make_bucket(name)
            except S3Error as error:
                if error.code not in _EXISTS:
                    raise
        admin = MinioAdmin(
            endpoint=parts.netloc,
            credentials=StaticProvider(settings.access_key, settings.secret_key),
            region=settings.region,
            secure=parts.scheme == "https",
            http_client=http,
        )
        for namespace, secret_key in sorted(tenants.items()):
            user = user_of(namespace)
            admin.policy_add(user, policy=policy_of(namespace, bucket=buckets[namespace]))
            if namespace in quotas:
                admin.bucket_quota_set(buckets[namespace], quotas[namespace])
            admin.user_add(user, secret_key)
            admin.policy_set(user, user=user)
        wanted = {user_of(namespace) for namespace in tenants}
        gone = sorted(name for name in json.loads(admin.user_list()) if name.startswith(USER_PREFIX))
        gone = [name for name in gone if name not in wanted]
        for name in gone:
            admin.user_remove(name)
        return gone


def _check(tenants: Mapping[str, str], quotas: Mapping[str, int]) -> None:
    for namespace, secret_key in tenants.items():
        if len(secret_key) < KEY_LENGTH:
            raise UserError(
                field=f"the secret key of {namespace}",
                rule=f"a key has {KEY_LENGTH} characters or more",
                received=f"{len(secret_key)} characters",
                remedy="Make one at random, for example by `openssl rand -hex 20`.",
            )
    for namespace in quotas.keys() - tenants.keys():
        raise UserError(
            field="--quota",
            rule="a quota is of a namespace that has a key",
            received=namespace,
            remedy="Name one of the folder's namespaces.",
        )


def read_quotas(words: Iterable[str], /) -> dict[str, int]:
    """Bytes by namespace from "NAMESPACE=SIZE"; raises UserError for another form."""
    found = {}
    for word in words:
        namespace, _, size = word.partition("=")
        found[namespace] = parse_size(size, setting=f"--quota {namespace}")
    return found


def read_tenants(folder: Path, /) -> dict[str, str]:
    """Secret keys by namespace from a mounted Secret: a file each; hidden entries are the mount's own."""
    return {
        path.name: path.read_text().strip()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def waiting(seconds: float, /) -> tenacity.Retrying:
    """Repeats what raises StoreUnavailable for so many seconds."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )


@contextmanager
def _errors(settings: S3Settings) -> Iterator[None]:
    try:
        yield
    except (S3Error, MinioAdminException) as error:
        text = str(error.code) if isinstance(error, S3Error) else str(error)
        if any(code in text for code in _REFUSED):
            raise UserError(
                field="AWS_ACCESS_KEY_ID",
                rule="the credentials must be those of MinIO's administrator",
                received=f"a refusal from {settings.endpoint}",
                remedy="Give the user and password that MinIO was started with.",
            ) from None
        raise StoreUnavailable(f"{settings.endpoint} refused a request of its administrator: {text}") from None
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        raise StoreUnavailable(f"{settings.endpoint} did not answer ({type(error).__name__})") from None


Wait = Annotated[float, typer.Option(help="Seconds to wait for a server that does not answer.")]


@app.command()
def create(
    *,
    bucket: Annotated[str, typer.Option(help="The bucket of all stores.")],
    tenants: Annotated[Path, typer.Option(help="A folder with a file for each namespace, which holds its secret key.")],
    quota: Annotated[list[str] | None, typer.Option(help="NAMESPACE=SIZE, for example team-a=500GiB.")] = None,
    wait: Wait = 0.0,
) -> None:
    """Makes the buckets and a user for each namespace."""

    found = read_tenants(tenants)
    quotas = read_quotas(quota or ())
    gone = waiting(wait)(create_tenants, found, bucket=bucket, quotas=quotas, environment=os.environ)
    typer.echo(f"bucket {bucket}: users of {', '.join(sorted(found)) or 'no namespace'}")
    if gone:
        typer.echo(f"removed: {', '.join(gone)}")


@app.command()
def check(
    *,
    store: Annotated[str, typer.Option(envvar="SYNTRIAL_STORE", help="s3://bucket/prefix.")],
    wait: Wait = 0.0,
) -> None:
    """Opens a store: it answers, may be written, and heeds conditional writes."""
    waiting(wait)(open_store, store)
    typer.echo(f"the store {store} answers, may be written and heeds conditional writes")


def main() -> None:
    """Runs the command line, and ends the process with its exit code."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except SyntrialError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
