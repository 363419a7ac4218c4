"""Stores of each kind, for the tests of what all of them promise."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store


def another_server() -> dict[str, str] | None:
    """The environment of the S3 server that SYNTRIAL_TEST_S3_ENDPOINT names, with the bucket SYNTRIAL_TEST_S3_BUCKET.

    The contract is held against it in place of MinIO, with the credentials that AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY give: `pytest tests/contract/test_artifact_store.py -k s3`.
    """
    if "SYNTRIAL_TEST_S3_ENDPOINT" not in os.environ:
        return None
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {name: os.environ[name] for name in names} | {
        "SYNTRIAL_S3_ENDPOINT": os.environ["SYNTRIAL_TEST_S3_ENDPOINT"],
        "BUCKET": os.environ["SYNTRIAL_TEST_S3_BUCKET"],
    }


@pytest.fixture(params=["memory", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactStore]:
    """An empty store; S3 is a real MinIO, with a cache of its own."""
    if request.param == "memory":
        yield open_store("memory://")
        return
    if request.param == "directory":
        yield open_store(tmp_path / "store")
        return
    environment = another_server() or request.getfixturevalue("minio")
    for name, value in {**environment, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    yield open_store(f"s3://{environment['BUCKET']}/{uuid.uuid4().hex}")
