"""The door to Kubernetes against a real API server."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.cluster.client import Kubernetes, connect
from syntrial.errors import ClusterRefused, UserError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def namespace(new_namespace: Callable[[str], str]) -> str:
    return new_namespace("client")


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_an_object_is_made_once(cluster: Kubernetes, namespace: str) -> None:
    assert cluster.get("ConfigMap", namespace, "once") is None
    assert cluster.create(config_map(namespace, "once", a="1"))
    assert not cluster.create(config_map(namespace, "once", a="2"))
    found = cluster.get("ConfigMap", namespace, "once")
    assert found is not None
    assert found["data"] == {"a": "1"}
    assert cluster.delete("ConfigMap", namespace, "once")
    assert not cluster.delete("ConfigMap", namespace, "once")


def test_an_object_of_another_uid_is_not_deleted(cluster: Kubernetes, namespace: str) -> None:
    cluster.create(config_map(namespace, "kept"))
    assert not cluster.delete("ConfigMap", namespace, "kept", uid="another")
    found = cluster.get("ConfigMap", namespace, "kept")
    assert found is not None
    assert cluster.delete("ConfigMap", namespace, "kept", uid=found["metadata"]["uid"])


def test_apply_owns_the_fields_that_it_names(cluster: Kubernetes, namespace: str) -> None:
    cluster.apply(config_map(namespace, "owned", a="1", b="1"), field_manager="one")
    cluster.patch("ConfigMap", namespace, "owned", {"data": {"c": "by hand"}})
    applied = cluster.apply(config_map(namespace, "owned", b="2"), field_manager="one")
    assert applied["data"] == {"b": "2", "c": "by hand"}
    with pytest.raises(ClusterRefused) as caught:
        cluster.apply(config_map(namespace, "owned", b="3"), field_manager="two", force=False)
    assert caught.value.status == 409
    assert cluster.apply(config_map(namespace, "owned", b="3"), field_manager="two")["data"]["b"] == "3"
    tried = cluster.apply(config_map(namespace, "owned", b="4"), field_manager="two", dry_run=True)
    assert tried["data"]["b"] == "4"
    found = cluster.get("ConfigMap", namespace, "owned")
    assert found is not None
    assert found["data"]["b"] == "3"


def test_a_list_is_read_in_pages_and_chosen_by_labels(
    cluster: Kubernetes, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntrial.cluster.client.PAGE", 2)
    for number in range(5):
        listed = config_map(namespace, f"listed-{number}")
        listed["metadata"]["labels"] = {"listed": "yes", "odd": str(number % 2)}
        cluster.create(listed)
    assert len(cluster.list("ConfigMap", namespace, labels="listed=yes")) == 5
    odd = cluster.list("ConfigMap", namespace, labels="listed=yes,odd=1")
    assert sorted(item["metadata"]["name"] for item in odd) == ["listed-1", "listed-3"]
    assert len(cluster.list("ConfigMap", labels="listed=yes")) >= 5


def test_a_secret_is_read_decoded(cluster: Kubernetes, namespace: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}}
    cluster.create(secret | {"stringData": {"AWS_ACCESS_KEY_ID": "an id", "AWS_REGION": ""}})
    assert cluster.read_secret(namespace, "s") == {"AWS_ACCESS_KEY_ID": "an id", "AWS_REGION": ""}
    with pytest.raises(UserError, match="secret absent: must exist"):
        cluster.read_secret(namespace, "absent")


def test_an_event_that_comes_again_is_counted(cluster: Kubernetes, namespace: str) -> None:
    cluster.create(config_map(namespace, "told-of"))
    about = cluster.get("ConfigMap", namespace, "told-of")
    assert about is not None
    for _ in range(3):
        cluster.create_event(about, reason="JobStarted", message="Job x started", component="syntrial-controller")
    cluster.create_event(
        about, reason="JobFailed", message="Job x failed", component="syntrial-controller", warning=True
    )
    events = cluster.list("Event", namespace, fields="involvedObject.name=told-of")
    told = {(event["reason"], event["type"], event["count"]) for event in events}
    assert told == {("JobStarted", "Normal", 3), ("JobFailed", "Warning", 1)}


def test_an_invalid_object_is_refused_in_the_apis_words(cluster: Kubernetes, namespace: str) -> None:
    with pytest.raises(ClusterRefused, match=r"metadata\.name") as caught:
        cluster.create(config_map(namespace, "Not A Name"))
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")
    assert not caught.value.is_quota


def test_a_used_up_quota_is_told_apart(cluster: Kubernetes, new_namespace: Callable[[str], str]) -> None:
    namespace = new_namespace("client-quota")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": namespace}}
    cluster.create(quota | {"spec": {"hard": {"count/secrets": "0"}}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}}

    def is_enforced() -> bool:
        found = cluster.get("ResourceQuota", namespace, "few")
        return bool(found and found.get("status", {}).get("hard"))

    until(is_enforced)
    with pytest.raises(ClusterRefused) as caught:
        cluster.create(secret)
    assert caught.value.status == 403
    assert caught.value.is_quota


def test_wrong_credentials_are_the_users_error(
    cluster_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = yaml.safe_load(Path(cluster_environment["KUBECONFIG"]).read_text())
    tree["users"][0]["user"] = {"token": "a wrong one"}
    (tmp_path / "config").write_text(yaml.safe_dump(tree))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(ClusterRefused, match="Log in") as caught:
        connect().get("ConfigMap", "default", "x")
    assert caught.value.status == 401


def test_a_port_forward_reaches_a_pods_loopback(
    cluster: Kubernetes, new_namespace: Callable[[str], str], python_image: str
) -> None:
    namespace = new_namespace("client-forward")
    server = (
        "import http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def do_POST(self):\n"
        "        body = self.rfile.read(int(self.headers['Content-Length']))\n"
        "        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()\n"
        "        self.wfile.write(body[::-1])\n"
        "print('serving', flush=True)\n"
        "h.ThreadingHTTPServer(('127.0.0.1', 8080), H).serve_forever()\n"
    )
    labels = {"app": "echo"}
    cluster.create(pod(namespace, "echo", ["python3", "-c", server], image=python_image, labels=labels))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo", "namespace": namespace}}
    cluster.create(service | {"spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}})
    until(lambda: "serving" in cluster.pod_log(namespace, "echo"), seconds=120)

    for target, port in (("echo", 8080), ("pod/echo", 8080), ("service/echo", 80)):
        with cluster.port_forward(namespace, target, port) as address:
            # Several connections, each with several requests, the last of them large.
            for _ in range(2):
                connection = http.client.HTTPConnection(address, timeout=30)
                for body in (b"abc", b"x" + bytes(5 * 2**20)):
                    connection.request("POST", "/", body)
                    assert connection.getresponse().read() == body[::-1]
                connection.close()
    with pytest.raises(ConnectionError):
        http.client.HTTPConnection(address, timeout=5).request("POST", "/", b"")

    with pytest.raises(ClusterRefused), cluster.port_forward(namespace, "absent", 8080):
        pass
    with pytest.raises(UserError, match="no such service"), cluster.port_forward(namespace, "service/absent", 80):
        pass
    cluster.delete("Pod", namespace, "echo")


def test_a_log_is_followed_to_its_end(
    cluster: Kubernetes, new_namespace: Callable[[str], str], python_image: str
) -> None:
    namespace = new_namespace("client-log")
    assert cluster.pod_log(namespace, "talker") == ""
    count = "import time\nfor i in range(5):\n    print('line', i, flush=True); time.sleep(0.3)\n"
    cluster.create(pod(namespace, "talker", ["python3", "-c", count], image=python_image))
    until(lambda: "line 0" in cluster.pod_log(namespace, "talker"), seconds=120)
    lines = list(cluster.pod_log(namespace, "talker", follow=True))
    assert lines == [f"line {number}" for number in range(5)]
    assert cluster.pod_log(namespace, "talker", tail=2) == "line 3\nline 4\n"
    assert cluster.pod_log(namespace, "talker", limit=7) == "line 4\n"


def pod(
    namespace: str, name: str, command: list[str], *, image: str, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """A pod of the test cluster's Python image that keeps to the restricted standard."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": security,
        "containers": [container],
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Waits for a condition; fails the test where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)
