import pytest

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.fake import MemoryCluster
from tests.unit.trial_records import finished_store


@pytest.fixture
def finished() -> ArtifactStore:
    return finished_store()


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(namespace="lab")
