"""The controller as a process against a real API server and a real object store; a played kubelet runs the pods."""

import base64
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster.kubelet import NODE_SELECTOR, STOPPED, Kubelet
from tests.cluster.proxy import Proxy
from tests.cluster.site import Site, tiny

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


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
