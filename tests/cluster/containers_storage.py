"""Reads images where buildah and podman keep them: containers/storage with its overlay driver.

`buildah push` reads, hashes and writes all of an image, several GB of torch each time. A layer read from the storage by
itself is the same tar to the last byte: its headers are kept in "tar-split" form beside the unpacked files.
"""

import base64
import gzip
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path("/var/lib/containers/storage")
PIECE_BYTES: Final = 1 << 20
HEADERS, FILE = 2, 1
"""Kinds of entries in tar-split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image: its descriptor in the manifest, and where the storage has it."""

    digest: str
    size: int
    folder: Path
    """The files, unpacked."""
    headers: Path
    """The rest of the tar: headers and padding, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image as the builder made it."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    """From the base up."""


def read_image(name: str, *, root: Path = ROOT) -> Image:
    """The image of that name. Raises CalledProcessError where there is none, ValueError where the storage differs."""
    command = ("buildah", "inspect", "--type", "image", name)
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    manifest = json.loads(told["Manifest"])
    images = json.loads((root / "overlay-images/images.json").read_text())
    # An image of somebody else's may have no layer at all.
    tops = {image["id"]: image["layer"] for image in images if "layer" in image}
    layers = _chain(root, tops[told["FromImageID"]])
    wanted = [(layer["digest"], layer["size"]) for layer in manifest["layers"]]
    if [(layer.digest, layer.size) for layer in layers] != wanted:
        raise ValueError(f"{root} holds other layers of {name} than its manifest names")
    return Image(manifest=told["Manifest"].encode(), config=told["Config"].encode(), layers=layers)


def open_layer(layer: Layer) -> IO[bytes]:
    """The layer as a tar, to be read from its beginning to its end."""
    return io.BufferedReader(_Pieces(_pieces(layer)), buffer_size=PIECE_BYTES)


def _chain(root: Path, top: str) -> tuple[Layer, ...]:
    known = {row["id"]: row for row in json.loads((root / "overlay-layers/layers.json").read_text())}
    found = []
    identity: str | None = top
    while identity:
        row = known[identity]
        found.append(
            Layer(
                digest=row["diff-digest"],
                size=row["diff-size"],
                folder=root / "overlay" / identity / "diff",
                headers=root / "overlay-layers" / f"{identity}.tar-split.gz",
            )
        )
        identity = row.get("parent")
    return tuple(reversed(found))


def _pieces(layer: Layer) -> Iterator[bytes]:
    with gzip.open(layer.headers, "rt", encoding="utf-8") as entries:
        for line in entries:
            entry: dict[str, Any] = json.loads(line)
            if entry["type"] == HEADERS:
                yield base64.b64decode(entry["payload"])
            elif entry["type"] == FILE and entry.get("size"):
                raw = entry.get("name_raw")
                name = base64.b64decode(raw).decode("utf-8", "surrogateescape") if raw else entry["name"]
                with (layer.folder / name.lstrip("/")).open("rb") as file:
                    while piece := file.read(PIECE_BYTES):
                        yield piece


class _Pieces(io.RawIOBase):
    """A raw stream of what an iterator gives."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
