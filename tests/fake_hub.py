"""A model hub on this machine, as far as its client asks it for one file: revisions, sizes and digests."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL_BYTES = 64
"""Files below this length stand in the repository itself: the hub states no SHA-256 of them."""


@dataclass(kw_only=True)
class Repository:
    """Files by commit, and which commit each branch and tag stands at."""

    commits: dict[str, dict[str, bytes]]
    names: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    refusal: tuple[int, str] | None = None
    """Status and code of the error that every question gets."""


class FakeHub(ThreadingHTTPServer):
    """Answers for `repositories`, by "ORGANISATION/NAME"."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        """Method and path of each question."""
        self.failures = 0
        """How many of the next questions are answered with 503."""
        self.leads_to = ""
        """Where downloads are sent on to, if anywhere."""
        self.spoilt = 0
        """How many of the next downloads come with a byte changed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def downloads(self) -> int:
        """How often a file was sent."""
        return sum(line.startswith("GET ") and "/resolve/" in line for line in self.asked)

    def publish(self, repository: str, files: Mapping[str, bytes], *, commit: str = COMMIT) -> None:
        """Puts files into a repository, whose branch `main` then stands there."""
        found = self.repositories.setdefault(repository, Repository(commits={}))
        found.commits[commit] = dict(files)
        found.names["main"] = commit


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that answers until the end of the context."""
    server = FakeHub()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        assert isinstance(self.server, FakeHub)
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        self.server.failures -= 1
        if self.server.failures >= 0:
            self._send(503, b"busy")
            return
        information = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path)
        content = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        asked = information or content
        if asked is None:
            self._send(404, b"", code="EntryNotFound")
            return
        repository = self.server.repositories.get(asked[1])
        if repository is None:
            # As the hub does for whoever is not logged in: it does not say which private ones there are.
            self._send(401, b"", code="RepoNotFound")
            return
        if repository.refusal is not None:
            self._send(repository.refusal[0], b"", code=repository.refusal[1])
            return
        commit = repository.names.get(asked[2], asked[2])
        files = repository.commits.get(commit)
        if files is None:
            self._send(404, b"", code="RevisionNotFound")
        elif information:
            siblings = [_sibling(name, data) for name, data in files.items()]
            self._send(200, json.dumps({"id": asked[1], "sha": commit, "siblings": siblings}).encode())
        elif asked[3] not in files:
            self._send(404, b"", code="EntryNotFound", commit=commit)
        elif self.server.leads_to and self.command == "GET":
            self._send(302, b"", commit=commit, location=self.server.leads_to)
        else:
            self._send_file(files[asked[3]], commit=commit)

    def _send_file(self, data: bytes, *, commit: str) -> None:
        assert isinstance(self.server, FakeHub)
        etag = hashlib.sha256(data).hexdigest() if len(data) >= SMALL_BYTES else hashlib.sha1(data).hexdigest()  # noqa: S324
        if self.command == "GET":
            self.server.spoilt -= 1
            if self.server.spoilt >= 0:
                data = data[:-1] + bytes([data[-1] ^ 1])
        self._send(200, data, commit=commit, etag=etag)

    def _send(
        self, status: int, body: bytes, *, code: str = "", commit: str = "", etag: str = "", location: str = ""
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Length": str(len(body)),
            "X-Error-Code": code,
            "Location": location,
            "X-Repo-Commit": commit,
            "ETag": f'"{etag}"' if etag else "",
        }
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def _sibling(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": "0" * 40}
    if len(data) >= SMALL_BYTES:
        entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
    return entry
