"""Tries sources again that could not be read, and waits for the controller; steps: `syntrial.trial.attempts`."""

import time
from typing import Final

from syntrial.cluster.door import Door
from syntrial.cluster.manifests import INGEST, LABEL_COMPONENT, LABEL_EXPERIMENT_UID
from syntrial.remote.experiments import Remote, find

PATIENCE: Final = 30.0
"""Seconds in which a controller that runs takes a retry up: it looks at trials with failures every 10."""


def forgive_ingests(door: Door, remote: Remote) -> list[str]:
    """Deletes the failed Jobs that were to bring sources into the store, so that new ones are made; returns names."""
    jobs = door.list("Job", remote.namespace, labels=f"{LABEL_EXPERIMENT_UID}={remote.uid},{LABEL_COMPONENT}={INGEST}")
    failed = [job["metadata"]["name"] for job in jobs if _has_failed(job)]
    for name in failed:
        door.delete("Job", remote.namespace, name)
    return failed


def wait_until_taken_up(door: Door, remote: Remote, *, patience: float = PATIENCE) -> bool:
    """Waits until the status no longer says that nothing goes on; says False after `patience` seconds."""
    until = time.monotonic() + patience
    while find(door, remote.name, namespace=remote.namespace).status.is_over:
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def _has_failed(job: dict[str, object]) -> bool:
    status = job.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return any(item.get("type") == "Failed" and item.get("status") == "True" for item in conditions or ())
