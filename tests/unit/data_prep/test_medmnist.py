import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from syntrial_data_prep.sources import medmnist

from syntrial.errors import Cancelled, SourceError
from syntrial.sources.medmnist import MEDMNIST
from syntrial.v1.data_preparation_pb2 import MedMnistSource

CONTENT = b"official content" * 50_000
DIGEST = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"


class Official(http.server.BaseHTTPRequestHandler):
    """Serves one file whole, one that breaks off, and nothing else."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path not in {"/whole", "/cut"}:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[:1000])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Official)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_appears_whole_and_reports_its_progress(address: str, tmp_path: Path) -> None:
    seen: list[int] = []
    file = tmp_path / "cache" / "set.npz"
    medmnist.download(f"{address}/whole", file, digest=DIGEST, on_progress=seen.append)
    assert file.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(("page", "rule"), [("cut", "can be downloaded|checksum"), ("missing", "can be downloaded")])
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(
    page: str, rule: str, address: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=rule) as caught:
        medmnist.download(f"{address}/{page}", tmp_path / "set.npz", digest=DIGEST, on_progress=lambda _: None)
    assert "data root" in caught.value.violations[0].remedy
    assert list(tmp_path.iterdir()) == []


def test_a_download_with_another_checksum_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has the checksum md5:0"):
        medmnist.download(f"{address}/whole", tmp_path / "set.npz", digest="md5:0", on_progress=lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["http", "https://169.254.169.254/latest", "file:///etc/passwd"])
def test_a_download_is_not_led_inside(target: str, address: str, tmp_path: Path) -> None:
    led = f"{address}/to/{f'{address}/whole' if target == 'http' else target}"
    with pytest.raises(SourceError, match=r"https at public addresses|not allowed"):
        medmnist.download(led, tmp_path / "set.npz", digest=DIGEST, on_progress=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/whole"
        with pytest.raises(SourceError, match="timed out"):
            medmnist.download(url, tmp_path / "set.npz", digest=DIGEST, on_progress=lambda _: None, timeout_s=0.2)


def test_a_download_can_be_cancelled(address: str, tmp_path: Path) -> None:
    def cancel(_: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        medmnist.download(f"{address}/whole", tmp_path / "set.npz", digest=DIGEST, on_progress=cancel)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_serves_without_a_network_once_it_is_filled(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def serve(url: str, file: Path, **_: object) -> None:
        asked.append(url)
        file.write_bytes((shared_data / "medmnist" / file.name).read_bytes())

    monkeypatch.setattr(medmnist, "download", serve)
    for _ in range(2):
        raw = medmnist.read(
            MedMnistSource(name="breastmnist", size=28),
            None,
            digest=f"md5:{MEDMNIST['breastmnist'].md5[28]}",
            cache=tmp_path,
            on_progress=lambda _: None,
        )
    assert len(asked) == 1
    assert raw.classes == MEDMNIST["breastmnist"].classes
    assert [len(raw.splits[split].names) for split in ("train", "validation", "test")] == [546, 78, 156]


def test_a_root_without_the_file_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros(1))
    with pytest.raises(SourceError, match=r"breastmnist_64\.npz: the data root holds"):
        medmnist.read(
            MedMnistSource(name="breastmnist", size=64), tmp_path, digest="", cache=None, on_progress=lambda _: None
        )
