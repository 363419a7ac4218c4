"""Experiments shown in MLflow: a process beside the controller's, which sends what stores hold of their trials.

An Experiment names a server (`spec.cluster.mlflow`), one of those that the operator lets; who asks there is told by
files that this process alone has. Each server has a thread of its own, so that one that is away or slow holds up no
other, and no trial at all. What came of it is the condition `Tracked`, which nobody else writes.

Nothing is kept but in memory. After a restart a trial whose condition says `Complete` is left alone; what else there is
is sent again, which writes nothing twice (`syntrial.tracking.sending`).
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from pydantic import TypeAdapter, ValidationError

from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.store import ArtifactStore
from syntrial.counting import counted
from syntrial.errors import (
    ClusterRefused,
    ClusterUnavailable,
    SyntrialError,
    TrackingRefused,
    TrackingUnavailable,
    UserError,
)
from syntrial.experiment.base import Model
from syntrial.experiment.model import API_VERSION
from syntrial.experiment.pods import ServerAddress
from syntrial.tracking.material import Material
from syntrial.tracking.sending import Sent, send
from syntrial.tracking.server import PASSWORD, TOKEN, USER, Server
from syntrial.trial.status import TRACKED, shortened

FIELD: Final = "spec.cluster.mlflow"
FIELD_MANAGER: Final = "syntrial-tracking"

COMPLETE: Final = "Complete"
SENT: Final = "Sent"
UNAVAILABLE: Final = "ServerUnavailable"
REFUSED: Final = "ServerRefused"
NOT_READ: Final = "NotRead"
FAILED: Final = "SendingFailed"

BETWEEN_SECONDS: Final = 20.0
"""Between two looks at the Experiments, and two sendings of one: a trial's figures come in minutes."""

AWAY_SECONDS: Final = 60.0
"""From a sending that failed to the next."""

TURN_SECONDS: Final = 2.0
"""Between two times that a server's thread sees what is due."""

HUNG_SECONDS: Final = 1800.0
"""A sending that takes so long hangs: a server is given five minutes, and the process is no longer healthy."""

KEY_DIGITS: Final = 12

_log = structlog.stdlib.get_logger(__name__)


