"""A namespace of the test cluster with a store of its own, and a controller that serves it as a process here."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.cluster.client import Kubernetes
from tests.cluster.kubelet import NODE_SELECTOR
from tests.unit.controller.world import SPEC


def tiny(**spec: Any) -> dict[str, Any]:
    """A trial whose pods no real node takes."""
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "tiny"},
        "spec": {**SPEC, "cluster": {"nodeSelector": NODE_SELECTOR}, **spec},
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(kw_only=True)
class Site:
    """A namespace with its store, and a controller that serves it."""

    cluster: Kubernetes
    namespace: str
    environment: dict[str, str]
    """Of the controller and of the pods: the store's settings beside the cluster's."""
    store_url: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> ArtifactStore:
        return open_store(self.store_url)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Starts a controller."""
        with (self.folder / "controller.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "syntrial.controller", f"--namespaces={self.namespace}", "--resync=20"),
                    *(f"--metrics-port={free_port()}", f"--liveness-port={free_port()}", *options),
                    "--allowed=" + json.dumps({"nodeSelectorKeys": list(NODE_SELECTOR)}),
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return self.process

    def kill(self) -> None:
        """Kills the controller."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def apply(self, tree: dict[str, Any]) -> None:
        metadata = {**tree["metadata"], "namespace": self.namespace}
        self.cluster.apply({**tree, "metadata": metadata}, field_manager="kubectl")

    def experiment(self, name: str = "tiny") -> dict[str, Any]:
        found = self.cluster.get("Experiment", self.namespace, name)
        assert found is not None
        return found

    def status(self, name: str = "tiny") -> dict[str, Any]:
        return dict(self.experiment(name).get("status") or {})

    def condition(self, kind: str, name: str = "tiny") -> tuple[str, str]:
        """Status and reason."""
        conditions = self.status(name).get("conditions") or []
        return next(((item["status"], item["reason"]) for item in conditions if item["type"] == kind), ("", ""))

    def jobs(self, *, ended: bool = False) -> list[dict[str, Any]]:
        """Jobs that have not ended; with `ended`, all."""
        found = self.cluster.list("Job", self.namespace)
        ends = {"Complete", "Failed"}
        return [
            job
            for job in found
            if ended or not any(item["type"] in ends for item in job.get("status", {}).get("conditions") or ())
        ]

    def pending(self, name: str = "tiny") -> set[str]:
        return {item["reason"] for item in self.status(name).get("pending") or []}

    def until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Waits for a condition; shows status and log where it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                log = (self.folder / "controller.log").read_text()[-4000:]
                items = [item.get("status") for item in self.cluster.list("Experiment", self.namespace)]
                pytest.fail(f"not within {seconds} s\n{yaml.safe_dump(items)}\n{log}")
            time.sleep(0.3)
