"""Trials on a laptop that are killed again and again: nothing lost, nothing done twice, the same bytes.

The cluster's part is `tests/cluster/test_trial.py`. With `--log-cli-level=INFO` each kill is shown;
docs/lab-notes.md has a whole run.
"""

import logging
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from syntrial.artifacts.store import open_store
from tests.e2e.conftest import Laptop
from tests.e2e.test_trial import digests, successes

KILLS = 10
LOG = logging.getLogger(__name__)

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


class Killer:
    """Kills the command line or one of its servers at seeded moments, until it has done so `KILLS` times."""

    def __init__(self, seed: int) -> None:
        self.left = KILLS
        self._seed = seed
        self._moments = random.Random(seed)
        self._began = time.monotonic()

    def run(self, laptop: Laptop) -> bool:
        """Runs the trial once, under fire; says whether it came to its end."""
        process = laptop.start("run")
        servers: list[psutil.Process] = []
        while self.left and process.poll() is None:
            time.sleep(self._moments.uniform(0.5, 7.0))
            if process.poll() is not None:
                break
            servers = psutil.Process(process.pid).children(recursive=True)
            mine = self._moments.random() < 0.4 or not servers
            victim = process.pid if mine else self._moments.choice(servers).pid
            name = "the command line" if mine else _service(victim)
            os.kill(victim, signal.SIGKILL)
            self.left -= 1
            since = time.monotonic() - self._began
            LOG.info("seed %d, %5.1f s, kill %d: %s", self._seed, since, KILLS - self.left, name)
            if mine:
                break
        output, _ = process.communicate(timeout=600)
        _, alive = psutil.wait_procs(servers, timeout=15)
        assert not alive, "servers outlive the run"
        assert "Traceback" not in output, output
        if process.returncode == 1:
            # A step that was killed three times is not tried again until somebody asks for it.
            assert "syntrial retry" in output, output
            laptop.run("retry", timeout_s=600)
            return True
        assert process.returncode in (0, -signal.SIGKILL), output
        return process.returncode == 0


def _service(pid: int) -> str:
    try:
        words = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return "a server"
    return next((name for name in ("data_prep", "generation", "filtering", "classification") if name in words), words)


@pytest.mark.parametrize("seed", range(6))
def test_ten_kills_at_random_moments_change_nothing(finished: Laptop, tmp_path: Path, seed: int) -> None:
    killer = Killer(seed)
    trials = 0
    while killer.left:
        trials += 1
        laptop = Laptop(folder=tmp_path / str(trials), store=str(tmp_path / str(trials) / "store"))
        laptop.write()
        while killer.left and not killer.run(laptop):
            pass
        laptop.run("run")
        store = open_store(laptop.store)
        assert laptop.report == finished.report
        assert digests(store) == digests(open_store(finished.store))
        assert max(successes(store).values()) == 1
    LOG.info("seed %d: %d trials, the same bytes; no step succeeded twice", seed, trials)
