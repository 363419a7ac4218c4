"""Jobs on a real Kubernetes: the contract of `tests/contract/jobs.py`, and what only a cluster does to a pod.

The Jobs are those of `syntrial.cluster.manifests`, whole; their container runs the scripted stage of the controller's
image. Their namespace enforces the Pod Security Standard `restricted`.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest
from kubernetes import client, config, watch
from minio import Minio
from urllib3.exceptions import HTTPError

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.cluster.client import Kubernetes
from syntrial.cluster.manifests import GRACE_SECONDS, PORT, Batch, Manifest, Owner, step_job
from syntrial.experiment.model import Cluster
from tests.cluster.product import images
from tests.contract.jobs import EXPERIMENT, JobContract, eventually, outcomes, recorded, watched

BUCKET = "test-jobs"
SMALL = {"resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


class PodWatch:
    """The last state of each pod of a namespace, those that are gone too."""

    def __init__(self, core: client.CoreV1Api, namespace: str) -> None:
        self.pods: dict[str, Manifest] = {}
        self._watch = watch.Watch()
        self._is_stopped = False
        self._arguments = (core.list_namespaced_pod, namespace)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._is_stopped:
            # A server that is busy ends watches; the next one begins with all pods that there are.
            with contextlib.suppress(client.ApiException, HTTPError):
                for event in self._watch.stream(*self._arguments):
                    if event is not None:
                        self.pods[event["raw_object"]["metadata"]["name"]] = event["raw_object"]

    def of(self, job: str) -> list[Manifest]:
        """The pods of a Job, oldest first."""
        pods = [pod for pod in self.pods.values() if pod["metadata"]["labels"].get("job-name") == job]
        return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def stop(self) -> None:
        """Ends the watch with its next event."""
        self._is_stopped = True
        self._watch.stop()


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A Job under way."""

    cluster: Kubernetes
    watch: PodWatch
    namespace: str
    name: str

    def reached(self) -> AbstractContextManager[str]:
        """A port-forward to its pod."""
        eventually(lambda: any(pod["status"]["phase"] == "Running" for pod in self.pods()))
        return self.cluster.port_forward(self.namespace, self.pods()[-1]["metadata"]["name"], PORT)

    def stop(self) -> None:
        """Deletes its pod, and with it the Job, as the controller does for a step that no longer belongs."""
        assert self.cluster.delete("Job", self.namespace, self.name)

    def exit_status(self) -> int:
        """Of the last pod's container."""
        eventually(lambda: any(terminated(pod) for pod in self.pods()))
        return int(terminated(self.pods()[-1])["exitCode"])

    def pods(self) -> list[Manifest]:
        """Its pods, oldest first, as they were last."""
        return self.watch.of(self.name)

    def condition(self) -> tuple[str, str]:
        """Type and reason of the condition in which it ended."""
        ends: list[Manifest] = []

        def has_ended() -> bool:
            job = self.cluster.get("Job", self.namespace, self.name)
            assert job is not None
            conditions = job["status"].get("conditions") or []
            ends[:] = [c for c in conditions if c["type"] in {"Complete", "Failed"} and c["status"] == "True"]
            return bool(ends)

        eventually(has_ended)
        return ends[0]["type"], ends[0].get("reason", "")


