"""The one door to Kubernetes, with `kubeconfig.py` and `forwarding.py`: the calls that Syntrial makes, and no others.

Objects are the plain trees that the API speaks. The official client gives configuration, credentials, TLS and
connections; its generated classes are left aside, since they would be built and torn down for each of thousands of Jobs
and know nothing of an Experiment. Used by the controller and by the client side; safe from several threads.

Every call has a time limit, and is repeated with growing pauses where the API does not answer or is busy. All of them
may be repeated: names are given by the caller, and changes are server-side applies.
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Literal, overload
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client import ApiClient, ApiException
from pydantic_core import from_json
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from syntrial.cluster import forwarding, kubeconfig
from syntrial.errors import ClusterRefused, ClusterUnavailable, UserError

Manifest = dict[str, Any]
"""A Kubernetes object as the API speaks it."""

Manifests = list[Manifest]

Propagation = Literal["Background", "Foreground", "Orphan"]

RETRIES: Final = urllib3.Retry(
    total=4,
    read=2,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
    backoff_factor=0.2,
    backoff_max=5.0,
    backoff_jitter=0.2,
    raise_on_status=False,
    retry_after_max=5,
)
"""Some 3 s in all where connections are refused; a caller that can wait longer asks again itself."""

TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect in, and to wait for bytes in."""

FRESH_SECONDS: Final = 5.0
"""How long credentials serve before the client is asked for them again, which renews them where they have aged."""

PAGE: Final = 500
"""Objects of a list that the API gives at a time."""

WATCH_SECONDS: Final = 300
"""How long the API server tells of changes at a time; then it is asked again."""

QUIET_SECONDS: Final = 60.0
"""After so long without a word a watch is asked for anew: a connection that is dead says nothing either."""

Change = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
"""What became of an object; of a BOOKMARK, which tells a version alone, nothing did."""

_PLURALS: Final = {
    "ConfigMap": ("v1", "configmaps"),
    "CronJob": ("batch/v1", "cronjobs"),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Deployment": ("apps/v1", "deployments"),
    "Event": ("v1", "events"),
    "Experiment": ("syntrial.dev/v1alpha1", "experiments"),
    "Job": ("batch/v1", "jobs"),
    "Namespace": ("v1", "namespaces"),
    "Node": ("v1", "nodes"),
    "PersistentVolume": ("v1", "persistentvolumes"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Pod": ("v1", "pods"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
}
"""API version and resource of each kind that Syntrial knows: none has to be discovered."""

_REMEDIES: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "Log in to the cluster again, or choose another context.",
    HTTPStatus.FORBIDDEN: "Ask for that permission or more quota, or choose another namespace or context.",
    HTTPStatus.NOT_FOUND: "Check the name and the namespace, and that Syntrial is deployed there.",
    HTTPStatus.CONFLICT: "Somebody else has changed it; try again.",
}


def connect(context: str | None = None, namespace: str | None = None) -> "Kubernetes":
    """A connection as kubectl would make it; nothing is sent yet.

    By the files of KUBECONFIG or ~/.kube/config, and in a pod by its service account; `context` and `namespace` are
    kubectl's options. Raises UserError where there is no usable configuration.
    """
    configuration, default = kubeconfig.load(context=context)
    configuration.retries = RETRIES
    configuration.connection_pool_maxsize = 32
    return Kubernetes(ApiClient(configuration), namespace=namespace or default)


