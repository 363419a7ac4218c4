"""What the client needs of a cluster: a part of `syntrial.cluster.client.Kubernetes`, as a protocol.

Objects are mappings as in the API. All methods raise ClusterUnavailable where the cluster does not answer, and
ClusterRefused, a UserError, where it refuses.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol, overload

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation in which `kubectl apply` keeps the whole object once more."""


class Door(Protocol):
    """A cluster."""

    @property
    def namespace(self) -> str:
        """The namespace that the user means where none is named."""
        ...

    def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """An object, or None where there is none."""
        ...

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[dict[str, Any]]:
        """The objects of a kind that have these labels ("a=b,c=d")."""
        ...

    def apply(self, obj: Mapping[str, Any], *, field_manager: str, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply, taking fields over from other managers; the object as it is then, or would be."""
        ...

    def delete(self, kind: str, namespace: str | None, name: str) -> bool:
        """Deletes an object; says False where there is none."""
        ...

    @overload
    def pod_log(self, namespace: str, pod: str, *, tail: int | None = None, follow: Literal[False] = False) -> str: ...

    @overload
    def pod_log(self, namespace: str, pod: str, *, tail: int | None = None, follow: Literal[True]) -> Iterator[str]: ...

    def pod_log(
        self, namespace: str, pod: str, *, tail: int | None = None, follow: bool = False
    ) -> str | Iterator[str]:
        """What a pod has printed; with `follow` its lines as they come, until its container ends."""
        ...

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        """The Secret's values, decoded; raises UserError where there is none."""
        ...

    def port_forward(self, namespace: str, target: str, port: int) -> AbstractContextManager[str]:
        """A context with a local address, "127.0.0.1:PORT", that leads to `target`, "pod/NAME" or "service/NAME"."""
        ...
