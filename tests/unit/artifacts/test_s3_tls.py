"""A store that speaks TLS with a certificate of a private authority: a real MinIO, as the chart starts it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError

from syntrial.artifacts.s3 import open_s3
from syntrial.artifacts.s3_client import connect, settings_from
from syntrial.errors import StoreRefused, StoreUnavailable

MINIO = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster")) / "bin" / "minio"
KEYS = {"AWS_ACCESS_KEY_ID": "tls-test-root", "AWS_SECRET_ACCESS_KEY": "a-password-of-forty-characters-for-tests"}


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key beside it, under MinIO's names."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl: no certificate is made")
    folder.mkdir()
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=syntrial-minio", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "private.key", "-out", folder / "public.crt"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return folder / "public.crt"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a MinIO with a bucket, and its authority in SYNTRIAL_S3_CA."""
    if not MINIO.exists():
        pytest.skip(f"no MinIO: {MINIO} is missing")
    folder = tmp_path_factory.mktemp("minio")
    authority = certificate(folder / "certs").read_text()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [MINIO, "server", folder / "data", "--address", address, "--certs-dir", folder / "certs", "--quiet"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "MINIO_BROWSER": "off", "MINIO_UPDATE": "off",
             "MINIO_ROOT_USER": KEYS["AWS_ACCESS_KEY_ID"], "MINIO_ROOT_PASSWORD": KEYS["AWS_SECRET_ACCESS_KEY"]},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    environment = KEYS | {"SYNTRIAL_S3_ENDPOINT": f"https://{address}", "SYNTRIAL_S3_CA": authority}
    try:
        client, http = connect(settings_from(environment))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if http.request("GET", f"https://{address}/minio/health/live", retries=False).status == 200:
                    break
            except HTTPError:
                time.sleep(0.1)
        client.make_bucket("trials")
        yield environment
    finally:
        process.terminate()
        process.wait(30)


def test_a_store_is_opened_by_the_authority_that_is_named(server: dict[str, str], tmp_path: Path) -> None:
    backend = open_s3(bucket="trials", prefix="a", environment=server | {"SYNTRIAL_CACHE_DIR": str(tmp_path)})
    assert backend.create("requests/x", b"1")
    assert backend.read("requests/x") == b"1"


@pytest.mark.parametrize("authority", ["", "another"])
def test_a_server_of_another_authority_gets_nothing(server: dict[str, str], tmp_path: Path, authority: str) -> None:
    other = certificate(tmp_path / "certs").read_text() if authority else ""
    with pytest.raises(StoreUnavailable, match=r"SSLError|MaxRetryError") as caught:
        open_s3(bucket="trials", prefix="a", environment=server | {"SYNTRIAL_S3_CA": other})
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


@pytest.mark.parametrize("text", ["ca.crt", "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----"])
def test_an_authority_of_another_form_is_the_users_error(text: str) -> None:
    with pytest.raises(StoreRefused, match="SYNTRIAL_S3_CA: certificates are in PEM"):
        settings_from(KEYS | {"SYNTRIAL_S3_CA": text})
