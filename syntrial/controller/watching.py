"""The watches: they tell the inventory what changes in the cluster, and say no more than when to look.

A thread for each kind and namespace. It lists all there is, which puts the inventory right, and then follows what
changes from that version on; where the API server no longer knows what came after a version, it lists again. Nothing is
written on any object: no finalizer, no annotation, no progress. Called by `serving.py`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import structlog

from syntrial.cluster.client import Change, Manifest, Manifests
from syntrial.controller.inventory import Inventory
from syntrial.controller.settings import WATCHED
from syntrial.controller.views import job_view, pod_view
from syntrial.errors import ClusterRefused, ClusterUnavailable

PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts at a watch that fails, the last one for ever: an API server may be away for long."""

_GONE: Final = 410

_log = structlog.stdlib.get_logger(__name__)


class Watched(Protocol):
    """What is asked of the Kubernetes API; `syntrial.cluster.client.Kubernetes` has it."""

    def list_with_version(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> tuple[Manifests, str]:
        """Objects of a kind, and the version of the whole."""
        ...

    def watch(
        self, kind: str, namespace: str | None = None, *, labels: str = "", since: str
    ) -> Iterator[tuple[Change, Manifest]]:
        """What changes after a version."""
        ...


class Watches:
    """Of all kinds in all namespaces that are served."""

    def __init__(
        self,
        cluster: Watched,
        inventory: Inventory,
        *,
        namespaces: tuple[str, ...],
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespaces` empty: all. Nothing is told any more once `stopping` is set."""
        self._cluster = cluster
        self._inventory = inventory
        self._places: tuple[str | None, ...] = namespaces or (None,)
        self._stopping = stopping
        self._clock = clock

    def start(self) -> None:
        """Lists all that is served, then follows it.

        Raises ClusterUnavailable, and ClusterRefused where something may not be listed.
        """
        begun = [(kind, place, self._list(kind, place)) for kind in WATCHED for place in self._places]
        for kind, place, version in begun:
            # It waits for the API server's words for up to a minute: the process does not wait for that when it ends.
            threading.Thread(
                target=self._follow, args=(kind, place, version), name=f"watch-{kind}-{place or 'all'}", daemon=True
            ).start()

    def _list(self, kind: str, place: str | None) -> str:
        since = self._clock()
        items, version = self._cluster.list_with_version(kind, place, labels=WATCHED[kind])
        within = None if place is None else (place,)
        self._inventory.repair(namespaces=within, since=since, kind=kind, items=items)
        return version

    def _follow(self, kind: str, place: str | None, version: str) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                version = version or self._list(kind, place)
                for change, body in self._cluster.watch(kind, place, labels=WATCHED[kind], since=version):
                    if self._stopping.is_set():
                        return
                    self._tell(kind, change, body)
                    version = body["metadata"]["resourceVersion"]
                    failures = 0
            except (ClusterUnavailable, ClusterRefused) as error:
                if isinstance(error, ClusterRefused) and error.status == _GONE:
                    version = ""
                else:
                    _log.warning("watch broke off", kind=kind, namespace=place or "", error=str(error))
            except Exception:  # noqa: BLE001 - told, and mended by a list
                # An object that nobody thought of: it is left to the next list, and the others are not left alone.
                _log.exception("watch ended in an unexpected error", kind=kind, namespace=place or "")
                version = ""
            else:
                # As watches end: the API server's time was up, or nothing was heard.
                failures = 0
            self._stopping.wait(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def _tell(self, kind: str, change: Change, body: Manifest) -> None:
        inventory = self._inventory
        match kind, change:
            case _, "BOOKMARK":
                pass
            case "Experiment", "DELETED":
                inventory.drop_experiment(body["metadata"]["uid"])
            case "Experiment", _:
                inventory.put_experiment(body)
            case "Job", "DELETED":
                inventory.drop_job(job_view(body))
            case "Job", _:
                inventory.put_job(body)
            case "Pod", "DELETED":
                inventory.drop_pod(pod_view(body))
            case _:
                inventory.put_pod(body)
