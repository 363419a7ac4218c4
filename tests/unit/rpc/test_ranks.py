"""The processes that share a step, as rank 0 sees them."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from syntrial.errors import UserError
from syntrial.rpc.ranks import Ranks, require_devices

WAITS = "import os, sys; os.read(int(sys.argv[-1]), 1)"
"""What a rank does until rank 0 is gone: its last argument is the pipe."""


def program(*code: str) -> Callable[[int], list[str]]:
    return lambda number: [sys.executable, "-c", code[number - 1]]


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "--parent-pipe" in child.cmdline()]


def test_a_rank_that_ends_before_its_time_is_named_with_its_end_and_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    with Ranks(number=0, count=3, meeting=str(tmp_path / "meeting")) as ranks:
        ranks.on_loss(lambda: told.append("lost"))
        ranks.start(program(WAITS, "raise SystemExit(3)"))
        lost = ranks.lost(within=30)
    assert str(lost).startswith("rank 2 of the 3 processes that share the step has ended: exit status 3;")
    assert told == ["lost"]


def test_ranks_that_have_done_their_part_are_not_lost(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with Ranks(number=0, count=2, meeting=str(tmp_path / "meeting")).start(
        program(f"open({str(done)!r}, 'w')")
    ) as ranks:
        while not done.exists():
            time.sleep(0.02)
        assert ranks.lost(within=0.5) is None


def test_no_rank_outlives_a_step_that_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with Ranks(number=0, count=3, meeting=str(tmp_path / "meeting")).start(program(WAITS, WAITS)):
            assert len(children()) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert children() == []


def test_each_rank_sees_the_gpu_of_its_number_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    says = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    files = {number: tmp_path / str(number) for number in (1, 2)}
    with Ranks(number=0, count=3, meeting=str(tmp_path / "meeting")) as ranks:
        ranks.start(lambda number: [sys.executable, "-c", says, str(files[number])])
    assert [files[number].read_text() for number in (1, 2)] == ["GPU-b", "GPU-c"]


def test_more_devices_than_a_machine_has_are_refused() -> None:
    require_devices(2, gpus=0, cores=2)
    with pytest.raises(UserError, match=r"spec\.resources\.devices: .* received 4, with 2 cores\. Give 2 at most"):
        require_devices(4, gpus=0, cores=2)
    with pytest.raises(UserError, match="received 2, with 1 GPU"):
        require_devices(2, gpus=1, cores=8)
