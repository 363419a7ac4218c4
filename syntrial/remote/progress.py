"""How fast running steps are: each pod's own `Watch`, reached by a port-forward."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
from google.longrunning import operations_pb2

from syntrial.cluster.door import Door
from syntrial.cluster.manifests import LABEL_EXPERIMENT_UID, PORT
from syntrial.errors import SyntrialError
from syntrial.rpc.client import CHANNEL_OPTIONS, StageClient
from syntrial.v1.progress_pb2 import StepProgress

MOST_PODS: Final = 16
"""Pods that are watched at a time: each takes a connection through the API server."""

PAUSE: Final = 2.0
"""Seconds before a pod that did not answer, or has nothing under way, is asked again."""

_OPTIONS: Final = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0))
_ENDED: Final = {StepProgress.STATE_SUCCEEDED, StepProgress.STATE_FAILED, StepProgress.STATE_CANCELLED}


def live_pods(door: Door, *, namespace: str, uid: str) -> list[dict[str, Any]]:
    """The running pods of an experiment's Jobs, oldest first."""
    pods = door.list("Pod", namespace, labels=f"{LABEL_EXPERIMENT_UID}={uid}")
    running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    return sorted(running, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


class PodWatch:
    """Follows the progress of what runs in pods, a thread a pod; give it the pods again as they change.

    A pod that cannot be reached shows nothing: progress is a courtesy, and the status has the counts.
    """

    def __init__(self, door: Door, *, namespace: str) -> None:
        self._door = door
        self._namespace = namespace
        self._lock = threading.Lock()
        self._progress: dict[str, dict[str, StepProgress]] = {}
        self._heard: set[str] = set()
        self._stops: dict[str, threading.Event] = {}
        self._change = threading.Condition(self._lock)

    def follow(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """Watches these pods from now on, and no others."""
        names = [str(pod["metadata"]["name"]) for pod in pods][:MOST_PODS]
        with self._lock:
            for gone in self._stops.keys() - set(names):
                self._stops.pop(gone).set()
                self._progress.pop(gone, None)
            new = [name for name in names if name not in self._stops]
            for name in new:
                self._stops[name] = threading.Event()
        for name in new:
            threading.Thread(
                target=self._run, args=(name, self._stops[name]), name=f"watch {name}", daemon=True
            ).start()

    def wait_for_first(self, *, timeout: float) -> None:
        """Waits until each pod has answered or failed once, at most `timeout` seconds."""
        with self._change:
            self._change.wait_for(lambda: self._heard.issuperset(self._stops), timeout=timeout)

    def running(self) -> dict[str, StepProgress]:
        """The last progress of each step under way, by key."""
        with self._lock:
            return {key: progress for steps in self._progress.values() for key, progress in steps.items()}

    def close(self) -> None:
        """Stops watching; threads end on their own."""
        self.follow(())

    def _run(self, pod: str, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with self._door.port_forward(self._namespace, f"pod/{pod}", PORT) as address:
                    self._watch(pod, address, stop)
            except SyntrialError:
                # The pod has not begun to listen, or is gone, in which case `follow` will not name it again.
                pass
            self._note(pod)
            stop.wait(PAUSE)

    def _watch(self, pod: str, address: str, stop: threading.Event) -> None:
        with grpc.insecure_channel(address, options=_OPTIONS) as channel:
            client = StageClient(channel)
            while not stop.is_set():
                under_way = client.list(which="done=false")
                for operation in under_way:
                    self._note(pod, progress_of(operation))
                if not under_way:
                    self._note(pod)
                    stop.wait(PAUSE)
                for operation in under_way:
                    for response in client.watch(operation.name):
                        self._note(pod, response.progress)
                        if stop.is_set():
                            return

    def _note(self, pod: str, progress: StepProgress | None = None) -> None:
        """Remembers a step's progress, or that the pod has nothing under way."""
        with self._change:
            if pod in self._stops:
                steps = self._progress.setdefault(pod, {})
                if progress is None:
                    steps.clear()
                elif progress.state in _ENDED:
                    steps.pop(progress.key, None)
                else:
                    # A server works on one step at a time; what was before is over.
                    steps.clear()
                    steps[progress.key] = progress
            self._heard.add(pod)
            self._change.notify_all()


def progress_of(operation: operations_pb2.Operation) -> StepProgress:
    """The progress in an operation's metadata."""
    progress = StepProgress()
    operation.metadata.Unpack(progress)
    return progress
