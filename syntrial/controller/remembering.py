"""What is remembered of all experiments together: one budget for every namespace. Safe from several threads.

A plan of 20,000 steps takes tens of megabytes, and thousands of small ones as much. What goes beyond the budget is
forgotten, of the namespace that holds most what was looked at longest ago: its next look plans and reads anew.
"""

import threading
from collections import Counter, OrderedDict

from syntrial.controller.experiment_cache import ExperimentCache


class Remembered:
    """The caches by UID, those that are being looked at among them."""

    def __init__(self, *, most_steps: int) -> None:
        """`most_steps` is how many steps of plans are remembered, beside those of experiments that are looked at."""
        self._most = most_steps
        self._lock = threading.Lock()
        self._caches: dict[str, OrderedDict[str, ExperimentCache]] = {}
        """By namespace and UID, what was looked at longest ago first."""
        self._steps: dict[str, int] = {}
        """By UID, the steps of plans as of the last look."""
        self._held: Counter[str] = Counter()
        """By namespace, the sum of these."""
        self._namespaces: dict[str, str] = {}
        self._busy: set[str] = set()

    def begin(self, uid: str, namespace: str) -> ExperimentCache:
        """The cache of an experiment that is looked at from now on; an empty one where nothing is remembered."""
        with self._lock:
            self._busy.add(uid)
            self._namespaces[uid] = namespace
            return self._caches.setdefault(namespace, OrderedDict()).setdefault(uid, ExperimentCache())

    def end(self, uid: str) -> None:
        """Ends a look; forgets what goes beyond the budget."""
        with self._lock:
            self._busy.discard(uid)
            namespace = self._namespaces.get(uid)
            if namespace is None:
                return
            cache = self._caches[namespace][uid]
            self._caches[namespace].move_to_end(uid)
            self._held[namespace] -= self._steps.get(uid, 0)
            self._steps[uid] = len(cache.trial.plan.steps) if cache.trial is not None else 0
            self._held[namespace] += self._steps[uid]
            while self._held.total() > self._most and (oldest := self._oldest()) is not None:
                self._drop(oldest)

    def forget(self, uid: str) -> None:
        """Forgets an experiment."""
        with self._lock:
            self._busy.discard(uid)
            self._drop(uid)

    def uids(self) -> list[str]:
        """Of the experiments that are remembered."""
        with self._lock:
            return list(self._namespaces)

    def share(self, namespace: str) -> int:
        """How many experiments there are, if each namespace had as many as this one."""
        with self._lock:
            return len(self._caches.get(namespace, ())) * len(self._caches)

    def _oldest(self) -> str | None:
        """What is forgotten first."""
        for namespace, _ in self._held.most_common():
            for uid in self._caches[namespace]:
                if uid not in self._busy and self._steps.get(uid):
                    return uid
        return None

    def _drop(self, uid: str) -> None:
        namespace = self._namespaces.pop(uid, None)
        steps = self._steps.pop(uid, 0)
        if namespace is not None:
            self._held[namespace] -= steps
            caches = self._caches[namespace]
            del caches[uid]
            if not caches:
                del self._caches[namespace], self._held[namespace]
