"""The one door to kopf: its watches tell the inventory what changes, and say no more than when to look.

Low-level event handlers only: kopf then writes nothing on any object, no finalizer, no annotation, no progress. Its
indexes are left aside, since an object that vanishes while a watch is broken stays in them; see `inventory.py`.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Final

import kopf

from syntrial.controller.controller import Controller
from syntrial.controller.settings import MANAGED, Settings
from syntrial.controller.views import job_view, pod_view

LISTED_AT_ONCE: Final = 500
"""Objects of a page when a watch begins."""


class _Forever:
    """Seconds between attempts at a request of a watch: an API server may be away for long."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.2, 0.5, 1.0, 2.0)
        while True:
            yield 5.0


class _NoDifferences(kopf.DiffBaseStorage):
    """Keeps no last state of an object, and takes no copy of it for each event as kopf's own do."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Nothing."""


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: there are none that go on."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Nothing."""

    def purge(self, **_: Any) -> None:
        """Nothing."""

    def touch(self, **_: Any) -> None:
        """Nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def serve(controller: Controller, settings: Settings, *, liveness: str) -> None:
    """Watches until SIGTERM or SIGINT; `liveness` is where the health endpoint listens, "http://0.0.0.0:8080/healthz".

    Raises what ends the watches for good, such as missing permissions.
    """
    for name in ("kopf", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # That many threads share a store's connections, and that a request is repeated, is not worth a line each time.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    asyncio.run(
        kopf.operator(
            registry=_registry(controller),
            settings=_kopf_settings(),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=list(settings.namespaces),
            liveness_endpoint=liveness,
        )
    )


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.persistence.progress_storage = _NoProgress()
    # Neither definitions nor namespaces are watched: that would need rights in the whole cluster.
    settings.scanning.disabled = True
    settings.networking.error_backoffs = _Forever()
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 60.0
    settings.watching.chunk_size = LISTED_AT_ONCE
    settings.watching.label_selectors["batch", "v1", "jobs"] = MANAGED
    settings.watching.label_selectors["", "v1", "pods"] = MANAGED
    settings.queueing.idle_timeout = 1.0
    return settings


def _registry(controller: Controller) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    inventory = controller.inventory

    @kopf.on.login(registry=registry)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        """As `syntrial.cluster.client.connect` does: kubeconfig files, else the pod's service account."""
        return kopf.login_with_kubeconfig(**given) or kopf.login_with_service_account(**given)

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        await asyncio.to_thread(controller.start)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await asyncio.to_thread(controller.stop)

    @kopf.on.probe(registry=registry)
    async def looks(**_: Any) -> str:
        """Fails the health endpoint where a look hangs: the process is then started anew."""
        if hung := controller.hung():
            raise kopf.PermanentError(f"looks hang at {', '.join(hung)}")
        return "ok"

    @kopf.on.event("syntrial.dev", "v1alpha1", "experiments", registry=registry)
    async def experiment(event: Any, **_: Any) -> None:
        body = event["object"]
        if event["type"] == "DELETED":
            inventory.drop_experiment(body["metadata"]["uid"])
        else:
            inventory.put_experiment(body)

    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def job(event: Any, **_: Any) -> None:
        if event["type"] == "DELETED":
            inventory.drop_job(job_view(event["object"]))
        else:
            inventory.put_job(event["object"])

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def pod(event: Any, **_: Any) -> None:
        if event["type"] == "DELETED":
            inventory.drop_pod(pod_view(event["object"]))
        else:
            inventory.put_pod(event["object"])

    return registry
