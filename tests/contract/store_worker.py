"""Processes that write to a store until they are done or killed; started by test_artifact_store.py.

Arguments: the store's address, what to do ("commit", "look" or "loop"), a key, and words that enter what is written.
One process is forked for each word, so that the imports are paid for once; each prints a line.
"""

import hashlib
import os
import sys

from syntrial.artifacts.store import ArtifactStore, open_store


def commit(store: ArtifactStore, *, key: str, word: str) -> str:
    """Writes an artifact of three blobs; returns the digest of the artifact that stands."""
    writer = store.writer(key, method="test/Commit", stage_version=1, request={"key": key})
    for index in range(3):
        writer.write("data", f"part-{index}", f"{word}-{index}-".encode() * 20_000)
    return store.commit(writer).artifact_digest


def work(url: str, action: str, key: str, word: str) -> None:
    store = open_store(url)
    if action == "commit":
        say(f"{word} {commit(store, key=key, word=word)}")
    elif action == "look":
        number, looks = store.append_look(key, {"evaluations": word, "experiment": {}, "name": word})
        assert looks[-1]["evaluations"] == word
        say(f"{word} {number}")
    elif action == "loop":
        for index in range(10_000):
            store.checkpoints(key).save({"a": word.encode() * (index + 1), "b": str(index).encode()})
            commit(store, key=hashlib.sha256(f"{word}{index}".encode()).hexdigest(), word=word)
            say(f"{word} {index}")


def say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def main() -> int:
    url, action, key, *words = sys.argv[1:]
    if len(words) == 1:
        work(url, action, key, words[0])
        return 0
    children = []
    for word in words:
        child = os.fork()
        if child == 0:
            work(url, action, key, word)
            sys.exit(0)
        children.append(child)
    return max(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    sys.exit(main())
