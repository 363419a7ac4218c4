"""A real Kubernetes for tests, from the scripts beside the checkout; skipped with one line where those are missing."""

import fcntl
import os
import re
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes
    from tests.cluster.kubelet import Kubelet
    from tests.cluster.product import Deployed
    from tests.cluster.site import Site
    from tests.fake_mlflow import FakeMlflow

CRD = Path(__file__).resolve().parents[2] / "k8s" / "crd" / "experiments.syntrial.dev.yaml"
PYTHON_IMAGE = "localhost/python:3.11-bookworm"


@pytest.fixture(scope="session")
def cluster_environment(shared_cluster: Path) -> dict[str, str]:
    """The environment of a shell that has the test cluster: KUBECONFIG, PATH, and the settings of its S3."""
    home = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster"))
    if not (home / "bin" / "kube-apiserver").exists():
        pytest.skip(f"no test cluster: {home / 'bin'} is empty; run {shared_cluster / 'build'} once")
    with (Path(tempfile.gettempdir()) / f"syntrial-test-cluster-{os.getuid()}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([shared_cluster / "up"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    exports = dict(re.findall(r"(\w+)=(\S+)", done.stdout))
    exports["PATH"] = exports["PATH"].replace("$PATH", os.environ["PATH"])
    return {**os.environ, **exports}


@pytest.fixture(scope="session")
def cluster(cluster_environment: dict[str, str]) -> "Kubernetes":
    """A connection to the test cluster as its administrator."""
    from syntrial.cluster.client import connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", cluster_environment["KUBECONFIG"])
        return connect()


@pytest.fixture(scope="session")
def kubectl(cluster_environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs kubectl; `stdin` is what it reads from `-f -`."""

    def run(*arguments: str, stdin: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = ["kubectl", *arguments]
        done = subprocess.run(
            command, env=cluster_environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def crd(cluster: "Kubernetes", kubectl: Callable[..., "subprocess.CompletedProcess[str]"]) -> str:
    """The CustomResourceDefinition of this checkout, applied and established; its name."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    wait_until_established(cluster, CRD.stem)
    return CRD.stem


def wait_until_established(cluster: "Kubernetes", name: str) -> None:
    """Waits for a definition; `kubectl wait` fails where an object has no conditions yet, as in its first moments."""
    deadline = time.monotonic() + 60.0
    while True:
        found = cluster.get("CustomResourceDefinition", None, name) or {}
        conditions = found.get("status", {}).get("conditions") or ()
        if any(item["type"] == "Established" and item["status"] == "True" for item in conditions):
            return
        assert time.monotonic() < deadline, "the definition is not established"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def held_images(cluster: "Kubernetes") -> Callable[[], set[str]]:
    """The names of the images in the nodes, as their status lists them: the fifty largest of each."""

    def names() -> set[str]:
        images = [image for node in cluster.list("Node") for image in node["status"].get("images", ())]
        return {name for image in images for name in image.get("names") or ()}

    return names


@pytest.fixture(scope="session")
def python_image(held_images: Callable[[], set[str]], cluster_environment: dict[str, str], shared_cluster: Path) -> str:
    """An image with Python alone, in the node."""
    if PYTHON_IMAGE in held_images():
        return PYTHON_IMAGE
    for script in ([shared_cluster / "base-image"], [shared_cluster / "load", PYTHON_IMAGE]):
        subprocess.run(script, env=cluster_environment, check=True, capture_output=True, timeout=600)
    return PYTHON_IMAGE


@pytest.fixture(scope="session")
def minio_image(cluster_environment: dict[str, str]) -> None:
    """The image that tests/cluster/values.yaml names for the bundled MinIO, in the node."""
    script = Path(__file__).parent / "minio-image" / "build.sh"
    subprocess.run([script], env=cluster_environment, check=True, capture_output=True, timeout=600)


@pytest.fixture(scope="session")
def controller_image(held_images: Callable[[], set[str]]) -> str:
    """The controller's image in the node, which is the release's own: `make images load`."""
    from tests.cluster.product import images

    made = images()
    name = f"{made.repository}/syntrial-controller:{made.tag}"
    assert name in held_images(), f"{name} is not loaded: `make images load` once"
    return name


@pytest.fixture(scope="session")
def generator_image(held_images: Callable[[], set[str]]) -> Callable[[str], str]:
    """The image of an example's environment in the node, by its digest: `make images load GENERATOR=…`."""
    from tests.cluster.containers_storage import read_image
    from tests.cluster.load_images import pinned
    from tests.cluster.product import images

    def image(example: str) -> str:
        made = images()
        name = f"{made.repository}/syntrial-generator-{example}:{made.tag}"
        found = pinned(name, read_image(name))
        assert found in held_images(), f"{found} is not loaded"
        return found

    return image


@pytest.fixture(scope="session")
def mlflow_server(cluster_environment: dict[str, str]) -> "Iterator[FakeMlflow]":
    """An MLflow server on this machine, where pods reach it."""
    from tests.fake_mlflow import fake_mlflow

    with fake_mlflow(str(urlsplit(cluster_environment["S3_ENDPOINT"]).hostname)) as server:
        yield server


@pytest.fixture(scope="session")
def deployed(
    cluster_environment: dict[str, str],
    minio_image: None,
    mlflow_server: "FakeMlflow",
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[Deployed]":
    """The product, deployed with its own MinIO, and undeployed at the end."""
    from tests.cluster.product import MLFLOW_SECRET, MLFLOW_TOKEN, Deployed

    product = Deployed(environment=cluster_environment, namespace="syntrial-trial")
    values = tmp_path_factory.mktemp("values") / "tracking.yaml"
    values.write_text(
        yaml.safe_dump({"tracking": {"servers": [{"address": mlflow_server.url, "secret": MLFLOW_SECRET}]}})
    )
    product.make("deploy", f"VALUES=tests/cluster/values.yaml {values}")
    token = f"--from-literal=MLFLOW_TRACKING_TOKEN={MLFLOW_TOKEN}"
    product.kubectl("create", "secret", "generic", MLFLOW_SECRET, token)
    yield product
    product.kubectl("delete", f"secret/{MLFLOW_SECRET}")
    product.make("undeploy", "FORCE=1")
    left = product.kubectl("get", "deployments,jobs,cronjobs,services,configmaps", "-o", "name").split()
    assert left in ([], ["configmap/kube-root-ca.crt"])


@pytest.fixture(scope="session")
def new_namespace(cluster: "Kubernetes") -> Iterator[Callable[[str], str]]:
    """Makes namespaces that enforce the Pod Security Standard `restricted`; they go at the end."""
    made = []

    def make(prefix: str) -> str:
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        made.append(name)
        return name

    yield make
    for name in made:
        cluster.delete("Namespace", None, name)


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest, new_namespace: Callable[[str], str]) -> str:
    """A namespace of the test module's own."""
    return new_namespace(request.module.__name__.rpartition(".")[2].replace("_", "-"))


@pytest.fixture
def site(
    cluster: "Kubernetes",
    cluster_environment: dict[str, str],
    crd: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> "Iterator[Site]":
    """A namespace of this test's own with a bucket of its own."""
    from minio import Minio

    from tests.cluster.site import Site

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
def kubelet(site: "Site") -> "Iterator[Kubelet]":
    """Runs the namespace's pods."""
    from tests.cluster.kubelet import Kubelet

    with Kubelet(site.cluster, site.namespace, site.store) as played:
        yield played
