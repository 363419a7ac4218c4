"""One format of logs, whichever program writes them: JSON objects with the same fields, and nothing beside them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "controller": ["syntrial.controller", "--namespaces=lab"],
    "collector": ["syntrial.controller", "gc", "--namespaces=lab"],
    "ingest": ["syntrial.sources.ingest", "--experiment=x", "--name=d", "--kind=npz", "--address=s3://b/x.npz"],
    "analysis": ["syntrial.analysis", "job", "0" * 64, "--experiment=x"],
    "a stage": ["syntrial_data_prep", "job", "0" * 64, "--experiment=x"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_goes_wrong_is_told_in_the_one_format(name: str, tmp_path: Path) -> None:
    store = [] if PROGRAMS[name][0] == "syntrial.controller" else [f"--store={tmp_path / 'store'}"]
    (tmp_path / "kubeconfig").write_text("current-context: none\n")
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", *PROGRAMS[name], *store]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {1, 2}
    assert not done.stdout
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines
    for line in lines:
        assert {"event", "level", "logger", "timestamp"} <= line.keys()
    assert any(line["level"] in {"error", "warning"} for line in lines)
