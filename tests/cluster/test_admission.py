"""The chart's admission policies on a real API server: their CEL compiles, admits what is good and refuses the rest."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from k8s.render import documents, find_helm, template
from syntrial.cluster.manifests import Batch, Images, Owner, ingest_job, step_job
from syntrial.errors import ClusterRefused
from syntrial.experiment.allowed import Allowed
from syntrial.experiment.model import ALONE, Sharing
from syntrial.experiment.pods import Cluster
from syntrial.rpc.testing import fake_key
from syntrial.sources.named import SourceRef
from tests.contract.placements import ASKED, LISTS, SERVERS
from tests.contract.refusals import experiment

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted([*REPOSITORY.glob("examples/*.yaml"), *REPOSITORY.glob("k8s/samples/*.yaml")])
Kubectl = Callable[..., "CompletedProcess[str]"]
Tree = dict[str, Any]

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crd")]


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A namespace for which the policies hold."""

    kubectl: Kubectl
    namespace: str

    def create(self, tree: Tree, *options: str) -> str:
        """What the API server says to an object, of which it makes none; "" where it admits it."""
        metadata = {**tree["metadata"], "namespace": self.namespace}
        stdin = json.dumps({**tree, "metadata": metadata})
        done = self.kubectl("create", "--dry-run=server", "-f", "-", *options, stdin=stdin, check=False)
        return "" if done.returncode == 0 else done.stderr

    def create_job(self, job: Tree) -> str:
        """The same, as the controller's account."""
        return self.create(job, f"--as=system:serviceaccount:{self.namespace}:syntrial-controller")


def guard(
    kubectl: Kubectl, cluster: "Kubernetes", *, namespace: str, allowed: Tree, servers: Sequence[str] = ()
) -> Iterator[Guarded]:
    helm = find_helm()
    if helm is None:
        pytest.skip("no helm: the policies are not rendered")
    values = {"admission.allowed": allowed, "tracking.servers": [{"address": server} for server in servers]}
    options = [text for name, value in values.items() for text in ("--set-json", f"{name}={json.dumps(value)}")]
    text = template(helm, *options, namespace=namespace)
    made = [
        item
        for item in documents(text)
        if item["kind"].startswith("ValidatingAdmission")
        or (item["kind"] in {"Role", "RoleBinding", "ServiceAccount"} and "controller" in item["metadata"]["name"])
    ]
    stdin = yaml.safe_dump_all(made)
    kubectl("apply", "-f", "-", stdin=stdin)
    guarded = Guarded(kubectl=kubectl, namespace=namespace)
    try:
        policies = [item["metadata"]["name"] for item in made if item["kind"] == "ValidatingAdmissionPolicy"]
        assert len(policies) == 2
        deadline = time.monotonic() + 60.0
        bad = experiment("bad", {"cluster": {"runtimeClassName": "nothing-like-it"}})
        # A policy counts some moments after it was made; the types of its expressions are checked a little later.
        while not guarded.create(bad) or not guarded.create_job(bare_job()):
            assert time.monotonic() < deadline, "the policies do not count"
            time.sleep(0.3)
        for name in policies:
            while "typeChecking" not in (found := json.loads(policy(kubectl, name))).get("status", {}):
                assert time.monotonic() < deadline, found
                time.sleep(0.3)
            assert not found["status"]["typeChecking"].get("expressionWarnings"), found["status"]
        yield guarded
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=stdin)


def policy(kubectl: Kubectl, name: str) -> str:
    return kubectl("get", "validatingadmissionpolicy", name, "-o", "json").stdout


def bare_job() -> Tree:
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "busybox"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "bare"},
        "spec": {"template": {"spec": pod}},
    }


@pytest.fixture(scope="module")
def guarded(
    cluster: "Kubernetes", kubectl: Kubectl, new_namespace: Callable[[str], str], crd: str
) -> Iterator[Guarded]:
    yield from guard(kubectl, cluster, namespace=new_namespace("guard"), allowed=LISTS, servers=SERVERS)


@pytest.fixture(scope="module")
def by_default(
    cluster: "Kubernetes", kubectl: Kubectl, new_namespace: Callable[[str], str], crd: str
) -> Iterator[Guarded]:
    """With the lists that the chart has of its own."""
    allowed = Allowed().model_dump(mode="json", by_alias=True, exclude={"mlflow_servers"})
    yield from guard(kubectl, cluster, namespace=new_namespace("guard"), allowed=allowed)


@pytest.mark.parametrize("name", ASKED)
def test_what_is_not_allowed_is_refused_and_its_twin_is_not(guarded: Guarded, name: str) -> None:
    case = ASKED[name]
    said = guarded.create(experiment("tried", case.bad))
    assert "ValidatingAdmissionPolicy" in said
    assert f"this cluster allows {case.allows.replace(' and ', ', ')}; received {case.received}" in said
    assert f"({case.setting})" in said
    assert guarded.create(experiment("tried", case.good)) == ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_examples_and_samples_are_admitted(by_default: Guarded, file: Path) -> None:
    assert by_default.create(yaml.safe_load(file.read_text())) == ""


