"""Who reaches whom, by a model of what the rendered policies mean."""

import functools
from pathlib import Path

import pytest

from k8s.render import BASE, CASES, documents
from syntrial.cluster.manifests import (
    DOWNLOADS,
    LABEL_EGRESS,
    LABEL_RANKS,
    RANKS_PORT,
    RANKS_SERVICE,
    SEVERAL_PODS,
    Owner,
    labels_of,
)
from syntrial.stages import STAGES
from tests.unit.chart.policy_model import Model, Pod

GOLDEN = CASES / "golden"
INSIDE = [
    "169.254.169.254",  # AWS, Google, Azure, OCI, DigitalOcean, OpenStack, IBM
    "169.254.170.2",  # a task's credentials on AWS
    "169.254.0.23",  # Tencent
    "100.100.100.200",  # Alibaba
    "168.63.129.16",  # Azure
    "192.0.0.192",  # Oracle
    "fd00:ec2::254",  # AWS
    "fd20:ce::254",  # Google
    "fd00:42::42",  # Scaleway
    "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "127.0.0.1",
    "10.96.0.1",  # services, pods and nodes, where clusters have them
    "10.244.3.7",
    "172.20.0.1",
    "192.168.49.2",
    "100.64.0.7",
    "fd00:10:96::1",
]
PORTS = (80, 443, 988, 9000, 32526)
PUBLIC = ("188.184.103.159", "2001:1458:d00:63::100:4b1")


@functools.cache
def model(path: Path) -> Model:
    return Model(policies=[found for found in documents(path.read_text()) if found["kind"] == "NetworkPolicy"])


def job(stage: str, *, namespace: str = "syntrial", downloads: bool = False, ranks: bool = False) -> Pod:
    labels = labels_of(Owner(name="e", uid="0", namespace=namespace), component=stage.replace("_", "-"))
    labels |= {LABEL_EGRESS: DOWNLOADS} if downloads else {}
    labels |= {LABEL_RANKS: SEVERAL_PODS} if ranks else {}
    return Pod(namespace=namespace, labels=labels)


def part(component: str, *, namespace: str = "syntrial", **labels: str) -> Pod:
    own = {"name": "syntrial", "instance": "syntrial", "component": component}
    return Pod(namespace=namespace, labels={f"app.kubernetes.io/{key}": own[key] for key in own} | labels)


RANK = job("generation", ranks=True)
RANK_OF_B = job("generation", namespace="team-b", ranks=True)
DNS = Pod(namespace="kube-system", labels={"k8s-app": "kube-dns"})
MINIO = part("minio")
MIRROR = Pod(namespace="syntrial", labels={"app": "mirror"})
STRANGER = Pod(namespace="syntrial", labels={"app": "database"})
ALL = ["default", "cluster-wide", "external-s3", "external-public", "stage-services"]
PATHS = [*(GOLDEN / f"{case}.yaml" for case in ALL), BASE]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_pod_of_a_trial_reaches_what_is_inside_a_cloud_or_the_cluster(path: Path) -> None:
    policies = model(path)
    pods = [job(stage, downloads=downloads) for stage in (*STAGES, "ingest") for downloads in (False, True)]
    pods += [part("store-check"), part("minio-setup"), part("minio")]
    pods += [part(f"served-{stage}", **{LABEL_EGRESS: DOWNLOADS}) for stage in ("data-prep", "generation")]
    for pod in pods:
        for port in PORTS:
            reached = [address for address in INSIDE if policies.allows(pod, address, port)]
            assert reached == [], (pod.labels, port)
            assert not policies.allows(pod, STRANGER, port)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_pod_of_a_trial_reaches_dns(path: Path) -> None:
    for pod in (*(job(stage) for stage in (*STAGES, "ingest")), part("controller"), part("gc"), part("store-check")):
        assert model(path).allows(pod, DNS, 53, protocol="UDP")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_only_pods_that_download_reach_the_internet(path: Path) -> None:
    policies = model(path)
    is_open_store = path.stem in {"external-public", "syntrial"}
    for stage in (*STAGES, "ingest"):
        for address in PUBLIC:
            assert policies.allows(job(stage), address, 443) == is_open_store
            downloads = job(stage, downloads=True)
            assert policies.allows(downloads, address, 443) == (path.stem != "external-public" or is_open_store)
            assert policies.allows(downloads, address, 9000) == (path.stem != "external-public")
            assert not policies.allows(downloads, address, 22)


