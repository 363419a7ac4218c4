"""A search by the command line: killed, damaged, and told all the same what it would have been told."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.documents.document import read
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.trial.record import find_drawn
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.e2e.conftest import Laptop
from tests.e2e.test_trial import successes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

TUNED = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {phantom: {trainPatients: 24, validationPatients: 24, testPatients: 24}, size: 16}
  synthetic:
    - name: gan
      generator: {gan: {preset: pico, images: 320, channels: [16, 16], batchSize: 16}}
      tune:
        over:
          learningRate: {range: [1.0e-4, 1.0e-2], log: true}
          gamma: {choice: [0.1, 1]}
        among: [{gan: {preset: pico, images: 320, channels: [16, 16], batchSize: 16, learningRate: 1.0e+20}}]
        trials: 6
        steps: 20
        prune: {after: [0.25]}
        snapshots: 2
      copies: 0.0
  arms: [augment-50]
  controls: none
  replicates: 2
  budget: {steps: 20}
  encoder: {steps: 40, batchSize: 16, featureSize: 16}
"""


def keys_of(store: ArtifactStore, method: str) -> list[str]:
    """Keys of the artifacts that a method made."""
    keys = {info.name.split("/")[1] for info in store.backend.scan("artifacts/")}
    found = {key: store.manifest(key) for key in keys}
    return [key for key, manifest in found.items() if manifest is not None and manifest.method.endswith(f"/{method}")]


def request_of(store: ArtifactStore, key: str) -> Mapping[str, Any]:
    """What the step of a key was asked."""
    manifest = store.manifest(key)
    assert manifest is not None
    return manifest.request


def run_until(laptop: Laptop, store: ArtifactStore, reached: Callable[[], bool]) -> "subprocess.Popen[str]":
    """A run that has come so far."""
    process = laptop.start("run")
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return process


def end(process: "subprocess.Popen[str]", servers: list[psutil.Process]) -> str:
    output, _ = process.communicate(timeout=600)
    _, alive = psutil.wait_procs(servers, timeout=15)
    assert not alive, "servers outlive the run"
    assert "Traceback" not in output, output
    return output


def test_a_search_that_is_killed_three_times_and_damaged_repeats_no_trial(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write(TUNED)
    store = open_store(laptop.store)
    # The command line, as the first trials are under way.
    process = run_until(laptop, store, lambda: len(keys_of(store, "TrainGenerator")) >= 1)
    servers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    end(process, servers)
    # Its servers, later on: the run starts them again.
    process = run_until(laptop, store, lambda: len(keys_of(store, "PruneTrials")) >= 1)
    servers = psutil.Process(process.pid).children(recursive=True)
    victims = [server for server in servers if "syntrial_generation" in " ".join(server.cmdline())]
    for victim in victims:
        victim.kill()
    until = len(keys_of(store, "ProposeTrials")) + 1
    while len(keys_of(store, "ProposeTrials")) < until and process.poll() is None:
        time.sleep(0.05)
    servers += psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    os.kill(process.pid, signal.SIGKILL)
    end(process, servers)
    # What it has decided, on the disk.
    damaged = keys_of(store, "ProposeTrials")[0]
    manifest = store.manifest(damaged)
    assert manifest is not None
    for blob in manifest.member(MEMBER).blobs:
        place = tmp_path / "store" / "blobs" / "sha256" / blob.digest
        place.chmod(0o644)
        place.write_bytes(b"{}")
    laptop.run("run", timeout_s=900)
    counts = successes(store)
    # Of a step whose run was killed as it ended the artifact may stand and no word of its end.
    assert counts.pop(damaged) <= 2
    assert max(counts.values()) == 1

    (choice,) = keys_of(store, "ChooseTrial")
    decision = read(Decision, store.open(MemberRef(key=choice, member=MEMBER)), NAME)
    assert len(decision.trials) == 6
    assert [trial.number for trial in decision.trials if trial.failed] == [1]
    assert "losses and weights stay finite" in decision.trials[1].failed
    assert any(trial.pruned for trial in decision.trials)
    best = decision.trials[decision.best or 0]
    assert best.part is not None
    assert best.figures[best.part] == max(max(trial.figures) for trial in decision.trials if not trial.failed)
    # The set is of the generator at the moment that was chosen, and the report has a strip for each of the trial's.
    drawn = find_drawn(store, "small/gan")
    told = request_of(store, choice)["trials"][decision.best]["judged"][best.part]
    judge = request_of(store, told["key"])
    assert drawn is not None
    assert drawn[0] == request_of(store, judge["synthetic"]["key"])["generator"]["key"]
    page = (tmp_path / "runs" / "small" / "report.html").read_text()
    (strips,) = page.split('<figure id="snapshots-0">')[1:]
    assert strips.partition("</figure>")[0].count('class="strip"') == len(best.figures)
    # The test split was opened when all was on record, and what is evaluated was registered before.
    (look,) = (tmp_path / "store" / "ledger").rglob("000001")
    chosen = (tmp_path / "store" / "artifacts" / choice / "manifest.json").stat().st_mtime
    assert chosen < look.stat().st_mtime
    registered = store.registrations("small")
    assert [entry["evaluated"] for entry in registered] == [0, 0]
    assert registered[0]["evaluations"] == "undecided"
    # A second run starts nothing, and says so of the whole plan.
    assert "up to" not in laptop.run("plan")
    before = successes(store)
    laptop.run("run")
    assert successes(store) == before


def test_a_search_whose_trials_all_fail_is_told_with_its_reasons(tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    over = "over: {gamma: {choice: [0.1, 1]}}\n        trials: 2"
    head, _, rest = TUNED.replace("batchSize: 16}}\n", "batchSize: 16, learningRate: 1.0e+20}}\n", 1).partition("over:")
    laptop.write(head + over + "\n        steps: 20\n" + rest.partition("prune: {after: [0.25]}\n")[2])
    process = laptop.start("run")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    assert "a trial of a search must be trained to its end" in output
    assert "2 trials, all failed: train: UserError" in output
