"""The handle of an Experiment: what runs, by the names of its steps, and what trying again comes to."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.fake import MemoryCluster
from syntrial.remote.experiments import find
from syntrial.remote.trial import ClusterTrial
from syntrial.rpc.testing import fake_key
from syntrial.v1.progress_pb2 import StepProgress
from tests.unit.trial_records import file_plan

KEY = fake_key("train gan")
PROGRESS = StepProgress(key=KEY, method="syntrial.v1.GenerationService/TrainGenerator")


class PlayedPods:
    """Running pods that have told of one step."""

    def __init__(self, _door: object, *, namespace: str) -> None:
        self.namespace = namespace
        self.followed: list[str] = []

    def follow(self, pods: Iterable[Mapping[str, Any]]) -> None:
        self.followed = [pod["metadata"]["name"] for pod in pods]

    def running(self) -> dict[str, StepProgress]:
        return {KEY: PROGRESS} if self.followed else {}

    def close(self) -> None:
        self.followed = []


@pytest.fixture
def trial(cluster: MemoryCluster, finished: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> ClusterTrial:
    """A trial with a running pod; its store is there where the Secret may be read."""
    labels = {"syntrial.dev/experiment-uid": "u"}
    cluster.put("Experiment", "small", metadata={"uid": "u"}, spec={}, status={})
    cluster.put("Pod", "p", metadata={"labels": labels}, spec={}, status={"phase": "Running"})
    cluster.secrets["lab", "syntrial-store"] = {}
    file_plan(finished, ["train gan"], uid="u")

    @contextmanager
    def store(door: MemoryCluster, *, namespace: str, secret: str, endpoint: str | None) -> Iterator[ArtifactStore]:
        assert endpoint is None
        door.read_secret(namespace, secret)
        yield finished

    monkeypatch.setattr("syntrial.remote.trial.PodWatch", PlayedPods)
    monkeypatch.setattr("syntrial.remote.trial.remote_store", store)
    return ClusterTrial(cluster, find(cluster, "small", namespace="lab"), secret="syntrial-store", rates=True)


def test_what_runs_is_named_by_its_label(trial: ClusterTrial) -> None:
    assert not trial.running(), "nobody has looked yet"
    assert trial.look().title == "lab/small"
    assert trial.running() == {"train gan": PROGRESS}


def test_who_may_not_read_the_stores_secret_sees_methods_and_keys(cluster: MemoryCluster, trial: ClusterTrial) -> None:
    cluster.secrets.clear()
    assert not trial.look().is_over
    assert trial.running() == {f"TrainGenerator {KEY[:12]}": PROGRESS}


def test_pods_are_left_alone_once_the_trial_is_over(cluster: MemoryCluster, trial: ClusterTrial) -> None:
    trial.look()
    cluster.objects["Experiment", "lab", "small"]["status"] = {"conditions": [{"type": "Succeeded", "status": "True"}]}
    assert trial.look().is_over
    assert not trial.running()


def test_a_retry_of_a_suspended_trial_says_that_it_goes_on(cluster: MemoryCluster, trial: ClusterTrial) -> None:
    cluster.objects["Experiment", "lab", "small"]["spec"] = {"suspend": True}
    assert trial.look().is_suspended
    assert trial.retry(on_forgiven=pytest.fail) == "taken up again"
    assert not trial.look().is_suspended
    assert trial.retry(on_forgiven=pytest.fail) == "nothing has failed"


def test_a_retry_names_what_is_tried_again(trial: ClusterTrial, finished: ArtifactStore) -> None:
    finished.add_attempt(KEY, {"outcome": "failed", "reason": "UserError"}, experiment="u")
    forgiven: list[str] = []
    assert trial.retry(on_forgiven=forgiven.append) == "the controller tries again"
    assert forgiven == ["train gan"]


def test_a_retry_of_a_trial_that_another_version_finished_has_it_planned_anew(
    cluster: MemoryCluster, trial: ClusterTrial
) -> None:
    status = {
        "conditions": [{"type": "Valid", "status": "True", "reason": "PlannedBefore"}],
        "report": {"key": "report-key"},
    }
    cluster.objects["Experiment", "lab", "small"]["status"] = status
    trial.look()
    forgiven: list[str] = []
    assert trial.retry(on_forgiven=forgiven.append) == "the controller tries again"
    assert forgiven == ["the whole trial, planned anew"]
    annotations = cluster.objects["Experiment", "lab", "small"]["metadata"]["annotations"]
    assert annotations == {"syntrial.dev/plan-anew": "report-key"}
