"""Plays the kubelet for the pods of one namespace: each runs as a thread that commits artifacts without computing them.

The API server, its controllers and the object store are real; the node and the science are played. So a test needs no
image, lasts seconds, and may end a pod however it likes. A node selector keeps the pods from real nodes.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.client import Kubernetes
from syntrial.cluster.manifests import keys_of
from syntrial.errors import ClusterUnavailable, SyntrialError
from tests.unit.controller.world import pretend

NODE_SELECTOR = {"syntrial-test/played": "true"}
STOPPED = 143

Pod = dict[str, Any]


class Kubelet:
    """Runs the pods of a namespace until it is stopped."""

    def __init__(self, cluster: Kubernetes, namespace: str, store: ArtifactStore) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.store = store
        self.work: Callable[[Pod, threading.Event], int] = self.run_steps
        """What a pod does until its end or until it is told to stop; returns its exit code."""
        self.is_paused = False
        self.seconds = 0.0
        """What a step takes."""
        self.runs: dict[str, int] = {}
        """How often each step was carried to its end."""
        self._running: dict[str, tuple[threading.Thread, threading.Event, list[int]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> "Kubelet":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=20)
        for thread, stop, _code in self._running.values():
            stop.set()
            thread.join(timeout=20)

    @property
    def names(self) -> list[str]:
        """Names of the pods that run."""
        return [thread.name for thread, _, _ in self._running.values()]

    def run_steps(self, pod: Pod, stop: threading.Event) -> int:
        """Carries the steps of a pod to their ends, one after another, and records attempts as a stage does."""
        experiment = pod["metadata"]["labels"]["syntrial.dev/experiment-uid"]
        for key in keys_of({"spec": {"template": {"spec": pod["spec"]}}}):
            if stop.wait(self.seconds):
                entry = {"outcome": "cancelled", "reason": "Cancelled", "message": "asked to stop", "log": ""}
                self.store.add_attempt(key, entry, experiment=experiment)
                return STOPPED
            try:
                if pretend(self.store, key):
                    self.runs[key] = self.runs.get(key, 0) + 1
            except SyntrialError as error:
                reason = type(error).__name__
                entry = {"outcome": "failed", "reason": reason, "message": str(error), "retryable": True, "log": ""}
                self.store.add_attempt(key, entry, experiment=experiment)
                return 1
            entry = {"outcome": "succeeded", "reason": "", "message": "", "log": ""}
            self.store.add_attempt(key, entry, experiment=experiment)
        return 0

    def say(self, pod: Pod, *, phase: str, state: dict[str, Any]) -> None:
        """Writes a pod's status, as a node does."""
        image = pod["spec"]["containers"][0]["image"]
        container = {"name": "stage", "image": image, "imageID": "", "ready": False, "restartCount": 0, "state": state}
        metadata = {"name": pod["metadata"]["name"], "namespace": self.namespace}
        status = {"phase": phase, "containerStatuses": [container]}
        self.cluster.patch_status(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}, field_manager="played-kubelet"
        )

    def end(self, pod: Pod, code: int, *, reason: str = "") -> None:
        """Says how a pod's container ended."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "finishedAt": now}
        self.say(pod, phase="Succeeded" if code == 0 else "Failed", state={"terminated": ended})

    def pods(self) -> list[Pod]:
        """The pods of the namespace that have not ended."""
        found = self.cluster.list("Pod", self.namespace)
        return [pod for pod in found if pod["status"].get("phase") not in {"Succeeded", "Failed"}]

    def _play(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(SyntrialError):
                self._step()
            time.sleep(0.2)

    def _step(self) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in self.pods()}
        for uid, (thread, stop, code) in list(self._running.items()):
            pod = pods.get(uid)
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                stop.set()
            if not thread.is_alive():
                if pod is not None:
                    self.end(pod, code[0])
                del self._running[uid]
        for uid, pod in pods.items():
            if uid in self._running:
                continue
            if "deletionTimestamp" in pod["metadata"]:
                self._remove(pod)
            elif pod["status"].get("phase") == "Pending" and not self.is_paused:
                self._begin(uid, pod)

    def _begin(self, uid: str, pod: Pod) -> None:
        stop, code = threading.Event(), [1]

        def run() -> None:
            code[0] = self.work(pod, stop)

        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.say(pod, phase="Running", state={"running": {"startedAt": now}})
        thread = threading.Thread(target=run, name=pod["metadata"]["name"], daemon=True)
        self._running[uid] = (thread, stop, code)
        thread.start()

    def _remove(self, pod: Pod) -> None:
        """Lets a pod go that is being deleted, as a node does once its containers have ended."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        with contextlib.suppress(ClusterUnavailable):
            # No part of the product deletes pods by force, so the door has no method for it.
            self.cluster._send("DELETE", path, body=body)
