"""The controller's metrics, for Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

RECONCILE_SECONDS: Final = Histogram(
    "syntrial_reconcile_seconds",
    "Time to decide what to do about one experiment, store and API apart.",
    buckets=_BUCKETS,
)
LOOK_SECONDS: Final = Histogram(
    "syntrial_look_seconds", "Time of one look at an experiment: reading, deciding and acting.", buckets=_BUCKETS
)
QUEUE_DEPTH: Final = Gauge("syntrial_queue_depth", "Experiments that wait for a look.")
JOBS_CREATED: Final = Counter("syntrial_jobs_created", "Jobs created.")
STORE_ERRORS: Final = Counter("syntrial_store_errors", "Times that a store could not be used.")
LOOK_ERRORS: Final = Counter("syntrial_look_errors", "Looks that ended in an unexpected error.")
