"""The contract of jobs, kept by processes of this machine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.rpc.scripted import COMMAND
from tests.contract.jobs import EXPERIMENT, JobContract, recorded


@dataclass(frozen=True, kw_only=True)
class RunningProcess:
    """A job as a process."""

    process: subprocess.Popen[bytes]
    socket: Path

    @contextmanager
    def reached(self) -> Iterator[str]:
        """Serves by a socket of this machine anyway."""
        yield f"unix:{self.socket}"

    def stop(self) -> None:
        """Sends SIGTERM."""
        self.process.terminate()

    def exit_status(self) -> int:
        """Waits for the process."""
        return self.process.wait(timeout=120)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Runs jobs as processes."""

    store: ArtifactStore
    folder: Path

    def start(self, keys: list[str], *more: str) -> RunningProcess:
        """Starts a process."""
        socket = self.folder / "job.sock"
        command = [*COMMAND, "job", *keys, "--store", self.store.url, "--address", f"unix:{socket}"]
        process = subprocess.Popen([*command, "--experiment", EXPERIMENT, *more], stderr=subprocess.DEVNULL)
        return RunningProcess(process=process, socket=socket)


class TestJobsAsProcesses(JobContract):
    """The local half."""

    @pytest.fixture
    def runner(self, tmp_path: Path) -> Processes:
        """Where jobs run."""
        return Processes(store=open_store(tmp_path / "store"), folder=tmp_path)


def test_a_source_may_lie_on_the_jobs_machine(tmp_path: Path) -> None:
    runner = Processes(store=open_store(tmp_path / "store"), folder=tmp_path)
    (tmp_path / "raw").write_bytes(b"raw")
    (key,) = recorded(runner, {"value": "2", "source": "sha256:9"})
    assert runner.start([key], "--source", f"sha256:9={tmp_path / 'raw'}").exit_status() == 0
    assert runner.store.is_done(key)