class Kubernetes:
    """A cluster's API. Raises ClusterUnavailable where it does not answer and ClusterRefused where it says no."""

    def __init__(self, client: ApiClient, *, namespace: str) -> None:
        """`namespace` is the one meant where a caller's user names none."""
        self._client = client
        self._credentials: tuple[float, dict[str, str]] = (float("-inf"), {})
        self.namespace = namespace

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self._client.configuration.host)

    # Objects

    def get(self, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """An object, or None where there is none of this name. `namespace` is None for kinds that have none."""
        try:
            return self._json("GET", _path(kind, namespace, name))
        except ClusterRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Manifests:
        """All objects of a kind that the selectors choose, in one namespace, or in all where `namespace` is None.

        As everywhere in the API, items of a list do not say their kind.
        """
        return self.list_with_version(kind, namespace, labels=labels, fields=fields)[0]

    def list_with_version(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> tuple[Manifests, str]:
        """As `list`; and the version of the whole, from which on `watch` tells what changes."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
        items: Manifests = []
        while True:
            try:
                page = self._json("GET", _path(kind, namespace), query)
            except ClusterRefused as error:
                if error.status != HTTPStatus.GONE:
                    raise
                # The list was so long in reading that the server forgot its first pages: all at once, then.
                items, query = [], {"labelSelector": labels, "fieldSelector": fields}
                continue
            items += page["items"]
            if not (token := page["metadata"].get("continue")):
                return items, page["metadata"].get("resourceVersion", "")
            query["continue"] = token

    def watch(
        self, kind: str, namespace: str | None = None, *, labels: str = "", since: str
    ) -> Iterator[tuple[Change, Manifest]]:
        """What changes after the version `since`, as it comes; ends where the connection does, and now and then.

        Whoever goes on asks again with the version of the last object. Raises ClusterRefused with status 410 where the
        API server no longer knows what came after `since`: all is then to be listed.
        """
        query = {
            "watch": "true",
            "labelSelector": labels,
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        response = self._send("GET", _path(kind, namespace), query, timeout=(TIMEOUT[0], QUIET_SECONDS))
        return self._changes(response, asked=f"watch {kind}")

    def _changes(self, response: BaseHTTPResponse, *, asked: str) -> Iterator[tuple[Change, Manifest]]:
        try:
            for line in _lines(response):
                event = from_json(line)
                if event["type"] == "ERROR":
                    told = event["object"]
                    raise refusal(
                        int(told.get("code") or 500), json.dumps(told).encode(), server=self.server, asked=asked
                    )
                yield event["type"], event["object"]
        except (HTTPError, ValueError):
            # Silent, broken off, or cut in the midst of a line: the next watch tells it again.
            return

    def create(self, obj: Mapping[str, Any]) -> Manifest | None:
        """Makes an object and returns it; None where one of this name exists, whatever is in it."""
        metadata = obj["metadata"]
        try:
            return self._json("POST", _path(obj["kind"], metadata.get("namespace")), body=obj)
        except ClusterRefused as error:
            if error.status == HTTPStatus.CONFLICT and error.reason == "AlreadyExists":
                return None
            raise

    def apply(
        self, obj: Mapping[str, Any], *, field_manager: str, force: bool = True, dry_run: bool = False
    ) -> Manifest:
        """Server-side apply: makes the object, or changes the fields that `obj` names; returns it as it is then.

        Fields that `field_manager` named before and no longer names are removed. Without `force`, a field that another
        manager has set otherwise is refused (409). With `dry_run` nothing is changed, and all else is as if it were.
        """
        return self._apply(obj, "", field_manager=field_manager, force=force, dry_run=dry_run)

    def patch_status(self, obj: Mapping[str, Any], *, field_manager: str) -> Manifest:
        """Server-side apply of `obj["status"]`, through the status subresource; the object must exist."""
        metadata = {name: obj["metadata"][name] for name in ("name", "namespace") if name in obj["metadata"]}
        body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "status": obj["status"]}
        return self._apply(body, "/status", field_manager=field_manager, force=True)

    def patch(self, kind: str, namespace: str | None, name: str, patch: Mapping[str, Any]) -> Manifest:
        """Merges a tree into an object (JSON merge patch): null takes a field away."""
        return self._json("PATCH", _path(kind, namespace, name), body=patch, content="application/merge-patch+json")

    def delete(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        *,
        propagation: Propagation = "Background",
        uid: str | None = None,
    ) -> bool:
        """Deletes an object and what it owns; says False where there is none, or `uid` is not that of the one there."""
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self._json("DELETE", _path(kind, namespace, name), body=options)
        except ClusterRefused as error:
            if error.status == HTTPStatus.NOT_FOUND or (uid is not None and error.status == HTTPStatus.CONFLICT):
                return False
            raise
        return True

    # Pods

    def pods_of(self, namespace: str, job: str) -> Manifests:
        """The pods of a Job, oldest first."""
        pods = self.list("Pod", namespace, labels=f"batch.kubernetes.io/job-name={job}")
        return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    @overload
    def pod_log(
        self, namespace: str, pod: str, *, tail: int | None = None, follow: Literal[False] = False, limit: int = 2**20
    ) -> str: ...

    @overload
    def pod_log(
        self, namespace: str, pod: str, *, tail: int | None = None, follow: Literal[True], limit: int = 2**20
    ) -> Iterator[str]: ...

    def pod_log(
        self, namespace: str, pod: str, *, tail: int | None = None, follow: bool = False, limit: int = 2**20
    ) -> str | Iterator[str]:
        """What a pod has printed: the last `tail` lines, or all; "" where it has not started or is gone.

        With `follow`, its lines as they come, until the container ends. Otherwise at most `limit` bytes, and without
        `tail` the last ones.
        """
        path = _path("Pod", namespace, pod) + "/log"
        query = {"tailLines": "" if tail is None else str(tail)}
        try:
            if follow:
                response = self._send("GET", path, query | {"follow": "true"}, timeout=(TIMEOUT[0], None))
                return _log_lines(response)
            text = self._send("GET", path, query).data
        except ClusterRefused as error:
            # 400: the container waits to start.
            if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
                return iter(()) if follow else ""
            raise
        return bytes(text[-limit:]).decode(errors="replace")

    def port_forward(self, namespace: str, target: str, port: int) -> AbstractContextManager[str]:
        """A context that gives a local address, "127.0.0.1:40123", which leads to a port in a pod.

        `target` is a pod's name, "pod/NAME" or "service/NAME"; of a Service, one running pod is taken and `port` is the
        Service's.
        """
        pod, number = self._pod_behind(namespace, target, port)
        path = _path("Pod", namespace, pod) + "/portforward"

        def connect() -> forwarding.Stream:
            url, headers = self._headers("GET", path, {"ports": str(number)})
            return forwarding.open_stream(self._client.configuration, url, headers, port=number)

        return forwarding.forward(connect, port=number)

    # Events and secrets

    def create_event(
        self, about: Mapping[str, Any], *, reason: str, message: str, warning: bool = False, component: str
    ) -> None:
        """Tells of an object what `kubectl describe` then shows; the same again is counted, not repeated.

        `about` is the object, with its kind, or at least its apiVersion, kind and metadata.
        """
        metadata = about["metadata"]
        namespace = metadata["namespace"]
        digest = hashlib.sha256(json.dumps([metadata.get("uid"), reason, message]).encode()).hexdigest()[:16]
        name = f"{metadata['name'][:200]}.{digest}"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event: Manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": namespace,
                "uid": metadata.get("uid", ""),
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:1024],
            "source": {"component": component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        if self.create(event) is None:
            known = self.get("Event", namespace, name) or event
            change = {"count": known.get("count", 1) + 1, "lastTimestamp": now}
            self.patch("Event", namespace, name, change)

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        """The entries of a Secret, decoded; raises UserError where there is none."""
        secret = self.get("Secret", namespace, name)
        if secret is None:
            raise UserError(
                field=f"secret {name}",
                rule=f"must exist in namespace {namespace}",
                received="none of this name",
                remedy="Create it with the keys that docs/kubernetes.md lists, or name another one.",
            )
        return {
            key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()
        }

    # The wire

    def _apply(
        self, obj: Mapping[str, Any], subresource: str, *, field_manager: str, force: bool, dry_run: bool = False
    ) -> Manifest:
        metadata = obj["metadata"]
        return self._json(
            "PATCH",
            _path(obj["kind"], metadata.get("namespace"), metadata["name"]) + subresource,
            {"fieldManager": field_manager, "force": "true" if force else "false"}
            | ({"dryRun": "All"} if dry_run else {}),
            body=obj,
            content="application/apply-patch+yaml",
        )

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> Manifest:
        tree: Manifest = json.loads(self._send(method, path, query, body=body, content=content).data)
        return tree

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        timeout: tuple[float, float | None] | None = None,
    ) -> BaseHTTPResponse:
        """One request; its response has status 2xx."""
        url, headers = self._headers(method, path, query)
        if body is not None:
            headers["Content-Type"] = content
        try:
            response: BaseHTTPResponse = self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout or TIMEOUT
            ).response
            if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                raise refusal(response.status, response.data, server=self.server, asked=f"{method} {path}")
        except (HTTPError, ApiException) as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterUnavailable(f"the Kubernetes API at {self.server} does not answer: {reason}") from error
        return response

    def _headers(self, method: str, path: str, query: Mapping[str, str] | None = None) -> tuple[str, dict[str, str]]:
        """Address and headers of a request, with credentials that are renewed where they have aged."""
        now = time.monotonic()
        asked_at, headers = self._credentials
        if now - asked_at > FRESH_SECONDS:
            # The client works out proxies, tokens and addresses anew for this: a good part of what a request costs.
            headers = self._client.param_serialize(
                method, path, header_params={"Accept": "application/json, */*"}, auth_settings=["BearerToken"]
            )[2]
            self._credentials = (now, headers)
        given = {name: value for name, value in (query or {}).items() if value}
        url = self.server + path
        return (f"{url}?{urlencode(given)}" if given else url), dict(headers)

    def _pod_behind(self, namespace: str, target: str, port: int) -> tuple[str, int]:
        """The pod and its port that `port_forward`'s target means."""
        kind, _, name = target.rpartition("/")
        if kind not in {"service", "svc"}:
            return name, port
        service = self.get("Service", namespace, name)
        selector = (service or {}).get("spec", {}).get("selector") or {}
        labels = ",".join(f"{label}={value}" for label, value in selector.items())
        pods = self.list("Pod", namespace, labels=labels, fields="status.phase=Running") if labels else []
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if service is None or not living:
            raise UserError(
                field=f"service {name}",
                rule=f"must lead to a running pod in namespace {namespace}",
                received="no such service" if service is None else "no running pod",
                remedy=f"See `kubectl -n {namespace} get services,pods`.",
            )
        wanted = next((item.get("targetPort", port) for item in service["spec"]["ports"] if item["port"] == port), port)
        if isinstance(wanted, str):
            containers = living[0]["spec"]["containers"]
            ports = [item for container in containers for item in container.get("ports", [])]
            wanted = next((item["containerPort"] for item in ports if item.get("name") == wanted), port)
        return living[0]["metadata"]["name"], int(wanted)


def refusal(status: int, body: bytes, *, server: str, asked: str) -> ClusterRefused | ClusterUnavailable:
    """The exception that an answer of the API amounts to."""
    try:
        told = json.loads(body)
        message, reason = str(told.get("message") or ""), str(told.get("reason") or "")
    except (ValueError, AttributeError):
        message, reason = body[:200].decode(errors="replace"), ""
    message = message or f"{asked} is refused"
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ClusterUnavailable(f"the Kubernetes API at {server} is not able to answer: {status} {message}")
    remedy = _REMEDIES.get(status, "Check the object that was sent.")
    return ClusterRefused(message, status=status, reason=reason, field=f"cluster {server}", remedy=remedy)


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    version, plural = _PLURALS[kind]
    parts = ["api" if "/" not in version else "apis", version]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    if name is not None:
        parts.append(quote(name, safe=""))
    return "/" + "/".join(parts)


def _lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of a response as they come, the last one also where it is not whole. Raises HTTPError."""
    rest = b""
    try:
        for chunk in response.stream(amt=None, decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    finally:
        response.close()
    if rest:
        yield rest


def _log_lines(response: BaseHTTPResponse) -> Iterator[str]:
    try:
        yield from (line.decode(errors="replace") for line in _lines(response))
    except HTTPError as error:
        raise ClusterUnavailable(f"the log broke off: {error}") from error
