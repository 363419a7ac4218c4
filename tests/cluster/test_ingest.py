"""Sources that Jobs bring into the store on a real cluster: from a bucket, and from a PersistentVolumeClaim."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from syntrial.artifacts.content import folder_digest
from syntrial.artifacts.s3 import open_s3
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import has_upload
from syntrial.cluster.manifests import Owner, ingest_job
from syntrial.experiment.model import Cluster
from syntrial.sources.digests import resolve
from syntrial.sources.ingest import recorded_source
from syntrial.sources.named import SourceRef
from syntrial.v1.data_preparation_pb2 import Source, TableFile, TableSource
from tests.cluster.product import images
from tests.cluster.sources import credentials, make_claim, minio_of, remove_objects, upload

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes

BUCKET = "test-ingest"
SECONDS = 120.0

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


class Place:
    """A namespace with a store, a bucket and a volume of the test's own."""

    def __init__(self, cluster: "Kubernetes", environment: dict[str, str], namespace: str, volume: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.volume = volume
        self.folder = uuid.uuid4().hex
        self.owner = Owner(name="trial", uid=str(uuid.uuid4()), namespace=namespace)
        self.settings = credentials(environment)
        self.minio = minio_of(environment)
        if not self.minio.bucket_exists(BUCKET):
            self.minio.make_bucket(BUCKET)
        self.secret("syntrial-store", SYNTRIAL_STORE=f"s3://{BUCKET}/{self.folder}/store", **self.settings)
        self.persistent_volume = make_claim(cluster, volume, namespace=namespace, name="scans")

    def secret(self, name: str, **entries: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries}
        assert self.cluster.create(secret)

    def store(self, cache: Path) -> ArtifactStore:
        environment = self.settings | {"SYNTRIAL_CACHE_DIR": str(cache)}
        return ArtifactStore(open_s3(bucket=BUCKET, prefix=f"{self.folder}/store", environment=environment))

    def ingest(
        self, name: str, address: str, *, secret: str | None = None, source: Source | None = None
    ) -> dict[str, Any]:
        """Runs the Job to its end; how its container ended. `source` is a table's, else all is read as a folder."""
        job = ingest_job(
            SourceRef(
                name=name,
                field=name,
                kind="table" if source else "folder",
                address=address,
                secret=secret,
                request=source or Source(),
            ),
            attempt=1,
            owner=self.owner,
            cluster=Cluster(),
            images=images(),
            store_secret="syntrial-store",
        )
        # Nothing owns it: there is no Experiment, and the garbage collector would take it away.
        del job["metadata"]["ownerReferences"]
        assert self.cluster.create(job)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for pod in self.cluster.pods_of(self.namespace, job["metadata"]["name"]):
                state: dict[str, Any] = (pod["status"].get("containerStatuses") or [{}])[0].get("state", {})
                if "terminated" in state:
                    return dict(state["terminated"])
            time.sleep(0.5)
        raise AssertionError(f"the Job did not end in {SECONDS:.0f} s")

    def remove(self) -> None:
        self.cluster.delete("PersistentVolume", None, self.persistent_volume)
        remove_objects(self.minio, bucket=BUCKET, prefix=self.folder)


@pytest.fixture(scope="module")
def place(
    cluster: "Kubernetes",
    cluster_environment: dict[str, str],
    new_namespace: Callable[[str], str],
    controller_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    volume = tmp_path_factory.mktemp("volume")
    (volume / "chest" / "a").mkdir(parents=True)
    for index in range(5):
        (volume / "chest" / "a" / f"{index}.png").write_bytes(os.urandom(200))
    for path in (volume, *volume.rglob("*")):
        path.chmod(0o755)
    made = Place(cluster, cluster_environment, new_namespace("ingest"), volume)
    yield made
    made.remove()


def test_a_bucket_s_content_comes_into_the_store(place: Place, tmp_path: Path) -> None:
    upload(place.minio, place.volume / "chest", bucket=BUCKET, prefix=f"{place.folder}/source")
    place.secret("own", **place.settings)
    address = f"s3://{BUCKET}/{place.folder}/source"
    ended = place.ingest("dataset", address, secret="own")
    assert ended["exitCode"] == 0, ended
    store = place.store(tmp_path)
    digest = folder_digest(place.volume / "chest")
    assert recorded_source(store, uid=place.owner.uid, name="dataset", address=address) == digest
    assert has_upload(store, digest)


def test_a_claim_s_content_comes_into_the_store(place: Place, tmp_path: Path) -> None:
    ended = place.ingest("synthetic/x", "claim://scans/chest")
    assert ended["exitCode"] == 0, ended
    digest = recorded_source(
        place.store(tmp_path), uid=place.owner.uid, name="synthetic/x", address="claim://scans/chest"
    )
    assert digest == folder_digest(place.volume / "chest")


def test_of_a_table_s_folder_what_is_read_comes_into_the_store_under_the_laptop_s_digest(
    place: Place, tmp_path: Path
) -> None:
    (place.volume / "chest" / "labels.csv").write_text("image,label\na/1.png,x\n")
    (place.volume / "chest" / "notes.txt").write_text("of no account")
    for path in (place.volume / "chest").iterdir():
        path.chmod(0o755)
    source = Source(table=TableSource(files=[TableFile(names=["labels.csv"])], images=["a"]))
    digest = resolve(source, place.volume / "chest", cache=tmp_path / "digests").source.digest
    upload(place.minio, place.volume / "chest", bucket=BUCKET, prefix=f"{place.folder}/table")
    place.secret("table", **place.settings)
    for address, secret in ((f"s3://{BUCKET}/{place.folder}/table", "table"), ("claim://scans/chest", None)):
        ref = SourceRef(name="dataset", field="dataset", kind="table", address=address, request=source)
        ended = place.ingest("dataset", address, secret=secret, source=source)
        assert ended["exitCode"] == 0, ended
        store = place.store(tmp_path)
        assert recorded_source(store, uid=place.owner.uid, name="dataset", address=ref.noted) == digest
        assert has_upload(store, digest)


def test_wrong_credentials_are_told_as_the_pod_s_end(place: Place) -> None:
    place.secret("wrong", **place.settings | {"AWS_SECRET_ACCESS_KEY": "not-the-one"})
    ended = place.ingest("synthetic/y", f"s3://{BUCKET}/{place.folder}/source", secret="wrong")
    assert ended["exitCode"] == 2
    assert ended["message"].startswith("SOURCE_AWS_SECRET_ACCESS_KEY: ")
    assert "not-the-one" not in ended["message"]


def test_a_path_that_a_claim_has_not_is_told_as_the_pod_s_end(place: Place) -> None:
    ended = place.ingest("synthetic/z", "claim://scans/nothing")
    assert ended["exitCode"] == 2
    assert "claim://scans/nothing, which does not" in ended["message"]
