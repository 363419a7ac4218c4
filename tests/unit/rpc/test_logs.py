"""The log of a server: JSON lines, captured for an attempt, and readable for a person."""

import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from syntrial.rpc.logs import AttemptLog, configure_logging, readable


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_lines_of_both_kinds_are_json_with_the_attempts_key(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    log = AttemptLog()
    with log.captured(key="k", method="m"):
        structlog.stdlib.get_logger("a").info("an event", figure=1)
        logging.getLogger("b").warning("a library's %s", "words")
    structlog.stdlib.get_logger("a").info("afterwards")
    first, second, last = lines(capsys)
    assert (first["event"], first["key"], first["method"], first["figure"]) == ("an event", "k", "m", 1)
    assert (second["event"], second["level"], second["key"]) == ("a library's words", "warning", "k")
    assert "key" not in last
    assert [json.loads(line)["event"] for line in log.text().splitlines()] == ["an event", "a library's words"]


def test_an_exception_is_logged_with_its_traceback_and_read_on_lines_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging()
    try:
        raise ZeroDivisionError("by nought")
    except ZeroDivisionError as error:
        structlog.stdlib.get_logger("a").error("step failed", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    assert "by nought" in json.loads(line)["exception"]
    found = readable(line).splitlines()
    assert found[0].endswith("error step failed")
    assert found[1].startswith("Traceback")
    assert found[-1] == "ZeroDivisionError: by nought"


def test_what_is_not_json_is_read_as_it_is() -> None:
    event = json.dumps({"timestamp": "2026-01-02T03:04:05Z", "level": "info", "event": "e", "key": "k", "n": 3})
    assert readable(f"plain words\n{event}\n[1]\n{{}}") == "plain words\n03:04:05 info e n=3\n[1]\n{}"


def test_warnings_go_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("take care", UserWarning, stacklevel=1)
    assert "take care" in capsys.readouterr().err
