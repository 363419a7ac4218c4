"""The controller as a process against a real API server and a real object store; a played kubelet runs the pods."""

import base64
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.cluster.client import Kubernetes
from tests.cluster.kubelet import NODE_SELECTOR, STOPPED, Kubelet
from tests.cluster.proxy import Proxy
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

    def jobs(self, *, ended: bool = False) -> list[dict[str, Any]]:
        """Jobs that have not ended; with `ended`, all."""
        found = self.cluster.list("Job", self.namespace)
        ends = {"Complete", "Failed"}
        return [
            job
            for job in found
            if ended or not any(item["type"] in ends for item in job.get("status", {}).get("conditions") or ())
        ]

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
        **{"metric": "auroc", "words": "It helps.", "byLessThanMargin": False},
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


def test_suspend_stops_the_pods_and_resume_goes_on_where_it_was(site: Site, kubelet: Kubelet) -> None:
    kubelet.seconds = 1.0
    site.start()
    site.apply(tiny())
    site.until(lambda: site.status().get("steps", {}).get("done", 0) >= 1 and bool(kubelet.names))
    site.apply(tiny(suspend=True))
    site.until(lambda: not site.jobs() and not kubelet.pods())
    site.until(lambda: site.condition("Progressing") == ("False", "Suspended"))
    done = dict(kubelet.runs)
    time.sleep(3.0)
    assert not site.jobs()
    kubelet.seconds = 0.0
    site.apply(tiny())
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    assert set(kubelet.runs.values()) == {1}
    assert done.items() <= kubelet.runs.items()


def test_deleting_an_experiment_stops_its_jobs_and_keeps_its_artifacts(site: Site, kubelet: Kubelet) -> None:
    kubelet.seconds = 1.0
    site.start()
    site.apply(tiny())
    site.until(lambda: bool(kubelet.runs) and bool(kubelet.names))
    kubelet.seconds = 30.0
    finished = set(kubelet.runs)
    site.cluster.delete("Experiment", site.namespace, "tiny")
    site.until(lambda: not site.jobs(ended=True) and not kubelet.pods())
    assert finished <= site.store.done(finished)
    kubelet.seconds = 0.0
    site.apply(tiny())
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    assert set(kubelet.runs.values()) == {1}


def test_a_changed_spec_stops_only_the_jobs_that_no_longer_belong(site: Site, kubelet: Kubelet) -> None:
    def work(pod: dict[str, Any], stop: threading.Event) -> int:
        """All but the preparation of data is still at work when the spec changes, however fast the controller is."""
        if "-data-prep-" in pod["metadata"]["name"]:
            return kubelet.run_steps(pod, stop)
        stop.wait(60.0)
        return STOPPED

    kubelet.work = work
    site.start()
    site.apply(tiny())
    site.until(lambda: {job["metadata"]["name"].split("-")[1] for job in site.jobs()} >= {"generation", "filtering"})
    before = {job["metadata"]["name"]: job["metadata"]["uid"] for job in site.jobs()}
    site.apply(tiny(synthetic=[{"name": "edm", "generator": {"pca": {}}, "copies": 0}]))
    site.until(lambda: site.status().get("observedGeneration") == 2)

    def names() -> dict[str, str]:
        return {job["metadata"]["name"]: job["metadata"]["uid"] for job in site.jobs()}

    gone = {name for name in before if "-generation-" in name}
    site.until(lambda: not gone & names().keys() and any("-generation-" in name for name in names()))
    assert {name: uid for name, uid in before.items() if name not in gone}.items() <= names().items()


def test_a_quota_on_jobs_and_one_on_pods_are_told_and_heeded(site: Site, kubelet: Kubelet) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": site.namespace}}
    site.cluster.apply({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}}, field_manager="test")
    # The quota controller has to have counted before it refuses.
    site.until(lambda: bool((site.cluster.get("ResourceQuota", site.namespace, "few") or {})["status"].get("used")))
    site.start()
    site.apply(tiny())
    site.until(lambda: site.pending() == {"QuotaExceeded"})
    assert "exceeded quota: few" in site.status()["pending"][0]["message"]
    site.cluster.apply({**quota, "spec": {"hard": {"pods": "0"}}}, field_manager="test")
    site.until(lambda: bool(site.jobs()))
    site.until(lambda: site.pending() == {"QuotaExceeded"} and "pods" in site.status()["pending"][0]["message"])
    site.cluster.delete("ResourceQuota", site.namespace, "few")
    # Kubernetes' own Job controller tries again with pauses of up to minutes: a new Job begins at once.
    for job in site.jobs():
        site.cluster.delete("Job", site.namespace, job["metadata"]["name"])
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    # Others' Jobs stay for a while after their end; where there was a quota they make room.
    site.until(lambda: not site.jobs(ended=True))


def test_a_queue_admits_jobs_takes_one_back_and_admits_it_again(site: Site, kubelet: Kubelet) -> None:
    """The test plays Kueue: it alone sets `suspend` to false, and to true where it takes the room back."""
    kubelet.seconds = 3.0
    site.start()
    site.apply(tiny(cluster={"nodeSelector": NODE_SELECTOR, "queueName": "gpus"}))
    site.until(lambda: site.pending() == {"Queued"})
    (job,) = site.jobs()
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    name = job["metadata"]["name"]
    site.cluster.patch("Job", site.namespace, name, {"spec": {"suspend": False}})
    site.until(lambda: bool(kubelet.names) and site.status()["steps"]["running"] == 1)
    site.cluster.patch("Job", site.namespace, name, {"spec": {"suspend": True}})
    site.until(lambda: site.pending() == {"Queued"} and not kubelet.pods())
    assert [item["metadata"]["uid"] for item in site.jobs()] == [job["metadata"]["uid"]]
    kubelet.seconds = 0.0

    def admit() -> bool:
        for item in site.jobs():
            if item["spec"].get("suspend"):
                site.cluster.patch("Job", site.namespace, item["metadata"]["name"], {"spec": {"suspend": False}})
        return site.condition("Succeeded")[0] == "True"

    site.until(admit, seconds=120)
    assert set(kubelet.runs.values()) == {1}


