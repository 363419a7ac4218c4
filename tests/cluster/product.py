"""The product as deployed on the test cluster, and as a person uses it: by make, kubectl and the command line."""

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from syntrial.artifacts.store import open_store
from syntrial.cluster.manifests import Images

REPOSITORY = Path(__file__).resolve().parents[2]
MLFLOW_SECRET = "mlflow-access"
MLFLOW_TOKEN = "token-of-the-tests"


def images() -> Images:
    """Those that `make images` and `make load` were told to make."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    return Images(
        repository=os.environ.get("IMAGE_REPOSITORY", "localhost/syntrial"), tag=os.environ.get("TAG", version)
    )


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The product in a namespace of the test cluster."""

    environment: dict[str, str]
    namespace: str

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """What kubectl prints."""
        command = ["kubectl", "-n", self.namespace, *arguments]
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
        command = ["make", *arguments, f"NAMESPACE={self.namespace}"]
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

    def ended(self, name: str) -> bool:
        """Whether the experiment has come to its verdict or failed."""
        status = self.experiment(name).get("status", {})
        return any(c["type"] == "Succeeded" and c["status"] != "Unknown" for c in status.get("conditions", []))

    def verdict(self, name: str, *, seconds: float) -> dict[str, Any]:
        """Waits for the verdict; the whole status."""
        until(lambda: self.ended(name), seconds=seconds, why=lambda: self.kubectl("describe", "experiment", name))
        status: dict[str, Any] = self.experiment(name)["status"]
        assert {c["type"]: c["status"] for c in status["conditions"]}["Succeeded"] == "True", status
        return status


def figures(report: Path) -> dict[str, Any]:
    """A report without what made its artifacts: an image here, a checkout there."""
    found: dict[str, Any] = json.loads(report.read_bytes())
    for item in found["provenance"]:
        del item["provenance"]
    return found


def experiment_on(cluster: bool, text: str) -> str:
    """The experiment; where it is meant for the cluster a GPU for each training pod, and two pods for a generator."""
    tree = yaml.safe_load(text)
    if cluster:
        gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
        # The node has two cores.
        half = {"resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "400m"}}}
        tree["spec"]["cluster"] = {"stages": {"generation": half, "classification": gpu}}
        tree["spec"]["resources"] = {"devices": 2, "devicesPerPod": 1}
    return yaml.safe_dump(tree)


def run_here(deployed: Deployed, text: str, *, folder: Path, options: tuple[str, ...] = ()) -> None:
    """Runs a file on this machine, in the folder's own store."""
    (folder / "laptop.yaml").write_text(experiment_on(False, text))
    deployed.syntrial("run", "laptop.yaml", "--store", "store", "--out", "local", *options, folder=folder)


def compare_with_laptop(deployed: Deployed, name: str, text: str, *, folder: Path, options: tuple[str, ...]) -> None:
    """Runs the same file here, and compares keys, verdict and all figures."""
    status = deployed.experiment(name)["status"]
    deployed.syntrial("report", name, "-n", deployed.namespace, "--out", "fetched", folder=folder)
    run_here(deployed, text, folder=folder, options=options)
    local = figures(folder / "local" / "report.json")
    assert figures(folder / "fetched" / "report.json") == local
    assert status["verdict"]["decision"] == local["verdict"]["outcome"]
    keys = json.loads(open_store(folder / "store").experiment_file(name, "plan.json") or b"{}")["keys"]
    assert status["steps"] == {"total": len(keys), "done": len(keys), "running": 0, "failed": 0, "waiting": 0}
    assert status["report"]["key"] in keys


def until(condition: Callable[[], bool], *, seconds: float, why: Callable[[], str] = str) -> None:
    """Waits for a condition; fails the test, and says why, where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(1.0)
