"""Stores of each kind, for the tests of what all of them promise."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store


@pytest.fixture(params=["memory", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactStore]:
    """An empty store; S3 is a real MinIO, with a cache of its own."""
    if request.param == "memory":
        yield open_store("memory://")
        return
    if request.param == "directory":
        yield open_store(tmp_path / "store")
        return
    environment: dict[str, str] = request.getfixturevalue("minio")
    for name, value in {**environment, "SYNTRIAL_CACHE_DIR": os.fspath(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    yield open_store(f"s3://{environment['BUCKET']}/{uuid.uuid4().hex}")
