"""A search on a real cluster, with faults, shown in MLflow: no trial is repeated, and the test split stays closed."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.client import connect
from syntrial.documents.document import read
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.remote.store import remote_store
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.cluster.faults import strike
from tests.cluster.product import MLFLOW_TOKEN, Deployed, until
from tests.fake_mlflow import FakeMlflow

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

TUNED = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {{name: search}}
spec:
  # A split of its own: a look at another trial's would be its second.
  dataset: {{phantom: {{trainPatients: 24, validationPatients: 24, testPatients: 26}}, size: 16}}
  synthetic:
    - name: gan
      generator: {{gan: {{preset: pico, images: 320, channels: [16, 16], batchSize: 16}}}}
      tune:
        over:
          learningRate: {{range: [1.0e-4, 1.0e-2], log: true}}
          gamma: {{choice: [0.1, 1]}}
        trials: 12
        parallel: 6
        steps: 20
        prune: {{after: [0.25]}}
      copies: 0.0
  arms: [augment-50]
  controls: none
  replicates: 2
  exploratoryReplicates: 1
  budget: {{steps: 5}}
  encoder: {{steps: 10, batchSize: 16, featureSize: 8}}
  cluster: {{mlflow: "{server}"}}
"""
SEED = 7


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A trial with a search that came to its verdict, and its store."""

    store: ArtifactStore
    uid: str
    keys: tuple[str, ...]

    def of(self, method: str) -> list[str]:
        """Keys of the trial's steps of a method."""
        manifests = {key: self.store.manifest(key) for key in self.keys}
        return [key for key, found in manifests.items() if found is not None and found.method.endswith(f"/{method}")]

    def written(self, name: str) -> float:
        """When the first object whose name begins so was written, in seconds since 1970."""
        folder = f"{name.rpartition('/')[0]}/"
        return min(info.modified for info in self.store.backend.scan(folder) if info.name.startswith(name))


@pytest.fixture(scope="module")
def searched(
    deployed: Deployed, mlflow_server: FakeMlflow, shared_cluster: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Searched]:
    """The search, killed three times at random moments, while MLflow is away."""
    moments = random.Random(SEED)
    faults = ["controller", "generation", "object store"]
    moments.shuffle(faults)
    mlflow_server.refusal = (503, "")
    file = tmp_path_factory.mktemp("search") / "search.yaml"
    file.write_text(TUNED.format(server=mlflow_server.url))
    deployed.kubectl("apply", "-f", str(file))
    for fault in faults:
        # Generation's pods train, sample and decide: for most of the search there is one.
        until(lambda: bool(deployed.running_pods("generation")), seconds=300, why=lambda: described(deployed))
        time.sleep(moments.uniform(0.0, 10.0))
        victims = 0
        while not victims:
            victims = strike(fault, deployed, shared_cluster, moments=moments)
    deployed.verdict("search", seconds=900)
    found = deployed.experiment("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", deployed.environment["KUBECONFIG"])
        with remote_store(connect(), namespace=deployed.namespace, secret="syntrial-store") as store:
            uid = found["metadata"]["uid"]
            keys = json.loads(store.experiment_file(uid, "plan.json") or b"{}")["keys"]
            yield Searched(store=store, uid=uid, keys=tuple(keys))
    deployed.kubectl("delete", "experiment", "search")


def described(deployed: Deployed) -> str:
    return deployed.kubectl("describe", "experiment", "search")


def tracked(deployed: Deployed) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = deployed.experiment("search").get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Tracked"), {"status": "", "reason": ""})


def test_a_search_that_is_killed_three_times_repeats_no_trial(searched: Searched) -> None:
    successes = Counter(
        key
        for key in searched.keys
        for attempt in searched.store.attempts(key)
        if attempt.entry["outcome"] == "succeeded"
    )
    assert max(successes.values()) == 1
    # Each of the 12 trained its first part, and what went on its second: nothing beside them was asked.
    (choice,) = searched.of("ChooseTrial")
    decision = read(Decision, searched.store.open(MemberRef(key=choice, member=MEMBER)), NAME)
    assert len(decision.trials) == 12
    assert not any(trial.failed for trial in decision.trials)
    pruned = sum(trial.pruned for trial in decision.trials)
    assert pruned > 0
    assert len(searched.of("TrainGenerator")) == 2 * 12 - pruned
    asked = {info.name.split("/")[1]: None for info in searched.store.backend.scan("requests/")}
    records = {key: searched.store.request(key) or {} for key in asked}
    # Other tests' trials, of other generators, may have been in this store.
    trainings = {
        key
        for key, record in records.items()
        if record["method"].endswith("/TrainGenerator") and "gan" in record["request"]
    }
    assert trainings == set(searched.of("TrainGenerator"))
    best = decision.trials[decision.best or 0]
    assert best.figures[-1] >= decision.trials[0].figures[-1]


def test_the_test_split_was_opened_when_the_choice_was_on_record(searched: Searched) -> None:
    (choice,) = searched.of("ChooseTrial")
    (dataset,) = searched.of("PrepareDataset")
    split = searched.store.open(MemberRef(key=dataset, member="test")).digest
    opened = searched.written(f"ledger/{split}/")
    assert searched.written(f"artifacts/{choice}/manifest.json") < opened
    evaluations = searched.of("EvaluateClassifier")
    assert evaluations
    assert all(opened <= searched.written(f"requests/{key}") for key in evaluations)
    first, second = searched.store.registrations(searched.uid)
    assert first["evaluations"] == "undecided"
    assert [first["evaluated"], second["evaluated"]] == [0, 0]


def test_mlflow_that_was_away_held_nothing_up_and_is_told_all_when_it_answers(
    deployed: Deployed, mlflow_server: FakeMlflow, searched: Searched, tmp_path: Path
) -> None:
    said = tracked(deployed)
    assert (said["status"], said["reason"]) == ("False", "ServerUnavailable")
    assert not mlflow_server.runs
    # The first questions were asked before its Secret was there.
    asked = len(mlflow_server.headers)
    mlflow_server.refusal = None
    until(lambda: tracked(deployed)["reason"] == "Complete", seconds=150, why=lambda: described(deployed))
    run = mlflow_server.run(f"{deployed.namespace}/search")
    assert run.status == "FINISHED"
    assert "report.html" in run.files
    trainings = [found for found in mlflow_server.runs.values() if found.tags["syntrial.kind"] == "generator"]
    assert len(trainings) >= 12
    assert {found.get("authorization") for found in mlflow_server.headers[asked:]} == {f"Bearer {MLFLOW_TOKEN}"}
    # The token is in its Secret, and nowhere else.
    told = deployed.kubectl("get", "experiments,deployments,pods,jobs,events,configmaps", "-o", "json")
    logs = deployed.kubectl("logs", "-l", "app.kubernetes.io/component in (controller, tracking)", "--tail=-1")
    assert "not sent" in logs
    assert MLFLOW_TOKEN not in told + logs
    # A server that the operator does not let is refused; without any the condition goes.
    other = deployed.kubectl(
        "patch", "experiment/search", "--type=merge", "-p", patch("http://other:5000"), check=False
    )
    assert not other
    deployed.kubectl("patch", "experiment/search", "--type=merge", "-p", patch(None))
    until(lambda: not tracked(deployed)["status"], seconds=60, why=lambda: described(deployed))
    assert deployed.verdict("search", seconds=60)["verdict"]


def patch(server: str | None) -> str:
    return json.dumps({"spec": {"cluster": {"mlflow": server}}})
