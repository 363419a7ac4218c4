"""The life of a deployment on a real cluster, by `make deploy` and `make undeploy`: made, upgraded, spoilt, removed."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
VALUES = {
    "minio": {"persistence": {"enabled": True, "size": "1Gi"}},
    # Of the served stages the one without torch: the others start likewise, and take a minute on two cores.
    "stageServices": {
        "enabled": True,
        "stages": {
            "data-prep": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
            "generation": {"enabled": False},
            "filtering": {"enabled": False},
            "classification": {"enabled": False},
        },
    },
}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment that serves its own namespace and another one."""

    environment: dict[str, str]
    namespace: str
    tenant: str
    values: str

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a target of the Makefile."""
        command = ["make", *arguments, f"NAMESPACE={self.namespace}"]
        return subprocess.run(
            command,
            env=self.environment | {"TIMEOUT": "300s"},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def deploy(self, *more: str) -> "subprocess.CompletedProcess[str]":
        """`make deploy` with the deployment's values, and more files of them."""
        return self.make("deploy", f"VALUES={' '.join([self.values, *more])}")

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """What kubectl prints."""
        command = ["kubectl", *arguments]
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def objects(self, kinds: str, namespace: str) -> list[dict[str, Any]]:
        """The objects of some kinds in a namespace."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kinds, "-n", namespace, "-o", "json"))["items"]
        return items

    def secret(self, name: str, namespace: str) -> dict[str, str]:
        """The entries of a Secret, as they are kept."""
        data: dict[str, str] = json.loads(self.kubectl("get", "secret", name, "-n", namespace, "-o", "json"))["data"]
        return data

    def may(self, account: str, *what: str) -> bool:
        """Whether a service account of the release may do something."""
        asked = f"--as=system:serviceaccount:{self.namespace}:{account}"
        return self.kubectl("auth", "can-i", *what, asked, check=False).strip() == "yes"


@pytest.fixture(scope="module")
def deployment(  # noqa: PLR0917 - fixtures
    cluster_environment: dict[str, str],
    new_namespace: Callable[[str], str],
    crd: str,
    minio_image: None,
    controller_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """A deployment that works; removed at the end, whatever happened."""
    made = Deployment(
        environment=cluster_environment,
        namespace=f"deploy-{uuid.uuid4().hex[:8]}",
        tenant=new_namespace("deploy-tenant"),
        values=str(tmp_path_factory.mktemp("values") / "values.yaml"),
    )
    values = yaml.safe_load((REPOSITORY / "tests" / "cluster" / "values.yaml").read_text())
    values["minio"] |= VALUES["minio"]
    values |= {"stageServices": VALUES["stageServices"], "watchNamespaces": [made.namespace, made.tenant]}
    Path(made.values).write_text(yaml.safe_dump(values))
    volume = volume_for(made, tmp_path_factory.mktemp("volume"))
    try:
        done = made.deploy()
        assert done.returncode == 0, done.stdout + done.stderr
        for namespace in (made.namespace, made.tenant):
            assert f"the store s3://syntrial/{namespace} answers" in done.stdout
        assert f"kubectl apply -n {made.namespace}" in done.stdout
        yield made
    finally:
        made.make("undeploy", "FORCE=1", "KEEP_CRD=1")
        made.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")
        made.kubectl("delete", "persistentvolume", volume, "--wait=false")


def volume_for(deployment: Deployment, folder: Path) -> str:
    """Makes a volume for MinIO's claim, since no provisioner is here; its name."""
    folder.chmod(0o777)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": deployment.namespace},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder), "type": "Directory"},
            "claimRef": {"name": "data-syntrial-minio-0", "namespace": deployment.namespace},
        },
    }
    deployment.kubectl("apply", "-f", "-", stdin=json.dumps(volume))
    return deployment.namespace


