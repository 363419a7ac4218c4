"""A trial whose generator two processes share, of which one is killed: the bytes of the trial of one process."""

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from syntrial.artifacts.store import open_store
from tests.e2e.conftest import Laptop
from tests.e2e.test_trial import digests

# With the undisturbed trial before it.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_trial_on_two_devices_one_of_which_is_lost_is_that_on_one(finished: Laptop, tmp_path: Path) -> None:
    # On cores and without dropout two processes compute the parts of a batch that one computes in two threads.
    laptop = Laptop(folder=tmp_path, store=str(tmp_path / "store"))
    laptop.write()
    process = laptop.start("run", "--devices", "2")
    while (rank := rank_of(process.pid)) is None and process.poll() is None:
        time.sleep(0.05)
    assert rank is not None, process.communicate()
    os.kill(rank, signal.SIGKILL)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    # The report says on how many devices each artifact was made, and nothing else is different.
    assert laptop.report.replace(b'"devices":"2",', b"") == finished.report
    store = open_store(laptop.store)
    manifests = [manifest for key in digests(store) if (manifest := store.manifest(key)) is not None]
    made = {one.key: one.artifact_digest for one in manifests if not one.method.endswith("/WriteReport")}
    assert made.items() < digests(open_store(finished.store)).items()
    assert len(made) == len(manifests) - 1
    shared = {one.method.rpartition("/")[2] for one in manifests if one.provenance.get("devices") == "2"}
    assert shared == {"TrainGenerator", "SampleImages"}
    messages = [attempt.entry["message"] for key in digests(store) for attempt in store.attempts(key)]
    assert any("rank 1 of the 2 processes that share the step has ended: SIGKILL" in words for words in messages)


def rank_of(command: int) -> int | None:
    """The process that a server of the command has started to share its step."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(command).children(recursive=True):
            if "rank" in child.cmdline():
                return child.pid
    return None
