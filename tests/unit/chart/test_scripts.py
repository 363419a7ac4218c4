"""What `make deploy` and `make undeploy` say where something is missing; that they work, tests/cluster shows."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from k8s.render import REPOSITORY


def run(script: str, tools: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of charts/ with the commands in `tools` alone."""
    return subprocess.run(
        [shutil.which("bash") or "bash", REPOSITORY / "charts" / script],
        env={"PATH": os.fspath(tools), "CLUSTER_HOME": os.fspath(tools / "none"), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of commands, with those of every machine in it."""
    for name in ("dirname", "env", "bash"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    return tmp_path


def add(tools: Path, name: str, text: str) -> None:
    """Adds a command."""
    (tools / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    (tools / name).chmod(0o755)


@pytest.mark.parametrize("script", ["deploy.sh", "undeploy.sh"])
def test_a_missing_tool_is_named_with_where_to_get_it(tools: Path, script: str) -> None:
    bare = run(script, tools)
    assert bare.returncode == 1
    assert "helm is missing" in bare.stderr
    assert "https://helm.sh" in bare.stderr
    add(tools, "helm", "exit 0")
    assert "kubectl is missing" in run(script, tools).stderr


@pytest.mark.parametrize("script", ["deploy.sh", "undeploy.sh"])
def test_a_missing_context_or_a_silent_cluster_is_named(tools: Path, script: str) -> None:
    add(tools, "helm", "exit 0")
    add(tools, "kubectl", "exit 1")
    assert "no current context" in run(script, tools).stderr
    add(tools, "kubectl", '[ "$1" = config ] && echo far-away')
    silent = run(script, tools)
    assert silent.returncode == 1
    assert "context far-away does not answer" in silent.stderr


def test_a_file_of_values_that_is_not_there_is_named(tools: Path) -> None:
    add(tools, "helm", "exit 0")
    add(tools, "kubectl", "echo here")
    assert "nowhere.yaml, which is no file" in run("deploy.sh", tools, VALUES="nowhere.yaml").stderr


@pytest.mark.parametrize(
    ("releases", "experiments", "goes"),
    [
        ('[{"name": "other", "namespace": "team-b", "chart": "syntrial-0.1.0"}]', "", False),
        ('[{"name": "other", "namespace": "team-b", "chart": "minio-5.0.0"}]', "", True),
        ("[]", "team-b/pneumonia", False),
        ("[]", "", True),
    ],
)
def test_the_definition_of_experiments_goes_only_where_nobody_needs_it(
    tools: Path, releases: str, experiments: str, goes: bool
) -> None:
    add(tools, "helm", f"[ $1 != list ] || echo '{releases}'; [ $1 != status ]")
    add(
        tools,
        "kubectl",
        f"""echo "$*" >>{tools}/calls
case "$*" in
  "config current-context") echo here ;;
  *--all-namespaces*) echo '{experiments}' ;;
  "get crd"*) echo it ;;
esac""",
    )
    done = run("undeploy.sh", tools, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert ("delete crd experiments.syntrial.dev --timeout=60s" in (tools / "calls").read_text().splitlines()) == goes
    assert ("is removed" in done.stdout.splitlines()[-1]) == goes
