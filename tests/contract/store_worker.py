"""A process that writes to a store until it is done or killed; started by test_artifact_store.py.

Arguments: the store's address, what to do ("commit", "look" or "loop"), a key, and a word that enters what is written.
"""

import hashlib
import sys

from syntrial.artifacts.store import ArtifactStore, open_store


def commit(store: ArtifactStore, *, key: str, word: str) -> str:
    """Writes an artifact of three blobs; returns the digest of the artifact that stands."""
    writer = store.writer(key, method="test/Commit", stage_version=1, request={"key": key})
    for index in range(3):
        writer.write("data", f"part-{index}", f"{word}-{index}-".encode() * 20_000)
    return store.commit(writer).artifact_digest


def main() -> None:
    url, action, key, word = sys.argv[1:]
    store = open_store(url)
    if action == "commit":
        sys.stdout.write(commit(store, key=key, word=word))
    elif action == "look":
        number, looks = store.append_look(key, {"evaluations": word, "experiment": {}, "name": word})
        assert looks[-1]["evaluations"] == word
        sys.stdout.write(str(number))
    elif action == "loop":
        for index in range(10_000):
            store.checkpoints(key).save({"a": word.encode() * (index + 1), "b": str(index).encode()})
            commit(store, key=hashlib.sha256(f"{word}{index}".encode()).hexdigest(), word=word)
            sys.stdout.write(f"{index}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
