"""The one door to MLflow: the few calls of its REST API that write runs, and that find those again.

https://mlflow.org/docs/latest/rest-api.html (2.0, which releases from 2.0 on answer). Nobody but the server that the
user named is asked: no redirect is followed, and files go through it or not at all. It is given seconds for a word and
minutes in all, so that whoever waits for it does not wait for long.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx2

from syntrial.errors import TrackingRefused, TrackingUnavailable, UserError

FIELD: Final = "--mlflow"

SILENCE_SECONDS: Final = 20.0
"""Without a word for so long, the server counts as away."""

PATIENCE_SECONDS: Final = 300.0
"""For all that is asked of a server through one door."""

TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - its name
USER: Final = "MLFLOW_TRACKING_USERNAME"
PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - its name
"""Environment variables by which MLflow's own client is told who asks."""

AT_ONCE: Final = {"params": 100, "metrics": 1000, "tags": 100}
"""What the server takes in one call."""

_RUNS_AT_ONCE: Final = 1000
_ANSWER_BYTES: Final = 256 * 2**20
_PROXIED: Final = "mlflow-artifacts"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownRun:
    """A run as the server has it."""

    id: str
    began: int
    """Milliseconds since 1970."""
    files_at: str
    """Where the server keeps its files."""
    params: Mapping[str, str]
    tags: Mapping[str, str]
    latest: Mapping[str, tuple[int, float]]
    """Of each metric the value at the last step, and that step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One value of a metric, at a time in milliseconds since 1970."""

    name: str
    value: float
    step: int
    time: int


def server_address(text: str, /) -> str:
    """The address without a slash at its end. Raises UserError for what is none of a server."""

    def refused(rule: str, remedy: str, *, received: str = text) -> UserError:
        return UserError(field=FIELD, rule=rule, received=received, remedy=remedy)

    example = "Give such as http://127.0.0.1:5000, where `mlflow server` listens."
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise refused("is the http or https address of an MLflow server", example) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise refused("is the http or https address of an MLflow server", example)
    if "@" in parts.netloc:
        hidden = text.replace(parts.netloc.rpartition("@")[0], "…")
        variables = f"Set {TOKEN}, or {USER} and {PASSWORD}."
        raise refused("holds no user and no password, which logs would show", variables, received=hidden)
    if parts.query or parts.fragment:
        raise refused("ends with the server's path", "Leave out what follows `?` or `#`.")
    return text.rstrip("/")