def test_everything_runs_in_a_namespace_that_enforces_restricted(deployment: Deployment) -> None:
    namespace = json.loads(deployment.kubectl("get", "namespace", deployment.namespace, "-o", "json"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    ready = {
        found["metadata"]["name"]: found["status"].get("readyReplicas")
        for found in deployment.objects("deployments,statefulsets", deployment.namespace)
    }
    assert ready == {"syntrial-controller": 1, "syntrial-data-prep": 1, "syntrial-minio": 1}


def test_the_controller_may_do_its_work_in_the_watched_namespaces_and_no_other(deployment: Deployment) -> None:
    for namespace in (deployment.namespace, deployment.tenant):
        for what in (
            ("list", "experiments.syntrial.dev"),
            ("patch", "experiments.syntrial.dev", "--subresource=status"),
            ("create", "jobs.batch"),
            ("delete", "jobs.batch"),
            ("get", "secrets/syntrial-store"),
            ("create", "events"),
        ):
            assert deployment.may("syntrial-controller", *what, "-n", namespace), what
        for what in (
            ("list", "secrets"),
            ("get", "secrets/syntrial-minio"),
            ("get", "secrets/syntrial-minio-tenants"),
            ("delete", "experiments.syntrial.dev"),
            ("create", "pods"),
            ("create", "pods", "--subresource=exec"),
            ("create", "rolebindings.rbac.authorization.k8s.io"),
        ):
            assert not deployment.may("syntrial-controller", *what, "-n", namespace), what
    for what in (
        ("list", "experiments.syntrial.dev"),
        ("create", "jobs.batch"),
        ("get", "secrets/syntrial-store"),
        ("list", "pods"),
    ):
        assert not deployment.may("syntrial-controller", *what, "-n", "default"), what
    assert not deployment.may("syntrial-controller", "list", "namespaces")
    assert not deployment.may("default", "get", "secrets/syntrial-store", "-n", deployment.namespace)


def test_users_who_may_edit_or_view_a_namespace_may_so_with_its_experiments(deployment: Deployment) -> None:
    account, namespace = "default", deployment.tenant
    subject = f"--serviceaccount={deployment.namespace}:{account}"
    assert not deployment.may(account, "get", "experiments.syntrial.dev", "-n", namespace)
    deployment.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", subject, "-n", namespace)
    assert deployment.may(account, "get", "experiments.syntrial.dev", "-n", namespace)
    assert not deployment.may(account, "create", "experiments.syntrial.dev", "-n", namespace)
    deployment.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", subject, "-n", namespace)
    assert deployment.may(account, "create", "experiments.syntrial.dev", "-n", namespace)
    deployment.kubectl("delete", "rolebinding", "viewer", "editor", "-n", namespace)


def test_the_collector_runs_with_what_it_may_do(deployment: Deployment) -> None:
    deployment.kubectl("create", "job", "gc-now", "--from=cronjob/syntrial-gc", "-n", deployment.namespace)
    deployment.kubectl(
        "wait", "--for=condition=Complete", "job/gc-now", "--timeout=100s", "-n", deployment.namespace, check=False
    )
    log = deployment.kubectl("logs", "job/gc-now", "-n", deployment.namespace)
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["namespace"], line["event"], line["objects"]) for line in lines] == [
        (namespace, "collected", 0) for namespace in sorted([deployment.namespace, deployment.tenant])
    ]
    deployment.kubectl("delete", "job", "gc-now", "-n", deployment.namespace)


@pytest.mark.parametrize(
    "path",
    [
        *sorted((REPOSITORY / "tests" / "unit" / "chart" / "golden").glob("*.yaml")),
        REPOSITORY / "k8s" / "base" / "syntrial.yaml",
        REPOSITORY / "k8s" / "components" / "minio" / "minio.yaml",
        REPOSITORY / "k8s" / "components" / "gpu" / "gpu.yaml",
    ],
    ids=lambda path: path.stem,
)
def test_the_api_server_takes_every_rendering(deployment: Deployment, path: Path) -> None:
    known = [
        found for found in yaml.safe_load_all(path.read_text()) if found and "monitoring" not in found["apiVersion"]
    ]
    for item in known:
        # All into one namespace that is there and enforces `restricted`; what is alike then is asked twice.
        item["metadata"]["name"] += "-tried"
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = deployment.tenant
    taken = deployment.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        stdin=yaml.safe_dump_all(known),
    )
    assert taken.count("serverside-applied (server dry run)") == len(known) > 0


