"""What live pods of an experiment on a cluster print, by the step; `syntrial.trial.attempts` has what was recorded."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from syntrial.cluster.door import Door
from syntrial.cluster.manifests import LABEL_COMPONENT, keys_of
from syntrial.errors import SyntrialError
from syntrial.remote.experiments import Remote
from syntrial.remote.progress import live_pods
from syntrial.trial.attempts import LogSection

LOOK_SECONDS: Final = 2.0
"""Between looks for new pods while logs are followed."""

LIVE_LINES: Final = 500
"""Lines of a live pod that are shown; the whole log is in the store once the attempt has ended."""


def live(
    door: Door, pods: Sequence[Mapping[str, Any]], *, namespace: str, keys: set[str] | None
) -> Iterator[LogSection]:
    """What pods print of these steps (all: None), one section a pod that has something."""
    for pod in pods:
        if not carries(pod, keys):
            continue
        name = str(pod["metadata"]["name"])
        lines = door.pod_log(namespace, name, tail=LIVE_LINES).splitlines()
        text = "\n".join(line for line in lines if speaks_of(line, keys))
        if text:
            yield LogSection(title=f"{_component(pod)}  pod {name}: running", text=text)


def followed(door: Door, pod: Mapping[str, Any], *, namespace: str, keys: set[str] | None) -> Iterator[str]:
    """Lines of a pod on these steps as they come, until its container ends."""
    name = str(pod["metadata"]["name"])
    for line in door.pod_log(namespace, name, tail=LIVE_LINES, follow=True):
        if speaks_of(line, keys):
            yield line


def follow(
    door: Door, remote: Remote, *, keys: set[str] | None, is_over: Callable[[], bool]
) -> Iterator[tuple[str, str]]:
    """Pod and line, as the pods that work on these steps print them, new pods included.

    Ends where the trial `is_over`, or, of chosen steps, where the pods that worked on them have ended.
    """
    lines: queue.Queue[tuple[str, str]] = queue.Queue()
    threads: dict[str, threading.Thread] = {}

    def read(pod: Mapping[str, Any]) -> None:
        name = str(pod["metadata"]["name"])
        try:
            for line in followed(door, pod, namespace=remote.namespace, keys=keys):
                lines.put((name, line))
        except SyntrialError as error:
            lines.put((name, str(error)))

    while True:
        for pod in live_pods(door, namespace=remote.namespace, uid=remote.uid):
            name = str(pod["metadata"]["name"])
            if name not in threads and carries(pod, keys):
                threads[name] = threading.Thread(target=read, args=(pod,), name=f"log {name}", daemon=True)
                threads[name].start()
        until = time.monotonic() + LOOK_SECONDS
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                yield lines.get(timeout=left)
        all_ended = not any(thread.is_alive() for thread in threads.values()) and lines.empty()
        if all_ended and ((keys is not None and threads) or is_over()):
            return


def carries(pod: Mapping[str, Any], keys: set[str] | None) -> bool:
    """Whether the pod works on one of these steps."""
    return keys is None or not keys.isdisjoint(keys_of({"spec": {"template": pod}}))


def speaks_of(line: str, keys: set[str] | None) -> bool:
    """Whether a line of a stage's log is of one of these steps; lines of no step belong to all."""
    if keys is None:
        return True
    try:
        key = json.loads(line).get("key")
    except (ValueError, AttributeError):
        return True
    return key is None or key in keys


def _component(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("labels", {}).get(LABEL_COMPONENT, "stage"))
