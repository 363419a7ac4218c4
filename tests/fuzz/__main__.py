"""Fuzzes one reader, or each in turn: `python -m tests.fuzz [TARGET…] [--seconds 600]`.

Each target runs in a process of its own under atheris (libFuzzer), with 30 seconds for an input and 1 GiB of memory in
all. What it finds lies in `tests/fuzz/found/`: an input that crashed, hung or took too much goes into the corpus, with
the mending of it.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
LONGEST = {"image": 65536, "arrays": 65536, "archive": 65536, "packed": 65536}


def fuzz(name: str, *, seconds: int) -> None:
    """Runs a target until the time is up; libFuzzer ends the process."""
    with atheris.instrument_imports(include=["syntrial", "syntrial_data_prep", "PIL", "yaml", "zipfile", "tarfile"]):
        from tests.fuzz.targets import TARGETS
    found = HERE / "found"
    found.mkdir(exist_ok=True)
    corpus = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    limits = [f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=1024", f"-max_len={LONGEST.get(name, 4096)}"]
    options = [*limits, f"-artifact_prefix={found}/{name}-", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, corpus, str(HERE / "corpus" / name)], TARGETS[name])
    atheris.Fuzz()


def main() -> None:
    """Fuzzes what the command line names; ends with 1 where any target failed."""
    names = sorted(path.name for path in (HERE / "corpus").iterdir())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(names)}; all where none is given")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--here", action="store_true", help="in this process")
    given = parser.parse_args()
    if unknown := sorted(set(given.targets) - set(names)):
        parser.error(f"no target is called {', '.join(unknown)}; there are {', '.join(names)}")
    if given.here:
        fuzz(given.targets[0], seconds=given.seconds)
        return
    failed = []
    for name in given.targets or names:
        command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(given.seconds), "--here"]
        print(f"== {name}, {given.seconds} s", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        for left in Path(tempfile.gettempdir()).glob(f"fuzz-{name}-*"):
            shutil.rmtree(left, ignore_errors=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the inputs are in {HERE / 'found'}")


if __name__ == "__main__":
    main()
