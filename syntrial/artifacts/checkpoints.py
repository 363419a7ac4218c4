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
        self._replace(blobs, kept={}, old=self._entries(self._backend.read(self._pointer)))

    def add(self, blobs: Mapping[str, bytes], /) -> None:
        """Adds blobs beside those that the checkpoint has, of which one with the same name is replaced.

        For what is saved piece by piece: no piece is written twice. Of two attempts that add at once one may lose a
        piece, so whoever reads pieces looks which are there.
        """
        old = self._entries(self._backend.read(self._pointer))
        self._replace(blobs, kept={name: entry for name, entry in old.items() if name not in blobs}, old=old)

    def read(self, name: str, /) -> bytes | None:
        """One blob of the last checkpoint; None where it has none of that name, or a damaged one."""
        entry = self._entries(self._backend.read(self._pointer)).get(name)
        data = self._backend.read(entry["object"]) if entry is not None else None
        return data if entry is not None and data is not None and sha256(data).hexdigest() == entry["digest"] else None

    def delete(self) -> None:
        """Removes the checkpoint, and what interrupted saves left behind."""
        self._backend.delete(self._pointer)
        for info in self._backend.scan(self._folder):
            self._backend.delete(info.name)

    def _replace(
        self, blobs: Mapping[str, bytes], *, kept: Mapping[str, dict[str, str]], old: Mapping[str, dict[str, str]]
    ) -> None:
        """Writes the blobs, points to them and to those `kept`, and removes what of the `old` ones is left."""
        new = dict(kept)
        for name, data in blobs.items():
            target = f"{self._folder}{uuid.uuid4().hex}"
            self._backend.write(target, data)
            new[name] = {"object": target, "digest": sha256(data).hexdigest()}
        self._backend.write(self._pointer, canonical_json(new))
        for name, entry in old.items():
            if name not in kept:
                self._backend.delete(entry["object"])

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

    def _entries(self, pointer: bytes | None) -> dict[str, dict[str, str]]:
        """Object and digest of each blob by its name; none where the pointer is missing or damaged."""
        try:
            found = {} if pointer is None else json.loads(pointer)
            return {str(name): {key: str(entry[key]) for key in ("object", "digest")} for name, entry in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}
