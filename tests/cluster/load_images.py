"""Puts images that buildah built into the test cluster's node: `python -m tests.cluster.load_images IMAGE…`.

Only what the node lacks is copied, so an image of several GB whose code alone changed is there in seconds: what
`make load` does by `LOAD_COMMAND` where neither a registry nor a tool of the cluster's maker takes images. What the
same names were before is forgotten: the node's status lists its fifty largest images, and a node that keeps all that
were ever loaded seems to lack the newest.
$CONTAINERD_ADDRESS is the socket of the node's containerd, $CONTAINERD_NAMESPACE (default k8s.io, the kubelet's) its
namespace.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from typing import IO, Final

from tests.cluster.containers_storage import Image, open_layer, read_image

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


def write_archive(images: Sequence[tuple[str, Image]], target: IO[bytes], *, without: Iterable[str] = ()) -> int:
    """Writes images by their names as one OCI archive, each layer once and those `without` not at all.

    Each is there by its digest too, as if it had been pulled by it. Returns the bytes of layers that are in it.
    """
    done = set(without)
    written = 0
    index = []
    with tarfile.open(fileobj=target, mode="w|") as stream:
        for name, image in images:
            for layer in image.layers:
                if layer.digest not in done:
                    with open_layer(layer) as content:
                        _put(stream, _blob(layer.digest), content, size=layer.size)
                    done.add(layer.digest)
                    written += layer.size
            for document in (image.config, image.manifest):
                digest = hashlib.sha256(document).hexdigest()
                _put(stream, _blob(digest), io.BytesIO(document), size=len(document))
            index += [
                {
                    "mediaType": MANIFEST,
                    "digest": f"sha256:{digest}",
                    "size": len(image.manifest),
                    "annotations": {"io.containerd.image.name": one, "org.opencontainers.image.ref.name": one},
                }
                for one in (name, pinned(name, image))
            ]
        for file, content_ in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", {"schemaVersion": 2, "manifests": index}),
        ):
            text = json.dumps(content_).encode()
            _put(stream, file, io.BytesIO(text), size=len(text))
    return written


def pinned(name: str, image: Image) -> str:
    """The image's name by its digest: REPOSITORY@sha256:…, as pods name it."""
    return f"{name.rpartition(':')[0]}@sha256:{hashlib.sha256(image.manifest).hexdigest()}"


def superseded(held: Iterable[str], images: Sequence[tuple[str, Image]]) -> list[str]:
    """Of the names that a node holds, those by a digest that is none of these images', in their repositories."""
    current = {pinned(name, image) for name, image in images}
    repositories = {name.partition("@")[0] for name in current}
    return [name for name in held if "@" in name and name.partition("@")[0] in repositories and name not in current]


def load(names: Iterable[str]) -> int:
    """Copies images into the node; returns the bytes that were copied. Raises CalledProcessError where a tool fails."""
    images = [(name, read_image(name)) for name in names]
    command = _ctr("images", "import", "-")
    held = _listed("content", "ls", "-q")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        written = write_archive(images, process.stdin, without=held)
        process.stdin.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    if before := superseded(_listed("images", "ls", "-q"), images):
        subprocess.run(_ctr("images", "rm", *before), stdout=subprocess.DEVNULL, check=True)
    return written


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _put(stream: tarfile.TarFile, name: str, content: IO[bytes], *, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    stream.addfile(entry, content)


def _listed(*arguments: str) -> list[str]:
    return subprocess.run(_ctr(*arguments), stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def _ctr(*arguments: str) -> list[str]:
    namespace = os.environ.get("CONTAINERD_NAMESPACE", "k8s.io")
    return ["ctr", "--address", os.environ["CONTAINERD_ADDRESS"], "--namespace", namespace, *arguments]


if __name__ == "__main__":
    print(f"{load(sys.argv[1:]) / 2**20:.0f} MiB copied into the node")  # noqa: T201
