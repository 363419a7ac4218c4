"""A search for a classifier's fields by the command line: killed, and told all the same as if it had not been."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import yaml

from syntrial.artifacts.store import open_store
from syntrial.documents.document import read
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.e2e.conftest import Laptop
from tests.e2e.test_search import end, keys_of, run_until
from tests.e2e.test_trial import successes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TUNED = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {phantom: {trainPatients: 24, validationPatients: 24, testPatients: 24}, size: 16}
  classifiers:
    - model: small-cnn
      recipe: {batchSize: 16}
      tune:
        over:
          learningRate: {range: [1.0e-4, 1.0e-1], log: true}
          recipe.weightDecay: {choice: [0, 0.05]}
        trials: 4
        prune: {after: [0.5]}
  arms: [real-50]
  replicates: 2
  budget: {steps: 10}
"""


def test_a_classifier_s_search_that_is_killed_repeats_no_trial_and_all_arms_train_what_it_chose(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write(TUNED)
    store = open_store(laptop.store)
    process = run_until(laptop, store, lambda: len(keys_of(store, "PruneTrials")) >= 1)
    servers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    end(process, servers)
    laptop.run("run", timeout_s=400)
    assert max(successes(store).values()) == 1

    (choice,) = keys_of(store, "ChooseTrial")
    decision = read(Decision, store.open(MemberRef(key=choice, member=MEMBER)), NAME)
    assert len(decision.trials) == 4
    assert any(trial.pruned for trial in decision.trials)
    best = decision.trials[decision.best or 0]
    assert best.figures[-1] >= decision.trials[0].figures[-1]
    # Each of its parts was judged by two seeds, and what is evaluated has others: all as the search chose.
    trained = [store.request(key) or {} for key in keys_of(store, "TrainClassifier")]
    trials = [record["request"] for record in trained if "part" in record["request"]]
    arms = [record["request"] for record in trained if "part" not in record["request"]]
    assert len(trials) == 2 * sum(len(trial.figures) for trial in decision.trials)
    assert len(arms) == 4
    assert {one.get("seed", "0") for one in arms}.isdisjoint(one["seed"] for one in trials)
    assert {one["phases"][0]["learningRate"] for one in arms} == {best.parameters["learningRate"]}
    assert {one["recipe"].get("weightDecay", 0) for one in arms} == {best.parameters["recipe.weightDecay"]}
    # The test split was opened when the choice was on record.
    (look,) = (tmp_path / "store" / "ledger").rglob("000001")
    chosen = (tmp_path / "store" / "artifacts" / choice / "manifest.json").stat().st_mtime
    assert chosen < look.stat().st_mtime
    assert [entry["evaluated"] for entry in store.registrations("small")] == [0, 0]
    report = yaml.safe_load(laptop.report)
    (searched,) = report["classifiers"]
    assert (searched["name"], searched["search"]["best"]) == ("small-cnn", decision.best)
    assert choice in {source["key"] for source in report["provenance"]}
    before = successes(store)
    laptop.run("run")
    assert successes(store) == before
