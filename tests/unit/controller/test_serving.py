"""The controller as a process: what its health endpoint answers, and that it ends when it is told to."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from syntrial.cluster.manifests import Images
from syntrial.controller import serving
from syntrial.controller.controller import Controller
from syntrial.controller.serving import health, serve
from syntrial.controller.settings import Settings
from syntrial.errors import ClusterUnavailable
from tests.unit.controller.test_inventory import build


def asked(port: int, path: str = "/healthz") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("hung", "status", "words"), [((), 200, "ok"), (("uid-1", "uid-2"), 500, "work hangs at uid-1, uid-2")]
)
def test_the_process_is_healthy_unless_a_look_hangs(hung: tuple[str, ...], status: int, words: str) -> None:
    with health(lambda: list(hung), port=0) as port:
        assert asked(port) == (status, words)
        assert asked(port, "/other")[0] == 404


@pytest.fixture
def signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_it_begins_once_the_api_server_answers_and_ends_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BEGIN_SECONDS", 0.001)
    said: list[str] = []

    class Api:
        lists = 0

        def list_with_version(self, *_: Any, **__: Any) -> tuple[list[Any], str]:
            self.lists += 1
            said.append("list")
            if self.lists < 3:
                raise ClusterUnavailable("away")
            return [], "1"

        def watch(self, *_: Any, **__: Any) -> Iterator[Any]:
            return iter(())

    class Played:
        inventory = build()[0]

        def hung(self) -> list[str]:
            return []

        def start(self) -> None:
            said.append("start")
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()

        def stop(self) -> None:
            said.append("stop")

    settings = Settings(namespaces=("trials",), images=Images(repository="r", tag="t"))
    serve(cast(Controller, Played()), Api(), settings, liveness_port=0)
    assert said == [*["list"] * 5, "start", "stop"]
