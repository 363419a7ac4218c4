"""What the door to Kubernetes sends, and what it makes of answers, on a server that plays the API."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from syntrial.cluster import client as kubernetes
from syntrial.cluster.client import RETRIES, Kubernetes, connect
from syntrial.errors import ClusterRefused, ClusterUnavailable, UserError

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"}, "spec": {}}
EXPERIMENT = {
    "apiVersion": "syntrial.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": "e", "namespace": "n", "uid": "u"},
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(kw_only=True)
class Api:
    """An API server that gives the answers it is told to, in order, and 200 `{}` after that."""

    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        parts = urlsplit(request.path)
        self.asked.append(
            Asked(
                method=request.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query)),
                headers=dict(request.headers),
                body=json.loads(body) if body else None,
            )
        )
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


@pytest.fixture
def api() -> Iterator[Api]:
    played = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            played.handle(self)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        played.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield played
        server.shutdown()


@pytest.fixture
def cluster(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    monkeypatch.setattr(kubernetes, "RETRIES", RETRIES.new(backoff_factor=0, backoff_jitter=0))
    made = connected(api.port, tmp_path, monkeypatch)
    yield made
    made._client.rest_client.close()


def connected(port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Kubernetes:
    file = folder / "kubeconfig"
    context = {"cluster": "c", "user": "u", "namespace": "mine"}
    tree = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "a-token"}}],
        "contexts": [{"name": "x", "context": context}],
        "current-context": "x",
    }
    file.write_text(yaml.safe_dump(tree))
    monkeypatch.setenv("KUBECONFIG", str(file))
    return connect()


def refused(status: int, reason: str, message: str = "because") -> tuple[int, Any]:
    return status, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}


def test_an_object_is_got_by_its_path_with_the_users_token(cluster: Kubernetes, api: Api) -> None:
    api.answers = [(200, JOB), refused(404, "NotFound")]
    assert cluster.namespace == "mine"
    assert cluster.get("Job", "n", "j") == JOB
    assert cluster.get("Experiment", "n", "e") is None
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("GET", "/apis/batch/v1/namespaces/n/jobs/j"),
        ("GET", "/apis/syntrial.dev/v1alpha1/namespaces/n/experiments/e"),
    ]
    assert api.asked[0].headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(cluster: Kubernetes, api: Api, status: int) -> None:
    api.answers = [refused(status, "Busy")] * 3
    assert cluster.create(JOB) is not None
    assert [asked.method for asked in api.asked] == ["POST"] * 4
    assert all(asked.body == JOB for asked in api.asked)


def test_a_server_that_stays_busy_is_unavailable(cluster: Kubernetes, api: Api) -> None:
    api.answers = [refused(503, "ServiceUnavailable", "etcd is away")] * 20
    with pytest.raises(ClusterUnavailable, match="503 etcd is away"):
        cluster.get("Job", "n", "j")
    assert len(api.asked) == 5


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "RETRIES", RETRIES.new(backoff_factor=0, backoff_jitter=0))
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(ClusterUnavailable, match="does not answer"):
        connected(port, tmp_path, monkeypatch).get("Job", "n", "j")


def test_a_server_that_does_not_answer_in_time_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "RETRIES", RETRIES.new(total=1, backoff_factor=0, backoff_jitter=0))
    monkeypatch.setattr(kubernetes, "TIMEOUT", (0.1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = connected(silent.getsockname()[1], tmp_path, monkeypatch)
        with pytest.raises(ClusterUnavailable):
            cluster.get("Job", "n", "j")
        cluster._client.rest_client.close()


def test_what_exists_is_not_made_again(cluster: Kubernetes, api: Api) -> None:
    api.answers = [refused(409, "AlreadyExists"), refused(409, "Conflict", "the namespace is going")]
    assert cluster.create(JOB) is None
    with pytest.raises(ClusterRefused, match="the namespace is going"):
        cluster.create(JOB)


def test_a_refusal_carries_the_apis_words_and_a_remedy(cluster: Kubernetes, api: Api) -> None:
    api.answers = [
        refused(403, "Forbidden", 'jobs.batch is forbidden: User "eve" cannot create'),
        refused(403, "Forbidden", 'jobs.batch "j" is forbidden: exceeded quota: few'),
        refused(401, "Unauthorized"),
        (418, b"not JSON"),
    ]
    with pytest.raises(UserError, match=r'User "eve" cannot create.*Ask for that permission') as caught:
        cluster.create(JOB)
    assert isinstance(caught.value, ClusterRefused)
    assert not caught.value.is_quota
    with pytest.raises(ClusterRefused) as caught_quota:
        cluster.create(JOB)
    assert caught_quota.value.is_quota
    with pytest.raises(ClusterRefused, match="Log in"):
        cluster.create(JOB)
    with pytest.raises(ClusterRefused, match="not JSON"):
        cluster.create(JOB)


def test_apply_names_its_manager_and_forces_on_request(cluster: Kubernetes, api: Api) -> None:
    cluster.apply(JOB, field_manager="m")
    cluster.apply(JOB, field_manager="m", force=False)
    first, second = api.asked
    assert (first.method, first.path) == ("PATCH", "/apis/batch/v1/namespaces/n/jobs/j")
    assert first.headers["Content-Type"] == "application/apply-patch+yaml"
    assert (first.query, second.query) == (
        {"fieldManager": "m", "force": "true"},
        {"fieldManager": "m", "force": "false"},
    )
    assert first.body == JOB


def test_a_status_is_applied_alone_through_its_subresource(cluster: Kubernetes, api: Api) -> None:
    cluster.patch_status(EXPERIMENT | {"spec": {"a": 1}, "status": {"progress": "1/2"}}, field_manager="m")
    (asked,) = api.asked
    assert asked.path.endswith("/experiments/e/status")
    assert asked.body == EXPERIMENT | {
        "metadata": {"name": "e", "namespace": "n"},
        "status": {"progress": "1/2"},
    }


def test_a_deletion_says_how_and_may_be_bound_to_one_object(cluster: Kubernetes, api: Api) -> None:
    api.answers = [(200, {}), refused(404, "NotFound"), refused(409, "Conflict")]
    assert cluster.delete("Job", "n", "j", propagation="Foreground", uid="u")
    assert not cluster.delete("Job", "n", "j")
    assert not cluster.delete("Job", "n", "j", uid="another")
    assert api.asked[0].body["propagationPolicy"] == "Foreground"
    assert api.asked[0].body["preconditions"] == {"uid": "u"}
    assert "preconditions" not in api.asked[1].body


def test_a_long_list_is_read_page_by_page(cluster: Kubernetes, api: Api) -> None:
    api.answers = [
        (200, {"metadata": {"continue": "next"}, "items": [{"a": 1}]}),
        (200, {"metadata": {}, "items": [{"a": 2}]}),
    ]
    assert cluster.list("Pod", "n", labels="a=b", fields="c=d") == [{"a": 1}, {"a": 2}]
    first, second = (asked.query for asked in api.asked)
    assert first == {"labelSelector": "a=b", "fieldSelector": "c=d", "limit": "500"}
    assert second == first | {"continue": "next"}


def test_a_list_whose_pages_were_forgotten_is_read_anew(cluster: Kubernetes, api: Api) -> None:
    api.answers = [
        (200, {"metadata": {"continue": "next"}, "items": [{"a": 1}]}),
        refused(410, "Expired"),
        (200, {"metadata": {}, "items": [{"a": 1}, {"a": 2}]}),
    ]
    assert cluster.list("Pod") == [{"a": 1}, {"a": 2}]
    assert "limit" not in api.asked[-1].query
    assert api.asked[-1].path == "/api/v1/pods"


def test_a_watch_tells_what_changes_and_ends_where_the_connection_does(cluster: Kubernetes, api: Api) -> None:
    told = [{"type": "ADDED", "object": {"a": 1}}, {"type": "BOOKMARK", "object": {"a": 2}}]
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in told)
    api.answers = [
        (200, {"metadata": {"resourceVersion": "7"}, "items": []}),
        (200, lines),
        (200, lines + b'{"type": "AD'),
    ]
    assert cluster.list_with_version("Job", "n", labels="a=b") == ([], "7")
    changes = [("ADDED", {"a": 1}), ("BOOKMARK", {"a": 2})]
    assert list(cluster.watch("Job", "n", labels="a=b", since="7")) == changes
    assert list(cluster.watch("Job", "n", since="7")) == changes, "what is cut off is told by the next one"
    asked = api.asked[1]
    assert asked.path == "/apis/batch/v1/namespaces/n/jobs"
    assert asked.query == {
        "watch": "true",
        "labelSelector": "a=b",
        "resourceVersion": "7",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "300",
    }


def test_a_watch_whose_version_is_forgotten_says_so_at_once_or_later(cluster: Kubernetes, api: Api) -> None:
    event = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old resource version"}}
    api.answers = [refused(410, "Expired"), (200, json.dumps(event).encode() + b"\n")]
    for _ in range(2):
        with pytest.raises(ClusterRefused) as caught:
            list(cluster.watch("Job", "n", since="7"))
        assert caught.value.status == 410


def test_a_watch_that_hears_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "QUIET_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(1 << 16)
            line = b'{"type": "ADDED", "object": {}}\n'
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head + f"{len(line):x}".encode() + b"\r\n" + line + b"\r\n")
            assert connection.recv(1) == b"", "the client hangs up"
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        cluster = connected(server.getsockname()[1], tmp_path, monkeypatch)
        assert list(cluster.watch("Job", "n", since="7")) == [("ADDED", {})]
        thread.join(10)
        assert not thread.is_alive()


def test_a_secret_is_decoded(cluster: Kubernetes, api: Api) -> None:
    data = {"AWS_ACCESS_KEY_ID": base64.b64encode(b"id").decode()}
    api.answers = [(200, {"data": data}), (200, {}), refused(404, "NotFound")]
    assert cluster.read_secret("n", "s") == {"AWS_ACCESS_KEY_ID": "id"}
    assert cluster.read_secret("n", "empty") == {}
    with pytest.raises(UserError, match="must exist in namespace n"):
        cluster.read_secret("n", "absent")


def test_an_event_is_counted_where_it_was_told_before(cluster: Kubernetes, api: Api) -> None:
    api.answers = [(201, {}), refused(409, "AlreadyExists"), (200, {"count": 4}), (200, {})]
    for _ in range(2):
        cluster.create_event(EXPERIMENT, reason="Started", message="m", component="c")
    made, again, _, patched = api.asked
    assert made.body["metadata"]["name"] == again.body["metadata"]["name"]
    assert made.body["involvedObject"] == {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "name": "e",
        "namespace": "n",
        "uid": "u",
    }
    assert (made.body["type"], made.body["count"]) == ("Normal", 1)
    assert patched.body["count"] == 5


def test_a_log_is_cut_followed_and_empty_where_there_is_none(cluster: Kubernetes, api: Api) -> None:
    api.answers = [
        (200, b"one\ntwo\n"),
        (200, b"one\ntwo\nthree"),
        refused(400, "BadRequest", "container is waiting to start"),
        refused(404, "NotFound"),
    ]
    assert cluster.pod_log("n", "p", limit=4) == "two\n"
    assert list(cluster.pod_log("n", "p", follow=True, tail=9)) == ["one", "two", "three"]
    assert cluster.pod_log("n", "p") == ""
    assert list(cluster.pod_log("n", "p", follow=True)) == []
    assert api.asked[0].query == {}
    assert api.asked[1].query == {"follow": "true", "tailLines": "9"}


def test_a_service_leads_to_a_living_pod_and_its_port(cluster: Kubernetes, api: Api) -> None:
    ports = [{"port": 80, "targetPort": "web"}, {"port": 9000}]
    service = {"spec": {"selector": {"a": "b"}, "ports": ports}}
    going = {"metadata": {"name": "old", "deletionTimestamp": "now"}}
    container = {"ports": [{"name": "web", "containerPort": 8080}]}
    living = {"metadata": {"name": "new"}, "spec": {"containers": [container]}}
    for port, expected in ((80, 8080), (9000, 9000)):
        api.answers = [(200, service), (200, {"metadata": {}, "items": [going, living]})]
        assert cluster._pod_behind("n", "service/s", port) == ("new", expected)
    assert cluster._pod_behind("n", "pod/p", 1) == cluster._pod_behind("n", "p", 1) == ("p", 1)
    api.answers = [(200, service), (200, {"metadata": {}, "items": [going]})]
    with pytest.raises(UserError, match="no running pod"):
        cluster._pod_behind("n", "svc/s", 80)


def test_pods_of_a_job_come_oldest_first(cluster: Kubernetes, api: Api) -> None:
    pods = [{"metadata": {"name": name, "creationTimestamp": time}} for name, time in (("b", "2"), ("c", "1"))]
    api.answers = [(200, {"metadata": {}, "items": pods})]
    assert [pod["metadata"]["name"] for pod in cluster.pods_of("n", "j")] == ["c", "b"]
    assert api.asked[0].query["labelSelector"] == "batch.kubernetes.io/job-name=j"