class Server:
    """An MLflow server, for one errand."""

    def __init__(
        self,
        address: str,
        *,
        field: str = FIELD,
        environment: Mapping[str, str] = os.environ,
        silence: float = SILENCE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address` as `server_address` gives it; `silence` and `patience` in seconds. Nothing is asked yet.

        `field` is where the user named it, for errors; `environment` says who asks.
        """
        self.address, self._field = address, field
        self._clock, self._until, self._patience = clock, clock() + patience, patience
        self._client = httpx2.Client(timeout=silence, follow_redirects=False, **_credentials(environment))

    def close(self) -> None:
        """Gives back the connections."""
        self._client.close()

    def experiment(self, name: str, *, tags: Mapping[str, str]) -> str:
        """The id of the experiment of that name, which is made where there is none."""
        found = self._experiment(name)
        if found is None:
            try:
                made = self._post("experiments/create", {"name": name, "tags": _pairs(tags)})
                with self._of_its_shape():
                    return str(made["experiment_id"])
            except _AlreadyThere:
                found = self._experiment(name)
        if found is None or not found["is_there"]:
            raise TrackingRefused(
                field=self._field,
                rule="the server has the experiment, or lets it be made",
                received=f"{self.address}, where {name} was deleted",
                remedy="Restore it there, or delete it for good (`mlflow gc`).",
            )
        return str(found["id"])

    def runs(self, experiment: str, *, tag: str, value: str) -> Iterator[KnownRun]:
        """The runs of an experiment that have this value of a tag, the oldest first."""
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{tag}` = '{value}'",
            "max_results": _RUNS_AT_ONCE,
            "order_by": ["attributes.start_time ASC"],
        }
        token = ""
        while True:
            answer = self._post("runs/search", asked | ({"page_token": token} if token else {}))
            with self._of_its_shape():
                found = [*map(_known, answer.get("runs", ()))]
            yield from found
            token = str(answer.get("next_page_token", ""))
            if not token:
                return

    def create(self, experiment: str, *, name: str, tags: Mapping[str, str], began: int) -> KnownRun:
        """A new run, which has its tags from the beginning. `began` in milliseconds since 1970."""
        asked = {"experiment_id": experiment, "run_name": name, "start_time": began, "tags": _pairs(tags)}
        answer = self._post("runs/create", asked)
        with self._of_its_shape():
            return _known(answer["run"])

    def log(self, run: str, *, params: Mapping[str, str], metrics: Sequence[Metric], tags: Mapping[str, str]) -> None:
        """Adds to a run: params that it does not have yet, values of metrics in their order, and tags."""
        values = [{"key": m.name, "value": m.value, "timestamp": m.time, "step": m.step} for m in metrics]
        for kind, items in (("params", _pairs(params)), ("metrics", values), ("tags", _pairs(tags))):
            for start in range(0, len(items), AT_ONCE[kind]):
                self._post("runs/log-batch", {"run_id": run, kind: items[start : start + AT_ONCE[kind]]})

    def update(self, run: str, *, name: str, state: str, ended: int | None) -> None:
        """The name and state of a run, and when it ended, in milliseconds since 1970."""
        asked: dict[str, Any] = {"run_id": run, "run_name": name, "status": state}
        self._post("runs/update", asked | ({"end_time": ended} if ended is not None else {}))

    def put_file(self, run: KnownRun, path: str, data: bytes) -> bool:
        """Puts a file into a run, in place of one that is there; False where the server does not pass on files."""
        place = urlsplit(run.files_at)
        # With a host of its own, files would go to another server than the user's.
        if place.scheme != _PROXIED or place.netloc:
            return False
        self._ask("PUT", f"mlflow-artifacts/artifacts{quote(place.path)}/{quote(path)}", content=data)
        return True

    def _experiment(self, name: str) -> dict[str, Any] | None:
        try:
            answer = self._ask("GET", "experiments/get-by-name", params={"experiment_name": name})
        except _NotThere:
            return None
        with self._of_its_shape():
            found: dict[str, Any] = answer["experiment"]
            return {"id": str(found["experiment_id"]), "is_there": found.get("lifecycle_stage", "active") == "active"}

    def _post(self, call: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", call, json=asked)

    def _ask(self, method: str, call: str, **sent: Any) -> dict[str, Any]:
        """The answer to a call; raises TrackingRefused, TrackingUnavailable, and the two that say what there is."""
        self._check_patience()
        url = f"{self.address}/api/2.0/{'' if call.startswith(_PROXIED) else 'mlflow/'}{call}"
        try:
            with self._client.stream(method, url, **sent) as response:
                data = self._within_patience(response)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            said = str(error).partition("\n")[0]
            raise TrackingUnavailable(
                f"{self.address} does not answer: {type(error).__name__} {said}".rstrip()
            ) from error
        if response.is_success:
            return self._tree(data) if data else {}
        raise self._error(response, data)

    def _within_patience(self, response: httpx2.Response) -> bytes:
        data = b""
        for chunk in response.iter_bytes():
            data += chunk
            self._check_patience()
            if len(data) > _ANSWER_BYTES:
                raise TrackingUnavailable(f"{self.address} answers with more than {_ANSWER_BYTES >> 20} MiB")
        return data

    def _check_patience(self) -> None:
        if self._clock() > self._until:
            raise TrackingUnavailable(f"{self.address} takes more than {self._patience:.0f} s")

    def _tree(self, data: bytes) -> dict[str, Any]:
        try:
            tree = json.loads(data)
        except ValueError:
            tree = None
        if isinstance(tree, dict):
            return tree
        raise self._no_server("an answer that is no JSON")

    def _error(self, response: httpx2.Response, data: bytes) -> Exception:
        status = response.status_code
        try:
            tree = json.loads(data)
            code, message = str(tree["error_code"]), str(tree.get("message", ""))
        except (ValueError, TypeError, KeyError):
            code = message = ""
        if code == "RESOURCE_DOES_NOT_EXIST":
            return _NotThere(message)
        if code == "RESOURCE_ALREADY_EXISTS":
            return _AlreadyThere(message)
        said = " ".join(part for part in (f"HTTP {status}", code, message.partition("\n")[0][:200]) if part)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return TrackingRefused(
                field=self._field,
                rule="the server lets this user write",
                received=f"{self.address}, which answered {said}",
                remedy=f"Set {TOKEN}, or {USER} and {PASSWORD}, and see what that user may do there.",
            )
        if response.is_redirect:
            return self._no_server(f"a redirect to {response.headers.get('location', 'nowhere')}")
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED} and not code:
            return self._no_server(said)
        return TrackingUnavailable(f"{self.address} answered {said}")

    @contextmanager
    def _of_its_shape(self) -> Iterator[None]:
        """A block that reads an answer."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._no_server(f"something else than MLflow does ({type(error).__name__}: {error})") from error

    def _no_server(self, answer: str) -> TrackingRefused:
        return TrackingRefused(
            field=self._field,
            rule="an MLflow server answers at the address",
            received=f"{self.address}, which answered with {answer}",
            remedy="Give the address under which its page opens, path included.",
        )


class _NotThere(TrackingUnavailable):
    """The server has no such thing."""


class _AlreadyThere(TrackingUnavailable):
    """The server has such a thing already."""


def _credentials(environment: Mapping[str, str]) -> dict[str, Any]:
    if environment.get(TOKEN):
        return {"headers": {"authorization": f"Bearer {environment[TOKEN]}"}}
    if environment.get(USER):
        return {"auth": (environment[USER], environment.get(PASSWORD, ""))}
    return {}


def _known(tree: Mapping[str, Any]) -> KnownRun:
    info, data = tree["info"], tree.get("data", {})
    return KnownRun(
        id=str(info["run_id"]),
        began=int(info.get("start_time", 0)),
        files_at=str(info.get("artifact_uri", "")),
        params=_mapping(data.get("params", ())),
        tags=_mapping(data.get("tags", ())),
        latest={m["key"]: (int(m.get("step", 0)), float(m["value"])) for m in data.get("metrics", ())},
    )


def _pairs(mapping: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def _mapping(pairs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {pair["key"]: pair.get("value", "") for pair in pairs}
