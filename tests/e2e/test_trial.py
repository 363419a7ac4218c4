"""The whole trial by the command line: its files, its second run, its death and its life on S3."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from tests.e2e.conftest import SMALL, Laptop

pytestmark = pytest.mark.e2e
ENDED = re.compile(r"^done in [0-9.]+ s: (.+)$", re.MULTILINE)


def digests(store: ArtifactStore) -> dict[str, str]:
    """The digest of each artifact of the experiment's plan."""
    plan = json.loads(store.experiment_file("small", "plan.json") or b"{}")
    return {key: manifest.artifact_digest for key in plan["keys"] if (manifest := store.manifest(key)) is not None}


def successes(store: ArtifactStore) -> dict[str, int]:
    """How often each step of the plan succeeded."""
    plan = json.loads(store.experiment_file("small", "plan.json") or b"{}")
    return {
        key: sum(attempt.entry["outcome"] == "succeeded" for attempt in store.attempts(key)) for key in plan["keys"]
    }


def test_a_run_leaves_a_report_a_page_and_the_experiment_that_ran(finished: Laptop) -> None:
    folder = finished.folder / "runs" / "small"
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.html", "experiment.yaml"}
    report = json.loads(finished.report)
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_each_step_of_an_undisturbed_run_succeeds_once(finished: Laptop) -> None:
    assert set(successes(open_store(finished.store)).values()) == {1}


def test_a_second_run_starts_no_server_and_takes_under_five_seconds(finished: Laptop) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = finished.run("run")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert not ENDED.findall(output)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5.0


def test_a_plan_of_a_finished_trial_shows_every_step_as_done(finished: Laptop) -> None:
    output = finished.run("plan")
    assert "done" in output
    assert "to do  " not in output.split("comparison")[0]


def test_a_finished_trial_is_looked_at_and_taken_home_by_its_file(finished: Laptop, tmp_path: Path) -> None:
    total = len(digests(open_store(finished.store)))
    status = finished.run("status")
    assert f"small  {total} of {total} steps done" in status
    assert "VerdictReached" in status
    assert "next: syntrial report" in status
    assert finished.run("logs").count("attempt 1: succeeded") == total
    fetched = tmp_path / "fetched"
    finished.run("report", "--out", str(fetched))
    assert (fetched / "report.json").read_bytes() == finished.report
    command = finished.command("export")
    subprocess.run([*command, str(tmp_path / "home"), "--include", "images"], check=True, cwd=tmp_path)
    assert (tmp_path / "home" / "images" / "edm").is_dir()


def test_another_threshold_runs_only_what_depends_on_it(finished: Laptop, tmp_path: Path) -> None:
    shutil.copytree(finished.store, tmp_path / "store")
    changed = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    changed.write(SMALL.replace("keep: 0.8", "keep: 0.7"))
    ran = ENDED.findall(changed.run("run"))
    assert "filter edm" in ran
    assert not [label for label in ran if label.startswith(("prepare", "train diffusion", "sample", "train real"))]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 11))])
def test_a_killed_run_is_finished_by_the_same_command_and_reports_the_same_bytes(
    finished: Laptop, tmp_path: Path, seed: int
) -> None:
    """SIGKILL of the command line (even seeds) or of one of its servers (odd ones), at a random moment."""
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write()
    moments = random.Random(seed)
    process = laptop.start("run")
    deadline = time.monotonic() + moments.uniform(2.0, 25.0)
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    servers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    victim = process.pid if seed % 2 == 0 or not servers else moments.choice(servers).pid
    if process.poll() is None:
        os.kill(victim, signal.SIGKILL)
    process.communicate(timeout=280)
    _, alive = psutil.wait_procs(servers, timeout=10)
    assert not alive, "servers outlive the run"
    laptop.run("run")
    assert laptop.report == finished.report
    assert max(successes(open_store(laptop.store)).values()) == 1


def test_an_interrupted_run_says_so_and_goes_on(finished: Laptop, tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write()
    process = laptop.start("run")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("done in"):
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "goes on from here" in output
    shutil.rmtree(tmp_path)


def test_a_trial_on_s3_has_the_same_keys_and_the_same_bytes(
    finished: Laptop, tmp_path: Path, minio: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**minio, "SYNTRIAL_CACHE_DIR": str(tmp_path / "cache")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    laptop = Laptop(folder=tmp_path, store=f"s3://{minio['BUCKET']}/trial", environment=environment)
    laptop.write()
    laptop.run("run")
    assert digests(open_store(laptop.store)) == digests(open_store(finished.store))
    assert laptop.report == finished.report
