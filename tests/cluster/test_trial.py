"""A trial on a real cluster as a person runs it, with faults, beside the local run of the same file.

Deployed by `make deploy`, applied by kubectl, reported by `syntrial report`. Keys, verdict and predictions are those of
the laptop.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.artifacts.store import open_store

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "syntrial-trial"
SEED = 4

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The product in a namespace of the test cluster."""

    environment: dict[str, str]

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """What kubectl prints."""
        command = ["kubectl", "-n", NAMESPACE, *arguments]
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json", *arguments))["items"]
        return items

    def syntrial(self, *arguments: str, folder: Path) -> str:
        """What the command line prints."""
        done = subprocess.run(
            [sys.executable, "-m", "syntrial", *arguments],
            env=self.environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make(self, *arguments: str) -> None:
        """Runs a target of the Makefile."""
        command = ["make", *arguments, f"NAMESPACE={NAMESPACE}"]
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def running_pods(self, component: str) -> list[str]:
        """Names of pods of a component that run now."""
        pods = self.objects("pods", "-l", f"app.kubernetes.io/component={component}")
        return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]

    def experiment(self, name: str) -> dict[str, Any]:
        """The object as it is now."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "experiment", name, "-o", "json"))
        return found


@pytest.fixture(scope="module")
def deployed(cluster_environment: dict[str, str], minio_image: None) -> Iterator[Deployed]:
    """The product, deployed with its own MinIO, and undeployed at the end."""
    product = Deployed(environment=cluster_environment)
    product.make("deploy", "VALUES=tests/cluster/values.yaml")
    yield product
    product.make("undeploy", "FORCE=1")
    assert product.kubectl("get", "deployments,jobs,cronjobs,services,configmaps", "-o", "name").split() in (
        [],
        ["configmap/kube-root-ca.crt"],
    )


def experiment_on(cluster: bool, text: str) -> str:
    """The experiment, with a GPU for each training pod where it is meant for the cluster."""
    tree = yaml.safe_load(text)
    if cluster:
        gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
        tree["spec"]["cluster"] = {"stages": {"generation": gpu, "classification": gpu}}
    return yaml.safe_dump(tree)


def until(condition: Callable[[], bool], *, seconds: float, why: Callable[[], str] = str) -> None:
    """Waits for a condition; fails the test, and says why, where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(1.0)


def test_a_trial_with_faults_has_the_keys_and_the_verdict_of_the_laptop(deployed: Deployed, tmp_path: Path) -> None:
    text = (REPOSITORY / "examples" / "phantom-small.yaml").read_text()
    name = yaml.safe_load(text)["metadata"]["name"]
    (tmp_path / "cluster.yaml").write_text(experiment_on(True, text))
    (tmp_path / "laptop.yaml").write_text(experiment_on(False, text))
    moments = random.Random(SEED)
    deployed.kubectl("apply", "-f", str(tmp_path / "cluster.yaml"))

    until(
        lambda: bool(deployed.running_pods("generation")),
        seconds=300,
        why=lambda: deployed.kubectl("describe", "experiment", name),
    )
    time.sleep(moments.uniform(0.0, 4.0))
    for victim in (*deployed.running_pods("controller"), *deployed.running_pods("generation")[:1]):
        deployed.kubectl("delete", "pod", victim, "--grace-period=0", "--force")

    def has_ended() -> bool:
        status = deployed.experiment(name).get("status", {})
        return any(c["type"] == "Succeeded" and c["status"] != "Unknown" for c in status.get("conditions", []))

    until(has_ended, seconds=900, why=lambda: deployed.kubectl("describe", "experiment", name))
    status = deployed.experiment(name)["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]}["Succeeded"] == "True", status

    deployed.syntrial("report", name, "-n", NAMESPACE, "--out", "fetched", folder=tmp_path)
    deployed.syntrial("run", "laptop.yaml", "--store", "store", "--out", "local", folder=tmp_path)
    fetched = json.loads((tmp_path / "fetched" / "report.json").read_bytes())
    local = json.loads((tmp_path / "local" / "report.json").read_bytes())
    # What made an artifact differs: an image here, a checkout there. No figure does, on one kind of processor.
    for report in (fetched, local):
        for item in report["provenance"]:
            del item["provenance"]
    assert fetched == local
    assert status["verdict"]["decision"] == local["verdict"]["outcome"]

    plan = json.loads(open_store(tmp_path / "store").experiment_file(name, "plan.json") or b"{}")
    assert status["steps"] == {"total": len(plan["keys"]), "done": len(plan["keys"]), "running": 0, "failed": 0} | {
        "waiting": 0
    }
    assert not deployed.objects("jobs", "-l", f"syntrial.dev/experiment={name}")


def test_pods_of_stages_hold_no_token_and_run_as_nobody(deployed: Deployed) -> None:
    controllers = deployed.objects("pods", "-l", "app.kubernetes.io/component=controller")
    assert controllers
    for pod in controllers:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert os.environ.get("AWS_SECRET_ACCESS_KEY", "minio") not in json.dumps(controllers)
