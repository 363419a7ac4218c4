"""`syntrial judge`: a full trial of ready-made images, without a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from syntrial.experiment.file import read_experiment
from tests.e2e.conftest import draw

pytestmark = pytest.mark.e2e

NAME = "p{number:03d}_{number}.png"


def judge(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "syntrial", "judge", *arguments, "--store", "store"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)


def test_a_folder_of_synthetic_images_is_judged_without_a_file(tmp_path: Path) -> None:
    draw(tmp_path / "real", count=60, seed=0, name=NAME)
    draw(tmp_path / "made", count=60, seed=1, name=NAME)
    options = ["--size", "16", "--replicates", "2", "--steps", "10"]
    done = judge(tmp_path, "--real", "real", "--synthetic", "made", "--patient-pattern", r"(p\d+)_", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "runs" / "judge"
    report = json.loads((out / "report.json").read_bytes())
    assert any(item["kind"] == "lineage" for item in report["qualifications"])
    written = read_experiment(out / "experiment.yaml")
    assert os.fspath(tmp_path / "made") == (written.spec.synthetic[0].images or written.spec.dataset).folder


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "real", count=2, seed=0, name=NAME)
    (tmp_path / "made").mkdir()
    done = judge(tmp_path, "--real", "real", "--synthetic", "made")
    assert done.returncode == 2
    assert "--synthetic" in done.stderr
    assert "holds images" in done.stderr
    assert "Traceback" not in done.stderr