@dataclass(kw_only=True)
class Jobs:
    """Runs jobs as Kubernetes Jobs."""

    cluster: Kubernetes
    watch: PodWatch
    core: client.CoreV1Api
    namespace: str
    store: ArtifactStore
    attempts: dict[tuple[str, ...], int] = field(default_factory=dict)

    def manifest(
        self, keys: list[str], *, placement: dict[str, Any] | None = None, limit: str | None = None
    ) -> Manifest:
        """The Job for these keys, with the scripted stage in place of data preparation's."""
        attempt = self.attempts[tuple(keys)] = self.attempts.get(tuple(keys), 0) + 1
        cluster = Cluster.model_validate(SMALL | (placement or {}))
        job = step_job(
            Batch(stage="data_prep", keys=tuple(keys), attempt=attempt, memory_limit=limit),
            owner=Owner(name="contract", uid=EXPERIMENT, namespace=self.namespace),
            placement=cluster.placement("data_prep"),
            cluster=cluster,
            images=images(),
            store_secret="syntrial-store",
        )
        # Nothing owns these Jobs: there is no Experiment, and the garbage collector would take them away.
        del job["metadata"]["ownerReferences"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        container["image"] = images().of("controller")
        container["command"] = ["python", "-m", "syntrial.rpc.scripted"]
        return job

    def start(self, keys: list[str], **changes: Any) -> RunningJob:
        """Makes the Job."""
        job = self.manifest(keys, **changes)
        assert self.cluster.create(job)
        return self.running(job)

    def running(self, job: Manifest) -> RunningJob:
        """The Job that was made."""
        return RunningJob(
            cluster=self.cluster, watch=self.watch, namespace=self.namespace, name=job["metadata"]["name"]
        )


def terminated(pod: Manifest) -> Manifest:
    """The end of a pod's container; empty where it has not ended."""
    statuses = pod["status"].get("containerStatuses") or [{}]
    ended: Manifest = statuses[0].get("state", {}).get("terminated") or {}
    return ended


@pytest.fixture(scope="module")
def jobs(
    cluster: Kubernetes, cluster_environment: dict[str, str], new_namespace: Callable[[str], str]
) -> Iterator[Jobs]:
    namespace, prefix = new_namespace("jobs"), uuid.uuid4().hex
    endpoint = cluster_environment["S3_ENDPOINT"]
    settings = {name: cluster_environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    settings |= {"SYNTRIAL_S3_ENDPOINT": endpoint, "SYNTRIAL_STORE": f"s3://{BUCKET}/{prefix}"}
    minio = Minio(
        endpoint.partition("://")[2],
        access_key=settings["AWS_ACCESS_KEY_ID"],
        secret_key=settings["AWS_SECRET_ACCESS_KEY"],
        secure=False,
    )
    if not minio.bucket_exists(BUCKET):
        minio.make_bucket(BUCKET)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "syntrial-store", "namespace": namespace}}
    cluster.create(secret | {"stringData": settings})
    core = client.CoreV1Api(config.new_client_from_config(config_file=cluster_environment["KUBECONFIG"]))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        store = open_store(settings["SYNTRIAL_STORE"])
    watching = PodWatch(core, namespace)
    yield Jobs(cluster=cluster, watch=watching, core=core, namespace=namespace, store=store)
    watching.stop()
    for found in list(minio.list_objects(BUCKET, prefix=prefix, recursive=True)):
        minio.remove_object(BUCKET, found.object_name or "")


class TestJobsOnACluster(JobContract):
    """The contract, kept by pods."""

    @pytest.fixture
    def runner(self, jobs: Jobs) -> Jobs:
        """Where jobs run."""
        return jobs


def test_a_users_error_fails_the_job_at_once(jobs: Jobs) -> None:
    running = jobs.start(recorded(jobs, {"fail": "user", "value": "at once"}))
    assert running.condition() == ("Failed", "PodFailurePolicy")
    assert len(running.pods()) == 1
    assert "Mend it." in terminated(running.pods()[0])["message"]


def test_a_crash_ends_the_job_and_leaves_the_rest_to_the_controller(jobs: Jobs) -> None:
    running = jobs.start(recorded(jobs, {"exit": 9}))
    assert running.condition() == ("Failed", "BackoffLimitExceeded")
    assert [terminated(pod)["exitCode"] for pod in running.pods()] == [9]


def test_out_of_memory_is_read_from_the_pod_and_a_larger_second_try_succeeds(jobs: Jobs) -> None:
    keys = recorded(jobs, {"allocate": 400, "value": "large"})
    running = jobs.start(keys, limit="256Mi")
    assert running.condition() == ("Failed", "BackoffLimitExceeded")
    assert (terminated(running.pods()[0])["reason"], running.exit_status()) == ("OOMKilled", 137)
    assert outcomes(jobs, keys[0]) == []
    assert jobs.start(keys, limit="768Mi").condition()[0] == "Complete"


