"""The manifest: what an artifact consists of, what was asked, and what was read to make it.

A manifest is canonical JSON and deterministic: it holds no time and no attempt. It carries a digest of itself, so that
a flipped bit in it is noticed as well as one in a blob. Whoever may write to a store can forge one whose digest is
right: names, digests and sizes are held to their forms here, before anybody makes a path of them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syntrial.artifacts.backend import DIGEST_PATTERN
from syntrial.artifacts.keys import KEY_PATTERN, canonical_digest, canonical_json
from syntrial.errors import ArtifactMissing, DataLoss

SCHEMA_VERSION: Final = 1

MEMBER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
BLOB_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""A file's name, without a folder and not hidden."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A named sequence of bytes of a member; raises ValueError for a name, digest or size of another form."""

    name: str
    """As `BLOB_NAME` says."""
    digest: str
    """SHA-256, in lower-case hexadecimal."""
    size: int
    """In bytes."""

    def __post_init__(self) -> None:
        if not BLOB_NAME.fullmatch(self.name):
            raise ValueError(f"not a blob's name: {self.name!r}")
        if not DIGEST_PATTERN.fullmatch(self.digest):
            raise ValueError(f"not a SHA-256 digest: {self.digest!r}")
        if type(self.size) is not int or self.size < 0:
            raise ValueError(f"not a size in bytes: {self.size!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A named part of an artifact: a list of blobs, by name; raises ValueError where two share one."""

    blobs: tuple[Blob, ...]

    def __post_init__(self) -> None:
        if len({blob.name for blob in self.blobs}) < len(self.blobs):
            raise ValueError("two blobs of a member have one name")

    @property
    def digest(self) -> str:
        """SHA-256 over the blobs' names, digests and sizes: equal for byte-identical members."""
        return canonical_digest([[blob.name, blob.digest, blob.size] for blob in self.blobs])


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """An artifact's content and origin."""

    key: str
    method: str
    """For example "syntrial.v1.FilteringService/FilterImages"."""
    stage_version: int
    request: Mapping[str, Any]
    """The request in canonical form, without its header."""
    inputs: Mapping[str, str]
    """Digest of each member that was read, by "key#member"."""
    members: Mapping[str, Member]
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Hardware, hash of the lock, the image's digest, threads."""

    @property
    def artifact_digest(self) -> str:
        """SHA-256 over the members alone: equal for byte-identical artifacts."""
        return canonical_digest({name: member.digest for name, member in self.members.items()})

    @property
    def input_keys(self) -> frozenset[str]:
        """Keys of the artifacts that were read."""
        return frozenset(split_reference(reference)[0] for reference in self.inputs)

    @property
    def member_digests(self) -> dict[str, str]:
        """The digest of each member, by name."""
        return {name: member.digest for name, member in self.members.items()}

    def stands_upon(self, standing: Mapping[str, Mapping[str, str]], /) -> bool:
        """Whether all that was read to make it stands and is what was read.

        `standing` has the digests of members, by name, of artifacts that stand, by key. This rule, with the manifest's
        presence, is what "the artifact stands" means.
        """
        references = ((*split_reference(text), digest) for text, digest in self.inputs.items())
        return all(standing.get(key, {}).get(member) == digest for key, member, digest in references)

    def member(self, name: str, /) -> Member:
        """The member of that name; raises ArtifactMissing."""
        if name not in self.members:
            known = ", ".join(sorted(self.members)) or "none"
            raise ArtifactMissing(f"artifact {self.key} has no member {name!r}; its members: {known}")
        return self.members[name]

    def to_bytes(self) -> bytes:
        """The manifest as canonical JSON."""
        tree: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "key": self.key,
            "method": self.method,
            "stage_version": self.stage_version,
            "request": self.request,
            "inputs": dict(self.inputs),
            "members": {
                name: {
                    "digest": member.digest,
                    "blobs": [{"name": blob.name, "digest": blob.digest, "size": blob.size} for blob in member.blobs],
                }
                for name, member in self.members.items()
            },
            "artifact_digest": self.artifact_digest,
            "provenance": dict(self.provenance),
        }
        return canonical_json({**tree, "manifest_digest": canonical_digest(tree)})


def parse_manifest(data: bytes, *, key: str) -> Manifest:
    """The manifest that `Manifest.to_bytes` wrote.

    Raises DataLoss where it is damaged, of another schema, or holds what no writer writes (see `Blob`).
    """
    try:
        tree = json.loads(data)
        digest = tree.pop("manifest_digest")
        if tree["schema"] != SCHEMA_VERSION:
            raise DataLoss(
                f"the manifest of {key} has schema {tree['schema']}; this program reads {SCHEMA_VERSION}", key=key
            )
        if canonical_digest(tree) != digest or tree["key"] != key:
            raise DataLoss(f"the manifest of {key} is damaged: it differs from its digest", key=key)
        return Manifest(
            key=key,
            method=_text(tree["method"]),
            stage_version=int(tree["stage_version"]),
            request={**tree["request"]},
            inputs={_reference(name): _digest(digest) for name, digest in tree["inputs"].items()},
            members={
                _member_name(name): Member(blobs=tuple(Blob(**blob) for blob in member["blobs"]))
                for name, member in tree["members"].items()
            },
            provenance={_text(name): _text(value) for name, value in tree["provenance"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataLoss(f"the manifest of {key} is damaged: {error}", key=key) from error


def reference(key: str, member: str) -> str:
    """How a manifest names an input: "key#member"."""
    return f"{key}#{member}"


def split_reference(text: str) -> tuple[str, str]:
    """Key and member of "key#member"."""
    key, _, member = text.partition("#")
    return key, member


def _member_name(text: str) -> str:
    if not MEMBER_NAME.fullmatch(text):
        raise ValueError(f"not a member's name: {text!r}")
    return text


def _reference(text: str) -> str:
    key, member = split_reference(text)
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(f"not a step's key: {key!r}")
    _member_name(member)
    return text


def _digest(value: object) -> str:
    if not DIGEST_PATTERN.fullmatch(_text(value)):
        raise ValueError(f"not a SHA-256 digest: {value!r}")
    return str(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not a text: {value!r}")
    return value
