"""The controller's metrics, for Prometheus: what is counted as it happens; `state_metrics.py` has what is when asked.

Labels are words of the code or namespaces: no name, key or message of a user's becomes one.
"""

import re
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BYTES: Final = tuple(float(4**power) for power in range(4, 14))
"""256 B to 64 MiB."""

REASONS: Final = 40
"""Reasons of failures that are told apart; they come from pods, which may say anything."""

RECONCILE_SECONDS: Final = Histogram(
    "syntrial_reconcile_seconds",
    "Time to decide what to do about one experiment, store and API apart.",
    buckets=_BUCKETS,
)
LOOK_SECONDS: Final = Histogram(
    "syntrial_look_seconds", "Time of one look at an experiment: reading, deciding and acting.", buckets=_BUCKETS
)
JOBS_CREATED: Final = Counter("syntrial_jobs_created", "Jobs created.")
STORE_ERRORS: Final = Counter("syntrial_store_errors", "Times that a store could not be used.")
LOOK_ERRORS: Final = Counter("syntrial_look_errors", "Looks that ended in an unexpected error.")
ATTEMPTS_FAILED: Final = Counter(
    "syntrial_attempts_failed",
    "Attempts at steps that ended without a result, as this process saw them.",
    ["stage", "reason"],
)
STORE_SECONDS: Final = Histogram(
    "syntrial_store_seconds", "Time of one request to a store.", ["operation"], buckets=_BUCKETS
)
STORE_BYTES: Final = Histogram(
    "syntrial_store_bytes", "Bytes of one object that was read or written.", ["operation"], buckets=_BYTES
)
API_SECONDS: Final = Histogram(
    "syntrial_api_seconds", "Time of one request to the Kubernetes API.", ["verb"], buckets=_BUCKETS
)
API_ERRORS: Final = Counter(
    "syntrial_api_errors",
    "Requests to the Kubernetes API that failed: HTTP's status, or unavailable.",
    ["verb", "code"],
)
GC_SUCCESS: Final = Gauge(
    "syntrial_gc_last_success_timestamp_seconds", "When garbage was collected last, as the store says.", ["namespace"]
)
GC_REMOVED: Final = Gauge("syntrial_gc_removed_bytes", "Bytes that the last collection removed.", ["namespace"])
GC_HELD: Final = Gauge("syntrial_gc_held_bytes", "Bytes that the store held before it.", ["namespace"])

_reasons: set[str] = set()


def count_failure(stage: str, reason: str) -> None:
    """Counts an attempt that failed; a reason that looks like none of ours, or one too many, is Other."""
    if re.fullmatch("[A-Z][A-Za-z]{1,39}", reason) and (reason in _reasons or len(_reasons) < REASONS):
        _reasons.add(reason)
    else:
        reason = "Other"
    ATTEMPTS_FAILED.labels(stage=stage, reason=reason).inc()
