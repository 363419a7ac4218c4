"""The controller's life as a process: it watches and looks until it is told to stop, and says whether it is healthy."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import structlog

from syntrial.controller.controller import Controller
from syntrial.controller.settings import Settings
from syntrial.controller.watching import Watched, Watches
from syntrial.errors import ClusterUnavailable

BEGIN_SECONDS: Final = 5.0
"""Between two attempts to begin, where the API server does not answer."""

_log = structlog.stdlib.get_logger(__name__)


def serve(controller: Controller, cluster: Watched, settings: Settings, *, liveness_port: int) -> None:
    """Serves until SIGTERM or SIGINT; `GET /healthz` is answered at `liveness_port`.

    Raises ClusterRefused where what must be seen may not be.
    """
    # That many threads share a store's connections, and that a request is repeated, is not worth a line each time.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    stopping = stopped_by_signals()
    watches = Watches(cluster, controller.inventory, namespaces=settings.namespaces, stopping=stopping)
    with health(controller.hung, port=liveness_port):
        while not stopping.is_set():
            try:
                watches.start()
                break
            except ClusterUnavailable as error:
                _log.warning("not begun", error=str(error))
                stopping.wait(BEGIN_SECONDS)
        controller.start()
        stopping.wait()
        controller.stop()


def stopped_by_signals() -> threading.Event:
    """What SIGTERM and SIGINT set from now on."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


@contextmanager
def health(hung: Callable[[], list[str]], *, port: int) -> Iterator[int]:
    """Answers `GET /healthz` at a port (0: any; it is given back) while the block lasts.

    With 200, or with 500 where something hangs, which `hung` names: the process is then started anew.
    """

    class Answers(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            uids = hung()
            known = self.path == "/healthz"
            words = f"work hangs at {', '.join(uids)}" if uids else "ok"
            data = (words if known else "only /healthz is here").encode()
            self.send_response(404 if not known else 500 if uids else 200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """A probe every few seconds is not worth a line."""

    with ThreadingHTTPServer(("", port), Answers) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
