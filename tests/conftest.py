"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `SYNTRIAL_DATA_ROOT`'s parent layout, or the folder beside the checkout."""
    folder = Path(os.environ.get("SYNTRIAL_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


@pytest.fixture(scope="session")
def shared_cluster() -> Path:
    """The folder of the test cluster's scripts, which also start a MinIO."""
    folder = Path(os.environ.get("SYNTRIAL_SHARED_CLUSTER", REPOSITORY.parent / "shared" / "cluster"))
    if not folder.is_dir():
        pytest.skip(f"no test cluster: {folder} is missing")
    return folder
