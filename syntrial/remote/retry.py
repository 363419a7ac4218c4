"""Forgives what failed, so that the controller tries it again."""

import time
from typing import Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.door import Door
from syntrial.cluster.manifests import INGEST, LABEL_COMPONENT, LABEL_EXPERIMENT_UID
from syntrial.remote.experiments import Remote, find
from syntrial.trial.record import read_step_labels

FORGIVEN: Final = {"outcome": "retry", "reason": "", "message": "asked for by the user", "log": ""}
"""The entry that ends what earlier attempts forbid; `syntrial.trial.run.forget_failures` writes the same."""

PATIENCE: Final = 30.0
"""Seconds in which a controller that runs takes a retry up: it looks at trials with failures every 10."""


def forgive_steps(store: ArtifactStore, *, uid: str) -> list[str]:
    """Records the wish to try again for each unfinished step that failed since the last such wish; returns labels.

    Whatever the reason was: after a user's error, and after back-off or out of memory alike. Raises ArtifactMissing
    where the trial was never planned.
    """
    labels = read_step_labels(store, uid=uid)
    done = store.done(labels)
    unfinished = [key for key in labels if key not in done]
    forgiven = []
    for key, attempts in zip(
        unfinished, store.each(lambda key: store.attempts(key, experiment=uid), unfinished), strict=True
    ):
        outcomes = [str(attempt.entry.get("outcome", "")) for attempt in attempts]
        recent = outcomes[len(outcomes) - outcomes[::-1].index("retry") :] if "retry" in outcomes else outcomes
        if "failed" in recent:
            store.add_attempt(key, FORGIVEN, experiment=uid)
            forgiven.append(labels[key])
    return forgiven


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
    while find(door, remote.name, namespace=remote.namespace).is_over:
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def _has_failed(job: dict[str, object]) -> bool:
    status = job.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return any(item.get("type") == "Failed" and item.get("status") == "True" for item in conditions or ())
