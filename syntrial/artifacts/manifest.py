"""The manifest: what an artifact consists of, what was asked, and what was read to make it.

A manifest is canonical JSON and deterministic: it holds no time and no attempt. It carries a digest of itself, so that
a flipped bit in it is noticed as well as one in a blob.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syntrial.artifacts.keys import canonical_digest, canonical_json
from syntrial.errors import ArtifactMissing, DataLoss

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A named sequence of bytes of a member."""

    name: str
    digest: str
    """SHA-256, in lower-case hexadecimal."""
    size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A named part of an artifact: a list of blobs, by name."""

    blobs: tuple[Blob, ...]

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
    """The manifest that `Manifest.to_bytes` wrote; raises DataLoss where it is damaged or of another schema."""
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
            method=tree["method"],
            stage_version=tree["stage_version"],
            request=tree["request"],
            inputs=tree["inputs"],
            members={
                name: Member(blobs=tuple(Blob(**blob) for blob in member["blobs"]))
                for name, member in tree["members"].items()
            },
            provenance=tree["provenance"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataLoss(f"the manifest of {key} is damaged: {error}", key=key) from error


def reference(key: str, member: str) -> str:
    """How a manifest names an input: "key#member"."""
    return f"{key}#{member}"


def split_reference(text: str) -> tuple[str, str]:
    """Key and member of "key#member"."""
    key, _, member = text.partition("#")
    return key, member