@pytest.mark.parametrize(
    ("case", "pod", "target", "port", "allowed"),
    [
        # The bundled store: its pods, from each namespace that has one, and nothing beside it.
        ("default", job("generation"), MINIO, 9000, True),
        ("default", job("generation"), MINIO, 9001, False),
        ("default", job("generation"), "203.0.113.7", 9000, False),
        ("default", STRANGER, MINIO, 9000, False),
        ("default", part("controller"), MINIO, 9000, True),
        ("default", part("gc"), "192.0.2.1", 6443, True),
        ("default", MINIO, "188.184.103.159", 443, False),
        ("default", job("generation"), job("filtering"), 50051, False),
        # Pods that share a step: each other, in their namespace, where they answer and where they add up.
        ("default", RANK, RANK, RANKS_PORT, True),
        ("default", RANK, RANK, RANKS_PORT + 1, True),
        ("default", RANK, RANK, 45678, True),
        ("default", RANK, RANK, 8080, False),
        ("default", RANK, job("generation"), RANKS_PORT, False),
        ("default", job("generation"), RANK, RANKS_PORT, False),
        ("default", STRANGER, RANK, RANKS_PORT, False),
        ("default", RANK, MINIO, 9000, True),
        ("cluster-wide", job("generation", namespace="team-a", ranks=True), RANK_OF_B, RANKS_PORT, False),
        ("cluster-wide", job("generation", namespace="team-a"), MINIO, 9000, True),
        ("cluster-wide", job("generation", namespace="team-c"), MINIO, 9000, False),
        ("cluster-wide", job("generation", namespace="team-a"), part("minio", namespace="team-b"), 9000, False),
        # Downloads: the internet without the cluster's own public addresses, and what is named beside it.
        ("cluster-wide", job("data_prep", downloads=True), "198.51.100.7", 443, False),
        ("cluster-wide", job("data_prep", downloads=True), "198.51.101.7", 443, True),
        ("cluster-wide", job("data_prep", downloads=True), "2001:db8:1::7", 443, False),
        ("cluster-wide", job("data_prep", downloads=True), "10.1.2.3", 9000, True),
        ("cluster-wide", job("data_prep", downloads=True), "10.1.2.4", 9000, False),
        ("cluster-wide", job("data_prep"), "10.1.2.3", 9000, False),
        ("external-public", job("ingest", downloads=True), MIRROR, 443, True),
        ("external-public", job("ingest"), MIRROR, 443, False),
        ("external-public", job("ingest", downloads=True), Pod(namespace="b", labels={"app": "mirror"}), 443, False),
        # An external store: the peers that are named, on its own port.
        ("external-s3", job("generation"), "203.0.113.7", 8443, True),
        ("external-s3", job("generation"), "203.0.113.7", 443, False),
        ("external-s3", job("generation"), "203.0.113.8", 8443, False),
        ("external-s3", part("controller"), "192.0.2.1", 443, True),
        ("external-s3", part("controller"), "192.0.2.2", 443, False),
        # What shows trials in MLflow: the servers, on their ports, and nobody else's pod goes there.
        ("external-public", part("tracking"), "203.0.113.9", 8443, True),
        ("external-public", part("tracking"), "203.0.113.9", 80, True),
        ("external-public", part("tracking"), "203.0.113.9", 5000, False),
        ("external-public", part("tracking"), "10.1.2.3", 80, False),
        ("external-public", part("controller"), "203.0.113.9", 8443, False),
        ("external-public", job("analysis"), "203.0.113.9", 8443, False),
        ("cluster-wide", part("tracking"), Pod(namespace="ml", labels={}), 5000, True),
        ("cluster-wide", part("tracking"), Pod(namespace="ml", labels={}), 80, False),
        ("cluster-wide", part("tracking"), "203.0.113.9", 5000, False),
        ("cluster-wide", part("tracking"), MINIO, 9000, True),
        ("cluster-wide", part("controller"), Pod(namespace="ml", labels={}), 5000, False),
        # Served stages: called in their namespace, on their port.
        ("stage-services", STRANGER, part("served-generation"), 50051, True),
        ("stage-services", STRANGER, part("served-generation"), 9090, False),
        ("stage-services", Pod(namespace="other", labels={}), part("served-generation"), 50051, False),
        ("stage-services", part("served-generation"), MINIO, 9000, True),
        ("stage-services", part("served-generation"), "188.184.103.159", 443, False),
    ],
)  # fmt: skip
def test_a_connection_is_allowed_or_not(case: str, pod: Pod, target: Pod | str, port: int, allowed: bool) -> None:
    assert model(GOLDEN / f"{case}.yaml").allows(pod, target, port) is allowed