def test_an_evicted_pod_is_replaced_by_the_job_and_goes_on_from_its_checkpoint(jobs: Jobs) -> None:
    (key,) = recorded(jobs, {"counts": 300, "pause": 0.03, "value": "evicted"})
    running = jobs.start([key])
    with watched(running, key) as responses:
        next(response for response in responses if response.progress.done >= 20)
    name = running.pods()[0]["metadata"]["name"]
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=jobs.namespace))
    jobs.core.create_namespaced_pod_eviction(name, jobs.namespace, eviction)
    assert running.condition()[0] == "Complete"
    first, second = running.pods()
    assert any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in first["status"]["conditions"])
    assert (terminated(first)["exitCode"], terminated(second)["exitCode"]) == (143, 0)
    assert outcomes(jobs, key) == [("cancelled", "Cancelled"), ("succeeded", "")]
    log = jobs.store.attempts(key, experiment=EXPERIMENT)[-1].entry["log"]
    assert '"start": 0' not in log


def test_a_deadline_stops_an_attempt_and_is_told_apart(jobs: Jobs) -> None:
    (key,) = recorded(jobs, {"counts": 100_000, "pause": 0.05})
    running = jobs.start([key], placement={"activeDeadlineSeconds": 30})
    with watched(running, key) as responses:
        next(response for response in responses if response.progress.done >= 1)
    assert running.condition() == ("Failed", "BackoffLimitExceeded")
    (pod,) = running.pods()
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert jobs.store.checkpoints(key).load() is not None


def test_a_pod_that_is_stopped_before_its_stage_listens_to_signals_ends_at_once(jobs: Jobs) -> None:
    job = jobs.manifest(recorded(jobs, {"value": "not yet started"}))
    # Python as it is while it still imports.
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", "import time; time.sleep(600)"]
    assert jobs.cluster.create(job)
    running = jobs.running(job)
    eventually(lambda: any(pod["status"]["phase"] == "Running" for pod in running.pods()))
    started = time.monotonic()
    running.stop()
    assert running.exit_status() == 143
    assert time.monotonic() - started < GRACE_SECONDS / 2


def test_a_queued_job_waits_until_it_is_admitted(jobs: Jobs) -> None:
    (key,) = recorded(jobs, {"value": "queued"})
    running = jobs.start([key], placement={"queueName": "research"})
    time.sleep(2.0)
    assert not running.pods()
    # Kueue's part: it sets where the Job may run, and lets it go.
    jobs.cluster.patch("Job", jobs.namespace, running.name, {"spec": {"suspend": False}})
    assert running.condition()[0] == "Complete"


def test_a_job_that_asks_for_a_gpu_runs_where_there_is_one(jobs: Jobs) -> None:
    gpu = {"resources": SMALL["resources"] | {"limits": {"memory": "512Mi", "nvidia.com/gpu": "1"}}}
    running = jobs.start(recorded(jobs, {"value": "on a GPU's node"}), placement=gpu)
    # Tests beside this one may hold the node's GPUs for a while.
    eventually(lambda: bool(running.pods()) and bool(terminated(running.pods()[0])), seconds=240)
    assert running.condition()[0] == "Complete"
    (pod,) = running.pods()
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"]["nvidia.com/gpu"] == "1"


def test_a_missing_image_and_a_missing_secret_are_seen_in_the_pod(jobs: Jobs) -> None:
    made = [jobs.manifest(recorded(jobs, {"value": value})) for value in ("no image", "no secret")]
    made[0]["spec"]["template"]["spec"]["containers"][0] |= {"image": "localhost/absent:1", "imagePullPolicy": "Never"}
    made[1]["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "absent"}}]

    def waiting(job: Manifest) -> str:
        pods = jobs.watch.of(job["metadata"]["name"])
        statuses = pods[0]["status"].get("containerStatuses", [{}]) if pods else [{}]
        return str(statuses[0].get("state", {}).get("waiting", {}).get("reason"))

    for job, reason in zip(made, ("ErrImageNeverPull", "CreateContainerConfigError"), strict=True):
        jobs.cluster.create(job)
        eventually(lambda job=job, reason=reason: waiting(job) == reason)  # type: ignore[misc]
        jobs.cluster.delete("Job", jobs.namespace, job["metadata"]["name"])
