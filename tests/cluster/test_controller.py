"""The controller as a process against a real API server and a real object store; a played kubelet runs the pods."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.executors.kubernetes import Kubernetes
from tests.cluster.kubelet import NODE_SELECTOR, Kubelet
from tests.unit.controller.world import SPEC

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def tiny(**spec: Any) -> dict[str, Any]:
    """A trial whose pods no real node takes."""
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "tiny"},
        "spec": {**SPEC, "cluster": {"nodeSelector": NODE_SELECTOR}, **spec},
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(kw_only=True)
class Site:
    """A namespace with its store, and a controller that serves it."""

    cluster: Kubernetes
    namespace: str
    environment: dict[str, str]
    """Of the controller and of the pods: the store's settings beside the cluster's."""
    store_url: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> ArtifactStore:
        return open_store(self.store_url)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Starts a controller."""
        with (self.folder / "controller.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "syntrial.controller", f"--namespaces={self.namespace}", "--resync=20"),
                    *(f"--metrics-port={free_port()}", f"--liveness-port={free_port()}", *options),
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return self.process

    def kill(self) -> None:
        """Kills the controller."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def apply(self, tree: dict[str, Any]) -> None:
        metadata = {**tree["metadata"], "namespace": self.namespace}
        self.cluster.apply({**tree, "metadata": metadata}, field_manager="kubectl")

    def experiment(self, name: str = "tiny") -> dict[str, Any]:
        found = self.cluster.get("Experiment", self.namespace, name)
        assert found is not None
        return found

    def status(self, name: str = "tiny") -> dict[str, Any]:
        return dict(self.experiment(name).get("status") or {})

    def condition(self, kind: str, name: str = "tiny") -> tuple[str, str]:
        """Status and reason."""
        conditions = self.status(name).get("conditions") or []
        return next(((item["status"], item["reason"]) for item in conditions if item["type"] == kind), ("", ""))

    def jobs(self) -> list[dict[str, Any]]:
        return self.cluster.list("Job", self.namespace)

    def pending(self, name: str = "tiny") -> set[str]:
        return {item["reason"] for item in self.status(name).get("pending") or []}

    def until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Waits for a condition; shows status and log where it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                log = (self.folder / "controller.log").read_text()[-4000:]
                items = [item.get("status") for item in self.cluster.list("Experiment", self.namespace)]
                pytest.fail(f"not within {seconds} s\n{yaml.safe_dump(items)}\n{log}")
            time.sleep(0.3)


@pytest.fixture
def site(
    cluster: Kubernetes,
    cluster_environment: dict[str, str],
    crd: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """A namespace of this test's own with a bucket of its own."""
    from minio import Minio

    name = f"controller-{uuid.uuid4().hex[:8]}"
    endpoint = cluster_environment["S3_ENDPOINT"]
    settings = {
        "SYNTRIAL_S3_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": cluster_environment["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": cluster_environment["AWS_SECRET_ACCESS_KEY"],
        "SYNTRIAL_CACHE_DIR": str(tmp_path / "cache"),
    }
    client = Minio(
        endpoint.removeprefix("http://"),
        access_key=settings["AWS_ACCESS_KEY_ID"],
        secret_key=settings["AWS_SECRET_ACCESS_KEY"],
        secure=False,
    )
    client.make_bucket(name)
    for setting, value in settings.items():
        monkeypatch.setenv(setting, value)
    url = f"s3://{name}/trials"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    secret = {"SYNTRIAL_STORE": url, **{key: settings[key] for key in settings if key != "SYNTRIAL_CACHE_DIR"}}
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "syntrial-store", "namespace": name},
            "stringData": secret,
        }
    )
    found = Site(
        cluster=cluster,
        namespace=name,
        environment={**os.environ, **cluster_environment, **settings},
        store_url=url,
        folder=tmp_path,
    )
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.terminate()
        found.process.wait(timeout=30)
    cluster.delete("Namespace", None, name)
    for item in client.list_objects(name, recursive=True):
        client.remove_object(name, str(item.object_name))
    client.remove_bucket(name)


@pytest.fixture
def kubelet(site: Site) -> Iterator[Kubelet]:
    """Runs the namespace's pods."""
    with Kubelet(site.cluster, site.namespace, site.store) as played:
        yield played


def test_an_applied_experiment_goes_to_its_verdict_though_the_controller_is_killed(
    site: Site, kubelet: Kubelet
) -> None:
    site.start()
    site.apply(tiny())
    site.until(lambda: site.status().get("steps", {}).get("done", 0) > 2)
    site.kill()
    site.start()
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    status = site.status()
    assert status["verdict"] == {
        **{"decision": "improves", "effect": 0.02, "low": 0.01, "high": 0.03},
        **{"metric": "auroc", "words": "It helps."},
    }
    assert status["steps"]["done"] == status["steps"]["total"] == len(kubelet.runs)
    assert set(kubelet.runs.values()) == {1}
    assert status["observedGeneration"] == 1
    site.until(lambda: not site.jobs())
    metadata = site.experiment()["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    events = {event["reason"] for event in site.cluster.list("Event", site.namespace)}
    assert {"Planned", "Audited", "VerdictReached"} <= events
