"""docs/extending.md as code: the diffs of its sections, and a copy of the repository with them applied.

A diff's first line names its file in a comment, on an added line where the diff makes the file. `@@` parts hunks; each
hunk's lines of context and those that go must stand once in the file, so that the page cannot fall behind the code.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PAGE: Final = REPOSITORY / "docs" / "extending.md"

_BLOCK = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COPIED: Final = ("syntrial", "services", "protos", "k8s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """What one block of the page does to a file."""

    path: str
    """Relative to the repository."""
    is_new: bool
    hunks: tuple[tuple[str, str], ...]
    """What stood there, and what stands there then."""

    @property
    def is_hand_written_code(self) -> bool:
        """Whether the file counts: no proto, test or page, and nothing generated."""
        return self.path.endswith(".py") and not self.path.startswith(("tests/", "syntrial/v1/"))

    def apply(self, root: Path) -> None:
        """Changes the file below `root`; raises ValueError where it is not as the diff has it."""
        file = root / self.path
        if self.is_new:
            if file.exists():
                raise ValueError(f"{self.path} is there already")
            file.write_text(self.hunks[0][1], encoding="utf-8")
            return
        text = file.read_text(encoding="utf-8")
        for before, after in self.hunks:
            if text.count(before) != 1:
                raise ValueError(f"{self.path} has these lines {text.count(before)} times:\n{before}")
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")


def sections() -> dict[str, tuple[Diff, ...]]:
    """The diffs of each section by its title, for example "A metric"."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {title: tuple(_diffs(body)) for title, body in zip(parts[::2], parts[1::2], strict=True)}


def extended_copy(root: Path) -> None:
    """Makes a copy of the code below `root` with all diffs of the page applied and its files generated anew."""
    for name in _COPIED:
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for diffs in sections().values():
        for diff in diffs:
            diff.apply(root)
    run_in(root, "protos/generate.py")
    run_in(root, "k8s/crd/generate.py")


def run_in(root: Path, *command: str) -> str:
    """What a Python program prints that imports the code below `root`; fails the test where it fails."""
    packages = [root, *sorted((root / "services").iterdir())]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, packages)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _diffs(body: str) -> Iterator[Diff]:
    for block in _BLOCK.findall(body):
        head, *lines = block.splitlines()
        hunks: list[tuple[list[str], list[str]]] = [([], [])]
        for line in lines:
            if line.startswith("@@"):
                hunks.append(([], []))
                continue
            if not line.startswith("+"):
                hunks[-1][0].append(line[1:])
            if not line.startswith("-"):
                hunks[-1][1].append(line[1:])
        yield Diff(
            path=head[1:].strip().removeprefix("# "),
            is_new=head.startswith("+"),
            hunks=tuple(
                ("".join(f"{x}\n" for x in before), "".join(f"{x}\n" for x in after)) for before, after in hunks
            ),
        )
