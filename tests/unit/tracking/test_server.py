"""The door to MLflow: what it takes for an address, what it says of whoever does not answer as MLflow does."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from syntrial.errors import TrackingRefused, TrackingUnavailable, UserError
from syntrial.tracking.server import KnownRun, Metric, Server, server_address
from tests.fake_mlflow import FakeMlflow

FORBIDDEN = json.dumps({"error_code": "PERMISSION_DENIED", "message": "not you\nnor anyone"})


def door(address: str, **settings: Any) -> Server:
    return Server(address, **{"environment": {}, "silence": 5.0, **settings})


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("runs/mlflow", "is the http or https address of an MLflow server"),
        ("file:///tmp/mlruns", "is the http or https address"),
        ("sqlite:///mlflow.db", "is the http or https address"),
        ("databricks", "is the http or https address"),
        ("http://", "is the http or https address"),
        ("http://[::1", "is the http or https address"),
        ("http://host:port", "is the http or https address"),
        ("https://anna:secret@mlflow.example.org", "holds no user and no password"),
        ("https://mlflow.example.org/?a=b", "ends with the server's path"),
        ("https://mlflow.example.org/#/experiments/1", "ends with the server's path"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused_with_what_is(text: str, rule: str) -> None:
    with pytest.raises(UserError) as raised:
        server_address(text)
    (violation,) = raised.value.violations
    assert violation.field == "--mlflow"
    assert violation.rule.startswith(rule)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("text", ["http://127.0.0.1:5000", "https://example.org/tools/mlflow", "http://[::1]:5000"])
def test_an_address_may_have_a_port_and_a_path_and_a_slash_at_its_end(text: str) -> None:
    assert server_address(text) == server_address(f"{text}/") == text


def test_an_experiment_is_made_once(mlflow: FakeMlflow) -> None:
    with closing(door(mlflow.url)) as server:
        made = server.experiment("small", tags={"a": "b"})
        assert server.experiment("small", tags={}) == made
        assert server.experiment("other", tags={}) != made
    assert [found["name"] for found in mlflow.experiments.values()] == ["small", "other"]
    assert mlflow.experiments[made]["tags"] == [{"key": "a", "value": "b"}]


def test_an_experiment_that_was_deleted_there_is_not_written_to(mlflow: FakeMlflow) -> None:
    with closing(door(mlflow.url)) as server:
        mlflow.experiments[server.experiment("small", tags={})]["lifecycle_stage"] = "deleted"
        with pytest.raises(TrackingRefused, match="where small was deleted"):
            server.experiment("small", tags={})


def test_an_experiment_that_somebody_else_makes_meanwhile_is_taken(
    mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = mlflow.experiments_get_by_name

    def made_after(asked: dict[str, Any]) -> dict[str, Any]:
        try:
            return found(asked)
        finally:
            if not mlflow.experiments:
                mlflow.experiments_create({"name": "small"})

    monkeypatch.setattr(mlflow, "experiments_get_by_name", made_after)
    with closing(door(mlflow.url)) as server:
        assert server.experiment("small", tags={}) == "1"


def test_more_than_a_call_takes_is_sent_in_several(mlflow: FakeMlflow) -> None:
    params = {f"p{number}": "x" for number in range(250)}
    tags = {f"t{number}": "x" for number in range(250)}
    metrics = [Metric(name="loss", value=0.5, step=step, time=7) for step in range(2500)]
    with closing(door(mlflow.url)) as server:
        run = server.create(server.experiment("small", tags={}), name="a", tags={"of": "x"}, began=7)
        server.log(run.id, params=params, metrics=metrics, tags=tags)
        server.update(run.id, name="b", state="FINISHED", ended=9)
        for number in range(6):
            server.create("1", name=str(number), tags={"of": "x"}, began=8)
        found = [*server.runs("1", tag="of", value="x")]
        assert [*server.runs("1", tag="of", value="y")] == []
    stored = mlflow.run("b")
    assert (stored.params, stored.tags) == (params, tags | {"of": "x"})
    assert stored.series("loss") == [(step, 0.5) for step in range(2500)]
    assert (stored.status, stored.ended) == ("FINISHED", 9)
    assert len(found) == 7
    assert found[0] == KnownRun(
        id=stored.id,
        began=7,
        files_at=f"mlflow-artifacts:/1/{stored.id}/artifacts",
        params=params,
        tags=stored.tags,
        latest={"loss": (2499, 0.5)},
    )


@pytest.mark.parametrize(
    "files_at",
    ["s3://bucket/1/a/artifacts", "file:///srv/1", "/srv/1", "mlflow-artifacts://elsewhere:80/1/a/artifacts"],
)
def test_files_go_through_the_server_or_not_at_all(mlflow: FakeMlflow, files_at: str) -> None:
    run = KnownRun(id="a", began=0, files_at=files_at, params={}, tags={}, latest={})
    with closing(door(mlflow.url)) as server:
        assert not server.put_file(run, "report.html", b"x")
    assert mlflow.asked == []


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "abc", "MLFLOW_TRACKING_USERNAME": "anna"}, "Bearer abc"),
        ({"MLFLOW_TRACKING_USERNAME": "anna", "MLFLOW_TRACKING_PASSWORD": "abc"}, "Basic YW5uYTphYmM="),
    ],
)
def test_who_asks_is_told_by_the_variables_of_mlflows_own_client(
    mlflow: FakeMlflow, environment: dict[str, str], sent: str | None
) -> None:
    with closing(door(mlflow.url, environment=environment)) as server:
        server.experiment("small", tags={})
    assert {headers.get("authorization") for headers in mlflow.headers} == {sent}


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            401,
            "",
            TrackingRefused,
            "the server lets this user write; received {url}, which answered HTTP 401. Set MLFLOW_",
        ),
        (403, FORBIDDEN, TrackingRefused, "which answered HTTP 403 PERMISSION_DENIED not you. Set MLFLOW_"),
        (
            404,
            "<html>",
            TrackingRefused,
            "an MLflow server answers at the address; received {url}, which answered with",
        ),
        (200, "<html>", TrackingRefused, "which answered with an answer that is no JSON"),
        (200, "[]", TrackingRefused, "which answered with an answer that is no JSON"),
        (200, '{"ok": true}', TrackingRefused, "something else than MLflow does (KeyError: 'experiment')"),
        (302, "", TrackingRefused, "a redirect to https://elsewhere.example/login"),
        (500, "<html>", TrackingUnavailable, "{url} answered HTTP 500"),
        (503, "", TrackingUnavailable, "{url} answered HTTP 503"),
        (429, json.dumps({"error_code": "REQUEST_LIMIT_EXCEEDED"}), TrackingUnavailable, "HTTP 429 REQUEST_LIMIT"),
    ],
)
def test_each_answer_that_is_none_says_what_came_and_what_to_do(
    mlflow: FakeMlflow, status: int, body: str, error: type[Exception], words: str
) -> None:
    mlflow.refusal, mlflow.location = (status, body), "https://elsewhere.example/login"
    with closing(door(mlflow.url)) as server, pytest.raises(error) as raised:
        server.experiment("small", tags={})
    assert words.format(url=mlflow.url) in str(raised.value)
    # Once: whoever waits for it does not wait for tries in vain.
    assert len(mlflow.asked) == 1


def _nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("address", [_nobody, lambda: "http://nowhere.invalid"])
def test_a_server_that_is_away_says_so_at_once(address: Callable[[], str]) -> None:
    began = time.monotonic()
    with closing(door(address())) as server, pytest.raises(TrackingUnavailable, match="does not answer: ConnectError"):
        server.experiment("small", tags={})
    assert time.monotonic() - began < 5.0


def test_a_server_that_says_nothing_is_not_waited_for(mlflow: FakeMlflow) -> None:
    mlflow.silence.clear()
    with closing(door(mlflow.url, silence=0.2)) as server, pytest.raises(TrackingUnavailable, match="ReadTimeout"):
        server.experiment("small", tags={})


def test_a_server_that_answers_slowly_gets_so_much_in_all(mlflow: FakeMlflow) -> None:
    times = iter([0.0, *(float(second) for second in range(100))])
    with closing(door(mlflow.url, patience=4.0, clock=lambda: next(times))) as server:
        server.experiment("small", tags={})
        with pytest.raises(TrackingUnavailable, match="takes more than 4 s"):
            server.experiment("small", tags={})
