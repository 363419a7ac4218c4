"""The worked examples keep the rules of generators, each in the environment of its own lock, by the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "generators"
SMALL = {
    "toy": ["components=3"],
    "monai": ["steps=4", "batch=4", "channels=32", "sampling=3"],
    "torchgan": ["steps=4", "batch=4", "channels=4", "latent=8"],
    "ddpm": ["steps=4", "batch=4", "width=8", "sampling=10"],
}


def test_every_example_is_tried() -> None:
    assert {folder.name for folder in EXAMPLES.iterdir()} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_an_example_keeps_every_rule_in_an_environment_of_its_own(name: str, tmp_path: Path) -> None:
    environment = {"SYNTRIAL_ENVIRONMENTS": os.environ.get("SYNTRIAL_ENVIRONMENTS") or str(tmp_path / "environments")}
    options = [text for option in SMALL[name] for text in ("--option", option)]
    done = subprocess.run(
        [sys.executable, "-m", "syntrial", "conformance", str(EXAMPLES / name), *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("keeps  ") == 9


def test_a_folder_that_is_no_generator_is_refused_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "syntrial", "conformance", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the folder has generator.py" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
