"""Forgives failed steps in the store, so that the controller tries them again."""

from typing import Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.export import filed_labels

FORGIVEN: Final = {"outcome": "retry", "reason": "", "message": "asked for by the user", "log": ""}
"""The entry that ends what earlier attempts forbid; `syntrial.trial.forget_failures` writes the same."""


def forgive(store: ArtifactStore, *, uid: str) -> list[str]:
    """Records a user's wish to try again for each unfinished step whose last attempt failed; returns their labels.

    Whatever the reason was: after a user's error, and after back-off or out of memory alike.
    """
    labels = filed_labels(store, uid=uid)
    done = store.done(labels)
    forgiven = []
    open_keys = [key for key in labels if key not in done]
    tried = store.each(lambda key: store.attempts(key, experiment=uid), open_keys)
    for key, attempts in zip(open_keys, tried, strict=True):
        if attempts and attempts[-1].entry.get("outcome") not in {"succeeded", "cancelled", "retry"}:
            store.add_attempt(key, FORGIVEN, experiment=uid)
            forgiven.append(labels[key])
    return forgiven
