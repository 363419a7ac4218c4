"""Addresses of sources: where a user says that data lies; pure.

    images/train, ~/data/set.npz       a path, on this machine
    s3://bucket/path                   objects of an S3 server: a file, or all that lies under a folder
    claim://NAME/path                  a PersistentVolumeClaim of the experiment's namespace, on a cluster
    https://host/path#sha256=HEX       a file of the web, of which the digest is known
    sha256:HEX                         content that is in the store already (`syntrial upload`)
    hub://ORGANISATION/NAME@REVISION   weights in a repository of the model hub

Called by `syntrial.trial.run`, which resolves a source's address to the digest of its content, and by
`syntrial.sources.ingest`.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from syntrial.errors import UserError

BUCKET_PATTERN = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""3 to 63 lower-case letters, digits, dots and hyphens."""
CLAIM_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""A name of a Kubernetes object."""
DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
REPOSITORY_PATTERN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
"""An organisation or a name on the hub: letters, digits, '.', '_' and '-', the last two neither first nor last."""
REVISION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A commit, tag or branch, without a slash."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalPath:
    """A file or folder on this machine."""

    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Address:
    """An object, or all objects under a prefix."""

    bucket: str
    path: str
    """Without a slash at either end; "" is the whole bucket."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.path}".rstrip("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimAddress:
    """A file or folder in a PersistentVolumeClaim."""

    claim: str
    path: str
    """Relative to the volume's root; "" is the root."""

    def __str__(self) -> str:
        return f"claim://{self.claim}/{self.path}".rstrip("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredContent:
    """Content in the store."""

    digest: str
    """sha256:…"""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpsAddress:
    """A file of the web."""

    url: str
    """https://…, without a fragment."""
    digest: str
    """sha256:… of its content."""

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.digest.partition(':')[2]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class HubAddress:
    """A file of weights in a repository of the model hub."""

    repository: str
    """ORGANISATION/NAME."""
    revision: str = ""
    """A commit, tag or branch; "" is the branch `main`."""
    path: str = ""
    """The file in the repository; "" is its model.safetensors, or its only safetensors file."""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hub://{self.repository}{revision}/{self.path}".rstrip("/")


Address = LocalPath | S3Address | ClaimAddress | HttpsAddress | StoredContent | HubAddress

_FORMS = (
    "an address is a path, s3://bucket/path, claim://NAME/path, https://host/file#sha256=HEX, sha256:HEX, or for "
    "weights hub://ORGANISATION/NAME"
)


def parse_address(text: str, *, field: str = "source") -> Address:
    """What an address means; `field` is what errors call it. Raises UserError for one of no known form.

    Nothing in an address is decoded: a '%20' is three characters of the name.
    """
    if not text.strip() or "\0" in text:
        raise UserError(
            field=field,
            rule=_FORMS,
            received=text or "nothing",
            remedy="Say where the data lies.",
        )
    scheme = _SCHEME.match(text)
    match scheme[1].lower() if scheme else "":
        case "s3":
            return _s3(text[5:], field=field)
        case "claim":
            return _claim(text[8:], field=field)
        case "hub":
            return _hub(text[6:], field=field)
        case "https":
            return _https(text, field=field)
        case "":
            return _stored(text, field=field) or LocalPath(path=Path(text))
        case other:
            raise UserError(
                field=field,
                rule=_FORMS,
                received=f"the scheme {other}://",
                remedy={
                    "file": "Write a path without a scheme.",
                    "http": "Write https://, with #sha256= and the file's SHA-256 behind the address.",
                }.get(other, "Copy the data to one of these places first."),
            )


def _s3(rest: str, *, field: str) -> S3Address:
    bucket, _, path = rest.partition("/")
    if not BUCKET_PATTERN.fullmatch(bucket):
        raise UserError(
            field=field,
            rule="an S3 address is s3://bucket/path, without credentials; a bucket's name has 3 to 63 lower-case "
            "letters, digits, dots and hyphens",
            # What stands before an @ may be a password.
            received="something before an @" if "@" in bucket else f"the bucket {bucket!r}",
            remedy="Name the bucket, and its credentials by `secret`.",
        )
    return S3Address(bucket=bucket, path=_inner_path(path, field=field))


def _claim(rest: str, *, field: str) -> ClaimAddress:
    claim, _, path = rest.partition("/")
    if not CLAIM_PATTERN.fullmatch(claim):
        raise UserError(
            field=field,
            rule="a claim's address is claim://NAME/path, with the name of a PersistentVolumeClaim",
            received=f"the name {claim!r}",
            remedy="Look the name up with `kubectl get persistentvolumeclaims`.",
        )
    return ClaimAddress(claim=claim, path=_inner_path(path, field=field))


def _https(text: str, *, field: str) -> HttpsAddress:
    url, _, fragment = text.partition("#")
    rule = "an address on the web is https://host/path#sha256=HEX, with the file's SHA-256 as 64 hexadecimal digits"
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.path.strip("/") != "" and parts.port != 0
    except ValueError:
        parts, is_whole = None, False
    if parts is None or "@" in parts.netloc or not is_whole or not is_printable(url):
        raise UserError(
            field=field,
            rule=f"{rule}, and without credentials",
            # What stands before an @ may be a password.
            received="something before an @" if "@" in url.partition("//")[2].partition("/")[0] else url,
            remedy="Name the file itself; of one that needs a password, fetch it and give its path.",
        )
    name, _, value = fragment.partition("=")
    if name.lower() != "sha256" or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise UserError(
            field=field,
            rule=rule,
            received=f"{url} with {fragment!r} behind it" if fragment else f"{url} without a digest",
            remedy=f"Write {url}#sha256=…, with the digest that its publisher states, or that `sha256sum FILE` prints "
            "of a copy you trust.",
        )
    return HttpsAddress(url=f"https{url[5:]}", digest=f"sha256:{value.lower()}")


def is_printable(url: str) -> bool:
    """Whether an address has no blanks and no control characters."""
    return not any(letter.isspace() or ord(letter) < 32 for letter in url)


def _hub(rest: str, *, field: str) -> HubAddress:
    organisation, _, rest = rest.partition("/")
    named, _, path = rest.partition("/")
    name, at, revision = named.partition("@")
    if not (REPOSITORY_PATTERN.fullmatch(organisation) and REPOSITORY_PATTERN.fullmatch(name)):
        received = f"the repository {organisation}/{name}"
    elif at and not REVISION_PATTERN.fullmatch(revision):
        received = f"the revision {revision!r}"
    elif path and not path.endswith(".safetensors"):
        raise UserError(
            field=field,
            rule="weights are safetensors; a pickle runs code when it is opened, and is never opened here",
            received=path,
            remedy="Name a file that ends in .safetensors.",
        )
    else:
        return HubAddress(repository=f"{organisation}/{name}", revision=revision, path=_inner_path(path, field=field))
    raise UserError(
        field=field,
        rule="an address on the hub is hub://ORGANISATION/NAME, hub://ORGANISATION/NAME@REVISION, or one of them with "
        "/FILE behind it; a revision is a commit, or a tag or branch without a slash",
        received=received,
        remedy="Copy the repository's name from its page; its commits are listed under 'Files and versions'.",
    )


def _stored(text: str, *, field: str) -> StoredContent | None:
    if not text.lower().startswith("sha256:"):
        return None
    if not DIGEST_PATTERN.fullmatch(text):
        raise UserError(
            field=field,
            rule="the digest of content in the store is sha256: and 64 lower-case hexadecimal digits",
            received=text,
            remedy="Copy what `syntrial upload` printed.",
        )
    return StoredContent(digest=text)


def _inner_path(path: str, *, field: str) -> str:
    path = path.strip("/")
    if path and not is_plain_path(path):
        raise UserError(
            field=field,
            rule="a path in an address has no empty part, no '.', no '..' and no control character",
            received=path,
            remedy="Write the path as it is listed.",
        )
    return path


def is_plain_path(path: str) -> bool:
    """Whether a relative path stays below where it begins: no empty part, '.', '..' or control character."""
    parts = path.split("/")
    return not any(part in {"", ".", ".."} for part in parts) and not any(ord(letter) < 32 for letter in path)


def last_part(address: Address) -> str:
    """The name of the file or folder that an address points at, or "" where it points at none by name."""
    match address:
        case LocalPath(path=path):
            return path.name
        case S3Address(path=inner) | ClaimAddress(path=inner) | HubAddress(path=inner):
            return PurePosixPath(inner).name
        case HttpsAddress(url=url):
            return PurePosixPath(urlsplit(url).path).name
        case StoredContent():
            return ""