def test_one_that_was_admitted_before_may_change_but_for_what_it_asks(
    cluster: "Kubernetes", guarded: Guarded, new_namespace: Callable[[str], str]
) -> None:
    case = ASKED["a label of nodes"]
    tree = experiment("changing", case.good)
    tree["metadata"]["namespace"] = guarded.namespace
    assert cluster.create(tree)
    cluster.patch("Experiment", guarded.namespace, "changing", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(ClusterRefused, match="this cluster allows"):
        cluster.patch("Experiment", guarded.namespace, "changing", {"spec": case.bad})
    # Another namespace is another release's.
    tree = experiment("free", case.bad)
    tree["metadata"]["namespace"] = new_namespace("unguarded")
    assert cluster.create(tree)


def step(guarded: Guarded, *, component: str = "generation", image: str = "", sharing: Sharing = ALONE) -> Tree:
    cluster = Cluster.model_validate(
        {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "scratch": "1Gi"}
    )
    return step_job(
        Batch(stage=component, keys=(fake_key("a"),), image=image, sharing=sharing),
        owner=Owner(name="e", uid=str(uuid.uuid4()), namespace=guarded.namespace),
        placement=cluster.placement(component),
        cluster=cluster,
        images=Images(repository="localhost/syntrial", tag="0.1.0"),
        store_secret="syntrial-store",
    )


def ingest(guarded: Guarded, address: str, secret: str | None = None) -> Tree:
    return ingest_job(
        SourceRef(name="dataset", field="spec.dataset", kind="folder", address=address, secret=secret),
        attempt=1,
        owner=Owner(name="e", uid=str(uuid.uuid4()), namespace=guarded.namespace),
        cluster=Cluster(),
        images=Images(repository="localhost/syntrial", tag="0.1.0"),
        store_secret="syntrial-store",
    )


def test_the_jobs_that_the_controller_makes_are_admitted(guarded: Guarded) -> None:
    for stage in ("data_prep", "generation", "filtering", "classification", "analysis"):
        assert guarded.create_job(step(guarded, component=stage)) == ""
    assert guarded.create_job(step(guarded, image=f"ghcr.io/lab/own@sha256:{'a' * 64}")) == ""
    assert guarded.create_job(step(guarded, sharing=Sharing(devices=4, devices_per_pod=1))) == ""
    assert guarded.create_job(ingest(guarded, "claim://scans/chest")) == ""
    assert guarded.create_job(ingest(guarded, "s3://bucket/chest", "own")) == ""


def put(tree: Tree, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        tree = tree[int(part)] if isinstance(tree, list) else tree.setdefault(part, {})
    tree[last] = value


POD, CONTAINER = "spec.template.spec", "spec.template.spec.containers.0"
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", "controller": True}
CHANGES: dict[str, tuple[str, Any, str]] = {
    "no owner": ("metadata.ownerReferences", [], "belongs to one Experiment"),
    "another owner": ("metadata.ownerReferences", [OWNER], "belongs to one Experiment"),
    "another image": (f"{CONTAINER}.image", "docker.io/somebody/miner:1", "the image is one of Syntrial's"),
    "another registry": (f"{CONTAINER}.image", "evil.example/syntrial-generation:0.1.0", "the image is one of"),
    "a token": (f"{POD}.automountServiceAccountToken", True, "no service account's token"),
    "another account": (f"{POD}.serviceAccountName", "admin", "no service account's token"),
    "a path of the node": (f"{POD}.volumes", [{"name": "tmp", "hostPath": {"path": "/"}}], "volumes are empty"),
    "a Secret's files": (f"{POD}.volumes", [{"name": "tmp", "secret": {"secretName": "x"}}], "volumes are empty"),
    "a claim of a stage": (
        f"{POD}.volumes",
        [{"name": "tmp", "persistentVolumeClaim": {"claimName": "x", "readOnly": True}}],
        "volumes are empty",
    ),
    "another Secret": (f"{CONTAINER}.envFrom", [{"secretRef": {"name": "others"}}], "reads the store's Secret"),
    "a Secret's entry": (
        f"{CONTAINER}.env",
        [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "others", "key": "k"}}}],
        "reads the store's Secret",
    ),
    "the node's network": (f"{POD}.hostNetwork", True, "nothing of its node"),
    "the node's shared memory": (f"{POD}.hostIPC", True, "nothing of its node"),
    "a node": (f"{POD}.nodeName", "master", "nothing of its node"),
    "root": (f"{POD}.securityContext.runAsUser", 0, "security context"),
    "a container's own user": (f"{CONTAINER}.securityContext.runAsUser", 0, "security context"),
    "privileges": (f"{CONTAINER}.securityContext.allowPrivilegeEscalation", True, "security context"),
    "a capability": (f"{CONTAINER}.securityContext.capabilities.add", ["NET_RAW"], "security context"),
    "a root that may be written": (f"{CONTAINER}.securityContext.readOnlyRootFilesystem", False, "security context"),
    "a second container": (
        f"{POD}.initContainers",
        [{"name": "y", "image": "localhost/syntrial/syntrial-controller:0.1.0"}],
        "has one container",
    ),
    "a priority class": (f"{POD}.priorityClassName", "system-node-critical", "no more than experiments may"),
    "a runtime class": (f"{POD}.runtimeClassName", "kata", "no more than experiments may"),
    "every taint": (f"{POD}.tolerations", [{"operator": "Exists"}], "no more than experiments may"),
    "a device": (f"{CONTAINER}.resources.limits", {"devices.example.org/kvm": "1"}, "no more than experiments may"),
    "a label of nodes": (f"{POD}.nodeSelector", {"kubernetes.io/hostname": "a"}, "no more than experiments may"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_controllers_account_creates_no_other_jobs(guarded: Guarded, name: str) -> None:
    path, value, said = CHANGES[name]
    job = step(guarded)
    if path.endswith("volumes"):
        job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = []
    put(job, path, value)
    answer = guarded.create_job(job)
    assert "ValidatingAdmissionPolicy" in answer
    assert said in answer


def test_who_is_not_the_controller_is_not_concerned(guarded: Guarded) -> None:
    assert guarded.create(bare_job()) == ""
