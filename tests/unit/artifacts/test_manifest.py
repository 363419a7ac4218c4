"""The manifest's form."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntrial.artifacts.keys import canonical_digest, canonical_json
from syntrial.artifacts.manifest import Blob, Manifest, Member, parse_manifest
from syntrial.errors import ArtifactMissing, DataLoss

KEY = "a" * 64


def manifest(*, digest: str = "b" * 64, name: str = "x") -> Manifest:
    return Manifest(
        key=KEY,
        method="test/Make",
        stage_version=2,
        request={"seed": "1", "ratio": 0.5},
        inputs={f"{'c' * 64}#train": "d" * 64},
        members={"data": Member(blobs=(Blob(name=name, digest=digest, size=3),))},
        provenance={"threads": "1"},
    )


def test_a_manifest_is_read_as_it_was_written() -> None:
    found = parse_manifest(manifest().to_bytes(), key=KEY)
    assert found == manifest()
    assert found.to_bytes() == manifest().to_bytes()
    assert found.input_keys == {"c" * 64}


def test_the_artifacts_digest_is_of_the_members_alone() -> None:
    base = manifest()
    same = dataclasses.replace(base, inputs={}, provenance={}, request={}, key="e" * 64)
    assert same.artifact_digest == base.artifact_digest
    assert manifest(digest="f" * 64).artifact_digest != base.artifact_digest
    assert manifest(name="y").artifact_digest != base.artifact_digest
    assert dataclasses.replace(base, members={"other": base.member("data")}).artifact_digest != base.artifact_digest


def test_a_member_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(ArtifactMissing, match="no member 'images'; its members: data"):
        manifest().member("images")


@settings(deadline=None)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_noticed(position: int, bit: int) -> None:
    data = bytearray(manifest().to_bytes())
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(DataLoss) as caught:
        parse_manifest(bytes(data), key=KEY)
    assert caught.value.key == KEY


@settings(deadline=None)
@given(length=st.integers(0, 10_000))
def test_a_manifest_cut_off_anywhere_is_noticed(length: int) -> None:
    data = manifest().to_bytes()
    with pytest.raises(DataLoss):
        parse_manifest(data[: length % len(data)], key=KEY)


def test_a_manifest_under_another_key_is_noticed() -> None:
    with pytest.raises(DataLoss, match="damaged"):
        parse_manifest(manifest().to_bytes(), key="e" * 64)


def test_a_manifest_of_another_schema_says_so() -> None:
    tree = {**json.loads(manifest().to_bytes()), "schema": 99}
    with pytest.raises(DataLoss, match="has schema 99"):
        parse_manifest(canonical_json(tree), key=KEY)


def forged(**changes: Any) -> bytes:
    """A manifest with other values whose digests are right, as anybody can make one who may write to the store.

    `changes` are of its first blob (name, digest, size), or of the manifest.
    """
    tree = json.loads(manifest().to_bytes())
    blob = tree["members"]["data"]["blobs"][0]
    for name, value in changes.items():
        (blob if name in blob else tree)[name] = value
    del tree["manifest_digest"]
    return canonical_json({**tree, "manifest_digest": canonical_digest(tree)})


@pytest.mark.parametrize(
    "name",
    [
        "../../.bashrc",
        "..",
        ".bashrc",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "",
        "a\x00",
        "a\n",
        "-rf",
        "x" * 201,
        7,
        None,
        ["x"],
    ],
)
def test_a_blob_whose_name_is_no_files_name_is_refused(name: Any) -> None:
    with pytest.raises(DataLoss, match="damaged"):
        parse_manifest(forged(name=name), key=KEY)


@pytest.mark.parametrize("digest", ["../" * 10 + "etc/passwd", "b" * 63, "B" * 64, "b" * 64 + "\n", "", 7, None])
def test_a_blob_without_a_digest_is_refused(digest: Any) -> None:
    with pytest.raises(DataLoss, match="damaged"):
        parse_manifest(forged(digest=digest), key=KEY)


@pytest.mark.parametrize("size", [-1, 1.5, "3", True, None])
def test_a_blob_without_a_size_is_refused(size: Any) -> None:
    with pytest.raises(DataLoss, match="damaged"):
        parse_manifest(forged(size=size), key=KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"members": {"../data": {"blobs": []}}},
        {"members": {"data": {"blobs": [{"name": "x", "digest": "b" * 64, "size": 3}] * 2}}},
        {"members": {"data": {"blobs": [{"name": "x", "digest": "b" * 64, "size": 3, "mode": 7}]}}},
        {"inputs": {"../..#train": "d" * 64}},
        {"inputs": {f"{'c' * 64}#train": "../d"}},
        {"provenance": {"threads": {"deep": 1}}},
        {"method": 7},
        {"request": []},
    ],
)
def test_what_no_writer_writes_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DataLoss, match="damaged"):
        parse_manifest(forged(**changes), key=KEY)
    assert parse_manifest(forged(), key=KEY) == manifest()
