"""The command line against a real API server, with Jobs, pods and a MinIO of the test's own; no controller runs."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from syntrial import cli
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.client import Kubernetes
from syntrial.cluster.manifests import Batch, Images, Owner, step_job
from syntrial.experiment.model import Cluster
from syntrial.remote.store import remote_store
from syntrial.rpc.testing import fake_key
from tests.unit.trial_records import REPORT, put_trial

pytestmark = pytest.mark.cluster

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
Run = Callable[..., tuple[int, str, str]]

PHANTOM = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small, labels: {team: a}}
spec:
  dataset: {phantom: {trainPatients: 24, validationPatients: 12, testPatients: 24}, size: 16}
  synthetic: [{name: base, generator: {pca: {}}}]
  cluster: {resources: {limits: {nvidia.com/gpu: 1}}}
"""
USER, PASSWORD, BUCKET = "store-user", "store-password", "client"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module", autouse=True)
def _kubeconfig(cluster_environment: dict[str, str], crd: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", cluster_environment["KUBECONFIG"])
        yield


@pytest.fixture(scope="module")
def namespace(new_namespace: Callable[[str], str]) -> str:
    return new_namespace("cli")


@pytest.fixture(scope="module")
def store(cluster: Kubernetes, namespace: str, kubectl: Kubectl, minio_image: None) -> None:
    """A MinIO behind a Service, and the Secret with its address as pods see it."""
    from minio import Minio

    container = {
        "name": "minio",
        "image": "localhost/minio:test",
        "imagePullPolicy": "Never",
        "args": ["server", "/tmp/data", "--address", ":9000"],  # noqa: S108 - in the pod
        "env": [
            {"name": "MINIO_ROOT_USER", "value": USER},
            {"name": "MINIO_ROOT_PASSWORD", "value": PASSWORD},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
        ],
        "readinessProbe": {"httpGet": {"path": "/minio/health/live", "port": 9000}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
    }
    metadata = {"name": "minio", "namespace": namespace, "labels": {"app": "minio"}}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    ports = [{"port": 9000, "targetPort": 9000}]
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "minio"}, "ports": ports},
        }
    )
    kubectl("-n", namespace, "wait", "--for=condition=Ready", "--timeout=120s", "pod/minio")
    with cluster.port_forward(namespace, "service/minio", 9000) as address:
        Minio(address, access_key=USER, secret_key=PASSWORD, secure=False).make_bucket(BUCKET)
    values = {
        "SYNTRIAL_STORE": f"s3://{BUCKET}/{namespace}",
        "SYNTRIAL_S3_ENDPOINT": f"http://minio.{namespace}.svc:9000",
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": values}
    cluster.create(secret | {"metadata": {"name": "syntrial-store", "namespace": namespace}})


@pytest.fixture
def run(namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder of the test's own, in the namespace: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNTRIAL_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "small.yaml").write_text(PHANTOM)

    def call(*arguments: str, place: str = namespace) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["syntrial", *arguments, "-n", place])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capfd.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture
def small(cluster: Kubernetes, namespace: str, run: Run) -> Iterator[dict[str, Any]]:
    """A submitted experiment."""
    assert run("submit", "small.yaml")[0] == 0
    found = cluster.get("Experiment", namespace, "small")
    assert found is not None
    yield found
    cluster.delete("Experiment", namespace, "small")


def opened(cluster: Kubernetes, namespace: str) -> AbstractContextManager[ArtifactStore]:
    return remote_store(cluster, namespace=namespace, secret="syntrial-store")


def write_status(cluster: Kubernetes, tree: dict[str, Any], **status: Any) -> None:
    """Writes the status as a controller does."""
    cluster.patch_status({**tree, "status": {"observedGeneration": 1, **status}}, field_manager="syntrial-controller")


def condition(kind: str, value: str, reason: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": "as a test wrote it",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def test_submitting_creates_the_object_and_then_changes_it(
    cluster: Kubernetes, namespace: str, run: Run, small: dict[str, Any]
) -> None:
    assert small["metadata"]["labels"] == {"team": "a"}
    assert small["spec"]["cluster"]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert "small unchanged" in run("submit", "small.yaml")[1]
    Path("small.yaml").write_text(PHANTOM + "  replicates: 7\n")
    assert "small configured" in run("submit", "small.yaml")[1]
    changed = cluster.get("Experiment", namespace, "small")
    assert changed is not None
    assert changed["spec"]["replicates"] == 7
    Path("small.yaml").write_text(PHANTOM)
    run("submit", "small.yaml")
    changed = cluster.get("Experiment", namespace, "small")
    assert changed is not None
    assert "replicates" not in changed["spec"], "a field that the file no longer names is gone"


def test_local_data_is_in_the_store_before_the_object_names_it(
    cluster: Kubernetes, namespace: str, store: None, run: Run
) -> None:
    for name in ("ill", "well"):
        Path("images", name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (16, 16), number).save(f"images/{name}/{number}.png")
    tree = yaml.safe_load(PHANTOM)
    tree["metadata"]["name"] = "own"
    tree["spec"]["dataset"] = {"folder": "images", "size": 16}
    Path("own.yaml").write_text(yaml.safe_dump(tree))
    code, out, err = run("submit", "own.yaml")
    assert code == 0, err
    assert "sent; sha256:" in out
    found = cluster.get("Experiment", namespace, "own")
    assert found is not None
    address = found["spec"]["dataset"]["folder"]
    with opened(cluster, namespace) as place:
        assert place.backend.read("uploads/" + address.replace(":", "/")) is not None
    assert "in the store already" in run("upload", "images")[1]
    cluster.delete("Experiment", namespace, "own")


def test_the_status_is_shown_and_watched_to_its_end(cluster: Kubernetes, run: Run, small: dict[str, Any]) -> None:
    assert "is the controller running?" in run("status", "small")[1]
    pending = [{"reason": "Unschedulable", "message": "1 Insufficient nvidia.com/gpu", "count": 1}]
    write_status(cluster, small, steps={"total": 4, "done": 1}, pending=pending)
    code, out, _ = run("status", "small")
    assert code == 0
    assert "1 of 4 steps done" in out
    assert "Insufficient nvidia.com/gpu" in out
    write_status(cluster, small, conditions=[condition("Succeeded", "True", "VerdictReached")])
    code, out, _ = run("status", "small", "--watch")
    assert code == 0
    assert "VerdictReached" in out


def test_cancelling_suspends_and_retrying_forgives_and_resumes(
    cluster: Kubernetes, namespace: str, store: None, run: Run, small: dict[str, Any]
) -> None:
    uid = small["metadata"]["uid"]
    with opened(cluster, namespace) as place:
        put_trial(place, uid=uid, unfinished=["train gan"])
        place.add_attempt(fake_key("train gan"), {"outcome": "failed", "reason": "UserError"}, experiment=uid)
    assert "suspended" in run("cancel", "small")[1]
    found = cluster.get("Experiment", namespace, "small")
    assert found is not None
    assert found["spec"]["suspend"] is True
    code, out, err = run("retry", "small")
    assert code == 0, err
    assert "tried again: train gan" in out
    assert "taken up again" in out
    found = cluster.get("Experiment", namespace, "small")
    assert found is not None
    assert found["spec"]["suspend"] is False
    assert found["spec"]["dataset"] == small["spec"]["dataset"]
    with opened(cluster, namespace) as place:
        assert place.attempts(fake_key("train gan"))[-1].entry["outcome"] == "retry"


def test_report_and_export_come_home_through_a_port_forward(
    cluster: Kubernetes, namespace: str, store: None, run: Run, small: dict[str, Any]
) -> None:
    code, _, err = run("report", "small")
    assert code == 1
    assert "no report yet" in err
    with opened(cluster, namespace) as place:
        put_trial(place, uid=small["metadata"]["uid"])
    code, out, err = run("export", "small", "home", "--include", "images")
    assert code == 0, err
    assert json.loads(Path("home/report.json").read_bytes()) == REPORT
    assert len(list(Path("home/images").rglob("*.png"))) == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("syntrial.analysis.tables.terminal_summary", lambda report: report["verdict"]["words"])
        code, out, err = run("report", "small", "--out", "fetched")
    assert code == 0, err
    assert "It improves." in out
    assert Path("fetched/report.html").read_text() == "<!doctype html>"


def test_logs_are_those_of_a_live_pod_and_of_recorded_attempts(  # noqa: PLR0917 - fixtures
    cluster: Kubernetes, namespace: str, store: None, run: Run, small: dict[str, Any], python_image: str
) -> None:
    uid, key = small["metadata"]["uid"], fake_key("train gan")
    with opened(cluster, namespace) as place:
        put_trial(place, uid=uid, unfinished=["train gan"])
        place.add_attempt(fake_key("filter edm"), {"outcome": "succeeded", "log": "kept so many"}, experiment=uid)
    lines = [{"event": "training", "key": key}, {"event": "of another step", "key": fake_key("other")}]
    code = f"import time; print({json.dumps(lines[0])!r}); print({json.dumps(lines[1])!r}, flush=True); time.sleep(8)"
    job = step_job(
        Batch(stage="generation", keys=(key,)),
        owner=Owner(name="small", uid=uid, namespace=namespace),
        placement=Cluster().placement("generation"),
        cluster=Cluster(),
        images=Images(repository="localhost", tag="none"),
        store_secret="syntrial-store",
    )
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container |= {"image": python_image, "imagePullPolicy": "Never", "command": ["python", "-u", "-c", code, "job"]}
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    cluster.create(job)
    deadline = time.monotonic() + 60
    while not (pods := cluster.pods_of(namespace, job["metadata"]["name"])) or pods[0]["status"]["phase"] == "Pending":
        assert time.monotonic() < deadline, pods
        time.sleep(0.3)
    code_, out, err = run("logs", "small")
    assert code_ == 0, err
    assert "kept so many" in out
    assert "of another step" in out
    code_, out, err = run("logs", "small", "train gan", "--follow")
    assert code_ == 0, err
    assert "training" in out
    assert "of another step" not in out
    assert "kept so many" not in out


def test_what_is_wrong_is_told_with_exit_code_2(
    cluster: Kubernetes, run: Run, small: dict[str, Any], new_namespace: Callable[[str], str]
) -> None:
    bare = new_namespace("cli-bare")
    assert run("submit", "small.yaml", place=bare)[0] == 0
    for arguments, place, words in (
        (("status", "smal"), "", "Did you mean small?"),
        (("status", "small", "--context", "absent"), "", "--context"),
        (("retry", "small"), bare, "secret syntrial-store"),
        (("status", "any"), "no-such-namespace", "There are none"),
    ):
        code, _, err = run(*arguments, place=place) if place else run(*arguments)
        assert code == 2, err
        assert words in err
        assert "Traceback" not in err


def test_a_user_without_rights_is_told_so(  # noqa: PLR0917 - fixtures
    cluster: Kubernetes,
    namespace: str,
    kubectl: Kubectl,
    run: Run,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster_environment: dict[str, str],
) -> None:
    kubectl("-n", namespace, "create", "serviceaccount", "nobody")
    token = kubectl("-n", namespace, "create", "token", "nobody").stdout.strip()
    config = yaml.safe_load(Path(cluster_environment["KUBECONFIG"]).read_text())
    config["users"].append({"name": "nobody", "user": {"token": token}})
    (context,) = (item for item in config["contexts"] if item["name"] == config["current-context"])
    config["contexts"].append({"name": "nobody", "context": {**context["context"], "user": "nobody"}})
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    for arguments in (("status", "small"), ("submit", "small.yaml"), ("cancel", "small")):
        code, _, err = run(*arguments, "--context", "nobody")
        assert code == 2, err
        assert "forbidden" in err
    assert run("status", "small")[0] == 0, "the kubeconfig's own context is somebody else"


def test_cancelling_with_delete_removes_the_object_and_its_jobs(
    cluster: Kubernetes, namespace: str, run: Run, small: dict[str, Any]
) -> None:
    assert "deleted" in run("cancel", "small", "--delete")[1]
    assert cluster.get("Experiment", namespace, "small") is None