def test_an_upgrade_keeps_the_credentials_and_the_namespaces_stores(deployment: Deployment) -> None:
    before = [deployment.secret("syntrial-minio", deployment.namespace)]
    before += [deployment.secret("syntrial-store", place) for place in (deployment.namespace, deployment.tenant)]
    assert before[1]["AWS_SECRET_ACCESS_KEY"] != before[2]["AWS_SECRET_ACCESS_KEY"]
    done = deployment.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    after = [deployment.secret("syntrial-minio", deployment.namespace)]
    after += [deployment.secret("syntrial-store", place) for place in (deployment.namespace, deployment.tenant)]
    assert after == before


def test_a_store_that_refuses_the_credentials_is_named(deployment: Deployment, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    store = {
        "url": "s3://trials",
        "endpoint": deployment.environment["S3_ENDPOINT"],
        "keys": {
            namespace: {"accessKey": f"nobody-known-{number}", "secretKey": "not-to-be-shown"}
            for number, namespace in enumerate((deployment.namespace, deployment.tenant))
        },
    }
    wrong.write_text(yaml.safe_dump({"minio": {"enabled": False}, "store": store}))
    done = deployment.deploy(str(wrong))
    assert done.returncode != 0
    assert "the object store cannot be used" in done.stderr
    # helm stops at the first namespace whose check fails.
    assert re.search(rf"namespace ({deployment.namespace}|{deployment.tenant}): AWS_ACCESS_KEY_ID", done.stdout)
    assert "not-to-be-shown" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_undeploy_asks_before_experiments_go_and_then_leaves_nothing_but_data(deployment: Deployment) -> None:
    experiment = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "kept", "namespace": deployment.tenant},
        "spec": {
            "suspend": True,
            "dataset": {"phantom": {}, "size": 28},
            "synthetic": [{"name": "pca", "generator": {"pca": {}}}],
        },
    }
    deployment.kubectl("apply", "-f", "-", stdin=json.dumps(experiment))
    refused = deployment.make("undeploy", "KEEP_CRD=1")
    assert refused.returncode != 0
    assert f"{deployment.tenant}/kept" in refused.stderr
    assert "FORCE=1" in refused.stderr
    assert deployment.objects("deployments", deployment.namespace)
    assert deployment.objects("experiments", deployment.tenant)

    done = deployment.make("undeploy", "KEEP_CRD=1", "FORCE=1")
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = "experiments,deployments,jobs,pods,secrets,configmaps,services,networkpolicies,roles,rolebindings"
    left = {found["metadata"]["name"] for found in deployment.objects(kinds, deployment.tenant)}
    assert left == {"kube-root-ca.crt"}
    left = {found["metadata"]["name"] for found in deployment.objects(kinds, deployment.namespace)}
    assert left == {"kube-root-ca.crt", "syntrial-minio"}
    assert [found["metadata"]["name"] for found in deployment.objects("pvc", deployment.namespace)] == [
        "data-syntrial-minio-0"
    ]
    assert deployment.namespace not in deployment.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert "persistentvolumeclaim/data-syntrial-minio-0 secret/syntrial-minio" in done.stdout


def test_a_new_deployment_finds_the_data_and_without_data_undeploy_takes_the_namespace_too(
    deployment: Deployment,
) -> None:
    assert deployment.objects("pvc", deployment.namespace)
    before = deployment.secret("syntrial-minio", deployment.namespace)
    done = deployment.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployment.secret("syntrial-minio", deployment.namespace) == before

    assert deployment.make("undeploy", "KEEP_CRD=1").returncode == 0
    data = ["persistentvolumeclaim/data-syntrial-minio-0", "secret/syntrial-minio"]
    deployment.kubectl("delete", "-n", deployment.namespace, *data)
    again = deployment.make("undeploy", "KEEP_CRD=1")
    assert again.returncode == 0, again.stderr
    assert "no release" in again.stdout
    assert f"namespace {deployment.namespace} is removed" in again.stdout
    assert deployment.kubectl("get", "namespace", deployment.namespace, "--ignore-not-found") == ""
