"""A cluster in memory, for tests: the part of the API that the client side uses, with its refusals."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any, Literal, overload

from syntrial.errors import ClusterRefused, ClusterUnavailable, UserError


class MemoryCluster:
    """Objects by kind, namespace and name; secrets, logs and addresses as a test lays them down."""

    def __init__(self, *, namespace: str = "default", kinds: frozenset[str] = frozenset({"Experiment"})) -> None:
        """`kinds` are the custom resources that are installed."""
        self.namespace = namespace
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.secrets: dict[tuple[str, str], dict[str, str]] = {}
        self.logs: dict[str, list[str]] = {}
        """Lines that each pod has printed."""
        self.addresses: dict[tuple[str, int], str] = {}
        """Where a port-forward to a target and port leads."""
        self.forwards: list[tuple[str, str, int]] = []
        """Namespace, target and port of each port-forward that was asked for."""
        self.appliers: list[str] = []
        """The field manager of each apply."""
        self.forbidden: set[tuple[str, str]] = set()
        """Verb and kind of what is refused."""
        self._kinds = kinds
        self._uids = count(1)

    def put(self, kind: str, name: str, *, namespace: str | None = None, **parts: Any) -> dict[str, Any]:
        """Lays down an object: `metadata`, `spec` and `status` as given."""
        place = namespace or self.namespace
        metadata = {"uid": f"uid-{next(self._uids)}", "generation": 1, **parts.pop("metadata", {})}
        tree = {"kind": kind, "metadata": {**metadata, "name": name, "namespace": place}, **parts}
        self.objects[kind, place, name] = tree
        return tree

    def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """See `Door.get`."""
        self._check("get", kind)
        return self.objects.get((kind, namespace or "", name))

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[dict[str, Any]]:
        """See `Door.list`."""
        self._check("list", kind)
        self._check_installed(kind)
        wanted = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
        return [
            tree
            for (of, place, _), tree in self.objects.items()
            if of == kind
            and namespace in {None, place}
            and wanted.items() <= (tree["metadata"].get("labels") or {}).items()
        ]

    def apply(self, obj: Mapping[str, Any], *, field_manager: str, dry_run: bool = False) -> dict[str, Any]:
        """See `Door.apply`; fields that a manager no longer names stay here."""
        kind, metadata = str(obj["kind"]), obj["metadata"]
        self._check("patch", kind)
        self._check_installed(kind)
        if dry_run:
            return dict(obj)
        self.appliers.append(field_manager)
        place, name = str(metadata["namespace"]), str(metadata["name"])
        before = self.objects.get((kind, place, name))
        if before is None:
            tree = self.put(kind, name, namespace=place, metadata=dict(metadata), spec=dict(obj["spec"]))
        else:
            spec = _merged(before["spec"], obj["spec"])
            generation = before["metadata"]["generation"] + (spec != before["spec"])
            tree = {**before, "metadata": {**before["metadata"], **metadata, "generation": generation}, "spec": spec}
            self.objects[kind, place, name] = tree
        return tree

    def delete(self, kind: str, namespace: str | None, name: str) -> bool:
        """See `Door.delete`."""
        self._check("delete", kind)
        return self.objects.pop((kind, namespace or "", name), None) is not None

    @overload
    def pod_log(self, namespace: str, pod: str, *, tail: int | None = None, follow: Literal[False] = False) -> str: ...

    @overload
    def pod_log(self, namespace: str, pod: str, *, tail: int | None = None, follow: Literal[True]) -> Iterator[str]: ...

    def pod_log(
        self, namespace: str, pod: str, *, tail: int | None = None, follow: bool = False
    ) -> str | Iterator[str]:
        """See `Door.pod_log`."""
        self._check("get", "Pod")
        assert namespace
        lines = self.logs.get(pod, [])
        return iter(lines) if follow else "\n".join(lines[-tail:] if tail else lines)

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        """See `Door.read_secret`."""
        self._check("get", "Secret")
        if (namespace, name) not in self.secrets:
            raise UserError(
                field=f"secret {name}",
                rule=f"must exist in namespace {namespace}",
                received="none",
                remedy="Create it.",
            )
        return dict(self.secrets[namespace, name])

    def port_forward(self, namespace: str, target: str, port: int) -> AbstractContextManager[str]:
        """See `Door.port_forward`."""
        self.forwards.append((namespace, target, port))
        if (target, port) not in self.addresses:
            raise ClusterUnavailable(f"nothing listens at {target}:{port}")
        return nullcontext(self.addresses[target, port])

    def _check(self, verb: str, kind: str) -> None:
        if (verb, kind) in self.forbidden:
            raise ClusterRefused(
                f"{kind} is forbidden: you cannot {verb} it",
                status=403,
                reason="Forbidden",
                field="cluster",
                remedy="Ask for that permission.",
            )

    def _check_installed(self, kind: str) -> None:
        if kind == "Experiment" and kind not in self._kinds:
            raise ClusterRefused("not found", status=404, reason="NotFound", field="cluster", remedy="Check.")


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **before,
        **{
            name: _merged(before[name], value)
            if isinstance(value, Mapping) and isinstance(before.get(name), Mapping)
            else value
            for name, value in change.items()
        },
    }
