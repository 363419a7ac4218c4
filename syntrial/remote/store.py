"""The store of a namespace, opened from a client's machine.

The Secret of the store has an address as pods see it. Where its host is a Service of the cluster, a port-forward leads
there; the request is signed for the local address, which is the one that the server then sees as its host.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.door import Door
from syntrial.cluster.store_secret import settings_of
from syntrial.errors import ClusterRefused, UserError

_SERVICE = re.compile(r"(?P<name>[a-z0-9-]+)(\.(?P<namespace>[a-z0-9-]+)(?P<suffix>\.svc(\.[a-z0-9.-]+)?)?)?")
_OF_THIS_MACHINE: Final = ("SYNTRIAL_CACHE_DIR", "SYNTRIAL_CACHE_LIMIT")


@contextmanager
def remote_store(door: Door, *, namespace: str, secret: str, endpoint: str | None = None) -> Iterator[ArtifactStore]:
    """The store that the namespace's Secret names, for the block.

    `endpoint` is the S3 server's address from here, where neither the Secret's own nor a port-forward will do. Raises
    UserError for a missing or incomplete Secret and what `open_s3` raises.
    """
    from syntrial.artifacts.s3 import open_s3  # its client takes a third of a second to import

    values = _secret(door, namespace=namespace, secret=secret)
    url = urlsplit(values["SYNTRIAL_STORE"])
    environment = settings_of(values)
    environment |= {name: os.environ[name] for name in _OF_THIS_MACHINE if name in os.environ}
    with ExitStack() as stack:
        found = None if endpoint else service_behind(door, values.get("SYNTRIAL_S3_ENDPOINT", ""), namespace=namespace)
        if found is not None:
            place, name, port = found
            endpoint = f"http://{stack.enter_context(door.port_forward(place, f'service/{name}', port))}"
        if endpoint:
            environment["SYNTRIAL_S3_ENDPOINT"] = endpoint
        yield ArtifactStore(open_s3(bucket=url.netloc, prefix=url.path.strip("/"), environment=environment))


def service_behind(door: Door, endpoint: str, *, namespace: str) -> tuple[str, str, int] | None:
    """Namespace, name and port of the Service that an endpoint's host is, or None for a host outside of the cluster."""
    parts = urlsplit(endpoint)
    match = _SERVICE.fullmatch(parts.hostname or "")
    if match is None:
        return None
    place = match["namespace"] or namespace
    # "minio.internal" may be either: only a Service that exists is one.
    if not match["suffix"] and not _exists(door, place, match["name"]):
        return None
    if parts.scheme == "https":
        raise UserError(
            field="SYNTRIAL_S3_ENDPOINT",
            rule="a Service of the cluster that speaks TLS is reached from here at an address of its certificate",
            received=endpoint,
            remedy="Name that address with --store-endpoint (or SYNTRIAL_STORE_ENDPOINT).",
        )
    return place, match["name"], parts.port or 80


def _exists(door: Door, namespace: str, name: str) -> bool:
    try:
        return door.get("Service", namespace, name) is not None
    except ClusterRefused:
        return False


def _secret(door: Door, *, namespace: str, secret: str) -> Mapping[str, str]:
    values = door.read_secret(namespace, secret)
    if not values.get("SYNTRIAL_STORE", "").startswith("s3://"):
        raise UserError(
            field=f"secret {namespace}/{secret}",
            rule="its SYNTRIAL_STORE is s3://bucket/prefix",
            received=values.get("SYNTRIAL_STORE") or "nothing",
            remedy="Mend the Secret with the keys that docs/kubernetes.md lists, or name another with --store-secret.",
        )
    return values
