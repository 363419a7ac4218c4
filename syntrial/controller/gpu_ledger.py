"""The count of GPU-hours, kept in one ConfigMap of the controller's namespace, which no tenant can write.

Each minute all pods that hold devices are counted anew from what was kept, and what differs is written, unless
another has written since: then it is read again first. A controller that is killed at any moment leaves a count to
which the next adds what is missing, from the pods' own times.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import structlog

from syntrial.controller.gpu_hours import Budget, Usage, counted, month_of, read, written
from syntrial.controller.inventory import Inventory
from syntrial.controller.settings import FIELD_MANAGER
from syntrial.errors import ClusterRefused, ClusterUnavailable, UserError

COUNT_SECONDS: Final = 60.0
"""Between two counts."""

_log = structlog.stdlib.get_logger(__name__)


class Objects(Protocol):
    """What is asked of the Kubernetes API."""

    def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """An object, or None."""
        ...

    def apply(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """Makes or changes an object; returns it."""
        ...


class GpuLedger:
    """What namespaces have used of their budgets. One thread counts, any may ask."""

    def __init__(
        self,
        cluster: Objects,
        inventory: Inventory,
        *,
        budget: Budget,
        place: str,
        namespaces: tuple[str, ...],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`place` is NAMESPACE/NAME of the ConfigMap, `namespaces` those that are served (empty: all).

        `wall` says the time, in seconds since 1970. Raises UserError for a budget without a place.
        """
        self._cluster = cluster
        self._inventory = inventory
        self._budget = budget
        self._namespace, _, self._name = place.partition("/")
        self._served = namespaces
        self._wall = wall
        self._lock = threading.Lock()
        self._usages: Mapping[str, Usage] | None = None
        self._trouble = "it has not been counted yet"
        self._version = ""
        self._kept: dict[str, str] = {}
        """What the ConfigMap holds, as far as is known."""
        if budget.is_given and not (self._namespace and self._name):
            raise UserError(
                field="--gpu-ledger",
                rule="names a ConfigMap, as NAMESPACE/NAME, where --gpu-hours gives a budget",
                received=place,
                remedy="Name one that the controller may get and patch; the chart makes it.",
            )

    @property
    def is_kept(self) -> bool:
        """Whether there is a budget, and anything to count."""
        return self._budget.is_given

    def count(self) -> None:
        """Counts, and keeps the count; what the API refuses is logged, and said to whoever waits for it."""
        if not self.is_kept:
            return
        with self._lock:
            try:
                if not self._version:
                    self._read()
                self._count()
            except ClusterUnavailable as error:
                self._trouble = str(error)
                _log.warning("GPU-hours not kept", error=str(error))
            except (ClusterRefused, ValueError) as error:
                # Another has written, or it is gone, or not to be read: it is read again the next time.
                self._trouble, self._version = str(error), ""
                _log.warning("GPU-hours not kept", error=str(error))

    def used_up(self, namespace: str) -> str:
        """Why no further Job that holds devices begins in a namespace; "" where one may."""
        budget = self._budget.of(namespace)
        if budget is None:
            return ""
        if self._usages is None:
            return f"how many GPU-hours {namespace} has used is not known: {self._trouble}"
        usage = self._usages.get(namespace)
        # Those of an earlier month are nobody's concern.
        hours = usage.hours if usage is not None and usage.month == month_of(self._wall()) else 0.0
        if hours < budget:
            return ""
        words = f"{namespace} has used {hours:.1f} of its {budget:g} GPU-hours of {month_of(self._wall())}"
        return f"{words} (controller.gpuHours); steps that need a GPU wait for the next month or a larger budget"

    def hours(self) -> dict[str, tuple[float, float]]:
        """By namespace with a budget: the hours that were used this month, and the budget."""
        month, found = month_of(self._wall()), {}
        for namespace, usage in (self._usages or {}).items():
            if (budget := self._budget.of(namespace)) is not None:
                found[namespace] = (usage.hours if usage.month == month else 0.0, budget)
        return found

    def _read(self) -> None:
        found = self._cluster.get("ConfigMap", self._namespace, self._name)
        if found is None:
            raise ValueError(f"there is no ConfigMap {self._name} in {self._namespace}; the chart makes it")
        data = {str(name): str(text) for name, text in (found.get("data") or {}).items()}
        try:
            usages = {name: read(text) for name, text in data.items()}
        except ValueError as error:
            words = f"the ConfigMap {self._name} in {self._namespace} is not as it was written ({error}); mend its data"
            raise ValueError(words) from error
        self._kept, self._usages = data, usages
        self._version = str(found["metadata"].get("resourceVersion", ""))

    def _count(self) -> None:
        now, pods, known = self._wall(), self._inventory.device_pods(), self._usages or {}
        usages = {
            name: counted(known.get(name), pods.get(name, ()), now=now)
            # Of a namespace that is not served, nothing is known.
            if not self._served or name in self._served
            else known[name]
            for name in sorted({*known, *(name for name in pods if not self._served or name in self._served)})
        }
        self._usages = {name: usage for name, usage in usages.items() if usage.hours or usage.pods}
        data = {name: written(usage) for name, usage in self._usages.items()}
        if data == self._kept:
            return
        metadata = {"namespace": self._namespace, "name": self._name, "resourceVersion": self._version}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        made = self._cluster.apply(body, field_manager=FIELD_MANAGER)
        self._kept, self._version = data, str(made["metadata"].get("resourceVersion", ""))