class Target(Model):
    """A server that the operator lets, and the folder whose files say who asks: each named as MLflow's variable."""

    address: ServerAddress
    credentials: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the files say now; a Secret may have changed since."""
        places = {name: self.credentials / name for name in (TOKEN, USER, PASSWORD)} if self.credentials else {}
        return {name: place.read_text().strip() for name, place in places.items() if place.is_file()}


Objects = list[dict[str, Any]]


def targets_from(text: str) -> tuple[Target, ...]:
    """What a JSON list says; raises UserError."""
    try:
        return TypeAdapter(tuple[Target, ...]).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            field=".".join(["--servers", *(str(part) for part in first["loc"])]),
            rule=first["msg"],
            received=first["input"],
            remedy='Give a JSON list as [{"address": "http://…", "credentials": "/folder"}].',
        ) from None


class TrackerApi(Protocol):
    """What is asked of the cluster."""

    def list(self, kind: str, namespace: str | None = None, /) -> Objects:
        """All objects of a kind."""
        ...

    def patch_status(self, obj: Mapping[str, Any], *, field_manager: str) -> Any:
        """Server-side apply of a status."""
        ...


@dataclass(kw_only=True, slots=True)
class _Shown:
    """What is remembered of a trial."""

    moved: str = ""
    """How far it was when it was last sent."""
    before: Material | None = None
    due: float = float("-inf")
    """When it may be sent again."""


@dataclass(kw_only=True, slots=True)
class _Line:
    """What is remembered of a server."""

    target: Target
    shown: dict[str, _Shown] = field(default_factory=dict)
    """By UID; whose turn is next first."""
    due: float = float("-inf")
    """When it may be asked again, after it was away."""
    begun: float | None = None
    """When the sending began that is under way."""


def open_server(target: Target) -> Server:
    """The door to a server."""
    return Server(target.address, field=FIELD, environment=target.environment)


class Tracker:
    """All Experiments of the namespaces that are served."""

    def __init__(
        self,
        cluster: TrackerApi,
        targets: Sequence[Target],
        *,
        namespaces: Sequence[str],
        open_store: Callable[[str], ArtifactStore],
        open_server: Callable[[Target], Server] = open_server,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespaces`: empty, all. `open_store` opens that of a namespace."""
        self._cluster, self._namespaces = cluster, namespaces
        self._open_store, self._open_server, self._clock = open_store, open_server, clock
        self._lines = [_Line(target=target) for target in targets]
        self._bodies: Objects = []

    def serve(self, stopping: threading.Event) -> None:
        """Looks and sends until it is told to stop."""
        for line in self._lines:
            threading.Thread(target=self._follow, args=(line, stopping), name="mlflow", daemon=True).start()
        while not stopping.is_set():
            try:
                self.look()
            except (ClusterUnavailable, ClusterRefused) as error:
                _log.warning("experiments not listed", error=str(error))
            stopping.wait(BETWEEN_SECONDS)

    def hung(self) -> list[str]:
        """Addresses of the servers to which a sending hangs."""
        since = self._clock() - HUNG_SECONDS
        return [line.target.address for line in self._lines if line.begun is not None and line.begun < since]

    def look(self) -> None:
        """Finds out which Experiments there are; of one that is to be shown no longer the condition goes."""
        found = [
            item for namespace in self._namespaces or (None,) for item in self._cluster.list("Experiment", namespace)
        ]
        for body in found:
            if _server_of(body) is None and _tracked(body) is not None:
                self._write(body, {})
        self._bodies = [body for body in found if "deletionTimestamp" not in body["metadata"]]

    def attend(self) -> None:
        """Sends to each server what is due there, one server after the other."""
        for line in self._lines:
            self._attend(line)

    def _follow(self, line: _Line, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                self._attend(line)
            except Exception:  # noqa: BLE001 - one round's trouble must not end the next
                _log.exception("not sent, by a fault of Syntrial's", server=line.target.address)
            stopping.wait(TURN_SECONDS)

    def _attend(self, line: _Line) -> None:
        bodies = {body["metadata"]["uid"]: body for body in self._bodies if _server_of(body) == line.target.address}
        line.shown = {uid: known for uid, known in line.shown.items() if uid in bodies}
        for uid in bodies:
            line.shown.setdefault(uid, _Shown())
        for uid, known in list(line.shown.items()):
            body, now = bodies[uid], self._clock()
            if line.due > now:
                return
            if known.due > now or known.moved == _moved(body) or _is_complete(body, line.target.address):
                continue
            # Should the server be away, another one is tried next time.
            line.shown[uid] = line.shown.pop(uid)
            line.begun = now
            try:
                self._show(body, known, line)
            finally:
                line.begun = None

    def _show(self, body: Mapping[str, Any], known: _Shown, line: _Line) -> None:
        """Sends one trial, and says on its object what came of it."""
        metadata, moved = body["metadata"], _moved(body)
        try:
            store = self._open_store(metadata["namespace"])
            if store.experiment_file(metadata["uid"], PLAN) is None:
                # It is not planned yet.
                known.due = self._clock() + BETWEEN_SECONDS
                return
            name = f"{metadata['namespace']}/{metadata['name']}"
            with closing(self._open_server(line.target)) as server:
                sent = send(store, name=name, uid=metadata["uid"], server=server, before=known.before)
        except TrackingUnavailable as error:
            line.due = self._clock() + AWAY_SECONDS
            self._fail(body, known, reason=UNAVAILABLE, error=error)
        except TrackingRefused as error:
            self._fail(body, known, reason=REFUSED, error=error)
        except SyntrialError as error:
            self._fail(body, known, reason=NOT_READ, error=error)
        except Exception as error:  # noqa: BLE001 - one trial's trouble must not keep the others from being sent
            _log.exception("not sent, by a fault of Syntrial's", experiment=metadata["uid"])
            words = f"an unexpected error ({type(error).__name__}), which is in the log of the tracker"
            self._fail(body, known, reason=FAILED, error=words)
        else:
            known.moved, known.before = moved, sent.material if sent.material.report is None else None
            known.due = self._clock() + BETWEEN_SECONDS
            reason = SENT if sent.material.report is None else COMPLETE
            self._say(body, "True", reason, _words(sent))

    def _fail(self, body: Mapping[str, Any], known: _Shown, *, reason: str, error: object) -> None:
        known.due = self._clock() + AWAY_SECONDS
        _log.warning("not sent", experiment=body["metadata"]["uid"], reason=reason, error=str(error))
        words = f"MLflow was not told everything, which does not touch the trial, and is tried again: {error}"
        self._say(body, "False", reason, shortened(words))

    def _say(self, body: Mapping[str, Any], status: str, reason: str, message: str) -> None:
        known = _tracked(body) or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": TRACKED,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": body["metadata"]["generation"],
            "lastTransitionTime": known["lastTransitionTime"] if known.get("status") == status else now,
        }
        if condition != known:
            self._write(body, {"conditions": [condition]})

    def _write(self, body: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        about = {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": body["metadata"], "status": status}
        try:
            self._cluster.patch_status(about, field_manager=FIELD_MANAGER)
        except (ClusterUnavailable, ClusterRefused) as error:
            # It may be gone; and what is not said now is said the next time.
            _log.warning("not told", experiment=body["metadata"]["uid"], error=str(error))


def _server_of(body: Mapping[str, Any]) -> str | None:
    found: str | None = ((body.get("spec") or {}).get("cluster") or {}).get("mlflow")
    return found


def _tracked(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == TRACKED), None)


def _moved(body: Mapping[str, Any]) -> str:
    """How far a trial is, by its status: where that is the same, its store has nothing new to show."""
    status = body.get("status") or {}
    seen = [body["metadata"]["generation"], status.get("steps"), (status.get("report") or {}).get("key")]
    return json.dumps(seen, sort_keys=True)


def _is_complete(body: Mapping[str, Any], address: str) -> bool:
    known, report = _tracked(body), ((body.get("status") or {}).get("report") or {}).get("key")
    return (
        known is not None
        and (known["status"], known["reason"]) == ("True", COMPLETE)
        and known.get("observedGeneration") == body["metadata"]["generation"]
        and report is not None
        and f"report {report[:KEY_DIGITS]} " in known["message"]
        and f" {address}/" in known["message"]
    )


def _words(sent: Sent) -> str:
    report = sent.material.record.report
    what = f"the trial with its report {report[:KEY_DIGITS]} is" if report is not None else "the trial is"
    left = f", but for {counted(sent.files_left_out, 'file')}: it does not pass files on" if sent.files_left_out else ""
    return f"{what} shown at {sent.address}{left}"
