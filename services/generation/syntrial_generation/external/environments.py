"""Environments of generators: built once from a lock with hashes, kept by the lock's digest.

    python -m syntrial_generation.external.environments FOLDER

builds that of a folder with code, as images/generator.Dockerfile does. Called by `verbs` beside it. Two that build the
same one wait for each other; one that was left half-built is built again.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import platformdirs

from syntrial.errors import SourceError

LOCK: Final = "requirements.lock"
PYTHON_VERSION: Final = "python-version"
"""A file beside the lock with the version of Python, for example "3.10"; none: Syntrial's own."""
DONE: Final = "syntrial-environment"
"""Written last: without it an environment is half-built."""
LAST_LINES: Final = 12


def environments_folder() -> Path:
    """Where environments are kept: as SYNTRIAL_ENVIRONMENTS says, else in the user's cache folder."""
    return Path(
        os.environ.get("SYNTRIAL_ENVIRONMENTS") or Path(platformdirs.user_cache_dir("syntrial")) / "environments"
    )


def python_of(code: Path, *, check_cancelled: Callable[[], None] = lambda: None) -> Path:
    """The Python of the environment that the code's lock describes, built where there is none yet.

    Raises SourceError, with the last lines of what was said, for a lock of which none can be built, and where there is
    none in an image.
    """
    lock = (code / LOCK).read_bytes()
    named = code / PYTHON_VERSION
    wanted = named.read_text(encoding="ascii").strip() if named.is_file() else "{}.{}".format(*sys.version_info[:2])
    digest = hashlib.sha256(wanted.encode() + b"\n" + lock).hexdigest()
    root = environments_folder()
    place = root / digest[:32]
    python = place / "bin" / "python"
    if (place / DONE).is_file():
        return python
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{digest[:32]}.lock").touch()
    except OSError as error:
        raise SourceError(
            field=f"external.code ({LOCK})",
            rule="its environment is there, or can be built where environments are kept",
            received=f"none for this lock and Python {wanted} in {root}, which cannot be written: {error.strerror}",
            remedy="For a cluster, make the image of the folder as it is now (`make images push GENERATOR=FOLDER`) and "
            "name it as `external.image`; on this machine, let SYNTRIAL_ENVIRONMENTS name another folder.",
        ) from None
    with _alone(root / f"{digest[:32]}.lock", check_cancelled=check_cancelled):
        if not (place / DONE).is_file():
            shutil.rmtree(place, ignore_errors=True)
            try:
                uv = _uv()
                _run([uv, "venv", "--python", wanted, str(place)], check_cancelled=check_cancelled)
                install = [uv, "pip", "sync", "--require-hashes", "--python", str(python)]
                _run([*install, str(code / LOCK)], check_cancelled=check_cancelled)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
            (place / DONE).write_text(digest, encoding="ascii")
    return python


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise SourceError(
            field="external.code",
            rule="environments are built by uv",
            received="no uv on this machine",
            remedy="Install it: `pip install uv`.",
        )
    return found


def _run(command: Sequence[str], *, check_cancelled: Callable[[], None]) -> None:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            while True:
                try:
                    said, _ = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    check_cancelled()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise SourceError(
            field=f"external.code ({LOCK})",
            rule="an environment can be built of it",
            received=f"exit status {process.returncode} of `{' '.join(command[1:3])}`",
            remedy="uv says:\n" + "\n".join(said.strip().splitlines()[-LAST_LINES:]),
        )


@contextlib.contextmanager
def _alone(path: Path, *, check_cancelled: Callable[[], None]) -> Iterator[None]:
    """One at a time for the block; the file stays, since somebody may wait for it."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check_cancelled()
                time.sleep(0.1)
        yield


def main(arguments: Sequence[str]) -> int:
    """Builds the environment of one folder; 2 where none can be built of its lock."""
    (folder,) = arguments
    try:
        python_of(Path(folder))
    except SourceError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
