"""Logs of an experiment on a cluster: recorded attempts from the store, and what live pods print, by the same words."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.door import Door
from syntrial.cluster.manifests import LABEL_COMPONENT, keys_of
from syntrial.errors import SyntrialError, UserError
from syntrial.remote.experiments import Remote
from syntrial.remote.progress import live_pods

LOOK_SECONDS: Final = 2.0
"""Between looks for new pods while logs are followed."""

LIVE_LINES: Final = 500
"""Lines of a live pod that are shown; the whole log is in the store once the attempt has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """The log of one attempt, ended or under way."""

    title: str
    text: str


def chosen(labels: Mapping[str, str], *, step: str | None) -> dict[str, str]:
    """The steps that a user means: the first digits of a key, or part of a label; all without any."""
    return {key: label for key, label in labels.items() if step is None or key.startswith(step) or step in label}


def recorded(store: ArtifactStore, labels: Mapping[str, str]) -> Iterator[Section]:
    """The recorded attempts at these steps, in the plan's order; those of other experiments too."""
    keys = list(labels)
    for start in range(0, len(keys), 16):
        part = keys[start : start + 16]
        for key, attempts in zip(part, store.each(store.attempts, part), strict=True):
            for attempt in attempts:
                outcome = attempt.entry.get("outcome", "")
                yield Section(
                    title=f"{labels[key]}  {key[:12]}  attempt {attempt.number}: {outcome}",
                    text=str(attempt.entry.get("log", "")),
                )


def live(door: Door, pods: Sequence[Mapping[str, Any]], *, namespace: str, keys: set[str] | None) -> Iterator[Section]:
    """What pods print of these steps (all: None), one section a pod that has something."""
    for pod in pods:
        if not carries(pod, keys):
            continue
        name = str(pod["metadata"]["name"])
        lines = door.pod_log(namespace, name, tail=LIVE_LINES).splitlines()
        text = "\n".join(line for line in lines if speaks_of(line, keys))
        if text:
            yield Section(title=f"{_component(pod)}  pod {name}: running", text=text)


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


def no_such_step(step: str) -> UserError:
    """The complaint about a step that no label and no key has."""
    return UserError(
        field="STEP",
        rule="is the first digits of a step's key, or part of its label",
        received=step,
        remedy="Leave it out to see all steps.",
    )


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
