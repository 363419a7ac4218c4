"""The store's contract on an S3 server that is not MinIO, so that a store can move: versitygw (ADR 0014).

    pytest -m slow tests/contract/test_another_s3_server.py

compiles it once, by Go's own client, into ~/.cache/syntrial-tests, or takes what SYNTRIAL_VERSITYGW names. Against a
server of one's own, the same contract is run by what `tests.contract.conftest.another_server` reads.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.s3_client import connect, settings_from

VERSION = "v1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
REPOSITORY = Path(__file__).resolve().parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "contract", "AWS_SECRET_ACCESS_KEY": "a-password-of-forty-characters-for-tests"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def program() -> Path:
    """The server, compiled where it is not there yet."""
    given = os.environ.get("SYNTRIAL_VERSITYGW")
    file = Path(given) if given else Path.home() / ".cache" / "syntrial-tests" / f"versitygw-{VERSION}"
    if file.is_file():
        return file
    go = shutil.which("go")
    if given or go is None:
        pytest.skip(f"no versitygw: {file} is missing, and no Go compiles it")
    file.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"GOBIN": str(file.parent), "CGO_ENABLED": "0"}
    subprocess.run([go, "install", "-trimpath", MODULE], env=environment, check=True, timeout=1000, cwd=file.parent)
    (file.parent / "versitygw").rename(file)
    return file


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a server with a bucket."""
    folder = tmp_path / "data"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    command = [program(), "--port", address, "--quiet", "posix", folder]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.1)
        connect(settings_from(KEYS | {"SYNTRIAL_S3_ENDPOINT": f"http://{address}"}))[0].make_bucket("trials")
        yield KEYS | {"SYNTRIAL_TEST_S3_ENDPOINT": f"http://{address}", "SYNTRIAL_TEST_S3_BUCKET": "trials"}
    finally:
        process.terminate()
        process.wait(30)


def test_the_stores_contract_holds_on_versitygw(server: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "s3", "-p", "no:cacheprovider", "-rs",
         "tests/contract/test_artifact_store.py"],
        env=os.environ | server, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout or "100%" in done.stdout
    assert "no MinIO" not in done.stdout
