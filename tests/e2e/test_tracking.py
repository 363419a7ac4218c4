"""MLflow beside whole trials by the command line: the trial is the same with it, and without its server."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Laptop
from tests.fake_mlflow import fake_mlflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

QUIET = {f"MLFLOW_TRACKING_{name}": "" for name in ("TOKEN", "USERNAME", "PASSWORD", "URI")}


def test_a_run_that_is_shown_in_mlflow_is_the_same_trial(finished: Laptop, tmp_path: Path) -> None:
    laptop = Laptop(folder=tmp_path / "shown", store=str(tmp_path / "store"), environment=QUIET)
    laptop.write()
    with fake_mlflow() as mlflow:
        output = laptop.run("run", "--mlflow", mlflow.url, timeout_s=600)
        assert laptop.report == finished.report
        top = mlflow.run("small")
        assert f"MLflow: {mlflow.url}/#/experiments/1/runs/{top.id}" in output
        kinds = [run.tags["syntrial.kind"] for run in mlflow.runs.values()]
        assert {kind: kinds.count(kind) > 0 for kind in ("trial", "generator", "set", "cell", "classifier")} == {
            "trial": True,
            "generator": True,
            "set": True,
            "cell": True,
            "classifier": True,
        }
        assert top.files["report.json"] == laptop.report
        diffusion = next(run for run in mlflow.runs.values() if run.name.startswith("train diffusion edm"))
        assert diffusion.params["generator.diffusion.channels"] == "[16, 32]"
        assert diffusion.metrics
        assert diffusion.files["samples.png"].startswith(b"\x89PNG")
        assert all(run.status == "FINISHED" for run in mlflow.runs.values())
        assert "0 of them written now" in laptop.run("track", "--mlflow", mlflow.url)


def test_a_server_that_is_away_costs_a_line_and_no_verdict(finished: Laptop, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "away")
    laptop = Laptop(folder=tmp_path / "away", store=str(tmp_path / "away" / "store"), environment=QUIET)
    output = laptop.run("run", "--mlflow", "http://127.0.0.1:9")
    assert "report: runs/small/report.html" in output
    assert "MLflow was not told everything: http://127.0.0.1:9 does not answer" in output
    assert "send it later: syntrial track " in output
