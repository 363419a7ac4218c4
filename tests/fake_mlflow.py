"""An MLflow server on this machine, as far as its door asks it: experiments, runs, and their files, with its refusals.

`tests/contract/test_mlflow.py` holds it to the real server.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

NAME = re.compile(r"[\w\-. /:]{1,250}", re.ASCII)
LIMITS = {"params": 100, "metrics": 1000, "tags": 100}


@dataclass(kw_only=True)
class StoredRun:
    """A run as the server keeps it."""

    id: str
    experiment: str
    name: str
    began: int
    status: str = "RUNNING"
    ended: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, float, int, int], None] = field(default_factory=dict)
    """Name, value, step and time: the same twice is one, as in the real server's tables."""
    files: dict[str, bytes] = field(default_factory=dict)

    def series(self, name: str) -> list[tuple[int, float]]:
        """Steps and values of a metric, in the order of steps."""
        return sorted((step, value) for found, value, step, _ in self.metrics if found == name)


class Refused(Exception):
    """What the server does not do."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class FakeMlflow(ThreadingHTTPServer):
    """Answers for `experiments` and `runs`."""

    daemon_threads = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), _Handler)
        self.host = host
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, StoredRun] = {}
        self.asked: list[str] = []
        """Method and call of each question."""
        self.headers: list[Mapping[str, str]] = []
        self.refusal: tuple[int, str] | None = None
        """Status and body of the answer to every question."""
        self.location = ""
        """Where a refusal leads."""
        self.answers = 10**9
        """After so many, it answers 503."""
        self.silence = threading.Event()
        """While it is not set, no question is answered."""
        self.silence.set()
        self.passes_files_on = True

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.server_port}"

    def run(self, name: str) -> StoredRun:
        """The one run of that name."""
        (found,) = [run for run in self.runs.values() if run.name == name]
        return found

    @property
    def writes(self) -> int:
        """How many questions changed anything."""
        return sum("search" not in line and "get-by-name" not in line for line in self.asked)

    # What it answers

    def experiments_get_by_name(self, asked: dict[str, Any]) -> dict[str, Any]:
        for found in self.experiments.values():
            if found["name"] == asked["experiment_name"]:
                return {"experiment": found}
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{asked}'")

    def experiments_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        if any(found["name"] == asked["name"] for found in self.experiments.values()):
            raise Refused(400, "RESOURCE_ALREADY_EXISTS", "Experiment already exists")
        number = str(len(self.experiments) + 1)
        self.experiments[number] = {
            "experiment_id": number,
            "name": asked["name"],
            "lifecycle_stage": "active",
            "tags": asked.get("tags", []),
        }
        return {"experiment_id": number}

    def runs_search(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = re.fullmatch(r"tags\.`([^`]+)` = '([^']*)'", asked["filter"])
        assert wanted is not None, asked
        assert asked["order_by"] == ["attributes.start_time ASC"]
        found = [
            run
            for run in self.runs.values()
            if run.experiment in asked["experiment_ids"] and run.tags.get(wanted[1]) == wanted[2]
        ]
        first = int(asked.get("page_token", 0))
        # A page of the fake is short, so that more than one is asked for.
        page = found[first : first + min(3, asked["max_results"])]
        token = {"next_page_token": str(first + len(page))} if first + len(page) < len(found) else {}
        return {"runs": [self._tree(run) for run in page]} | token

    def runs_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        number = f"{len(self.runs) + 1:032x}"
        run = StoredRun(id=number, experiment=asked["experiment_id"], name=asked["run_name"], began=asked["start_time"])
        self.runs[number] = run
        self._add(run, {"tags": asked["tags"]})
        return {"run": self._tree(run)}

    def metrics_get_history(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self._run(asked)
        found = [metric for metric in run.metrics if metric[0] == asked["metric_key"]]
        return {"metrics": [{"key": n, "value": v, "step": s, "timestamp": t} for n, v, s, t in found]}

    def runs_update(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self._run(asked)
        run.name, run.status, run.ended = asked["run_name"], asked["status"], asked.get("end_time", run.ended)
        return {"run_info": self._tree(run)["info"]}

    def runs_log_batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._add(self._run(asked), asked)
        return {}

    def put_file(self, path: str, data: bytes) -> None:
        _, experiment, number, kind, name = path.split("/", 4)
        run = self.runs[number]
        assert (experiment, kind) == (run.experiment, "artifacts")
        run.files[name] = data

    def _run(self, asked: dict[str, Any]) -> StoredRun:
        if asked["run_id"] not in self.runs:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST", "Run not found")
        return self.runs[asked["run_id"]]

    def _add(self, run: StoredRun, asked: dict[str, Any]) -> None:
        for kind, limit in LIMITS.items():
            items = asked.get(kind, [])
            if len(items) > limit or any(not NAME.fullmatch(item["key"]) for item in items):
                raise Refused(400, "INVALID_PARAMETER_VALUE", f"{kind}: {items[:3]}")
        for item in asked.get("params", []):
            if len(item["value"]) > 500 or run.params.setdefault(item["key"], item["value"]) != item["value"]:
                raise Refused(400, "INVALID_PARAMETER_VALUE", "Changing param values is not allowed")
        for item in asked.get("metrics", []):
            run.metrics[item["key"], float(item["value"]), int(item["step"]), int(item["timestamp"])] = None
        run.tags |= {item["key"]: item["value"] for item in asked.get("tags", [])}

    def _tree(self, run: StoredRun) -> dict[str, Any]:
        latest = {name: (step, when, value) for name, value, step, when in sorted(run.metrics, key=lambda m: m[2:])}
        scheme = "mlflow-artifacts:" if self.passes_files_on else "s3://bucket"
        return {
            "info": {
                "run_id": run.id,
                "run_name": run.name,
                "status": run.status,
                "start_time": run.began,
                "artifact_uri": f"{scheme}/{run.experiment}/{run.id}/artifacts",
            },
            "data": {
                "params": _pairs(run.params),
                "tags": _pairs(run.tags),
                "metrics": [
                    {"key": name, "value": value, "step": step, "timestamp": when}
                    for name, (step, when, value) in latest.items()
                ],
            },
        }


@contextmanager
def fake_mlflow(host: str = "127.0.0.1") -> Iterator[FakeMlflow]:
    """A server that answers at an address of this machine until the end of the context."""
    server = FakeMlflow(host)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.silence.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _pairs(mapping: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out whole: head and body apart wait for each other's acknowledgement, 40 ms a question.
    wbufsize = 2**16
    server: FakeMlflow

    def do_GET(self) -> None:
        self._answer(lambda call, query, _data: self._call(call, {k: v[0] for k, v in parse_qs(query).items()}))

    def do_POST(self) -> None:
        self._answer(lambda call, _query, data: self._call(call, json.loads(data)))

    def do_PUT(self) -> None:
        def put(call: str, _query: str, data: bytes) -> dict[str, Any]:
            self.server.put_file(unquote(call.removeprefix("mlflow-artifacts/artifacts")), data)
            return {}

        self._answer(put)

    def _call(self, call: str, asked: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.server, re.sub(r"[/-]", "_", call.removeprefix("mlflow/")))(asked)
        return answer

    def _answer(self, answer: Callable[[str, str, bytes], dict[str, Any]]) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        call = parts.path.removeprefix("/api/2.0/")
        self.server.silence.wait()
        self.server.asked.append(f"{self.command} {call}")
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.refusal is not None:
            self._send(self.server.refusal[0], self.server.refusal[1].encode())
        elif len(self.server.asked) > self.server.answers:
            self._send(503, b"gone")
        else:
            try:
                self._send(200, json.dumps(answer(call, parts.query, data)).encode())
            except Refused as error:
                tree = {"error_code": error.code, "message": str(error)}
                self._send(error.status, json.dumps(tree).encode())

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", self.server.location)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Says nothing."""
