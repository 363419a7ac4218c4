"""Trials of a cluster in MLflow: shown as they come, and no trial knows whether anybody looks."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from syntrial.controller.tracker import (
    AWAY_SECONDS,
    BETWEEN_SECONDS,
    FIELD,
    FIELD_MANAGER,
    HUNG_SECONDS,
    Target,
    Tracker,
    open_server,
    targets_from,
)
from syntrial.errors import ClusterRefused, ClusterUnavailable, StoreUnavailable, UserError
from syntrial.tracking.server import Server
from tests.fake_mlflow import FakeMlflow, fake_mlflow
from tests.unit.tracking.conftest import HandMade, mlflow, trial
from tests.unit.trial_records import UID

__all__ = ["mlflow", "trial"]

NAMESPACE = "lab"
SUCCEEDED = {"type": "Succeeded", "status": "True", "reason": "VerdictReached", "message": "it improves"}


class Api:
    """Experiments, and the condition of each that the tracker wrote."""

    def __init__(self) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.is_away = False

    def put(self, name: str, *, uid: str = UID, server: str | None, done: int = 0, report: str = "") -> None:
        old = self.experiments.get(name, {"metadata": {"generation": 0}, "status": {}})
        status = {**old["status"], "steps": {"done": done}} | ({"report": {"key": report}} if report else {})
        status.setdefault("conditions", [SUCCEEDED])
        self.experiments[name] = {
            "metadata": {
                "namespace": NAMESPACE,
                "name": name,
                "uid": uid,
                "generation": old["metadata"]["generation"] + 1,
            },
            "spec": {"cluster": {"mlflow": server}} if server else {},
            "status": status,
        }

    def advance(self, name: str, *, done: int, report: str = "") -> None:
        status = self.experiments[name]["status"]
        status |= {"steps": {"done": done}} | ({"report": {"key": report}} if report else {})

    def list(self, kind: str, namespace: str | None = None, /) -> Any:
        assert (kind, namespace) == ("Experiment", NAMESPACE)
        return [*self.experiments.values()]

    def patch_status(self, obj: Any, *, field_manager: str) -> Any:
        assert field_manager == FIELD_MANAGER
        if self.is_away:
            raise ClusterUnavailable("no answer")
        if obj["metadata"]["name"] not in self.experiments:
            raise ClusterRefused("gone", status=404, reason="NotFound", field="", remedy="")
        self.writes += 1
        status = self.experiments[obj["metadata"]["name"]]["status"]
        others = [item for item in status["conditions"] if item["type"] != "Tracked"]
        status["conditions"] = [*others, *obj["status"].get("conditions", ())]

    def tracked(self, name: str = "small") -> dict[str, Any]:
        conditions = self.experiments[name]["status"]["conditions"]
        assert SUCCEEDED in conditions, "what the controller says stays"
        return next((item for item in conditions if item["type"] == "Tracked"), {})


class Site:
    """A tracker with its cluster, whose time a test turns on."""

    def __init__(self, trial: HandMade, *servers: FakeMlflow, folder: Path | None = None) -> None:
        self.api, self.trial, self.now = Api(), trial, 1000.0
        self.targets = [Target(address=server.url, credentials=folder) for server in servers]
        self.opened: list[str] = []
        self.is_store_away = False
        self.tracker = self.start()

    def start(self) -> Tracker:
        def open_store(namespace: str) -> Any:
            assert namespace == NAMESPACE
            if self.is_store_away:
                raise StoreUnavailable("the store does not answer")
            return self.trial.store

        def opened(target: Target) -> Server:
            self.opened.append(target.address)
            return Server(target.address, field=FIELD, environment=target.environment, silence=0.5)

        return Tracker(
            self.api,
            self.targets,
            namespaces=(NAMESPACE,),
            open_store=open_store,
            open_server=opened,
            clock=lambda: self.now,
        )

    def round(self, *, after: float = 0.0) -> None:
        self.now += after
        self.tracker.look()
        self.tracker.attend()


def test_a_trial_is_shown_as_it_comes_and_is_left_alone_when_all_is_there(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.search()
    trial.file("write the report")
    site = Site(trial, mlflow)
    site.api.put("small", server=mlflow.url, done=3)
    site.round()
    assert mlflow.run("lab/small").status == "RUNNING"
    said = site.api.tracked()
    assert (said["status"], said["reason"], said["observedGeneration"]) == ("True", "Sent", 1)
    assert said["message"].startswith(f"the trial is shown at {mlflow.url}/#/experiments/1/runs/")
    # Nothing moved: nobody is asked.
    asked, writes = len(mlflow.asked), site.api.writes
    site.round(after=BETWEEN_SECONDS)
    assert (len(mlflow.asked), site.api.writes) == (asked, writes)
    trial.labels.clear()
    trial.whole()
    site.api.advance("small", done=9, report="0" * 64)
    site.round(after=BETWEEN_SECONDS)
    assert mlflow.run("lab/small").status == "FINISHED"
    assert site.api.tracked()["reason"] == "Complete"
    assert site.api.tracked()["lastTransitionTime"] == said["lastTransitionTime"]


def test_after_a_restart_what_is_complete_is_not_sent_again_unless_it_changed(
    trial: HandMade, mlflow: FakeMlflow
) -> None:
    trial.whole()
    report = trial.store.experiment_file(UID, "plan.json")
    assert report is not None
    site = Site(trial, mlflow)
    site.api.put("small", server=mlflow.url, done=9)
    site.round()
    message = site.api.tracked()["message"]
    key = message.partition("report ")[2].partition(" ")[0]
    site.api.advance("small", done=9, report=key + "0" * 52)
    asked = len(mlflow.asked)
    site.tracker = site.start()
    site.round()
    assert len(mlflow.asked) == asked
    # Another report, as `syntrial retry` has it made by a later release.
    site.api.advance("small", done=9, report="f" * 64)
    site.round()
    assert len(mlflow.asked) > asked
    assert mlflow.writes > 0
    written = mlflow.writes
    site.api.put("small", server=mlflow.url, done=9, report=key + "0" * 52)
    site.tracker = site.start()
    site.round()
    assert mlflow.writes == written, "what is there is not written twice"
    assert site.api.tracked()["observedGeneration"] == 2


def test_a_server_that_is_away_is_said_and_asked_again_later_and_holds_up_no_other(
    trial: HandMade, mlflow: FakeMlflow
) -> None:
    trial.whole()
    with fake_mlflow() as other:
        mlflow.refusal = (503, "")
        site = Site(trial, mlflow, other)
        site.api.put("small", server=mlflow.url, done=9)
        site.api.put("second", uid=UID, server=other.url, done=9)
        site.round()
        said = site.api.tracked()
        assert (said["status"], said["reason"]) == ("False", "ServerUnavailable")
        assert said["message"].startswith("MLflow was not told everything, which does not touch the trial")
        assert "answered HTTP 503" in said["message"]
        assert site.api.tracked("second")["status"] == "True"
        asked = len(mlflow.asked)
        site.round(after=BETWEEN_SECONDS)
        assert len(mlflow.asked) == asked
        mlflow.refusal = None
        site.round(after=AWAY_SECONDS)
        assert site.api.tracked()["status"] == "True"
        assert len(mlflow.runs) == len(other.runs)


def test_while_a_server_is_away_one_trial_after_the_other_is_tried(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    mlflow.silence.clear()
    site = Site(trial, mlflow)
    for number in range(3):
        site.api.put(f"small-{number}", uid=f"{number}", server=mlflow.url, done=9)
        for name in ("plan.json", "experiment.yaml"):
            data = trial.store.experiment_file(UID, name)
            assert data is not None
            trial.store.put_experiment_file(f"{number}", name, data)
    for turn in range(3):
        site.round(after=AWAY_SECONDS)
        assert len(site.opened) == turn + 1, "one at a time waits for an answer"
    assert {site.api.tracked(f"small-{number}")["reason"] for number in range(3)} == {"ServerUnavailable"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_names_the_field_and_no_secret(
    trial: HandMade, mlflow: FakeMlflow, tmp_path: Path, status: int
) -> None:
    trial.whole()
    (tmp_path / "MLFLOW_TRACKING_TOKEN").write_text("hush-hush\n")
    mlflow.refusal = (status, "")
    site = Site(trial, mlflow, folder=tmp_path)
    site.api.put("small", server=mlflow.url, done=9)
    site.round()
    said = site.api.tracked()
    assert (said["status"], said["reason"]) == ("False", "ServerRefused")
    assert "spec.cluster.mlflow: the server lets this user write" in said["message"]
    assert mlflow.headers[-1]["authorization"] == "Bearer hush-hush"
    assert "hush" not in str(site.api.experiments)
    # A Secret that was mended since is read anew.
    (tmp_path / "MLFLOW_TRACKING_TOKEN").write_text("another")
    mlflow.refusal = None
    site.round(after=AWAY_SECONDS)
    assert mlflow.headers[-1]["authorization"] == "Bearer another"
    assert site.api.tracked()["status"] == "True"


def test_what_is_not_planned_yet_is_not_spoken_of_and_a_store_that_is_away_is(
    trial: HandMade, mlflow: FakeMlflow
) -> None:
    site = Site(trial, mlflow)
    site.api.put("small", server=mlflow.url)
    site.round()
    assert not site.api.tracked()
    assert not mlflow.asked
    trial.whole()
    site.is_store_away = True
    site.round(after=BETWEEN_SECONDS)
    assert site.api.tracked()["reason"] == "NotRead"
    assert "the store does not answer" in site.api.tracked()["message"]
    site.is_store_away = False
    site.round(after=AWAY_SECONDS)
    assert site.api.tracked()["status"] == "True"


def test_an_experiment_that_names_no_server_any_more_has_no_condition(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    site = Site(trial, mlflow)
    site.api.put("small", server=mlflow.url, done=9)
    site.round()
    assert site.api.tracked()
    site.api.put("small", server=None, done=9)
    site.round(after=BETWEEN_SECONDS)
    assert not site.api.tracked()
    writes = site.api.writes
    site.round(after=BETWEEN_SECONDS)
    assert site.api.writes == writes


def test_a_server_that_the_operator_does_not_let_is_never_asked(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    with fake_mlflow() as other:
        site = Site(trial, mlflow)
        site.api.put("small", server=other.url, done=9)
        site.round()
        assert not site.opened
        assert not other.asked


def test_what_nobody_thought_of_is_a_condition_and_ends_no_other_sending(
    trial: HandMade, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.whole()
    site = Site(trial, mlflow)
    site.api.put("small", server=mlflow.url, done=9)

    def bad(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("syntrial.controller.tracker.send", bad)
        site.round()
    assert site.api.tracked()["reason"] == "SendingFailed"
    assert "ZeroDivisionError" in site.api.tracked()["message"]
    site.api.is_away = True
    site.round(after=AWAY_SECONDS)
    assert mlflow.runs, "what cannot be told is done all the same"


def test_it_serves_until_it_is_told_to_stop_and_says_where_it_hangs(trial: HandMade, mlflow: FakeMlflow) -> None:
    trial.whole()
    mlflow.silence.clear()
    site = Site(trial, mlflow)
    site.tracker = Tracker(
        site.api,
        site.targets,
        namespaces=(NAMESPACE,),
        open_store=lambda _namespace: trial.store,
        open_server=open_server,
        clock=lambda: site.now,
    )
    site.api.put("small", server=mlflow.url, done=9)
    stopping = threading.Event()
    thread = threading.Thread(target=site.tracker.serve, args=(stopping,))
    thread.start()
    try:
        until = time.monotonic() + 20
        while not site.tracker.hung():
            assert time.monotonic() < until
            site.now += HUNG_SECONDS
            time.sleep(0.05)
        assert site.tracker.hung() == [mlflow.url]
    finally:
        mlflow.silence.set()
        stopping.set()
        thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[{"address": "mlflow:5000"}]', "--servers.0.address"),
        ('[{"address": "http://user@mlflow"}]', "--servers.0.address"),
        ('[{"address": "http://mlflow", "token": "x"}]', "--servers.0.token"),
        ("no JSON", "--servers"),
    ],
)
def test_servers_that_are_none_are_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(UserError) as caught:
        targets_from(text)
    assert caught.value.violations[0].field == field


def test_servers_come_with_who_asks_there(tmp_path: Path) -> None:
    (tmp_path / "MLFLOW_TRACKING_USERNAME").write_text("ada\n")
    (tmp_path / "OTHER").write_text("x")
    first, second = targets_from(f'[{{"address": "http://a"}}, {{"address": "http://b", "credentials": "{tmp_path}"}}]')
    assert first.environment == {}
    assert second.environment == {"MLFLOW_TRACKING_USERNAME": "ada"}