def test_a_job_deleted_by_hand_is_made_again_and_a_status_edited_by_hand_is_put_right(
    site: Site, kubelet: Kubelet
) -> None:
    kubelet.is_paused = True
    site.start()
    site.apply(tiny())
    site.until(lambda: len(site.jobs()) == 1 and site.pending() == {"Unschedulable"})
    (job,) = site.jobs()
    site.cluster.delete("Job", site.namespace, job["metadata"]["name"])
    site.until(lambda: [item["metadata"]["uid"] for item in site.jobs()] not in ([], [job["metadata"]["uid"]]))
    kubelet.is_paused = False
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)
    right = site.status()
    body = site.experiment()
    wrong = {"progress": "1/1", "verdict": {"decision": "harms"}, "conditions": []}
    site.cluster.patch_status({**body, "status": wrong}, field_manager="somebody")
    site.until(lambda: site.status().get("verdict") == right["verdict"])
    site.until(lambda: site.status()["progress"] == right["progress"])
    assert site.condition("Succeeded") == ("True", "VerdictReached")


def test_pods_that_die_are_told_of_with_the_reason_and_tried_again(site: Site, kubelet: Kubelet) -> None:
    died: list[str] = []

    def die_once(pod: dict[str, Any], stop: threading.Event) -> int:
        if len(died) < 2:
            died.append(pod["metadata"]["name"])
            return 137
        return kubelet.run_steps(pod, stop)

    kubelet.work = die_once
    site.start()
    site.apply(tiny())
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=180)
    scan = site.store.backend.scan("attempts/")
    outcomes = [
        (attempt.entry["outcome"], attempt.entry["reason"])
        for key in {info.name.split("/")[1] for info in scan}
        for attempt in site.store.attempts(key)
    ]
    assert outcomes.count(("failed", "Crashed")) == 2
    assert set(kubelet.runs.values()) == {1}


def test_a_wrong_store_secret_is_told_and_a_right_one_is_taken_up(site: Site, kubelet: Kubelet) -> None:
    secret = site.cluster.get("Secret", site.namespace, "syntrial-store")
    assert secret is not None
    wrong = {"data": {"AWS_SECRET_ACCESS_KEY": base64.b64encode(b"wrong").decode()}}
    site.cluster.patch("Secret", site.namespace, "syntrial-store", wrong)
    site.start()
    site.apply(tiny())
    site.until(lambda: site.pending() == {"StoreUnreachable"})
    (pending,) = site.status()["pending"]
    assert "AWS_SECRET_ACCESS_KEY" in pending["message"]
    assert "wrong" not in str(site.status()).replace("wrong signature", "")
    site.cluster.patch("Secret", site.namespace, "syntrial-store", {"data": secret["data"]})
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=120)


def test_two_controllers_at_once_do_no_harm(site: Site, kubelet: Kubelet) -> None:
    first = site.start()
    site.start()
    try:
        site.apply(tiny())
        site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=180)
    finally:
        first.terminate()
        first.wait(timeout=30)
    assert set(kubelet.runs.values()) == {1}
    site.until(lambda: not site.jobs())


def test_an_invalid_experiment_is_told_what_the_laptop_says(site: Site) -> None:
    site.start()
    site.apply(tiny(dataset={"npz": "data.npz"}))
    site.until(lambda: site.condition("Valid") == ("False", "Invalid"))
    assert "syntrial submit" in site.status()["conditions"][0]["message"]
    assert not site.jobs()


def test_outages_of_the_api_server_and_of_the_store_are_outlived(site: Site, kubelet: Kubelet) -> None:
    """Both are reached by proxies that go away; the played kubelet has its own way to both and works on."""
    server = urlsplit(site.cluster.server)
    bucket = urlsplit(site.environment["SYNTRIAL_S3_ENDPOINT"])
    api, store = Proxy(server.hostname or "", server.port or 443), Proxy(bucket.hostname or "", bucket.port or 80)
    api.up()
    store.up()
    config = (
        Path(site.environment["KUBECONFIG"]).read_text().replace(site.cluster.server, f"https://127.0.0.1:{api.port}")
    )
    (site.folder / "kubeconfig").write_text(config)
    site.environment["KUBECONFIG"] = str(site.folder / "kubeconfig")
    endpoint = base64.b64encode(f"http://127.0.0.1:{store.port}".encode()).decode()
    site.cluster.patch("Secret", site.namespace, "syntrial-store", {"data": {"SYNTRIAL_S3_ENDPOINT": endpoint}})
    kubelet.seconds = 0.5
    site.start()
    site.apply(tiny())
    site.until(lambda: site.status().get("steps", {}).get("done", 0) >= 1)
    api.down()
    time.sleep(8.0)
    api.up()
    done = site.status()["steps"]["done"]
    site.until(lambda: site.status()["steps"]["done"] > done)
    store.down()
    site.until(lambda: "StoreUnreachable" in site.pending())
    assert site.condition("Progressing") == ("Unknown", "StoreUnreachable")
    time.sleep(3.0)
    store.up()
    site.until(lambda: site.condition("Succeeded")[0] == "True", seconds=180)
    assert set(kubelet.runs.values()) == {1}
    assert site.process is not None
    assert site.process.poll() is None
    site.until(lambda: not site.jobs())
    api.down()
    store.down()
