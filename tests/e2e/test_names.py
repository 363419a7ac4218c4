"""A whole trial of files that are called after persons: nothing that is shown or taken home has a name."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import draw

pytestmark = pytest.mark.e2e

NAME = "MUELLER_Anna{number:03d}{label}_born1957.png"

NEEDLES = (b"MUELLER", b"Anna", b"born1957")


def syntrial(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "syntrial", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def holders(place: Path) -> list[Path]:
    found = [path for path in place.rglob("*") if path.is_file()]
    return [path for path in found if any(needle in path.read_bytes() for needle in NEEDLES)]


def test_a_trial_of_named_files_shows_and_takes_home_no_name(tmp_path: Path) -> None:
    draw(tmp_path / "real", count=60, seed=0, name=NAME)
    draw(tmp_path / "made", count=60, seed=1, name=NAME)
    # Conflicting labels, copies and a file that cannot be read: the report speaks of all of them.
    real = sorted((tmp_path / "real" / "ill").iterdir())
    (tmp_path / "real" / "well" / "MUELLER_Anna999_born1957.png").write_bytes(real[0].read_bytes())
    (tmp_path / "made" / "ill" / "MUELLER_Anna999_born1957.png").write_bytes(real[1].read_bytes())
    real[2].write_bytes(b"no picture")
    options = ["--size", "16", "--replicates", "2", "--steps", "10", "--patient-pattern", r"^([A-Z]+_[A-Za-z0-9]+)_"]
    here = ["--store", "store"]
    said = syntrial(tmp_path, "judge", "--real", "real", "--synthetic", "made", *options, *here)
    written = "runs/judge/experiment.yaml"
    said += syntrial(tmp_path, "status", written, *here) + syntrial(tmp_path, "logs", written, *here)
    said += syntrial(tmp_path, "export", written, "home", "--include", "all", *here)
    assert not any(needle in said.encode() for needle in NEEDLES), said
    assert holders(tmp_path / "runs") == []
    assert holders(tmp_path / "home") == []
    # One member of the data set and one of the imported images.
    held = holders(tmp_path / "store")
    assert len(held) == 2
    assert all(path.read_bytes().startswith(b'{"files":{') for path in held)
    names = syntrial(tmp_path, "names", written, *here)
    assert "MUELLER_Anna999_born1957.png" in names
    assert "  MUELLER_Anna005" in names