def test_served_data_preparation_downloads_where_that_is_asked_for() -> None:
    (pod,) = [
        found["spec"]["template"]["metadata"]["labels"]
        for found in documents((GOLDEN / "stage-services.yaml").read_text())
        if found["kind"] == "Deployment" and found["metadata"]["name"] == "syntrial-data-prep"
    ]
    assert model(GOLDEN / "stage-services.yaml").allows(Pod(namespace="syntrial", labels=pod), PUBLIC[0], 443)


def test_the_model_tells_policies_apart() -> None:
    deny = {"metadata": {"namespace": "n"}, "spec": {"podSelector": {}, "policyTypes": ["Egress", "Ingress"]}}
    pod, other = Pod(namespace="n", labels={"a": "1"}), Pod(namespace="m", labels={})
    assert Model().allows(pod, "192.0.2.1", 1)
    assert not Model(policies=[deny]).allows(pod, "192.0.2.1", 1)
    assert not Model(policies=[deny]).allows(other, pod, 1)
    block = {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}], "ports": [{"port": 5}]}
    opened = {"metadata": {"namespace": "n"}, "spec": {"podSelector": {"matchExpressions": [
        {"key": "a", "operator": "Exists"}]}, "policyTypes": ["Egress"], "egress": [block]}}  # fmt: skip
    both = Model(policies=[deny, opened])
    assert both.allows(pod, "192.0.2.1", 5)
    assert not both.allows(pod, "192.0.2.1", 6)
    assert not both.allows(pod, "192.0.2.200", 5)
    assert not both.allows(pod, "192.0.2.1", 5, protocol="UDP")
    assert not both.allows(Pod(namespace="n", labels={}), "192.0.2.1", 5)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_pods_that_share_a_step_find_the_first_by_a_service_of_each_namespace(path: Path) -> None:
    found = documents(path.read_text())
    policies = [item for item in found if item["kind"] == "NetworkPolicy"]
    homes = {item["metadata"]["namespace"] for item in policies if item["metadata"]["name"].endswith("-experiments")}
    assert homes
    services = [item for item in found if item["kind"] == "Service" and item["metadata"]["name"] == RANKS_SERVICE]
    assert {item["metadata"]["namespace"] for item in services} == homes
    for service in services:
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert service["spec"]["selector"].items() <= RANK.labels.items()
        assert [port["port"] for port in service["spec"]["ports"]] == [RANKS_PORT, RANKS_PORT + 1]
        assert not service["spec"]["selector"].items() <= job("generation").labels.items()
