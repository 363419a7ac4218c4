"""Files of the web: fetched once, taken up where they broke off, and compared with the digest of their address."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.artifacts.uploads import find_upload
from syntrial.errors import SourceError, SourceUnavailable, UserError
from syntrial.sources import web
from syntrial.sources.addresses import HttpsAddress, parse_address
from tests.unit.imagesets.test_packed import zipped

CONTENT = b"x" * 3_000_000


class Server:
    """What a web server would answer; what was asked is kept."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.status = 200
        self.breaks_after: list[int] = []
        self.knows_ranges = True
        self.location = ""
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/set.zip"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if self.status != 200:
            handler.send_response(self.status)
            if self.location:
                handler.send_header("Location", self.location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = int(re.findall(r"\d+", asked)[0]) if asked and self.knows_ranges else 0
        if start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        end = start + self.breaks_after.pop(0) if self.breaks_after else len(self.content)
        handler.wfile.write(self.content[start:end])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(web, "_WAIT_SECONDS", 0.0)
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(str(tmp_path / "store"))


def address_of(server: Server, content: bytes) -> HttpsAddress:
    return HttpsAddress(url=server.url, digest=f"sha256:{hashlib.sha256(content).hexdigest()}")


def bring(server: Server, store: ArtifactStore, folder: Path, *, content: bytes | None = None) -> str:
    folder.mkdir(exist_ok=True)
    address = address_of(server, server.content if content is None else content)
    return web.bring_file(address, store=store, kind="folder", field="spec.dataset", folder=folder)


def test_an_archive_of_the_web_is_an_upload_of_its_digest(server: Server, store: ArtifactStore, tmp_path: Path) -> None:
    server.content = zipped(tmp_path / "x.zip").read_bytes()
    digest = bring(server, store, tmp_path / "cache")
    upload = find_upload(store, digest)
    assert upload is not None
    assert (upload.kind, upload.name) == ("file", "set.zip")
    assert list((tmp_path / "cache").iterdir()) == []
    assert bring(server, store, tmp_path / "cache") == digest
    assert len(server.asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [1_000_000, 500_000]
    web.fetch(server.url, tmp_path / "part", field="f")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_fetch_goes_on_where_the_first_was_ended(server: Server, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:2_000_000])
    web.fetch(server.url, tmp_path / "part", field="f")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.asked == ["bytes=2000000-"]


def test_a_server_without_ranges_is_asked_for_all_again(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "part").write_bytes(b"y" * 2_000_000)
    web.fetch(server.url, tmp_path / "part", field="f")
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_what_was_kept_of_another_file_is_fetched_anew(server: Server, store: ArtifactStore, tmp_path: Path) -> None:
    server.content = zipped(tmp_path / "x.zip").read_bytes()
    digest = address_of(server, server.content).digest
    (tmp_path / "cache").mkdir()
    own = tmp_path / "cache" / digest.removeprefix("sha256:")
    own.mkdir()
    (own / "part").write_bytes(b"other")
    assert bring(server, store, tmp_path / "cache") == digest


def test_two_who_fetch_the_same_at_once_are_in_nobodys_way(
    server: Server, store: ArtifactStore, tmp_path: Path
) -> None:
    server.content = zipped(tmp_path / "x.zip", {"a/1.png": os.urandom(4 << 20)}).read_bytes()
    server.breaks_after = [500_000, 500_000, 500_000]
    with ThreadPoolExecutor(3) as pool:
        ends = [pool.submit(bring, server, store, tmp_path / "cache") for _ in range(3)]
    assert {end.result() for end in ends} == {address_of(server, server.content).digest}
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_told_from_a_broken_connection(server: Server, tmp_path: Path) -> None:
    code = (
        "import pathlib, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from syntrial.artifacts.store import open_store\n"
        "from syntrial.errors import SourceError\n"
        "from syntrial.sources import web\n"
        "from syntrial.sources.addresses import HttpsAddress\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "address = HttpsAddress(url=sys.argv[1], digest='sha256:' + 'a' * 64)\n"
        "given = dict(store=open_store('memory://'), kind='folder', field='f', folder=pathlib.Path(sys.argv[2]))\n"
        "try:\n    web.bring_file(address, **given)\n"
        "except SourceError as error:\n    sys.stdout.write(f'{type(error).__name__} {error}')\n"
    )
    command = [sys.executable, "-c", code, server.url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("SourceError ")
    assert "room for what is fetched" in done.stdout
    assert len(server.asked) == 1, "asking again would not help"


def test_another_file_than_named_is_refused_and_called_what_it_is(
    server: Server, store: ArtifactStore, tmp_path: Path
) -> None:
    server.content = b"<!DOCTYPE html><html>Please log in</html>"
    with pytest.raises(SourceError, match=r"spec\.dataset: .*a web page with sha256:.*asks to log in"):
        bring(server, store, tmp_path / "cache", content=CONTENT)
    server.content = CONTENT + b"x"
    with pytest.raises(SourceError, match="Check the digest with whoever publishes"):
        bring(server, store, tmp_path / "cache", content=CONTENT)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_no_archive_is_refused_though_its_digest_is_right(
    server: Server, store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="a text file"):
        bring(server, store, tmp_path / "cache")


@pytest.mark.parametrize(("status", "error"), [(404, SourceError), (403, SourceError), (503, SourceUnavailable)])
def test_an_answer_without_the_file_is_told(
    status: int, error: type[SourceError], server: Server, tmp_path: Path
) -> None:
    server.status = status
    with pytest.raises(error, match=f"HTTP {status}") as caught:
        web.fetch(server.url, tmp_path / "part", field="f")
    assert type(caught.value) is error


def test_no_answer_is_told_and_may_pass(server: Server, tmp_path: Path) -> None:
    server.server.server_close()
    server.server.shutdown()
    with pytest.raises(SourceUnavailable, match="HTTPS_PROXY"):
        web.fetch("http://127.0.0.1:9/x.zip", tmp_path / "part", field="f")


def test_a_redirect_inwards_is_not_followed(server: Server, tmp_path: Path) -> None:
    server.status, server.location = 302, "https://127.0.0.1/secret"
    with pytest.raises(SourceError, match="a redirect leads to https at public addresses"):
        web.fetch(server.url, tmp_path / "part", field="f")


HEX = "ab" * 32


def test_an_address_of_the_web_has_its_digest_behind_it() -> None:
    found = parse_address(f"https://data.org/a/set.zip?version=2#sha256={HEX.upper()}")
    assert found == HttpsAddress(url="https://data.org/a/set.zip?version=2", digest=f"sha256:{HEX}")
    assert parse_address(str(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://data.org/set.zip", r"without a digest.*#sha256=…"),
        ("https://data.org/set.zip#md5=0", "with 'md5=0' behind it"),
        (f"https://data.org/set.zip#sha256={HEX[:-1]}", "64 hexadecimal digits"),
        (f"https://user:secret@data.org/set.zip#sha256={HEX}", "something before an @"),
        (f"https:///set.zip#sha256={HEX}", "https://host/path"),
        (f"https://data.org/#sha256={HEX}", "Name the file itself"),
        (f"https://data.org/my set.zip#sha256={HEX}", "https://host/path"),
        (f"http://data.org/set.zip#sha256={HEX}", "Write https://"),
        (f"ftp://data.org/set.zip#sha256={HEX}", "the scheme ftp://"),
    ],
)
def test_another_address_of_the_web_is_refused_with_what_is_missing(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value)
