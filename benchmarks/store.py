"""Reads and writes of one large blob through the S3 store, beside a bare MinIO client that computes SHA-256 as well.

    python benchmarks/store.py [--mib 256] [--rounds 3]

Takes its server from SYNTRIAL_S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Each side gets the bytes in
chunks of 1 MiB and must leave the object on the server under its digest; reading, each must leave a verified local
file. The bare client spools and hashes on the way in, since an object's name is its digest, and has parts of the same
size. The sides take turns in going first. Prints the ratios of the medians, and the peak memory of a process that only
uses the store.
"""

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from minio import Minio

from syntrial.artifacts.s3 import PART_BYTES, open_s3
from syntrial.artifacts.store import ArtifactStore
from syntrial.v1.artifacts_pb2 import MemberRef

CHUNK = 1 << 20


def chunks(mib: int, *, seed: int) -> Iterator[bytes]:
    """`mib` chunks of 1 MiB that differ from each other and between seeds."""
    base = os.urandom(CHUNK)
    for index in range(mib):
        yield f"{seed}-{index}".encode().ljust(32) + base[32:]


def bare_write(client: Minio, bucket: str, folder: Path, *, mib: int, seed: int) -> str:
    """Spools, hashes and uploads; returns the object's name."""
    path = folder / uuid.uuid4().hex
    sha = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in chunks(mib, seed=seed):
            sha.update(chunk)
            file.write(chunk)
    client.fput_object(bucket, f"bare/{sha.hexdigest()}", os.fspath(path), part_size=PART_BYTES)
    path.unlink()
    return f"bare/{sha.hexdigest()}"


def bare_read(client: Minio, bucket: str, name: str, folder: Path) -> None:
    """Downloads to a file and compares its digest."""
    path = folder / uuid.uuid4().hex
    sha = hashlib.sha256()
    response = client.get_object(bucket, name)
    with path.open("wb") as file:
        for chunk in response.stream(CHUNK):
            sha.update(chunk)
            file.write(chunk)
    response.close()
    response.release_conn()
    assert name.endswith(sha.hexdigest())
    path.unlink()


def store_write(store: ArtifactStore, *, mib: int, seed: int) -> str:
    """Writes and commits an artifact of one blob; returns its key."""
    key = hashlib.sha256(f"{seed}-{uuid.uuid4()}".encode()).hexdigest()
    writer = store.writer(key, method="benchmark/Write", stage_version=1, request={})
    with writer.open("data", "blob") as file:
        for chunk in chunks(mib, seed=seed):
            file.write(chunk)
    store.commit(writer)
    return key


def store_read(store: ArtifactStore, key: str, *, cache: Path) -> None:
    """Reads the blob from the server: the local cache is emptied first."""
    for path in (cache / "sha256").iterdir():
        path.unlink()
    assert store.open(MemberRef(key=key, member="data")).path("blob").exists()


def timed(function: object, *arguments: object, **options: object) -> tuple[float, object]:
    """Wall-clock seconds of a call, and its result."""
    began = time.perf_counter()
    result = function(*arguments, **options)  # type: ignore[operator]
    return time.perf_counter() - began, result


def main() -> None:
    """Runs both sides in turns, and the store once more in a process of its own for the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-only", metavar="BUCKET", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "SYNTRIAL_CACHE_DIR": os.fspath(folder / "cache")}
        if options.memory_only:
            store = ArtifactStore(open_s3(bucket=options.memory_only, prefix="memory", environment=environment))
            key = store_write(store, mib=options.mib, seed=0)
            store_read(store, key, cache=folder / "cache")
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
            return
        scheme, _, host = environment["SYNTRIAL_S3_ENDPOINT"].partition("://")
        client = Minio(
            host,
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            secure=scheme == "https",
        )
        bucket = f"benchmark-{uuid.uuid4().hex[:12]}"
        client.make_bucket(bucket)
        try:
            compare(client, bucket, folder, environment=environment, mib=options.mib, rounds=options.rounds)
            command = [sys.executable, __file__, "--mib", str(options.mib), "--memory-only", bucket]
            peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"peak memory of a process that writes and reads {options.mib} MiB: {peak} MiB (wanted: under 200)")
        finally:
            for found in client.list_objects(bucket, recursive=True):
                client.remove_object(bucket, str(found.object_name))
            client.remove_bucket(bucket)


def compare(client: Minio, bucket: str, folder: Path, *, environment: dict[str, str], mib: int, rounds: int) -> None:
    """Prints seconds and ratios."""
    store = ArtifactStore(open_s3(bucket=bucket, prefix="store", environment=environment))
    seconds: dict[str, list[float]] = {"bare write": [], "store write": [], "bare read": [], "store read": []}
    for seed in range(rounds):
        found: dict[str, str] = {}
        for side in ("bare", "store") if seed % 2 else ("store", "bare"):
            if side == "bare":
                took, name = timed(bare_write, client, bucket, folder, mib=mib, seed=seed)
            else:
                took, name = timed(store_write, store, mib=mib, seed=seed)
            seconds[f"{side} write"].append(took)
            found[side] = str(name)
        for side in ("bare", "store") if seed % 2 else ("store", "bare"):
            if side == "bare":
                took, _ = timed(bare_read, client, bucket, found["bare"], folder)
            else:
                took, _ = timed(store_read, store, found["store"], cache=folder / "cache")
            seconds[f"{side} read"].append(took)
    median = {label: statistics.median(values) for label, values in seconds.items()}
    for label, value in median.items():
        print(f"{label:12} {value:6.2f} s  {mib / value:6.0f} MiB/s")
    print(f"write: {median['store write'] / median['bare write']:.2f} of the bare client's time (wanted: at most 1.20)")
    print(f"read:  {median['store read'] / median['bare read']:.2f} of the bare client's time (wanted: at most 1.20)")


if __name__ == "__main__":
    main()
