"""The product as deployed on the test cluster, and as a person uses it: by make, kubectl and the command line."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


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
