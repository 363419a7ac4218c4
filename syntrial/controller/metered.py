"""The doors to the store and to the Kubernetes API, with a clock beside each: what `telemetry.py` says of requests."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from syntrial.artifacts.store import Backend
from syntrial.controller.jobs import ClusterApi
from syntrial.controller.telemetry import API_ERRORS, API_SECONDS, STORE_BYTES, STORE_SECONDS
from syntrial.errors import ClusterRefused, ClusterUnavailable


class _Metered:
    """Passes everything on; each method is wrapped once, when it is first asked for."""

    def __init__(self, inner: object, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        self._inner = inner
        self._wrap = wrap

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        wrapped = self._wrap(name, found)
        setattr(self, name, wrapped)
        return wrapped


def metered_backend(backend: Backend) -> Backend:
    """The same place, whose requests are timed and whose bytes are counted."""
    return cast(Backend, _Metered(backend, _timed_request))


def metered_api(cluster: ClusterApi) -> ClusterApi:
    """The same API, whose requests are timed and whose errors are counted."""
    return cast(ClusterApi, _Metered(cluster, _timed_call))


def _timed_request(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    if name in ("spool_path", "clock"):
        # No request, or one that says nothing of the store's state.
        return call
    seconds, sizes = STORE_SECONDS.labels(operation=name), STORE_BYTES.labels(operation=name)

    def timed(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            found = call(*given, **named)
        finally:
            seconds.observe(time.perf_counter() - began)
        size = next((len(item) for item in (found, *given) if isinstance(item, bytes)), None)
        if isinstance(found, Path):
            size = named.get("size")
        if size is not None:
            sizes.observe(size)
        return found

    return timed


def _timed_call(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    seconds = API_SECONDS.labels(verb=name)

    def timed(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*given, **named)
        except ClusterRefused as error:
            API_ERRORS.labels(verb=name, code=str(error.status)).inc()
            raise
        except ClusterUnavailable:
            API_ERRORS.labels(verb=name, code="unavailable").inc()
            raise
        finally:
            seconds.observe(time.perf_counter() - began)

    return timed
