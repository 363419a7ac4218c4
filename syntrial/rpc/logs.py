"""The log of a stage server: JSON lines on standard error, each with the key and the method of the step it is of."""

import collections
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

KEPT_LINES: Final = 2000
"""Lines of an attempt's log that are kept for its record; the first go first."""


class AttemptLog:
    """The last lines of the log of the attempt at hand."""

    def __init__(self) -> None:
        self._lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()
        self._handler = _LinesHandler(self._lines)

    @contextmanager
    def captured(self, **bound: str) -> Iterator[None]:
        """Collects what is logged in the block, and binds names such as `key` to each of its lines."""
        with self._lock:
            self._lines.clear()
            root = logging.getLogger()
            root.addHandler(self._handler)
            try:
                with structlog.contextvars.bound_contextvars(**bound):
                    yield
            finally:
                root.removeHandler(self._handler)

    def text(self) -> str:
        """The lines of the attempt, oldest first."""
        return "\n".join(self._lines)


class _LinesHandler(logging.Handler):
    def __init__(self, lines: collections.deque[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        # The formatter is that of the handler on standard error: one format for both.
        formatter = next((handler.formatter for handler in logging.getLogger().handlers if handler.formatter), None)
        self._lines.append(formatter.format(record) if formatter else record.getMessage())


def configure_logging(*, level: int = logging.INFO) -> None:
    """Sends structlog's lines and those of the standard library, warnings included, to standard error as JSON."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_empty_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for noisy in ("matplotlib", "PIL", "urllib3", "numba", "httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def readable(log: str, /) -> str:
    """A server's log for a person: the JSON lines as words, tracebacks on lines of their own, the rest as it is."""
    return "\n".join(_readable_line(line) for line in log.splitlines())


def _readable_line(line: str) -> str:
    try:
        fields = json.loads(line)
        clock, level, event = fields.pop("timestamp")[11:19], fields.pop("level"), fields.pop("event")
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    traceback = fields.pop("exception", "")
    # These three say where the line belongs, which whoever reads one step's log knows.
    more = [f"{name}={value}" for name, value in fields.items() if name not in {"key", "method", "logger"}]
    return "\n".join([" ".join([clock, level, event, *more]), *traceback.splitlines()])


def _without_empty_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if not event.get("exception", True):
        del event["exception"]
    return event
