"""The command line comes up in a moment: what a command needs is imported when it runs."""

import os
import subprocess
import sys

import pytest

LATER = (
    "kubernetes",
    "minio",
    "numpy",
    "grpc",
    "pydantic",
    "jinja2",
    "syntrial.cli.status_view",
    "syntrial.trial.handle",
)


def python(code: str) -> str:
    # Bytecode is kept, as it is where the product is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_the_command_line_imports_no_client_of_anything() -> None:
    code = f"import sys, syntrial.cli; print([name for name in {LATER!r} if name in sys.modules])"
    assert python(code).strip() == "[]"


def test_help_takes_under_half_a_second() -> None:
    """In processor time, which a busy machine does not stretch; the best of three."""
    code = (
        "import time, sys; sys.argv = ['syntrial', '--help']\n"
        "from syntrial.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(f'seconds {time.process_time()}')"
    )
    taken = min(float(python(code).rpartition("seconds ")[2]) for _ in range(3))
    assert taken < 0.5


@pytest.mark.parametrize(
    "command", ["submit", "upload", "status", "cancel", "report", "logs", "retry", "export", "track"]
)
def test_every_command_of_a_cluster_takes_kubectls_options(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "syntrial", command, "--help"], check=True, capture_output=True, text=True
    ).stdout
    assert "--context" in shown
    assert "--namespace" in shown
    assert "-n" in shown.split()
