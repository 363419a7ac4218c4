"""Fixtures that many tests share."""

import fcntl
import os
import re
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell that starts the tests in the background has its children ignore SIGINT, and they hand that on to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `SYNTRIAL_DATA_ROOT`'s parent layout, or the folder beside the checkout."""
    folder = Path(os.environ.get("SYNTRIAL_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


@pytest.fixture(scope="session")
def shared_cluster() -> Path:
    """The folder of the test cluster's scripts, which also start a MinIO."""
    folder = Path(os.environ.get("SYNTRIAL_SHARED_CLUSTER", REPOSITORY.parent / "shared" / "cluster"))
    if not folder.is_dir():
        pytest.skip(f"no test cluster: {folder} is missing")
    return folder


@pytest.fixture(scope="session")
def minio(shared_cluster: Path) -> Iterator[dict[str, str]]:
    """The environment of a real MinIO, with a bucket of this session's own in "BUCKET".

    Several test processes share the server: each holds a lock while it uses it, and the last one stops it, unless it
    was running before the first came.
    """
    from minio import Minio  # takes a third of a second, which most test runs need not pay

    script = shared_cluster / "minio"
    home = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster"))
    if not script.exists():
        pytest.skip(f"no MinIO: {script} is missing")
    if not (home / "bin" / "minio").exists():
        pytest.skip(f"no MinIO: {home / 'bin' / 'minio'} is not built; run {shared_cluster / 'build'} minio once")
    locks = Path(tempfile.gettempdir()) / f"syntrial-test-minio-{os.getuid()}"
    locks.mkdir(exist_ok=True)
    with (locks / "users").open("a+") as users:
        with (locks / "start").open("a+") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            pid_file = home / "run" / "minio-local.pid"
            running = pid_file.exists() and Path(f"/proc/{pid_file.read_text().strip()}").exists()
            printed = subprocess.run([script], check=True, capture_output=True, text=True, timeout=60).stdout
            if not running:
                (locks / "started-by-tests").touch()
        settings = dict(re.findall(r"(\w+)=(\S+)", printed))
        environment = {
            "SYNTRIAL_S3_ENDPOINT": settings["S3_ENDPOINT"],
            "AWS_ACCESS_KEY_ID": settings["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": settings["AWS_SECRET_ACCESS_KEY"],
            "BUCKET": f"test-{uuid.uuid4().hex[:16]}",
        }
        client = Minio(
            environment["SYNTRIAL_S3_ENDPOINT"].partition("://")[2],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            secure=False,
        )
        client.make_bucket(environment["BUCKET"])
        yield environment
        for found in client.list_objects(environment["BUCKET"], recursive=True):
            client.remove_object(environment["BUCKET"], found.object_name or "")
        client.remove_bucket(environment["BUCKET"])
        with (locks / "start").open("a+") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if (locks / "started-by-tests").exists():
                subprocess.run([script, "stop"], check=True, timeout=60)
                (locks / "started-by-tests").unlink()
