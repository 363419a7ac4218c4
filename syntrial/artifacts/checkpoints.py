"""The checkpoint of a step that is under way: named blobs behind a pointer that is replaced whole."""

import json
import uuid
from collections.abc import Mapping
from hashlib import sha256

from syntrial.artifacts.backend import Backend
from syntrial.artifacts.keys import canonical_json


class StoredCheckpoints:
    """The checkpoint of one step in a store.

    Each blob is an object of its own name, which no later checkpoint uses again. So whoever reads the pointer can read
    what it points to, until somebody replaces the pointer; of two attempts that save at once, one is seen whole.
    """

    def __init__(self, backend: Backend, *, key: str) -> None:
        self._backend = backend
        self._folder = f"checkpoints/{key}/"
        self._pointer = f"{self._folder}pointer.json"

    def load(self) -> dict[str, bytes] | None:
        """The last checkpoint saved, or None where there is none or it is damaged (the step then starts anew)."""
        pointer = self._backend.read(self._pointer)
        while pointer is not None:
            blobs = self._read(pointer)
            if blobs is not None:
                return blobs
            before, pointer = pointer, self._backend.read(self._pointer)
            if pointer == before:
                return None
        return None

    def save(self, blobs: Mapping[str, bytes], /) -> None:
        """Replaces the checkpoint; a reader sees either the old one or the new one, also after a crash at any point."""
        old = self._objects(self._backend.read(self._pointer))
        new = {}
        for name, data in blobs.items():
            target = f"{self._folder}{uuid.uuid4().hex}"
            self._backend.write(target, data)
            new[name] = {"object": target, "digest": sha256(data).hexdigest()}
        self._backend.write(self._pointer, canonical_json(new))
        for target in old:
            self._backend.delete(target)

    def delete(self) -> None:
        """Removes the checkpoint, and what interrupted saves left behind."""
        self._backend.delete(self._pointer)
        for info in self._backend.scan(self._folder):
            self._backend.delete(info.name)

    def _read(self, pointer: bytes) -> dict[str, bytes] | None:
        try:
            entries: dict[str, dict[str, str]] = json.loads(pointer)
            blobs = {}
            for name, entry in entries.items():
                data = self._backend.read(entry["object"])
                if data is None or sha256(data).hexdigest() != entry["digest"]:
                    return None
                blobs[name] = data
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return blobs

    def _objects(self, pointer: bytes | None) -> list[str]:
        try:
            return [] if pointer is None else [entry["object"] for entry in json.loads(pointer).values()]
        except (ValueError, KeyError, TypeError, AttributeError):
            return []
