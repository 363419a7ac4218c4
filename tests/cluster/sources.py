"""Where data lies on the test cluster: in a bucket of its MinIO, or in a folder of this machine that a claim names."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minio import Minio

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes


def minio_of(environment: Mapping[str, str]) -> Minio:
    """A client of the cluster's MinIO; `environment` as `cluster_environment` has it."""
    return Minio(
        environment["S3_ENDPOINT"].partition("://")[2],
        access_key=environment["AWS_ACCESS_KEY_ID"],
        secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        secure=False,
    )


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """What a Secret with the credentials of the cluster's MinIO holds."""
    keys = {name: environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return keys | {"SYNTRIAL_S3_ENDPOINT": environment["S3_ENDPOINT"]}


def upload(client: Minio, folder: Path, *, bucket: str, prefix: str) -> None:
    """Puts a folder's files under a prefix."""
    for path in sorted(folder.rglob("*.*")):
        client.fput_object(bucket, f"{prefix}/{path.relative_to(folder)}", str(path))


def remove_objects(client: Minio, *, bucket: str, prefix: str) -> None:
    """Removes what lies under a prefix."""
    for found in client.list_objects(bucket, prefix=f"{prefix}/", recursive=True):
        client.remove_object(bucket, found.object_name or "")


def make_claim(
    cluster: "Kubernetes", folder: Path, *, namespace: str, name: str, labels: Mapping[str, str] | None = None
) -> str:
    """A claim of a folder, which pods must be allowed to read; the name of its volume, which outlives the namespace."""
    volume = uuid.uuid4().hex
    storage = {"storage": "1Gi"}
    made: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        (
            "PersistentVolume",
            {"name": volume},
            {
                "capacity": storage,
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": volume,
                "hostPath": {"path": str(folder), "type": "Directory"},
                "claimRef": {"namespace": namespace, "name": name},
            },
        ),
        (
            "PersistentVolumeClaim",
            {"name": name, "namespace": namespace, "labels": dict(labels or {})},
            {"accessModes": ["ReadWriteOnce"], "storageClassName": volume, "resources": {"requests": storage}},
        ),
    )
    for kind, metadata, spec in made:
        assert cluster.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec})
    return volume
