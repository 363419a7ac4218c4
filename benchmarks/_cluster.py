"""What the controller's benchmark stands on: the test cluster, a namespace and a bucket of its own, a controller."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.cluster.client import Kubernetes, connect

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = Path(os.environ.get("SYNTRIAL_SHARED_CLUSTER", REPOSITORY.parent / "shared" / "cluster"))
HOME = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster"))
CRD = REPOSITORY / "k8s" / "crd" / "experiments.syntrial.dev.yaml"

NODES = 4
"""Nodes that are played, on which pods complete at once."""

Manifest = dict[str, Any]


def missing() -> str:
    """Why there is no test cluster; "" where there is one."""
    if not SCRIPTS.is_dir():
        return f"{SCRIPTS} is missing"
    if not (HOME / "bin" / "kwok").exists():
        return f"{HOME / 'bin'} has no kwok; run {SCRIPTS / 'build'} once"
    return ""


def start_cluster() -> Kubernetes:
    """Starts what is not running of the cluster, applies the CRD, and sets this process's environment."""
    done = subprocess.run([SCRIPTS / "up"], check=True, capture_output=True, text=True, timeout=900)
    exports = dict(re.findall(r"(\w+)=(\S+)", done.stdout))
    exports["PATH"] = exports["PATH"].replace("$PATH", os.environ["PATH"])
    os.environ.update(exports)
    os.environ["SYNTRIAL_S3_ENDPOINT"] = exports["S3_ENDPOINT"]
    apply = ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", CRD]
    subprocess.run(apply, check=True, capture_output=True)
    cluster = connect()
    # `kubectl wait` fails where an object has no conditions yet.
    until(lambda: _is_established(cluster.get("CustomResourceDefinition", None, CRD.stem)))
    return cluster


def _is_established(definition: Manifest | None) -> bool:
    conditions = ((definition or {}).get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


@contextmanager
def fake_nodes(cluster: Kubernetes) -> Iterator[None]:
    """Nodes on which pods complete at once, for as long as the block lasts."""
    were_there = bool(cluster.list("Node", labels="type=kwok"))
    subprocess.run([SCRIPTS / "fake-nodes", str(NODES)], check=True, capture_output=True, timeout=120)
    try:
        yield
    finally:
        if not were_there:
            subprocess.run([SCRIPTS / "fake-nodes", "0"], check=True, capture_output=True, timeout=120)


@contextmanager
def namespace(cluster: Kubernetes, *, url: str = "") -> Iterator[str]:
    """A new namespace, with the Secret of the store at `url`; gone with all that is in it at the end."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    entries = ("SYNTRIAL_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    secret = {"SYNTRIAL_STORE": url, **{entry: os.environ[entry] for entry in entries}}
    metadata = {"name": "syntrial-store", "namespace": name}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret})
    try:
        yield name
    finally:
        cluster.delete("Namespace", None, name)
        until(lambda: cluster.get("Namespace", None, name) is None, seconds=600)


@contextmanager
def bucket(folder: Path) -> Iterator[ArtifactStore]:
    """A store in a bucket of its own."""
    from minio import Minio

    os.environ["SYNTRIAL_CACHE_DIR"] = os.fspath(folder / "cache")
    client = Minio(
        os.environ["SYNTRIAL_S3_ENDPOINT"].partition("://")[2],
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=False,
    )
    name = f"benchmark-{uuid.uuid4().hex[:12]}"
    client.make_bucket(name)
    try:
        yield open_store(f"s3://{name}/trials")
    finally:
        for found in client.list_objects(name, recursive=True):
            client.remove_object(name, str(found.object_name))
        client.remove_bucket(name)


def until(condition: Callable[[], bool], *, seconds: float = 60.0, every: float = 0.5) -> None:
    """Waits for a condition; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(every)


class Watch:
    """Tells of every change to the objects of a kind in a namespace, from a thread of its own."""

    def __init__(self, cluster: Kubernetes, kind: str, namespace: str, tell: Callable[[str, Manifest], None]) -> None:
        """`tell` gets "ADDED", "MODIFIED" or "DELETED" and the object."""
        self._cluster = cluster
        self._kind, self._namespace = kind, namespace
        self._tell = tell
        self._version = cluster.list_with_version(kind, namespace)[1]
        self._ended = False
        threading.Thread(target=self._follow, daemon=True).start()

    def close(self) -> None:
        """Tells nothing more."""
        self._ended = True

    def _follow(self) -> None:
        while not self._ended:
            for change, body in self._cluster.watch(self._kind, self._namespace, since=self._version):
                if self._ended:
                    return
                self._version = body["metadata"]["resourceVersion"]
                if change != "BOOKMARK":
                    self._tell(change, body)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a controller says of itself at one moment."""

    cpu_seconds: float
    memory: int
    """Peak resident memory in bytes."""
    buckets: Mapping[str, Mapping[float, float]]
    """Cumulative counts by upper bound, of each histogram."""

    def count(self, name: str, since: "Reading") -> int:
        """How often a histogram was fed."""
        return int(self.buckets[name][float("inf")] - since.buckets[name][float("inf")])

    def p99(self, name: str, since: "Reading") -> float:
        """The 99th percentile of a histogram's seconds, evenly spread within a bucket."""
        found = [(bound, count - since.buckets[name][bound]) for bound, count in sorted(self.buckets[name].items())]
        rank = 0.99 * found[-1][1]
        low = below = 0.0
        for bound, count in found:
            if count >= rank:
                return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(1, count - below)
            low, below = bound, count
        return low


class Controller:
    """A controller as a process of its own, for one namespace."""

    def __init__(self, folder: Path, *, namespace: str, image_tag: str) -> None:
        self.log = folder / "controller.log"
        self._port = _free_port()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "syntrial.controller", f"--namespaces={namespace}"),
                    "--allowed=" + json.dumps({"nodeSelectorKeys": ["type"], "tolerationKeys": ["kwok.x-k8s.io/node"]}),
                    *(f"--image-tag={image_tag}", f"--metrics-port={self._port}", f"--liveness-port={_free_port()}"),
                ],
                env={**os.environ, "SYNTRIAL_CACHE_DIR": os.fspath(folder / "controller-cache")},
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> "Controller":
        def answers() -> bool:
            try:
                self.read()
            except OSError:
                return False
            return True

        until(answers, seconds=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def read(self) -> Reading:
        """Its metrics now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
        buckets: dict[str, dict[float, float]] = {}
        for name in ("syntrial_reconcile_seconds", "syntrial_look_seconds"):
            samples = families[name].samples
            buckets[name] = {float(s.labels["le"]): s.value for s in samples if s.name.endswith("_bucket")}
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert peak is not None
        cpu = next(sample.value for sample in families["process_cpu_seconds"].samples if sample.name.endswith("_total"))
        return Reading(cpu_seconds=cpu, memory=int(peak[1]) * 1024, buckets=buckets)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
